//! Floods: as many frames as fit through the socket, while all that comes back is read.

use std::{thread, time::Duration};

use crate::{
    frames::{
        End, Frame, REMEMBERED, Raw, bytes_of, call_headers, code,
        flag::{END_HEADERS, END_STREAM, NONE},
        framed, header,
        kind::{CONTINUATION, HEADERS, PRIORITY, PUSH_PROMISE, UNKNOWN},
        remembered_header,
    },
    stage::{Stage, now},
};

/// How long a flood goes on, if the server lets it: enough honest calls come meanwhile to tell.
const FLOOD: Duration = Duration::from_millis(250);

/// How the server ends it, and what is said over and over: by the number of the round, from 0.
type Flood = (&'static str, Ends, fn(u32) -> Vec<u8>);

/// What becomes of the attacker.
#[derive(Clone, Copy)]
enum Ends {
    /// Its connection is closed with a GOAWAY and this code.
    With(u32),
    /// The same, if the service is behind with reading: many small frames take more room than they carry.
    Perhaps(u32),
    /// It may go on: it takes no more than its turn.
    NotAtAll,
}
use Ends::{NotAtAll, Perhaps, With};

const FLOODS: [Flood; 22] = [
    // Calls that are given up at once: each is a call, though a short one.
    ("rapid reset", NotAtAll, |n| many(n, |stream| vec![Frame::call(stream), Frame::reset(stream, code::CANCEL)])),
    ("rapid reset, compressed", NotAtAll, |n| {
        if n == 0 {
            return Frame::new(HEADERS, END_HEADERS, 1, remembered_call()).bytes();
        }
        let call = [0x83, 0x86, REMEMBERED + 1, REMEMBERED];
        many(n, |stream| vec![Frame::new(HEADERS, END_HEADERS, stream, call), Frame::reset(stream, code::CANCEL)])
    }),
    // The server is made to reset ("MadeYouReset"): that is bounded for a connection's whole life.
    ("windows that overflow", With(code::ENHANCE_YOUR_CALM), |n| {
        many(n, |stream| vec![Frame::call(stream), Frame::window_update(stream, (1 << 31) - 1)])
    }),
    ("a window that grows by nothing", With(code::PROTOCOL_ERROR), |n| {
        many(n, |stream| vec![Frame::call(stream), Frame::window_update(stream, 0)])
    }),
    ("DATA after the end of its stream", With(code::PROTOCOL_ERROR), |n| {
        many(n, |stream| {
            vec![Frame::call(stream), Frame::last_data(stream, framed(b"")), Frame::data(stream, framed(b""))]
        })
    }),
    ("headers after headers", With(code::ENHANCE_YOUR_CALM), |n| {
        many(n, |stream| vec![Frame::call(stream), Frame::new(HEADERS, END_HEADERS, stream, header("a", "b"))])
    }),
    ("more calls at once than there may be", With(code::ENHANCE_YOUR_CALM), |n| {
        many(n, |stream| vec![Frame::call(stream)])
    }),
    // Headers without an end, or of a size that only shows once they are read.
    ("CONTINUATION without an end", With(code::ENHANCE_YOUR_CALM), |n| continued(n, header("a", "b"))),
    ("empty CONTINUATION without an end", With(code::ENHANCE_YOUR_CALM), |n| continued(n, Vec::new())),
    ("a header of two megabytes", With(code::ENHANCE_YOUR_CALM), |n| match n {
        // A name of one byte; the value's length in HPACK's way, 127 and then seven bits a byte; and never all of it.
        0 => Frame::new(HEADERS, NONE, 1, [0, 1, b'a', 0x7f, 0xff, 0xff, 0x7f]).bytes(),
        _ => Frame::new(CONTINUATION, NONE, 1, [b'x'; 16_000]).bytes(),
    }),
    ("an HPACK bomb", With(code::ENHANCE_YOUR_CALM), |n| {
        let again = [REMEMBERED; 10_000];
        let block = [call_headers("/"), remembered_header("a", &"x".repeat(4_000)), again.to_vec()].concat();
        Frame::new(HEADERS, END_HEADERS | END_STREAM, stream(n), block).bytes()
    }),
    ("headers of 20 KB", NotAtAll, |n| {
        let block = [call_headers("/"), remembered_header("a", &"x".repeat(1_000)), vec![REMEMBERED; 19]].concat();
        Frame::new(HEADERS, END_HEADERS | END_STREAM, stream(n), block).bytes()
    }),
    ("300 trailers a call", NotAtAll, |n| {
        let trailers: Vec<u8> = (0..300).flat_map(|n| header(&format!("a{n}"), "b")).collect();
        let trailers = Frame::new(HEADERS, END_HEADERS | END_STREAM, stream(n), trailers);
        bytes_of(&[Frame::call(stream(n)), Frame::data(stream(n), framed(b"")), trailers])
    }),
    // Messages without an end.
    ("empty DATA", With(code::ENHANCE_YOUR_CALM), |n| started(n, Frame::data(1, []))),
    ("DATA of one byte", Perhaps(code::ENHANCE_YOUR_CALM), |n| started(n, Frame::data(1, [0]))),
    // What must be answered, or ignored, each time.
    ("SETTINGS", NotAtAll, |_| bytes_of(&vec![Frame::settings(&[(4, 65_535)]); 500])),
    ("PING", NotAtAll, |_| bytes_of(&vec![Frame::ping(); 500])),
    ("WINDOW_UPDATE of one byte", NotAtAll, |_| bytes_of(&vec![Frame::window_update(0, 1); 500])),
    ("PRIORITY", NotAtAll, |_| bytes_of(&vec![Frame::new(PRIORITY, NONE, 1, [0, 0, 0, 3, 1]); 500])),
    ("frames that nobody has defined", NotAtAll, |_| bytes_of(&vec![Frame::new(UNKNOWN, NONE, 1, []); 500])),
    // What no client may say.
    ("PUSH_PROMISE", With(code::PROTOCOL_ERROR), |_| Frame::new(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2]).bytes()),
    ("garbage", With(code::FRAME_SIZE_ERROR), |_| vec![0xff; 1_000]),
];

