//! An upstream that answers 200, or as `x-answer` asks, and remembers what reached it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Its threads live as long as the test program, which is not long.
pub struct Upstream {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let memory = Arc::clone(&memory);
                // Envoy closes connections as it likes: their end is no error.
                thread::spawn(move || drop(answer_all(&stream, &memory)));
            }
        });
        Self { port, seen }
    }

    /// The paths of all requests that were let through, in order.
    pub fn paths(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panics with it").clone()
    }
}

fn answer_all(stream: &TcpStream, memory: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader)? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        memory.lock().expect("nobody panics with it").push(path);
        let status = head.lines().find_map(|line| line.strip_prefix("x-answer: ")).unwrap_or("200");
        let answer =
            format!("HTTP/1.1 {status} As Asked\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\nupstream");
        (&mut &*stream).write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// A request without a body: all of it up to the empty line. Headers that are not UTF-8 become so.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line == b"\r\n" {
            return Ok(Some(head));
        }
        head.push_str(String::from_utf8_lossy(&line).trim_end());
        head.push('\n');
    }
}
