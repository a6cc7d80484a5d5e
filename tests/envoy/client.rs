//! A client of HTTP/1.1 that sends exactly the bytes it is told to, and shows exactly those that come back.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    str,
    time::Duration,
};

/// A request under construction; [`send`](Request::send) sends it.
#[derive(Clone)]
pub struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

pub fn get(path: &str) -> Request {
    request_to("GET", path)
}

pub fn request_to(method: &str, path: &str) -> Request {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").into_bytes();
    Request { head, body: Vec::new() }
}

impl Request {
    /// Any bytes will do, valid or not.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { head: self.header("content-length", body.len().to_string()).head, body }
    }

    /// Sends it to a port of this machine and waits for the whole answer.
    pub fn send(&self, port: u16) -> Response {
        self.try_send(port).unwrap_or_else(|error| panic!("port {port} gave no answer: {error}"))
    }

    pub fn try_send(&self, port: u16) -> io::Result<Response> {
        self.try_send_to(&(Ipv4Addr::LOCALHOST, port).into())
    }

    pub fn try_send_to(&self, address: &SocketAddr) -> io::Result<Response> {
        exchange_with(address, &[&self.head, &b"\r\n"[..], &self.body].concat())
    }
}

/// Sends the bytes of a whole request, which asks for the connection to be closed, and waits for the whole answer.
pub fn exchange(port: u16, request: &[u8]) -> io::Result<Response> {
    exchange_with(&(Ipv4Addr::LOCALHOST, port).into(), request)
}

/// Longer than an Envoy waits for a decision and then for its upstream: what is late there is to be seen as its answer.
const PATIENCE: Duration = Duration::from_secs(90);

fn exchange_with(address: &SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
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
        match answer.headers_named("transfer-encoding")[..] {
            [] => Some(answer),
            ["chunked"] => Some(Self { body: joined(&answer.body)?, ..answer }),
            _ => None,
        }
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

/// A body that came in chunks, each with its length in hexadecimal before it; the last is empty. So Envoy's own pages come.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        let (chunk, rest) = chunks[end + 2..].split_at_checked(length)?;
        body.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n")?;
    }
}
