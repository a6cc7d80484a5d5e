//! The series about decisions: so many a rule at most, and they go with their rules. A recorder's series never do.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use super::metrics::{BLOCKS_STARTED, DECISIONS};
use crate::{
    bounds::NAMED_SERIES_PER_RULE_MAX,
    rules::{Domain, Rule, RuleIndex, Rules, ToldAs},
};

/// The domain of series about requests whose domain no file names: their own text may be anything.
pub const UNKNOWN_DOMAIN: &str = "_unknown";

/// All of them, by domain and rule: a page lists them in this order.
#[derive(Debug, Default)]
pub struct Tally {
    domains: BTreeMap<Box<str>, BTreeMap<Box<str>, OfRule>>,
}

/// Descriptors decided since the start.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub outcomes: BTreeMap<&'static str, u64>,
    pub sources: BTreeMap<&'static str, u64>,
    /// Of the rules that refused.
    pub refusing: Vec<RuleSums>,
}

/// Those of one rule, or of those that are told together.
#[derive(Clone, Debug)]
pub struct RuleSums {
    pub domain: String,
    pub rule: String,
    pub outcomes: BTreeMap<&'static str, u64>,
}

impl RuleSums {
    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.outcomes.get("refused").copied().unwrap_or_default()
    }
}

/// What is counted of one rule; of one without a name: what no rule was about, and rules that are told together.
#[derive(Debug, Default)]
struct OfRule {
    decisions: Vec<Row>,
    /// None before the first.
    blocks_started: Option<u64>,
    /// The rule is gone since the last reload. What calls that began before decide is still scraped once or more.
    gone: bool,
}

#[derive(Debug)]
struct Row {
    limit: Box<str>,
    outcome: &'static str,
    source: &'static str,
    count: u64,
}

/// One of a rule's series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    pub limit: &'a str,
    pub outcome: &'static str,
    pub source: &'static str,
}

impl Tally {
    /// Begins with the one that no rule is about.
    pub(super) fn new() -> Self {
        let mut tally = Self::default();
        tally.add_unknown_domain(0);
        tally
    }

    /// Adds to a series of a rule.
    pub(super) fn add(&mut self, domain: &Domain, rule: &Rule, series: Series<'_>, count: u64) {
        self.of_rule(&domain.name, told_as(domain, rule)).add(series, count);
    }

    /// Adds descriptors of a domain that no rule was about.
    pub(super) fn add_unmatched(&mut self, domain: &str, source: &'static str, count: u64) {
        self.of_rule(domain, "").add(Series { limit: "", outcome: "unmatched", source }, count);
    }

    /// Adds descriptors of domains that no file names.
    pub(super) fn add_unknown_domain(&mut self, count: u64) {
        self.add_unmatched(UNKNOWN_DOMAIN, "store", count);
    }

    pub(super) fn add_blocks_started(&mut self, domain: &Domain, rule: &Rule, count: u64) {
        let started = &mut self.of_rule(&domain.name, told_as(domain, rule)).blocks_started;
        *started = Some(started.unwrap_or(0).wrapping_add(count));
    }

    fn of_rule(&mut self, domain: &str, rule: &str) -> &mut OfRule {
        // Looked up first: a name is copied only for what is new.
        if !self.domains.contains_key(domain) {
            self.domains.insert(domain.into(), BTreeMap::new());
        }
        let rules = self.domains.get_mut(domain).expect("it was just put there");
        if !rules.contains_key(rule) {
            rules.insert(rule.into(), OfRule::default());
        }
        rules.get_mut(rule).expect("it was just put there")
    }

