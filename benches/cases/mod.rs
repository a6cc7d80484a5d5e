//! A fixed set of decisions, through the service as a core calls it: without sockets, and with everything else.
//!
//! `benches/decisions.rs` takes their time, `tests/cost` counts their instructions and allocations.

use std::{fmt::Write as _, io, net::Ipv4Addr, path::Path, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use tallygate::{
    clock::{Clock, Stopwatch},
    config::{DomainDefaults, RuleFile, compile},
    decide::Decider,
    grpc::{
        Call, Decide, Decided,
        codec::FRAME_HEADER_BYTES,
        proto::{
            RateLimitDescriptor, RateLimitRequest, RateLimitResponse, protobuf::value::Kind,
            rate_limit_descriptor::Entry, rate_limit_response::Code,
        },
    },
    live::{Live, RuleSet},
    orders::Book,
    rules::identity::HashKey,
    store::{Store, memory::Memory},
    telemetry::{Telemetry, decisions::Decisions, events::ServerEvents},
};

/// One kind of request, and what is answered to it.
pub struct Case {
    pub name: &'static str,
    domain: &'static str,
    /// The descriptors of the request of one client, by the client's number.
    asks: fn(usize) -> Vec<RateLimitDescriptor>,
    answer: Expected,
}

/// What every answer to a case is.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    refused: bool,
    headers: usize,
    has_body: bool,
    /// As the metadata names it; empty where nothing matched.
    rule: &'static str,
}

pub const CASES: &[Case] = &[
    Case {
        name: "accepted",
        domain: "shop",
        asks: |client| vec![descriptor(&[("api_key", &key(client))])],
        answer: Expected { refused: false, headers: 3, has_body: false, rule: "per-key" },
    },
    Case {
        name: "three descriptors of two windows",
        domain: "shop",
        asks: |client| {
            let key = key(client);
            vec![
                descriptor(&[("customer", &key)]),
                descriptor(&[("remote_address", &address([203, 0, 0, 0], client))]),
                descriptor(&[("customer", &key), ("endpoint", "/v1/orders")]),
            ]
        },
        answer: Expected { refused: false, headers: 3, has_body: false, rule: "per-customer" },
    },
    Case {
        name: "refused",
        domain: "shop",
        asks: |client| vec![descriptor(&[("refused_key", &key(client))])],
        answer: Expected { refused: true, headers: 5, has_body: true, rule: "exhausted" },
    },
    Case {
        name: "blocked",
        domain: "login",
        asks: |client| vec![descriptor(&[("account", &key(client))])],
        answer: Expected { refused: true, headers: 5, has_body: true, rule: "logins" },
    },
    Case {
        name: "unmatched",
        domain: "shop",
        asks: |client| vec![descriptor(&[("session", &key(client))])],
        answer: Expected { refused: false, headers: 0, has_body: false, rule: "" },
    },
    Case {
        name: "exempt",
        domain: "shop",
        asks: |client| {
            let address = address([10, 96, 0, 0], client);
            vec![descriptor(&[("remote_address", &address)]), descriptor(&[("api_key", &key(client))])]
        },
        answer: Expected { refused: false, headers: 0, has_body: false, rule: "monitoring" },
    },
    Case {
        name: "path template",
        domain: "shop",
        asks: |client| vec![descriptor(&[("path", &format!("/v1/orders/{client:06}/items?page=2"))])],
        answer: Expected { refused: false, headers: 3, has_body: false, rule: "order-items" },
    },
    Case {
        name: "address in a network",
        domain: "shop",
        asks: |client| vec![descriptor(&[("remote_address", &address([10, 2, 0, 0], client))])],
        answer: Expected { refused: false, headers: 3, has_body: false, rule: "partners" },
    },
    Case {
        name: "one of many rules",
        domain: MANY,
        asks: |client| vec![descriptor(&[("api_key", &key(client))])],
        answer: Expected { refused: false, headers: 3, has_body: false, rule: "" },
    },
];

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Each client's request comes once in a round.
    pub clients: usize,
    /// Rules of the domain with many; each is for one of the clients, so there are at least as many.
    pub rules: usize,
}

/// A service with the rules of all cases.
pub struct Stage {
    pub decider: Arc<Decider>,
    /// A server reads the clock once for all calls of a turn, and we once for all.
    since: Stopwatch,
    size: Size,
}

