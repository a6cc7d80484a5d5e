//! The header profiles: one file each, and this table of them.
//!
//! | profile | sends |
//! |---|---|
//! | `none` | nothing |
//! | `x-ratelimit` | the reported window in three bare numbers: [`x_ratelimit`] |
//! | `ratelimit` | the reported window, and every window of the rule: [`ratelimit`] |
//! | `ietf` | structured fields of the IETF's draft: [`ietf`] |
//! | `github` | five headers, the reset as a point in time: [`github`] |
//! | `envoyproxy` | what envoyproxy/ratelimit sends: [`envoyproxy`] |
//! | a list | headers of the rule files: [`list`] |
//!
//! To add one: a file, a variant, a line of [`Headers::NAMES`] and of `named`, an arm of `send`.

pub mod envoyproxy;
pub mod github;
pub mod ietf;
pub mod list;
pub mod ratelimit;
pub mod x_ratelimit;

use std::sync::Arc;

use super::{Out, Sink, facts::Facts};
pub use envoyproxy::HeaderNames;

/// Which rate-limit headers an answer carries.
#[derive(Debug, Default)]
pub enum Headers {
    #[default]
    None,
    XRateLimit,
    RateLimit,
    Ietf,
    Github,
    Envoyproxy(Arc<HeaderNames>),
    List(list::List),
}

impl Headers {
    /// What a rule file can ask for by name.
    pub const NAMES: [&str; 6] = ["none", "x-ratelimit", "ratelimit", "ietf", "github", "envoyproxy"];

    /// The profile of this name; `names` are those of the headers of `envoyproxy`, which alone has a choice.
    pub fn named(name: &str, names: &Arc<HeaderNames>) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "x-ratelimit" => Self::XRateLimit,
            "ratelimit" => Self::RateLimit,
            "ietf" => Self::Ietf,
            "github" => Self::Github,
            "envoyproxy" => Self::Envoyproxy(Arc::clone(names)),
            _ => return None,
        })
    }

    /// Sends the headers; says whether `retry-after` was among them.
    ///
    /// A rule that has no figures, or does not expose them, sends none: a list, only those of its headers that need
    /// none.
    pub(super) fn send<S: Sink>(&self, facts: &Facts<'_>, out: &mut Out<'_, S>) -> bool {
        match self {
            Self::None => {}
            Self::XRateLimit => x_ratelimit::send(facts, out),
            Self::RateLimit => ratelimit::send(facts, out),
            Self::Ietf => ietf::send(facts, out),
            Self::Github => github::send(facts, out),
            Self::Envoyproxy(names) => envoyproxy::send(names, facts, out),
            Self::List(list) => return list.send(facts, out),
        }
        false
    }
}

#[cfg(test)]
mod tests;