    /// What was decided since the start, summed.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (domain, rule, OfRule { decisions, .. }) in self.rules() {
            let mut of_rule = BTreeMap::new();
            for &Row { outcome, source, count, .. } in decisions {
                for sum in [
                    of_rule.entry(outcome).or_insert(0_u64),
                    sums.outcomes.entry(outcome).or_default(),
                    sums.sources.entry(source).or_default(),
                ] {
                    *sum = sum.wrapping_add(count);
                }
            }
            if of_rule.get("refused").is_some_and(|refused| *refused > 0) {
                sums.refusing.push(RuleSums { domain: domain.into(), rule: rule.into(), outcomes: of_rule });
            }
        }
        sums
    }

    /// Forgets rules that the last two sets did not have; `rules` are now the last.
    pub(super) fn keep_only(&mut self, rules: &Rules) {
        for (name, told) in &mut self.domains {
            if **name == *UNKNOWN_DOMAIN {
                continue;
            }
            let mut gone = std::mem::take(told);
            if let Some(domain) = rules.domains.get(name.as_bytes()) {
                let names = domain.rules.iter().map(|rule| told_as(domain, rule));
                for name in names.chain(["", &*domain.request_rule.name]) {
                    if let Some((name, of_rule)) = gone.remove_entry(name) {
                        told.insert(name, OfRule { gone: false, ..of_rule });
                    }
                }
            }
            let just_gone = gone.into_iter().filter(|(_, of_rule)| !of_rule.gone);
            told.extend(just_gone.map(|(name, of_rule)| (name, OfRule { gone: true, ..of_rule })));
        }
        self.domains.retain(|_, told| !told.is_empty());
    }

    /// Appends all of them in Prometheus' text format.
    pub(super) fn render(&self, text: &mut String) {
        let name = DECISIONS.name;
        DECISIONS.head(text);
        for (domain, rule, OfRule { decisions, .. }) in self.rules() {
            let rule = labels(domain, rule);
            for Row { limit, outcome, source, count } in decisions {
                let limit = escaped(limit);
                line(
                    text,
                    format_args!(
                        "{name}{{{rule},limit=\"{limit}\",outcome=\"{outcome}\",source=\"{source}\"}} {count}"
                    ),
                );
            }
        }
        text.push('\n');
        let started = |(domain, rule, of_rule): (_, _, &OfRule)| Some((domain, rule, of_rule.blocks_started?));
        let mut started = self.rules().filter_map(started).peekable();
        if started.peek().is_none() {
            return;
        }
        let name = BLOCKS_STARTED.name;
        BLOCKS_STARTED.head(text);
        for (domain, rule, count) in started {
            line(text, format_args!("{name}{{{}}} {count}", labels(domain, rule)));
        }
        text.push('\n');
    }

    fn rules(&self) -> impl Iterator<Item = (&str, &str, &OfRule)> {
        let of_domain = |(domain, rules)| std::iter::repeat::<&Box<str>>(domain).zip::<&BTreeMap<_, _>>(rules);
        self.domains.iter().flat_map(of_domain).map(|(domain, (rule, of_rule))| (&**domain, &**rule, of_rule))
    }
}

impl OfRule {
    /// Beyond so many series that name a limit, a rule's are told together, without one.
    fn add(&mut self, mut series: Series<'_>, count: u64) {
        let mut found = self.place(series);
        if found.is_none() && self.named() >= NAMED_SERIES_PER_RULE_MAX {
            series.limit = "";
            found = self.place(series);
        }
        match found {
            Some(place) => {
                let sum = &mut self.decisions[place].count;
                *sum = sum.wrapping_add(count);
            }
            None => {
                let Series { limit, outcome, source } = series;
                self.decisions.push(Row { limit: limit.into(), outcome, source, count });
            }
        }
    }

    fn place(&self, Series { limit, outcome, source }: Series<'_>) -> Option<usize> {
        self.decisions.iter().position(|row| *row.limit == *limit && row.outcome == outcome && row.source == source)
    }

    fn named(&self) -> usize {
        self.decisions.iter().filter(|row| !row.limit.is_empty()).count()
    }
}

fn told_as<'d>(domain: &'d Domain, rule: &'d Rule) -> &'d str {
    match rule.told_as {
        ToldAs::Itself => &rule.name,
        ToldAs::Above(RuleIndex(above)) => domain.rules.get(above as usize).map_or("", |above| &above.name),
        ToldAs::Domain => "",
    }
}

fn labels(domain: &str, rule: &str) -> String {
    format!("domain=\"{}\",rule=\"{}\"", escaped(domain), escaped(rule))
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String can be written to");
}