#[test]
fn floods_take_their_turn_or_their_leave() {
    let stage = Stage::start();
    for (name, ends, round) in FLOODS {
        let end = stage.attacked(name, |address| flood(address, round));
        match (ends, &end) {
            (With(expected) | Perhaps(expected), End::GoAway(code, _)) => {
                assert_eq!(*code, expected, "{name}: {end:?}");
            }
            (With(_), End::Closed) => panic!("{name}: the server said nothing"),
            (NotAtAll | Perhaps(_), _) => assert_eq!(end, End::Closed, "{name}: it was we who hung up"),
        }
    }
    let log = stage.log();
    assert!(!log.contains("WARN"), "whoever attacks does not write the log:\n{log}");
}

/// How the connection ends on which this is said round after round.
fn flood(address: &str, round: fn(u32) -> Vec<u8>) -> End {
    let mut raw = Raw::greeted(address, &[]);
    let mut ear = raw.twin();
    let listening = thread::spawn(move || ear.end());
    let began = now();
    for n in 0.. {
        if began.elapsed() > FLOOD || raw.write(&round(n)).is_err() {
            break;
        }
    }
    raw.hang_up();
    listening.join().expect("whoever listens does not panic")
}

/// The streams of clients have odd numbers.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// What is said on fifty streams of their own.
fn many(n: u32, of_stream: impl Fn(u32) -> Vec<Frame>) -> Vec<u8> {
    const STREAMS: u32 = 50;
    (n * STREAMS..(n + 1) * STREAMS).flat_map(|n| bytes_of(&of_stream(stream(n)))).collect()
}

/// In the first round headers that do not end; then more of them.
fn continued(n: u32, more: Vec<u8>) -> Vec<u8> {
    match n {
        0 => Frame::new(HEADERS, NONE, 1, call_headers("/")).bytes(),
        _ => Frame::new(CONTINUATION, NONE, 1, more).bytes(),
    }
}

/// In the first round a call; then parts of its message.
fn started(n: u32, part: Frame) -> Vec<u8> {
    match n {
        0 => bytes_of(&[Frame::call(1), Frame::data(1, *b"\0\0\xff\0\0")]),
        _ => bytes_of(&vec![part; 100]),
    }
}

/// A call whose path and content type are remembered, in this order.
fn remembered_call() -> Vec<u8> {
    let path = remembered_header(":path", crate::frames::RATE_LIMIT);
    [vec![0x83, 0x86], path, remembered_header("content-type", "application/grpc")].concat()
}
