//! The bytes of a call: HEADERS and DATA as Envoy sends them, made once; only stream and key are written into each copy.

use crate::options::Options;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// Length, kind, flags, stream.
pub const FRAME_HEAD_BYTES: usize = 9;
/// Where in a frame's head its stream stands.
const STREAM_AT: usize = 5;

/// Where a key's number goes: wide enough for all of `--keys`, so that every call has the same size.
const PLACE: &[u8] = b"##########";
/// The first entry of HPACK's dynamic table (RFC 7541, 2.3.3); the newest header has it.
const DYNAMIC_FIRST: usize = 62;

/// A call that can be written again and again.
#[derive(Debug)]
pub struct Call {
    /// A connection's first: its headers enter the server's table.
    first: Copy,
    /// All others: their headers are indices into it.
    later: Copy,
    /// What a call takes of the connection's window.
    pub body_bytes: usize,
    pub kind: Kind,
}

/// What answers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message whose first field is the decision.
    Decision,
    /// A response whose status is the decision.
    Response,
}

impl Call {
    pub fn from(options: &Options) -> Self {
        match &options.get {
            Some(path) => Self::request(path, options),
            None => Self::question(options),
        }
    }

    /// What Envoy asks the service.
    fn question(options: &Options) -> Self {
        let authority = options.to.to_string();
        let headers = [
            Header::same(3, ":method", "POST"),
            Header::same(6, ":scheme", "http"),
            Header::same(4, ":path", "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"),
            Header::same(1, ":authority", &authority),
            Header::same(0, "te", "trailers"),
            // Envoy says 20m; on a machine that stands still for so long, calls would fail that are to be measured.
            Header::same(0, "grpc-timeout", "20S"),
            Header::same(31, "content-type", "application/grpc"),
            Header::same(0, "x-envoy-internal", "true"),
            Header::same(0, "x-forwarded-for", "192.0.2.7"),
            Header::same(0, "x-envoy-expected-rq-timeout-ms", "20"),
        ];
        Self::new(&headers, &in_grpc_frame(&message(options)), Kind::Decision)
    }

    /// What a client asks Envoy.
    fn request(path: &str, options: &Options) -> Self {
        let authority = options.to.to_string();
        let headers = [
            Header::same(2, ":method", "GET"),
            Header::same(6, ":scheme", "http"),
            Header::same(4, ":path", path),
            Header::same(1, ":authority", &authority),
            Header { varies: true, ..Header::same(0, "x-api-key", "") },
        ];
        Self::new(&headers, &[], Kind::Response)
    }

    fn new(headers: &[Header<'_>], body: &[u8], kind: Kind) -> Self {
        let copy = |block: &[u8]| {
            let mut bytes = Vec::new();
            let ends = if body.is_empty() { END_STREAM } else { 0 };
            frame(HEADERS, END_HEADERS | ends, block, &mut bytes);
            let mut streams = vec![STREAM_AT];
            if !body.is_empty() {
                streams.push(bytes.len() + STREAM_AT);
                frame(DATA, END_STREAM, body, &mut bytes);
            }
            Copy { keys: places(&bytes), bytes, streams }
        };
        Self {
            first: copy(&block(headers, Table::Empty)),
            later: copy(&block(headers, Table::Filled)),
            body_bytes: body.len(),
            kind,
        }
    }

    /// Appends the call on `stream` with `key`.
    pub fn write(&self, stream: u32, key: u64, out: &mut Vec<u8>) {
        let copy = if stream == 1 { &self.first } else { &self.later };
        let start = out.len();
        out.extend_from_slice(&copy.bytes);
        let written = &mut out[start..];
        for &at in &copy.streams {
            written[at..at + 4].copy_from_slice(&stream.to_be_bytes());
        }
        let digits = digits(key);
        for &at in &copy.keys {
            written[at..at + PLACE.len()].copy_from_slice(&digits);
        }
    }
}

#[derive(Debug)]
struct Copy {
    bytes: Vec<u8>,
    streams: Vec<usize>,
    keys: Vec<usize>,
}

/// A frame on no stream yet.
pub fn frame(kind: u8, flags: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a frame of ours is short").to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
}

fn places(bytes: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(PLACE.len()).enumerate();
    windows.filter(|(_, window)| *window == PLACE).map(|(at, _)| at).collect()
}

fn digits(mut key: u64) -> [u8; PLACE.len()] {
    let mut digits = [b'0'; PLACE.len()];
    for digit in digits.iter_mut().rev() {
        *digit += (key % 10) as u8;
        key /= 10;
    }
    digits
}

// Headers (RFC 7541)

struct Header<'a> {
    /// Of the static table: of name and value for `:method` and `:scheme`, of the name for others; 0 for none.
    index: u8,
    name: &'a str,
    value: &'a str,
    /// Its value is the key's name; it enters no table.
    varies: bool,
}

