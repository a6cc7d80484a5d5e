//! One connection: just enough of HTTP/2 (RFC 9113) to send calls and count answers.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use crate::{
    call::{Call, DATA, END_STREAM, FRAME_HEAD_BYTES, HEADERS, Kind, frame},
    tally::Answer,
};

const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Every window before anybody says otherwise (6.9.2).
const WINDOW_BYTES: u32 = 65_535;
/// The largest there is: answers never wait for us.
const WINDOW_MAX_BYTES: u32 = 0x7fff_ffff;
/// The connection's window is filled up again after so much.
const WINDOW_REFILL_BYTES: u32 = WINDOW_MAX_BYTES / 2;

/// Calls that may be told apart by the last bits of their streams: sixteen times what a server lets stand open.
const PLACES: usize = 4_096;
/// Read at once: some two hundred full answers.
const READ_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
    unread: Vec<u8>,
    next_stream: u32,
    open: usize,
    open_max: usize,
    places: Vec<Place>,
    send_window: i64,
    received: u32,
    kind: Kind,
}

/// A call under way.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    stream: u32,
    due_ns: u64,
    answer: Option<Answer>,
}

/// A call that ended: when it was due, and with what.
pub type Ended = (u64, Answer);

impl Connection {
    pub fn open(to: SocketAddr, kind: Kind) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut unsent = PREFACE.to_vec();
        let [a, b, c, d] = WINDOW_MAX_BYTES.to_be_bytes();
        frame(SETTINGS, 0, &[0, INITIAL_WINDOW_SIZE as u8, a, b, c, d], &mut unsent);
        frame(WINDOW_UPDATE, 0, &(WINDOW_MAX_BYTES - WINDOW_BYTES).to_be_bytes(), &mut unsent);
        Ok(Self {
            stream: TcpStream::from_std(stream),
            unsent,
            sent: 0,
            unread: Vec::with_capacity(2 * READ_BYTES),
            next_stream: 1,
            open: 0,
            open_max: PLACES,
            places: vec![Place::default(); PLACES],
            send_window: i64::from(WINDOW_BYTES),
            received: 0,
            kind,
        })
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Calls under way.
    pub fn open_calls(&self) -> usize {
        self.open
    }

    /// Queues a call; false if there is no room for it now.
    pub fn send(&mut self, call: &Call, key: u64, due_ns: u64) -> bool {
        let place = &mut self.places[place(self.next_stream)];
        if self.open >= self.open_max || self.send_window < call.body_bytes as i64 || place.stream != 0 {
            return false;
        }
        *place = Place { stream: self.next_stream, due_ns, answer: None };
        call.write(self.next_stream, key, &mut self.unsent);
        self.next_stream += 2;
        self.send_window -= call.body_bytes as i64;
        self.open += 1;
        true
    }