impl Stage {
    /// Compiles the rules, and decides nothing yet.
    pub fn set(size: Size) -> Self {
        assert!(size.rules >= size.clients, "every client has a rule of its own");
        let text = format!("{}---\n{}", include_str!("rules.yaml"), many_rules(size.rules));
        let file = RuleFile { name: "rules.yaml".into(), path: "rules.yaml".into(), text: text.into() };
        let no_lists = &mut |_: &Path| Err(io::ErrorKind::NotFound.into());
        let compiled = compile(&[file], DomainDefaults::default(), no_lists).unwrap_or_else(|diagnostics| {
            panic!("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });

        let (clock, hash_key, live) = (Clock, HashKey::Secret([7; 16]), Arc::new(Live::default()));
        let telemetry = Telemetry::new(1);
        let book = Arc::new(Book::open(Arc::clone(&live), hash_key, None, clock.now()));
        let decisions = Decisions::new(Arc::clone(&telemetry), &compiled.rules);
        book.go_live(Arc::new(RuleSet {
            number: 1,
            hash: String::new(),
            rules: compiled.rules,
            responses: compiled.responses,
            usage_pages: compiled.usage_pages,
            decisions,
            compat: None,
        }));
        let decider = Arc::new(Decider {
            clock,
            live,
            // Room for all counters of all cases: nothing is evicted.
            store: Arc::new(Store::Memory(Memory::new(100 * size.clients))),
            events: Arc::new(ServerEvents::new(&telemetry)),
            telemetry,
            hash_key,
            book,
            tracer: None,
        });
        Self { decider, since: clock.stopwatch(), size }
    }

    /// The messages of a case, one a client. Everybody has been here before, so that counters are found and not made,
    /// and who is to be refused is.
    pub fn messages(&self, case: &Case) -> Vec<Bytes> {
        let messages: Vec<Bytes> = (0..self.size.clients).map(|client| case.message(client)).collect();
        // The first is let in, the second exceeds a limit of 1 and starts the block, the third is as all that follow.
        for _ in 0..2 {
            for message in &messages {
                self.decide(message.clone());
            }
        }
        for message in &messages {
            case.check(&self.decide(message.clone()));
        }
        messages
    }

    /// The framed answer to one message.
    #[inline]
    pub fn decide(&self, message: Bytes) -> Bytes {
        let call = Call { core: 0, timeout: None, since: self.since, span: None };
        match Decide::decide(&self.decider, message, call) {
            Decided::Now(Ok(answer)) => answer,
            Decided::Now(Err(failure)) => panic!("it failed: {failure:?}"),
            Decided::Later(_) => panic!("the memory store made somebody wait"),
        }
    }
}

impl Case {
    fn message(&self, client: usize) -> Bytes {
        let domain = self.domain.into();
        RateLimitRequest { domain, descriptors: (self.asks)(client), hits_addend: 0 }.encode_to_vec().into()
    }

    fn check(&self, framed: &[u8]) {
        let answer = RateLimitResponse::decode(&framed[FRAME_HEADER_BYTES..]).expect("an answer can be decoded");
        let refused = answer.overall_code() == Code::OverLimit;
        let (headers, has_body) = (answer.response_headers_to_add.len(), !answer.raw_body.is_empty());
        let fields = answer.dynamic_metadata.map(|metadata| metadata.fields).unwrap_or_default();
        let rule = match fields.get("rule").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StringValue(rule)) => rule.as_str(),
            _ => "",
        };
        // Each of many rules has a name of its own.
        let rule = if self.domain == MANY { "" } else { rule };
        let Expected { refused: r, headers: h, has_body: b, rule: name } = self.answer;
        assert_eq!((refused, headers, has_body, rule), (r, h, b, name), "{}", self.name);
    }
}

/// The domain that has a rule for each client.
const MANY: &str = "many";

fn many_rules(count: usize) -> String {
    let mut text = format!("domain: {MANY}\nresponse: {{headers: ratelimit}}\ndescriptors:\n");
    for client in 0..count {
        writeln!(text, "  - {{key: api_key, value: {}, limits: [1_000_000/minute]}}", key(client))
            .expect("a String can be written to");
    }
    text
}

/// As long as a real one.
fn key(client: usize) -> String {
    format!("sk-live-7f3a9c-{client:08}")
}

/// Each client has one of its own, counted from `first`.
fn address(first: [u8; 4], client: usize) -> String {
    let client = u32::try_from(client).expect("there are not so many clients");
    Ipv4Addr::from(u32::from_be_bytes(first) + client).to_string()
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |&(key, value): &(&str, &str)| Entry { key: key.into(), value: value.into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}
