//! What the live view shows: two answers of the service, some time apart, as a text that fits the terminal.

use std::time::Duration;

use serde_json::Value;

use super::shown;
use crate::cli::print::{cell, seconds, table};

/// Of a terminal, in characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// What is shown beside all other lists: the rules that refuse most now.
const RULES_SHOWN: usize = 10;

/// In the order of the metrics' table.
const OUTCOMES: [&str; 5] = ["accepted", "refused", "would-be-refused", "exempt", "unmatched"];
const SOURCES: [&str; 3] = ["store", "cached", "local"];

/// The text; `before` is the last answer, without which there are sums and no rates.
pub(super) fn view(before: Option<&Value>, now: &Value, size: Size) -> String {
    let since = Since::of(before, now);
    let mut lines = vec![head(now), String::new()];
    lines.extend(
        table(&["DECIDED", "A SECOND", "IN ALL"], &since.sums("/decisions/outcomes", &OUTCOMES))
            .lines()
            .map(str::to_owned),
    );
    lines.push(String::new());
    lines.push(format!("{}; {}", since.latency(), since.by_source()));
    lines.push(String::new());
    lines.extend(table(&["DOMAIN", "RULE", "REFUSED A SECOND", "IN ALL"], &since.rules()).lines().map(str::to_owned));
    lines.push(String::new());
    lines.extend(shown(now).lines().map(str::to_owned));
    let last = size.rows.saturating_sub(1);
    lines.truncate(last);
    lines.resize(last, String::new());
    lines.push("q: leave".to_owned());
    lines.iter().map(|line| line.chars().take(size.columns).collect::<String>()).collect::<Vec<_>>().join("\n")
}

fn head(now: &Value) -> String {
    let up = Duration::try_from_secs_f64(now["uptime_seconds"].as_f64().unwrap_or_default()).unwrap_or_default();
    let store = &now["store"];
    let away = if store["available"] == false { " IS AWAY: rules decide by their on_store_error" } else { "" };
    format!("tallygate, up {}; store {}{away}", seconds(&up.as_secs().into()), cell(&store["name"]))
}

/// What happened between two looks.
struct Since<'a> {
    before: Option<&'a Value>,
    now: &'a Value,
    seconds: f64,
}

impl<'a> Since<'a> {
    /// A service that started anew in between has nothing to compare.
    fn of(before: Option<&'a Value>, now: &'a Value) -> Self {
        let uptime = |answer: &Value| answer["uptime_seconds"].as_f64().unwrap_or_default();
        let before = before.filter(|before| uptime(before) < uptime(now));
        let seconds = before.map_or(0.0, |before| uptime(now) - uptime(before));
        Self { before, now, seconds }
    }

    /// By how much a sum grew; None where nobody knows.
    fn grown(&self, place: &str) -> Option<u64> {
        let sum = |answer: &Value| answer.pointer(place).and_then(Value::as_u64).unwrap_or_default();
        Some(sum(self.now).saturating_sub(sum(self.before?)))
    }

    fn rate(&self, grown: Option<u64>) -> String {
        grown.map_or_else(|| "-".to_owned(), |grown| format!("{:.1}", grown as f64 / self.seconds))
    }

    fn sums(&self, place: &str, names: &[&str]) -> Vec<Vec<String>> {
        let row = |name: &&str| {
            let place = format!("{place}/{name}");
            let sum = self.now.pointer(&place).and_then(Value::as_u64).unwrap_or_default();
            vec![(*name).to_owned(), self.rate(self.grown(&place)), sum.to_string()]
        };
        names.iter().map(row).collect()
    }

    /// Half, and ninety-nine in a hundred, of the decisions since the last look.
    fn latency(&self) -> String {
        let buckets = |answer: &Value| -> Vec<(Option<u64>, u64)> {
            let pairs = answer["decision_us"].as_array().into_iter().flatten();
            pairs.map(|pair| (pair[0].as_u64(), pair[1].as_u64().unwrap_or_default())).collect()
        };
        let mut counts = buckets(self.now);
        for (count, (_, before)) in counts.iter_mut().zip(self.before.map(buckets).unwrap_or_default()) {
            count.1 = count.1.saturating_sub(before);
        }
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        if all == 0 {
            return "no decisions to time".to_owned();
        }
        let quantile = |percent: u64| {
            let mut below = 0;
            let bound = counts.iter().find(|(_, count)| {
                below += count;
                below * 100 >= all * percent
            });
            match bound.and_then(|(up_to, _)| *up_to) {
                Some(us) => format!("within {us} µs"),
                None => "longer than that".to_owned(),
            }
        };
        format!("half decided {}, 99 % {}", quantile(50), quantile(99))
    }

