//! An answer made up by hand: for rehearsals, which need hostile ones, and for tests.

use std::sync::Arc;

use crate::{
    decision::{Answer, Decision, Figure, Status},
    limit::{Algorithm, Limit, Window},
    render::{Beside, Collected, Response, render},
    request::{Descriptor, Entry, Request},
    rules::{
        Action, Domain, Expose, Level, Mode, OnStoreError, Place, Report, RequestLimits, Rule, RuleLimit, Slots, ToldAs,
    },
    units::{Nanos, Timestamp},
};

/// Everything that an answer is made of, owned.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "it mirrors Decision and Answer")]
pub(super) struct Scene {
    pub domain: Domain,
    pub rule: Rule,
    /// How each of the rule's windows stands.
    pub stands: Vec<Stand>,
    pub reported: usize,
    /// The entries of the one descriptor.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub now: Timestamp,
    pub refused: bool,
    pub exposed: bool,
    pub retry_after_secs: Option<u64>,
    pub never: bool,
    pub silent: bool,
}

/// The figures of one window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub used: u64,
    pub available: u64,
    pub remaining: u64,
    pub reset_secs: u64,
}

impl Scene {
    /// An accepted request of `domain`, by `rule`, without any window.
    pub fn new(domain: &str, rule: &str) -> Self {
        Self {
            domain: Domain {
                shadow: false,
                all_quota: false,
                name: domain.into(),
                count_denied: false,
                request_limits: RequestLimits::Use,
                slots: Slots::default(),
                blocks: false,
                request_rule: bare_rule("request"),
                override_limit: 0,
                top: Level::default(),
                rules: Vec::new(),
            },
            rule: bare_rule(rule),
            stands: Vec::new(),
            reported: 0,
            entries: Vec::new(),
            now: Timestamp::EPOCH,
            refused: false,
            exposed: true,
            retry_after_secs: None,
            never: false,
            silent: false,
        }
    }

    /// Adds a window.
    pub fn window(mut self, name: &str, count: u64, length: Nanos, stand: Stand) -> Self {
        let counting = Arc::make_mut(&mut self.rule.counting);
        let mut limits = std::mem::take(&mut counting.limits).into_vec();
        limits.push(RuleLimit {
            name: name.into(),
            written_name: None,
            limit: Limit { count, window: Window::Length(length), algorithm: Algorithm::FixedWindow },
            shadow: false,
            salt: 0,
        });
        counting.limits = limits.into();
        self.stands.push(stand);
        self
    }

    /// Adds an entry of the request.
    #[cfg(test)]
    pub fn entry(mut self, key: &str, value: &[u8]) -> Self {
        self.entries.push((key.as_bytes().to_vec(), value.to_vec()));
        self
    }

    /// Refuses the request, by the window at `reported`.
    pub fn refuse(mut self, reported: usize, retry_after_secs: Option<u64>) -> Self {
        self.refused = true;
        self.reported = reported;
        self.retry_after_secs = retry_after_secs;
        self
    }

    pub fn request(&self) -> Request<'_> {
        let entries = self.entries.iter().map(|(key, value)| Entry { key, value });
        Request {
            domain: self.domain.name.as_bytes(),
            hits: 1,
            descriptors: [Descriptor {
                entry_count: u32::try_from(self.entries.len()).unwrap_or(0),
                ..Descriptor::default()
            }]
            .into_iter()
            .collect(),
            entries: entries.collect(),
        }
    }

    pub fn decision(&self) -> Decision<'_> {
        let figures = self.rule.limits().iter().zip(&self.stands).map(|(limit, stand)| Figure {
            limit,
            used: stand.used,
            available: stand.available,
            remaining: stand.remaining,
            reset_secs: stand.reset_secs,
            length: limit.limit.window.length_at(self.now),
        });
        let answer = Answer {
            rule: &self.rule,
            descriptor: 0,
            figures: figures.collect(),
            reported: self.reported,
            exposed: self.exposed,
            retry_after_secs: self.retry_after_secs,
            never: self.never,
            blocked: false,
            silent: self.silent,
        };
        let status = Status {
            refused: self.refused,
            figure: answer.figure().copied(),
            exposed: self.exposed,
            unlimited: false,
            quota: false,
            met: None,
        };
        Decision {
            now: self.now,
            domain: Some(&self.domain),
            refused: self.refused,
            statuses: [status].into_iter().collect(),
            answer: Some(answer),
        }
    }

    /// `template` as it is filled in for this answer.
    #[cfg(test)]
    pub fn fill(&self, template: &super::template::Template) -> (String, super::template::Filled) {
        let (decision, request) = (self.decision(), self.request());
        let answer = decision.answer.as_ref().expect("a scene has an answer");
        let mut out = Vec::new();
        let filled = template.fill(&super::facts::Facts::new(&decision, answer, &request), &mut out);
        (String::from_utf8(out).expect("a template of text"), filled)
    }

    /// The whole answer as `response` makes it.
    pub fn play(&self, response: &Response) -> Collected {
        let mut collected = Collected::default();
        let responses = std::slice::from_ref(response);
        let beside = Beside { store: "memory", repeats_request: false };
        render(&self.decision(), &self.request(), responses, beside, &mut Vec::new(), &mut collected);
        collected
    }
}

fn bare_rule(name: &str) -> Rule {
    Rule {
        id: 0,
        first_limit: 0,
        name: name.into(),
        place: Place { file: "".into(), line: 1 },
        action: Action::Limits,
        mode: Mode::Enforce,
        overdraw: false,
        on_store_error: OnStoreError::default(),
        on_exceed: None,
        blocked_as: Vec::new(),
        counting: Arc::default(),
        replaces: Box::default(),
        expose: Expose::Always,
        report: Report::Nearest,
        response: 0,
        metadata: None,
        children: Level::default(),
        told_as: ToldAs::default(),
    }
}