    /// Writes what is queued, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what there is and appends the calls that ended with it.
    pub fn receive(&mut self, room: &mut [u8], ended: &mut Vec<Ended>) -> io::Result<()> {
        loop {
            match self.stream.read(room) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
                Ok(read) => self.unread.extend_from_slice(&room[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((head, payload, after)) = next_frame(rest) {
            self.frame(head, payload, ended)?;
            rest = after;
        }
        let read = unread.len() - rest.len();
        self.unread = unread;
        self.unread.drain(..read);
        if self.received > WINDOW_REFILL_BYTES {
            frame(WINDOW_UPDATE, 0, &self.received.to_be_bytes(), &mut self.unsent);
            self.received = 0;
        }
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8], ended: &mut Vec<Ended>) -> io::Result<()> {
        match head.kind {
            DATA => {
                self.received += u32::try_from(payload.len()).expect("a frame has 16 MiB at most");
                if self.kind == Kind::Decision {
                    self.answered(head.stream, || decision(payload));
                }
            }
            HEADERS if self.kind == Kind::Response => self.answered(head.stream, || status(payload)),
            RST_STREAM => self.end(head.stream, Some(Answer::Other), ended),
            SETTINGS if head.flags & ACK == 0 => {
                self.settings(payload);
                frame(SETTINGS, ACK, &[], &mut self.unsent);
            }
            PING if head.flags & ACK == 0 => frame(PING, ACK, payload, &mut self.unsent),
            GOAWAY => return Err(io::Error::new(ErrorKind::ConnectionAborted, "the server said GOAWAY")),
            WINDOW_UPDATE if head.stream == 0 => {
                self.send_window += payload.first_chunk().map_or(0, |bytes| i64::from(u32::from_be_bytes(*bytes)));
            }
            _ => {}
        }
        if matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0 {
            self.end(head.stream, None, ended);
        }
        Ok(())
    }

    /// The first part of an answer tells; what else comes of it is as it may be.
    fn answered(&mut self, stream: u32, answer: impl FnOnce() -> Answer) {
        let place = &mut self.places[place(stream)];
        if place.stream == stream && place.answer.is_none() {
            place.answer = Some(answer());
        }
    }

    fn end(&mut self, stream: u32, instead: Option<Answer>, ended: &mut Vec<Ended>) {
        let place = &mut self.places[place(stream)];
        if place.stream == stream {
            let Place { due_ns, answer, .. } = std::mem::take(place);
            self.open -= 1;
            ended.push((due_ns, instead.or(answer).unwrap_or(Answer::Other)));
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            if u16::from_be_bytes([setting[0], setting[1]]) == MAX_CONCURRENT_STREAMS {
                let streams = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                self.open_max = (streams as usize).min(PLACES);
            }
        }
    }
}

/// Room for `receive`, shared by all connections of a thread.
pub fn room() -> Vec<u8> {
    vec![0; READ_BYTES]
}

fn place(stream: u32) -> usize {
    (stream as usize / 2) % PLACES
}

#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The first frame, if all of it is there, and what follows it.
fn next_frame(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    let rest = &bytes[FRAME_HEAD_BYTES..];
    let (payload, after) = rest.split_at_checked(length)?;
    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
    Some((Head { kind, flags, stream }, payload, after))
}

/// Of gRPC's five bytes and the message: encoders write `overall_code`, the first field, first.
fn decision(payload: &[u8]) -> Answer {
    match payload.get(5..7) {
        Some([0x08, 1]) => Answer::Ok,
        Some([0x08, 2]) => Answer::OverLimit,
        _ => Answer::Other,
    }
}

/// Of a header block: `:status` comes first, and 200 is entry 8 of the static table. The table's size may be told before.
fn status(block: &[u8]) -> Answer {
    const STATUS_200: u8 = 0x88;
    match block.iter().find(|byte| *byte & 0xe0 != 0x20) {
        Some(&STATUS_200) => Answer::Ok,
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_all_of_it_is_there() {
        let mut bytes = Vec::new();
        frame(PING, ACK, b"12345678", &mut bytes);
        assert!((0..bytes.len()).all(|length| next_frame(&bytes[..length]).is_none()));
        bytes.push(7);
        let (head, payload, after) = next_frame(&bytes).unwrap();
        assert_eq!((head.kind, head.flags, head.stream, payload, after), (PING, ACK, 0, &b"12345678"[..], &[7][..]));
    }

    #[test]
    fn the_first_bytes_of_an_answer_tell_the_decision() {
        assert_eq!(decision(&[0, 0, 0, 0, 2, 8, 1]), Answer::Ok);
        assert_eq!(decision(&[0, 0, 0, 0, 2, 8, 2, 18]), Answer::OverLimit);
        assert_eq!(decision(&[0, 0, 0, 0, 0]), Answer::Other);
        assert_eq!(status(&[0x88, 0x61]), Answer::Ok);
        assert_eq!(status(&[0x20, 0x88]), Answer::Ok);
        assert_eq!(status(&[0x48, 0x82]), Answer::Other);
    }
}
