//! HTTP/2 by hand: a client that writes any frame, right or wrong, byte by byte, and shows what comes back.
//!
//! A frame is nine bytes and a payload (RFC 9113, 4.1): three of length, one of kind, one of flags, four of the stream's
//! number. Header blocks are HPACK without compression (RFC 7541, 6.2.2): each header as its name and value, with their
//! lengths before them. No library would send what attackers send; so none is used.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

/// How long the server may take for what it should do at once: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The method that Envoy calls.
pub const RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Kinds of frames (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    /// One that nobody has defined: to be ignored.
    pub const UNKNOWN: u8 = 0xfa;
}

/// Flags, as far as they are of use here.
pub mod flag {
    pub const NONE: u8 = 0;
    /// Of DATA and HEADERS: nothing more comes on this stream.
    pub const END_STREAM: u8 = 1;
    /// Of SETTINGS and PING: an answer to one.
    pub const ACK: u8 = 1;
    /// Of HEADERS and CONTINUATION: the header block is complete.
    pub const END_HEADERS: u8 = 4;
}

/// Why a stream or a connection ended (RFC 9113, 7).
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// The header block of a call, and nothing of its message.
    pub fn call(stream: u32) -> Self {
        Self::new(kind::HEADERS, flag::END_HEADERS, stream, call_headers(RATE_LIMIT))
    }

    /// The same of a call of another service.
    pub fn call_of(path: &str, stream: u32) -> Self {
        Self::new(kind::HEADERS, flag::END_HEADERS, stream, call_headers(path))
    }

    /// A part of a message.
    pub fn data(stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::DATA, flag::NONE, stream, payload)
    }

    /// The last part of a message.
    pub fn last_data(stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::DATA, flag::END_STREAM, stream, payload)
    }

    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, flag::NONE, stream, code.to_be_bytes())
    }

    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, flag::NONE, stream, increment.to_be_bytes())
    }

    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let payload = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        Self::new(kind::SETTINGS, flag::NONE, 0, payload.collect::<Vec<u8>>())
    }

    pub fn ping() -> Self {
        Self::new(kind::PING, flag::NONE, 0, *b"attacker")
    }

    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("tests send short frames").to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }
}

/// All of these, one after the other.
pub fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// The first headers of every call of gRPC: POST and http by their places in HPACK's static table, the rest in full.
pub fn call_headers(path: &str) -> Vec<u8> {
    let said = [(":path", path), (":authority", "rls"), ("content-type", "application/grpc"), ("te", "trailers")];
    let said = said.iter().flat_map(|(name, value)| header(name, value));
    [0x83, 0x86].into_iter().chain(said).collect()
}

/// One header that is not to be remembered.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// One header that is to be remembered: from then on the byte [`REMEMBERED`] says it again.
pub fn remembered_header(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// The header that was remembered last: place 62, after the 61 of the static table.
pub const REMEMBERED: u8 = 0x80 + 62;

/// Its length in seven bits, or in more bytes from 127 on (RFC 7541, 5.1); then the text as it is.
fn text(text: &str) -> Vec<u8> {
    let byte = |number: usize| u8::try_from(number).expect("less than 256");
    let mut bytes = vec![byte(text.len().min(127))];
    if let Some(mut rest) = text.len().checked_sub(127) {
        while rest >= 128 {
            bytes.push(byte(rest % 128 + 128));
            rest /= 128;
        }
        bytes.push(byte(rest));
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A message of gRPC: not compressed, and its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).expect("short").to_be_bytes(), message].concat()
}

/// A connection on which everything may be said.
pub struct Raw {
    socket: TcpStream,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With this code, and what else the server said of the reason.
    GoAway(u32, String),
    /// Without a word.
    Closed,
}

impl Raw {
    /// A connection on which nothing was said yet.
    pub fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the service listens");
        socket.set_nodelay(true).expect("a socket can be set");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can be set");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket can be set");
        Self { socket }
    }

    /// A connection that speaks HTTP/2, with these settings.
    pub fn greeted(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address);
        let greeting = [PREFACE, &Frame::settings(settings).bytes()].concat();
        raw.write(&greeting).expect("a new connection takes a greeting");
        raw
    }

    /// Writes bytes as they are. An error says that the server has closed the connection, or reads nothing.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub fn say(&mut self, frames: &[Frame]) -> io::Result<()> {
        self.write(&bytes_of(frames))
    }

    /// From now on, a write that waits for so long is an error.
    pub fn write_within(&self, limit: Duration) {
        self.socket.set_write_timeout(Some(limit)).expect("a socket can be set");
    }

    /// The same connection, for another thread.
    pub fn twin(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("a socket can be shared") }
    }

    /// Says that nothing more comes; answers may.
    pub fn hang_up(&self) {
        // An error: the server has closed it already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next frame; none where the connection has ended.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read(&mut payload)?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame that this finds something in.
    pub fn find<T>(&mut self, mut wanted: impl FnMut(&Frame) -> Option<T>) -> T {
        loop {
            let frame = self.next().expect("the connection lives until what is waited for");
            if let Some(found) = wanted(&frame) {
                return found;
            }
        }
    }

    /// How it ends, whatever else is said before. To be asked where an end is expected.
    pub fn end(&mut self) -> End {
        let mut end = End::Closed;
        while let Some(frame) = self.next() {
            if frame.kind == kind::GOAWAY {
                let code = u32::from_be_bytes(frame.payload[4..8].try_into().expect("four bytes"));
                end = End::GoAway(code, String::from_utf8_lossy(&frame.payload[8..]).into_owned());
            }
        }
        end
    }

    /// All of it; none where the connection has ended.
    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
                panic!("the server says nothing, and does not close: {error}")
            }
            Err(_) => None,
        }
    }
}