    fn by_source(&self) -> String {
        let sources = self.sums("/decisions/sources", &SOURCES);
        let told: Vec<String> = sources.iter().map(|row| format!("{} {}", row[0], row[1])).collect();
        format!("a second by {}", told.join(", "))
    }

    /// Those that refuse most now.
    fn rules(&self) -> Vec<Vec<String>> {
        let refused = |rule: &Value| rule["outcomes"]["refused"].as_u64().unwrap_or_default();
        let list = |answer: &'a Value| answer["rules"].as_array().into_iter().flatten();
        let mut rules: Vec<(Option<u64>, &Value)> = list(self.now)
            .map(|rule| {
                let same = |other: &&Value| other["domain"] == rule["domain"] && other["rule"] == rule["rule"];
                let grown = self
                    .before
                    .map(|before| refused(rule) - list(before).find(same).map_or(0, refused).min(refused(rule)));
                (grown, rule)
            })
            .collect();
        rules.sort_by_key(|(grown, _)| std::cmp::Reverse(*grown));
        let row = |(grown, rule): &(Option<u64>, &Value)| {
            vec![cell(&rule["domain"]), cell(&rule["rule"]), self.rate(*grown), refused(rule).to_string()]
        };
        rules.iter().take(RULES_SHOWN).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(uptime: f64, accepted: u64, refused: [u64; 2], slow: u64) -> Value {
        json!({
            "uptime_seconds": uptime,
            "decisions": {
                "outcomes": {"accepted": accepted, "refused": refused[0] + refused[1]},
                "sources": {"store": accepted + refused[0] + refused[1]},
            },
            "decision_us": [[1, accepted], [50, slow], [null, 0]],
            "store": {"name": "redis", "available": false},
            "rules": [
                {"domain": "shop", "rule": "logins", "outcomes": {"refused": refused[0]}},
                {"domain": "shop", "rule": "per-key", "outcomes": {"refused": refused[1]}},
            ],
            "refused": [{"domain": "shop", "descriptor": [{"key": "k", "value": "v"}], "cut": false, "count": 7, "error": 0}],
            "unknown_domains": [],
            "unmatched": [],
        })
    }

    const SIZE: Size = Size { columns: 80, rows: 40 };

    #[test]
    fn two_looks_are_rates() {
        let text = view(Some(&answer(3600.0, 100, [50, 10], 0)), &answer(3602.0, 300, [50, 40], 4), SIZE);
        let expected = "\
tallygate, up 61 min; store redis IS AWAY: rules decide by their on_store_error

DECIDED           A SECOND  IN ALL
accepted          100.0     300
refused           15.0      90
would-be-refused  0.0       0
exempt            0.0       0
unmatched         0.0       0

half decided within 1 µs, 99 % within 50 µs; a second by store 115.0, cached 0.0
DOMAIN  RULE     REFUSED A SECOND  IN ALL
";
        for line in expected.lines() {
            assert!(text.contains(line), "{line}\n--- is not in\n{text}");
        }
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} is not in\n{text}"));
        assert!(place("per-key  15.0              40") < place("logins   0.0               50"), "{text}");
        assert!(text.contains("k=v"), "{text}");
        assert_eq!((text.lines().count(), text.lines().last()), (40, Some("q: leave")));
    }

    #[test]
    fn the_first_look_and_one_after_a_restart_have_no_rates() {
        let now = answer(5.0, 300, [50, 40], 0);
        for before in [None, Some(&answer(3600.0, 100, [50, 10], 0))] {
            let text = view(before, &now, SIZE);
            assert!(text.contains("accepted          -         300\n"), "{text}");
            assert!(text.contains("logins   -                 50\n"), "{text}");
        }
    }

    #[test]
    fn it_fits_the_terminal() {
        for (columns, rows) in [(80, 24), (20, 5), (1, 1), (200, 100)] {
            let text = view(None, &answer(5.0, 300, [50, 40], 0), Size { columns, rows });
            assert_eq!(text.lines().count(), rows);
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
        }
    }
}