impl<'a> Header<'a> {
    fn same(index: u8, name: &'a str, value: &'a str) -> Self {
        Self { index, name, value, varies: false }
    }

    fn is_whole_in_static_table(&self) -> bool {
        matches!(self.name, ":method" | ":scheme")
    }

    fn is_added(&self) -> bool {
        !self.varies && !self.is_whole_in_static_table()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Empty,
    Filled,
}

fn block(headers: &[Header<'_>], table: Table) -> Vec<u8> {
    const INDEXED: u8 = 0x80;
    const LITERAL_THAT_IS_ADDED: u8 = 0x40;
    const LITERAL: u8 = 0;
    let mut block = Vec::new();
    let mut newer = headers.iter().filter(|header| header.is_added()).count();
    for header in headers {
        if header.is_whole_in_static_table() {
            block.push(INDEXED | header.index);
        } else if header.varies {
            block.push(LITERAL | header.index);
            string(header.name.as_bytes(), &mut block);
            string(&value_of_key(), &mut block);
        } else {
            newer -= 1;
            if table == Table::Filled {
                block.push(INDEXED | u8::try_from(DYNAMIC_FIRST + newer).expect("a few headers"));
                continue;
            }
            block.push(LITERAL_THAT_IS_ADDED | header.index);
            if header.index == 0 {
                string(header.name.as_bytes(), &mut block);
            }
            string(header.value.as_bytes(), &mut block);
        }
    }
    block
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    // Seven bits hold a length up to 126; longer ones take more bytes, which no header here needs.
    out.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short header"));
    out.extend_from_slice(text);
}

// The question (protobuf)

fn message(options: &Options) -> Vec<u8> {
    const DOMAIN: u8 = 0x0a;
    const DESCRIPTOR: u8 = 0x12;
    const ENTRY: u8 = 0x0a;
    const KEY: u8 = 0x0a;
    const VALUE: u8 = 0x12;
    let mut message = Vec::new();
    field(DOMAIN, options.domain.as_bytes(), &mut message);
    for key in &options.descriptors {
        let (mut entry, mut descriptor) = (Vec::new(), Vec::new());
        field(KEY, key.as_bytes(), &mut entry);
        field(VALUE, &value_of_key(), &mut entry);
        field(ENTRY, &entry, &mut descriptor);
        field(DESCRIPTOR, &descriptor, &mut message);
    }
    message
}

fn value_of_key() -> Vec<u8> {
    [b"key-", PLACE].concat()
}

fn field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn in_grpc_frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a small question").to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse(words.iter().map(|word| (*word).to_owned())).unwrap()
    }

    #[test]
    fn a_call_carries_its_stream_and_its_key() {
        let call = Call::from(&options(&["--descriptor", "a", "--descriptor", "b"]));
        let mut bytes = Vec::new();
        call.write(7, 1_234_567, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("key-0001234567").count(), 2, "{text}");
        let headers = usize::from(bytes[2]);
        assert_eq!(bytes[STREAM_AT..FRAME_HEAD_BYTES], [0, 0, 0, 7]);
        let data = &bytes[FRAME_HEAD_BYTES + headers..];
        assert_eq!(data[3..FRAME_HEAD_BYTES], [DATA, END_STREAM, 0, 0, 0, 7]);
        assert_eq!(data.len(), FRAME_HEAD_BYTES + call.body_bytes);
    }

    #[test]
    fn only_the_first_call_spells_its_headers_out() {
        let call = Call::from(&options(&["--get", "/hello"]));
        let (mut first, mut later) = (Vec::new(), Vec::new());
        call.write(1, 0, &mut first);
        call.write(3, 0, &mut later);
        assert!(first.windows(6).any(|window| window == b"/hello"));
        assert!(!later.windows(6).any(|window| window == b"/hello"));
        // :method GET, :scheme http, then the newest two entries, the oldest first.
        assert_eq!(later[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + 4], [0x82, 0x86, 0x80 | 63, 0x80 | 62]);
        assert!(later.windows(14).any(|window| window == b"key-0000000000"));
    }
}
