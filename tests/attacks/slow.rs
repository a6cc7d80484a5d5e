//! Clients that are slow, or many, or silent: what they hold is bounded, and so is how long.

use std::{fs, net::TcpStream, time::Duration};

use prost::Message as _;
use tallygate::{
    bounds,
    grpc::proto::{RateLimitResponse, rate_limit_response::Code},
};

use crate::{
    frames::{
        End, Frame, PREFACE, Raw, bytes_of, code,
        flag::{END_STREAM, NONE},
        framed,
        kind::{DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE},
    },
    harness::{descriptor, request},
    stage::{Stage, now},
};

/// SETTINGS: what a stream may be sent before the client says more.
const INITIAL_WINDOW_SIZE: u16 = 4;
const HEALTH: &str = "/grpc.health.v1.Health/Check";

#[test]
fn messages_that_are_too_large_are_answered_as_soon_as_they_say_so() {
    Stage::start().attacked("large messages", |address| {
        for announced in [u32::try_from(bounds::MESSAGE_MAX_BYTES).unwrap() + 1, u32::MAX] {
            let mut raw = Raw::greeted(address, &[]);
            let head = [&[0][..], &announced.to_be_bytes()].concat();
            raw.say(&[Frame::call(1), Frame::data(1, head)]).unwrap();
            let answer = raw.find(|frame| (frame.kind == DATA).then(|| frame.payload.clone()));
            let answer = RateLimitResponse::decode(&answer[5..]).unwrap();
            assert_eq!(answer.overall_code(), Code::OverLimit, "{announced} bytes announced");
            let reset = raw.find(|frame| (frame.kind == RST_STREAM).then(|| frame.payload.clone()));
            assert_eq!(reset, code::NO_ERROR.to_be_bytes(), "the rest need not be sent");
        }
    });
}

#[test]
fn messages_that_do_not_come_hold_their_places_for_a_second_and_no_more_than_there_are() {
    const BEYOND: u32 = 40;
    let streams = bounds::STREAMS_PER_CONNECTION_MAX + BEYOND;
    Stage::start().attacked("half-open streams", |address| {
        let mut raw = Raw::greeted(address, &[]);
        let calls: Vec<_> = (0..streams).map(|n| Frame::call(2 * n + 1)).collect();
        raw.say(&calls).unwrap();
        let (mut refused, mut answered) = (0, 0);
        while answered < bounds::STREAMS_PER_CONNECTION_MAX {
            // One slow writer among them: a byte whenever anything is heard.
            let _ = raw.say(&[Frame::data(1, [0])]);
            match raw.next().expect("the connection goes on") {
                frame if frame.kind == RST_STREAM && frame.payload == code::REFUSED_STREAM.to_be_bytes() => {
                    refused += 1;
                }
                // With nothing but a status: the message did not come in time.
                frame if frame.kind == HEADERS && frame.flags & END_STREAM != 0 => answered += 1,
                _ => {}
            }
        }
        assert_eq!(refused, BEYOND);
    });
}

#[test]
fn answers_that_find_no_room_are_as_many_as_there_are_streams() {
    let stage = Stage::start();
    let message = framed(&request(vec![descriptor("k", "slow")]).encode_to_vec());
    let call = |n: u32| bytes_of(&[Frame::call(2 * n + 1), Frame::last_data(2 * n + 1, message.clone())]);
    stage.attacked("no window", |address| {
        let mut raw = Raw::greeted(address, &[(INITIAL_WINDOW_SIZE, 0)]);
        for n in 0..2 * bounds::STREAMS_PER_CONNECTION_MAX {
            raw.write(&call(n)).unwrap();
        }
        let (mut begun, mut refused) = (0, 0);
        while begun + refused < 2 * bounds::STREAMS_PER_CONNECTION_MAX {
            match raw.next().expect("the connection goes on").kind {
                HEADERS => begun += 1,
                RST_STREAM => refused += 1,
                kind => assert_ne!(kind, DATA, "there is no room for it"),
            }
        }
        assert_eq!(begun, bounds::STREAMS_PER_CONNECTION_MAX);
    });
    stage.attacked("never reading", |address| {
        let mut raw = Raw::greeted(address, &[]);
        raw.write_within(Duration::from_millis(200));
        // Until nothing more is taken: the answers fill the sockets, and then the server does not listen any more.
        let calls = (0..200_000).position(|n| raw.write(&call(n)).is_err());
        assert!(calls.is_some(), "the server reads for whom it cannot answer");
    });
}

