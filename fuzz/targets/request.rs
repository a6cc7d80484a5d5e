//! Any bytes as a request: decoded or refused, never a panic; what is decoded is decided like any other.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tallygate::{
    config::{Compiled, DomainDefaults, RuleFile, compile},
    decision::{decide, plan},
    grpc::codec::receive,
    render::{collect::Collected, Beside, render},
    rules::identity::HashKey,
    store::memory::Memory,
    units::Timestamp,
};

/// Rules of every kind of matcher, in a domain whose name a fuzzer finds soon.
const RULES: &str = r#"
domain: d
response: {headers: ratelimit, body: {content_type: application/json, template: '{"key": {{ descriptor.k | json }}}'}}
descriptors:
  - {key: k, limits: [3/minute, 1/second]}
  - {key: k, value: v, limits: [2/hour], mode: quota}
  - {key: k, value: "w*", limits: [1/day], overdraw: true}
  - {key: k, regex: "x[0-9]+", deny: true}
  - {key: p, path: "/a/{b}/c", limits: [1/minute]}
  - {key: p, path: "/{*rest}", limits: [1/minute], mode: shadow}
  - {key: remote_address, cidr: [10.0.0.0/8, "2001:db8::/32"], limits: [1/minute]}
"#;

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let file = RuleFile { name: "fuzz".into(), path: "fuzz.yaml".into(), text: RULES.into() };
    compile(&[file], DomainDefaults::default(), &mut |_| Err(std::io::ErrorKind::NotFound.into())).expect("good rules")
});

fuzz_target!(|message: &[u8]| {
    let Ok(request) = receive(message) else { return };
    let domain = COMPILED.rules.domains.get(request.domain).or_else(|| COMPILED.rules.domains.get(&b"d"[..]));
    let Some(domain) = domain else { return };
    let key = HashKey::Secret([7; 16]);
    let found: Vec<_> = request
        .descriptors
        .iter()
        .map(|descriptor| domain.find(request.entries_of(descriptor), descriptor.limit, &key))
        .collect();
    let plan = plan(Some(domain), &request, &found);
    let memory = Memory::new(1_000);
    for secs in [0, 1, 61] {
        let now = Timestamp::from_secs(1_800_000_000 + secs);
        let verdicts = memory.charge(now, &plan.charges);
        let decision = decide(now, Some(domain), &found, &plan, &verdicts);
        assert_eq!(decision.statuses.len(), request.descriptors.len());
        let mut answer = Collected::default();
        render(&decision, &request, &COMPILED.responses, Beside { store: "memory", repeats_request: false }, &mut Vec::new(), &mut answer);
        for (name, value) in &answer.headers {
            assert!(value.iter().all(|byte| (0x20..0x7f).contains(byte)), "{name}: {value:?}");
        }
        assert_eq!(answer.body.is_some(), decision.refused && decision.answer.is_some());
    }
});
