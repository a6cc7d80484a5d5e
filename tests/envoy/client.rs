//! A client of HTTP/1.1 that sends exactly the bytes it is told to, and shows exactly those that come back.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    str,
    time::Duration,
};

/// A request under construction; [`send`](Request::send) sends it.
#[derive(Clone)]
pub struct Request {
    head: Vec<u8>,
}

pub fn get(path: &str) -> Request {
    Request { head: format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").into_bytes() }
}

impl Request {
    /// Any bytes will do, valid or not.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Sends it to a port of this machine and waits for the whole answer.
    pub fn send(&self, port: u16) -> Response {
        self.try_send(port).unwrap_or_else(|error| panic!("port {port} gave no answer: {error}"))
    }

    pub fn try_send(&self, port: u16) -> io::Result<Response> {
        exchange(port, &[&self.head, &b"\r\n"[..]].concat())
    }
}

/// Sends the bytes of a whole request, which asks for the connection to be closed, and waits for the whole answer.
pub fn exchange(port: u16, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Response::parse(&bytes).ok_or_else(|| io::Error::other(format!("odd answer: {}", bytes.escape_ascii())))
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In the order they came, the names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = str::from_utf8(&bytes[..end]).ok()?.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()?;
        let body = bytes[end + 4..].to_vec();
        let answer = Self { status, headers, body };
        // Everything between Envoy and us says how long it is; a body in chunks would have to be put together.
        (answer.headers_named("transfer-encoding").is_empty()).then_some(answer)
    }

    /// The header of this name: there must be exactly one.
    pub fn header(&self, name: &str) -> &str {
        match self.headers_named(name)[..] {
            [value] => value,
            ref values => panic!("{name} occurs {} times in {self:?}", values.len()),
        }
    }

    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, not a number"))
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }
}