/// Health checks used to be held for as long as a client liked, up to 4 MB each.
#[test]
fn health_checks_are_short() {
    /// Calls, and what each would send if it were let. h2 remembers so many streams that it has reset, and ignores what
    /// was still on its way to them.
    const CALLS: u32 = 40;
    const EACH: usize = 2 << 20;
    Stage::start().attacked("health checks without an end", |address| {
        let mut raw = Raw::greeted(address, &[]);
        for n in 0..CALLS {
            raw.say(&[Frame::call_of(HEALTH, 2 * n + 1), Frame::data(2 * n + 1, *b"\0\0\x3f\0\0")]).unwrap();
        }
        // As a polite client does: no more than there is room for, on the connection and on the stream.
        let mut room = vec![65_535_i64; CALLS as usize];
        let (mut room_of_all, mut over) = (65_535_i64, vec![false; CALLS as usize]);
        let mut sent = vec![0; CALLS as usize];
        while !over.iter().all(|over| *over) {
            let ready = |&n: &usize| !over[n] && sent[n] < EACH && room[n].min(room_of_all) >= 1_000;
            if let Some(n) = (0..over.len()).find(ready) {
                raw.say(&[Frame::data(2 * u32::try_from(n).unwrap() + 1, [0; 1_000])]).unwrap();
                room[n] -= 1_000;
                room_of_all -= 1_000;
                sent[n] += 1_000;
                continue;
            }
            let frame = raw.next().expect("the connection goes on");
            let number = (frame.stream as usize).saturating_sub(1) / 2;
            match frame.kind {
                WINDOW_UPDATE => {
                    let more = i64::from(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                    *(if frame.stream == 0 { &mut room_of_all } else { &mut room[number] }) += more;
                }
                SETTINGS if frame.flags == NONE => {
                    let more = i64::from(bounds::STREAM_WINDOW_BYTES) - 65_535;
                    for room in &mut room {
                        *room += more;
                    }
                }
                HEADERS | RST_STREAM => over[number] = true,
                _ => {}
            }
        }
    });
}

#[test]
fn who_does_not_speak_http_2_is_closed_at_once() {
    Stage::start().attacked("other protocols", |address| {
        let tls = [&[0x16, 3, 1, 0, 200][..], &[0; 200]].concat();
        for said in [b"GET /metrics HTTP/1.1\r\nhost: rls\r\n\r\n".to_vec(), tls, vec![0xff; 1_000]] {
            let mut raw = Raw::connect(address);
            raw.write(&said).unwrap();
            let end = raw.end();
            assert!(matches!(end, End::Closed | End::GoAway(code::PROTOCOL_ERROR, _)), "{end:?}");
        }
    });
}

#[test]
fn a_thousand_who_say_nothing_cost_little() {
    // The service's own limit is ours too; half of it is for the other end of what is opened here.
    let handles = fs::read_to_string("/proc/self/limits").unwrap();
    let handles = handles.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let handles: usize = handles.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    let crowd = 1_000.min(handles - 200);
    Stage::start().attacked("idle connections", |address| {
        let began = now();
        let greeting = [PREFACE, &Frame::settings(&[]).bytes()].concat();
        let crowd: Vec<TcpStream> = (0..crowd)
            .map(|n| {
                let socket = TcpStream::connect(address).unwrap();
                // Some say what belongs to it, some nothing at all.
                if n % 2 == 0 {
                    std::io::Write::write_all(&mut &socket, &greeting).unwrap();
                }
                socket
            })
            .collect();
        println!("{} connections in {:?}", crowd.len(), began.elapsed());
    });
}
