//! Rules as we decide by them, at times that a test chooses.

use std::{io, path::Path, sync::Arc};

use prost::Message as _;
use tallygate::{
    config::{Compiled, Diagnostic, DomainDefaults, RuleFile, compile, settings::Compat},
    decision::{decide, plan},
    grpc::{
        codec::{Answer, FRAME_HEADER_BYTES, receive},
        proto::{RateLimitRequest, RateLimitResponse},
    },
    render::{Beside, render},
    rules::identity::HashKey,
    store::memory::Memory,
    units::Timestamp,
};

/// Rules, and what was counted by them.
pub struct Here {
    compiled: Compiled,
    memory: Memory,
}

/// In the place of that service, its way of counting included.
pub fn to_the_letter() -> DomainDefaults {
    DomainDefaults { count_denied: true, headers: "envoyproxy".to_owned(), ..in_its_place() }
}

/// In its place, and counting as we do.
pub fn in_its_place() -> DomainDefaults {
    DomainDefaults { compat: Compat::Ratelimit, merge_domains: false, ..DomainDefaults::default() }
}

pub fn load(text: &str, defaults: DomainDefaults) -> Result<Compiled, Vec<Diagnostic>> {
    let file = RuleFile { name: Arc::from("rules"), path: "rules".into(), text: text.as_bytes().to_vec() };
    compile(&[file], defaults, &mut |_: &Path| Err(io::ErrorKind::NotFound.into()))
}

impl Here {
    pub fn with(text: &str, defaults: DomainDefaults) -> Self {
        let compiled = load(text, defaults).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
        Self { compiled, memory: Memory::new(10_000) }
    }

    /// What is answered at `now`, in seconds.
    pub fn answer(&self, request: &RateLimitRequest, now: u64) -> RateLimitResponse {
        let (message, now) = (request.encode_to_vec(), Timestamp::from_secs(now));
        let request = receive(&message).unwrap();
        let rules = &self.compiled.rules;
        let domain = rules.domains.get(request.domain);
        let find = |asked| {
            let Some(domain) = domain else { return tallygate::rules::find::Found::default() };
            let asked: &tallygate::request::Descriptor = asked;
            domain.find(request.entries_of(asked), asked.limit, &HashKey::Secret([1; 16]))
        };
        let found: Vec<_> = request.descriptors.iter().map(find).collect();
        let plan = plan(domain, &request, &found);
        let verdicts = self.memory.charge(now, &plan.charges);
        let decision = decide(now, domain, &found, &plan, &verdicts);
        let (mut room, mut scratch) = (Vec::new(), Vec::new());
        let mut answer = Answer::to(&decision, &mut room);
        let beside = Beside { store: "memory", repeats_request: rules.repeats_request };
        render(&decision, &request, &self.compiled.responses, beside, &mut scratch, &mut answer);
        RateLimitResponse::decode(&answer.finish()[FRAME_HEADER_BYTES..]).unwrap()
    }
}
