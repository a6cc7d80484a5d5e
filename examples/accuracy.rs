//! How near each algorithm comes to an exact log of all admitted requests, as a table for `docs/algorithms.md`.
//!
//! `cargo run --release --example accuracy` writes the table into the page; a test holds the page against it. Integers
//! and a fixed seed only: the same figures on every machine.

use std::{collections::VecDeque, fmt::Write as _, fs, io, path::Path};

use tallygate::{
    limit::{Algorithm, Counter, Limit, Window},
    units::{Nanos, Timestamp},
};

/// Limits of so many a second.
const COUNTS: [u64; 2] = [100, 1_000];
/// Offered load in tenths of the limit.
const LOADS: [u64; 6] = [5, 9, 10, 11, 15, 30];
/// So many windows of arrivals for each line: the shares below are then good to about half of a percentage point.
const WINDOWS: u64 = 1_000;
const LENGTH: Nanos = Nanos::SECOND;
const SEED: u64 = 2_026;

const PAGE: &str = "docs/algorithms.md";
const BEGIN: &str = "<!-- accuracy: begin -->\n";
const END: &str = "<!-- accuracy: end -->";

fn main() -> io::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&page)?;
    let (before, after) = around_table(&text).ok_or_else(|| io::Error::other("the page has no place for the table"))?;
    let table = table();
    print!("{table}");
    fs::write(&page, format!("{before}{table}{after}"))
}

/// What stands on the page before and after the table.
fn around_table(page: &str) -> Option<(&str, &str)> {
    let (begin, end) = (page.find(BEGIN)? + BEGIN.len(), page.find(END)?);
    Some((page.get(..begin)?, page.get(end..)?))
}

fn table() -> String {
    let mut table = String::from(
        "| limit | load | fixed window: differs | admitted | worst | sliding window: differs | admitted | worst \
         | token bucket: differs | admitted | worst |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for count in COUNTS {
        for load in LOADS {
            let arrivals = arrivals(count * load * WINDOWS / 10);
            let exact = decisions(&arrivals, exact_log(count));
            let _ = write!(table, "| {count} | {}.{} |", load / 10, load % 10);
            for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: count }]
            {
                let limit = Limit { count, window: Window::Length(LENGTH), algorithm };
                let decided = decisions(&arrivals, counted(&limit));
                let _ = write!(table, " {} |", Figures::of(count, &arrivals, &exact, &decided));
            }
            table.push('\n');
        }
    }
    table
}

/// Arrivals at random: so many instants of the whole time, each as likely as any other (a Poisson process).
fn arrivals(count: u64) -> Vec<Timestamp> {
    let mut state = SEED;
    let mut random = || {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    };
    // Far from the epoch: a window lies before the first.
    let start = Timestamp::from_secs(1_000);
    let mut arrivals: Vec<_> = (0..count).map(|_| start.plus(Nanos(random() % (LENGTH.0 * WINDOWS)))).collect();
    arrivals.sort_unstable();
    arrivals
}

fn decisions(arrivals: &[Timestamp], mut admits: impl FnMut(Timestamp) -> bool) -> Vec<bool> {
    arrivals.iter().map(|&now| admits(now)).collect()
}

/// The truth: at most `count` in every interval of the length.
fn exact_log(count: u64) -> impl FnMut(Timestamp) -> bool {
    let mut log = VecDeque::new();
    move |now| {
        while log.front().is_some_and(|&first| now.since(first) >= LENGTH) {
            log.pop_front();
        }
        let fits = (log.len() as u64) < count;
        if fits {
            log.push_back(now);
        }
        fits
    }
}

fn counted(limit: &Limit) -> impl FnMut(Timestamp) -> bool {
    let mut counter = Counter::default();
    move |now| {
        counter = limit.at(counter, now);
        let fits = limit.has_room(counter, now, 1);
        if fits {
            counter = limit.take(counter, now, 1);
        }
        fits
    }
}

/// One algorithm beside the exact log.
struct Figures {
    /// Decisions that differ, in tenths of a percent of all.
    differs: u64,
    /// Admitted, in tenths of a percent of what the log admits.
    admitted: u64,
    /// The most admitted in any interval of the length, in percent of the limit.
    worst: u64,
}

impl Figures {
    fn of(count: u64, arrivals: &[Timestamp], exact: &[bool], decided: &[bool]) -> Self {
        let number = |of: &[bool]| of.iter().filter(|admitted| **admitted).count() as u64;
        let differing = exact.iter().zip(decided).filter(|(exact, decided)| exact != decided).count() as u64;
        let (mut interval, mut worst) = (VecDeque::new(), 0);
        for (&now, _) in arrivals.iter().zip(decided).filter(|(_, admitted)| **admitted) {
            interval.push_back(now);
            while interval.front().is_some_and(|&first| now.since(first) >= LENGTH) {
                interval.pop_front();
            }
            worst = worst.max(interval.len() as u64);
        }
        Self {
            differs: rounded(differing * 1_000, exact.len() as u64),
            admitted: rounded(number(decided) * 1_000, number(exact)),
            worst: rounded(worst * 100, count),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { differs, admitted, worst } = self;
        let (whole, tenth) = (worst / 100, worst % 100);
        write!(f, "{}.{} % | {}.{} % | {whole}.{tenth:02} ×", differs / 10, differs % 10, admitted / 10, admitted % 10)
    }
}

fn rounded(number: u64, by: u64) -> u64 {
    (number + by / 2) / by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_manual_is_what_this_writes() {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).expect("the page");
        let (before, after) = around_table(&page).expect("a place for the table");
        assert_eq!(page, format!("{before}{}{after}", table()));
    }
}
