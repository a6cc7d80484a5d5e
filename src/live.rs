//! The rules that decide now: one generation, replaced whole.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::{
    render::{Response, usage_page::UsagePages},
    rules::Rules,
    telemetry::decisions::Decisions,
};

/// One complete rule set, and what belongs to it.
#[derive(Debug)]
pub struct Generation {
    /// From 1, counted since the start.
    pub number: u64,
    /// Of the files' names and texts: equal on replicas that decide alike. Hexadecimal.
    pub hash: String,
    pub rules: Rules,
    /// What rules answer, by [`Rule::response`](crate::rules::Rule::response).
    pub responses: Vec<Response>,
    /// Pages that show clients how they stand.
    pub usage_pages: UsagePages,
    pub decisions: Decisions,
}

/// The place where the current generation stands.
#[derive(Debug, Default)]
pub struct Live {
    current: ArcSwapOption<Generation>,
}

impl Live {
    /// The generation to decide a request by, from the first step to the last; None until rules were loaded once.
    ///
    /// A short-lived view: holding on to one keeps a whole rule set alive.
    pub fn snapshot(&self) -> Guard<Option<Arc<Generation>>> {
        self.current.load()
    }

    /// Makes `next` current and returns what it replaces, which whoever calls drops where it disturbs nobody.
    pub fn replace(&self, next: Arc<Generation>) -> Option<Arc<Generation>> {
        self.current.swap(Some(next))
    }
}