/// As Prometheus' text format wants the value of a label. Names are rarely other than plain.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{DomainDefaults, RuleFile, compile};

    fn rules(text: &str) -> Rules {
        let file = RuleFile { name: "f".into(), path: "f".into(), text: text.into() };
        let no_lists = &mut |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        compile(&[file], DomainDefaults::default(), no_lists).unwrap().rules
    }

    fn told(tally: &Tally) -> String {
        let mut text = String::new();
        tally.render(&mut text);
        text
    }

    /// Adds to every rule that there is.
    fn add_to_all(tally: &mut Tally, rules: &Rules, series: Series<'_>) {
        for domain in rules.domains.values() {
            for rule in &domain.rules {
                tally.add(domain, rule, series, 1);
            }
        }
    }

    const ACCEPTED: Series<'_> = Series { limit: "day", outcome: "accepted", source: "store" };

    #[test]
    fn names_are_written_as_prometheus_reads_them() {
        let mut tally = Tally::new();
        let rules = rules(r#"{domain: 'd"\', descriptors: [{key: k, name: 'a "b"', limits: [1/day]}]}"#);
        let domain = rules.domains.values().next().unwrap();
        tally.add(domain, &domain.rules[0], Series { limit: "\\", ..ACCEPTED }, 3);
        tally.add_blocks_started(domain, &domain.rules[0], 1);
        let text = told(&tally);
        let labels = r#"domain="d\"\\",rule="a \"b\"""#;
        let decisions =
            format!("tallygate_decisions_total{{{labels},limit=\"\\\\\",outcome=\"accepted\",source=\"store\"}} 3\n");
        assert!(text.contains(&decisions), "{text}");
        assert!(text.contains(&format!("tallygate_blocks_started_total{{{labels}}} 1\n")), "{text}");
    }

    #[test]
    fn a_rule_has_twenty_series_at_most_and_loses_no_count() {
        let mut tally = Tally::new();
        let rules = rules("{domain: d, descriptors: [{key: k, limits: [1/day]}]}");
        let domain = rules.domains.values().next().unwrap();
        let mut added = 0;
        for limit in (0..16).map(|limit| limit.to_string()).chain([String::new()]) {
            for outcome in ["accepted", "refused", "would-be-refused"] {
                for source in ["store", "local", "cached"] {
                    // What is accepted was never cached.
                    if (outcome, source) != ("accepted", "cached") {
                        tally.add(domain, &domain.rules[0], Series { limit: &limit, outcome, source }, 1);
                        added += 1;
                    }
                }
            }
        }
        tally.add_blocks_started(domain, &domain.rules[0], 1);
        let text = told(&tally);
        let of_rule: Vec<&str> = text.lines().filter(|line| line.contains("rule=\"k\"")).collect();
        let count: u64 = of_rule.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        assert_eq!((of_rule.len(), count), (20, added + 1), "{text}");
    }

    #[test]
    fn series_go_with_the_rules_before_the_last() {
        let mut tally = Tally::new();
        let sets = ["a", "b", "c"]
            .map(|name| rules(&format!("{{domain: d, descriptors: [{{key: {name}, limits: [1/day]}}]}}")));
        let there = |tally: &Tally| ["a", "b", "c"].map(|name| told(tally).contains(&format!("rule=\"{name}\"")));
        for (rules, expected) in sets.iter().zip([[true, false, false], [true, true, false], [false, true, true]]) {
            tally.keep_only(rules);
            add_to_all(&mut tally, rules, ACCEPTED);
            tally.add_unmatched("d", "store", 1);
            assert_eq!(there(&tally), expected);
        }
        // A rule that comes back in time goes on where it was.
        tally.keep_only(&sets[1]);
        add_to_all(&mut tally, &sets[1], ACCEPTED);
        let text = told(&tally);
        assert!(text.contains("rule=\"b\",limit=\"day\",outcome=\"accepted\",source=\"store\"} 2\n"), "{text}");
        assert!(text.contains("rule=\"\",limit=\"\",outcome=\"unmatched\",source=\"store\"} 3\n"), "{text}");
        tally.keep_only(&Rules::default());
        tally.keep_only(&Rules::default());
        assert_eq!(told(&tally).matches("tallygate_decisions_total{").count(), 1, "of no domain is there always");
    }

    #[test]
    fn rules_that_are_too_many_are_told_as_the_one_above_them() {
        use crate::bounds::SIBLINGS_TOLD_MAX;

        let many = |count: usize| {
            (0..count).map(|value| format!("{{key: k, value: v{value}, limits: [1/day]}}")).collect::<Vec<_>>()
        };
        let of = |above: &str, count: usize| {
            format!("{{key: {above}, name: {above}, descriptors: [{}]}}", many(count).join(","))
        };
        let top = many(SIBLINGS_TOLD_MAX).join(",");
        let text = format!(
            "{{domain: below, descriptors: [{},{}]}}\n---\n{{domain: top, descriptors: [{top}, {}]}}",
            of("many", SIBLINGS_TOLD_MAX + 1),
            of("few", SIBLINGS_TOLD_MAX),
            of("deep", 2),
        );
        let rules = rules(&text);
        let mut tally = Tally::new();
        add_to_all(&mut tally, &rules, ACCEPTED);
        let text = told(&tally);
        let line = |labels: &str, count: usize| {
            format!("{{{labels},limit=\"day\",outcome=\"accepted\",source=\"store\"}} {count}\n")
        };
        // Beside themselves.
        assert!(text.contains(&line("domain=\"below\",rule=\"many\"", SIBLINGS_TOLD_MAX + 2)), "{text:.2000}");
        assert!(text.contains(&line("domain=\"below\",rule=\"few\"", 1)), "{text:.2000}");
        // One of too many at the top, and two below it.
        assert!(text.contains(&line("domain=\"top\",rule=\"\"", SIBLINGS_TOLD_MAX + 1)), "{text:.2000}");
        assert_eq!(text.matches("domain=\"top\"").count(), 3, "the two below are few");
        assert_eq!(text.matches("domain=\"below\"").count(), SIBLINGS_TOLD_MAX + 2);
    }
}
