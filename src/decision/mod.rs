//! From matches to charges ([`plan`]) and from verdicts to a decision ([`decide`]). Pure.

pub mod decide;
pub mod plan;

use smallvec::SmallVec;

pub use decide::decide;
pub use plan::{Blocked, Plan, plan};

use crate::{
    charge::{Verdict, Way},
    limit::Wait,
    rules::{Domain, Rule, RuleLimit},
    units::{Nanos, Timestamp},
};

/// Everything that is decided about one request; `render` only has to write it down.
#[derive(Clone, Debug)]
pub struct Decision<'p> {
    pub now: Timestamp,
    /// None where no rule file names the request's domain.
    pub domain: Option<&'p Domain>,
    /// Never where all the domain is in shadow, whatever became of its descriptors.
    pub refused: bool,
    /// One a descriptor, in order.
    pub statuses: SmallVec<[Status<'p>; 4]>,
    /// The rule that decides the answer; None where no rule has anything to say to the client.
    pub answer: Option<Answer<'p>>,
}

/// What became of one descriptor.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that some reader asks for")]
pub struct Status<'p> {
    pub refused: bool,
    /// The window it reports, where there is one.
    pub figure: Option<Figure<'p>>,
    /// False where `expose: never`: the status then omits `current_limit`.
    pub exposed: bool,
    /// `unlimited: true`: remaining is 4294967295 and there is no figure.
    pub unlimited: bool,
    /// What it met are quotas, which refuse the request only together.
    pub quota: bool,
    /// The rule whose own limits it met.
    pub met: Option<&'p Rule>,
}

/// One window in the figures that people are told.
#[derive(Clone, Copy, Debug)]
pub struct Figure<'p> {
    pub limit: &'p RuleLimit,
    /// Hits charged.
    pub used: u64,
    /// What is really left.
    pub available: u64,
    /// What is said to be left: 0 on refusal.
    pub remaining: u64,
    /// Seconds, rounded up: until the counter is as good as untouched; on refusal, until this request would pass.
    pub reset_secs: u64,
    /// The window's present length.
    pub length: Nanos,
}

/// The rule that decides the answer, and what it says.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that some reader asks for")]
pub struct Answer<'p> {
    pub rule: &'p Rule,
    /// The descriptor that matched it.
    pub descriptor: usize,
    /// Its windows that clients may know of, in order; empty where it denies without a counter.
    pub figures: SmallVec<[Figure<'p>; 4]>,
    /// The one of `figures` that is reported.
    pub reported: usize,
    /// Whether the client may see the figures (`expose`).
    pub exposed: bool,
    /// Seconds after which this same request would pass, at least 1; None on acceptance and where waiting is no use
    /// (`deny`).
    pub retry_after_secs: Option<u64>,
    /// This request can never pass: it asks for more than a limit is. `retry_after_secs` is then the window.
    pub never: bool,
    /// Its descriptor was blocked already when the request came.
    pub blocked: bool,
    /// Nothing is said to the client: the request is exempt, or only shadow limits or rules without limits matched. Operators
    /// may know of it.
    pub silent: bool,
}

impl<'p> Figure<'p> {
    /// The figures of `limit`, a charge of which came out as `verdict`.
    pub fn of(limit: &'p RuleLimit, verdict: &Verdict, way: Way, now: Timestamp) -> Self {
        let standing = verdict.standing;
        let mut figure = Self {
            limit,
            used: standing.used,
            available: standing.available,
            remaining: standing.available,
            reset_secs: standing.reset.ceil_secs(),
            length: limit.limit.window.length_at(now),
        };
        if !verdict.fits {
            // envoyproxy/ratelimit tells the end of the window, whatever was asked.
            figure.refuse(if way == Way::EachAlone { Wait::None } else { verdict.wait });
        }
        figure
    }

    /// Makes it that of a refusal: nothing left, and when to come back.
    fn refuse(&mut self, wait: Wait) {
        self.remaining = 0;
        self.reset_secs = match wait {
            Wait::None => self.reset_secs,
            Wait::For(wait) => wait.ceil_secs(),
            Wait::Never => self.length.ceil_secs(),
        }
        .max(1);
    }
}

impl<'p> Answer<'p> {
    /// The figures of the reported window.
    pub fn figure(&self) -> Option<&Figure<'p>> {
        self.figures.get(self.reported)
    }
}
