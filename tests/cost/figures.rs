//! What decisions may cost: the table in `figures.txt`, and what it says to what was found.

use std::{collections::BTreeMap, fmt};

/// How far a figure may be from what is written, in percent. Two runs of one program differ by less than 0.1. The rest
/// is for what is nobody's doing: inlining that a change elsewhere moves, a later compiler, another `memcpy`, which
/// glibc chooses by the CPU (told to do without AVX2, most cases took 2 to 4 % more).
const ALLOWED_PERCENT: u64 = 5;

/// What a case costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// One decision's.
    pub instructions: u64,
    /// All decisions' together: most make none, and some one in many.
    pub allocations: u64,
    pub bytes: u64,
}

/// What every case costs, by its place in the table and its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures(pub BTreeMap<(usize, String), Cost>);

impl Figures {
    /// Reads lines `case | instructions | allocations | bytes`.
    ///
    /// # Errors
    ///
    /// Names the line that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let parse = |(place, line): (usize, &str)| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let number =
                |text: &str| text.replace('_', "").parse().map_err(|_| format!("`{text}` is no number: {line}"));
            let [name, instructions, allocations, bytes] = fields[..] else {
                return Err(format!("not four fields: {line}"));
            };
            let cost =
                Cost { instructions: number(instructions)?, allocations: number(allocations)?, bytes: number(bytes)? };
            Ok(((place, name.to_owned()), cost))
        };
        lines.enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// What to say about `found` where these were expected: nothing, if it is as it should be.
    pub fn complaints(&self, found: &Self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (key @ (_, name), found) in &found.0 {
            let Some(expected) = self.0.get(key) else {
                complaints.push(format!("{name}: not in its place in tests/cost/figures.txt; `{WRITE}` puts it there"));
                continue;
            };
            complaints.extend(expected.complaints(found).into_iter().map(|complaint| format!("{name}: {complaint}")));
        }
        let gone = self.0.keys().filter(|key| !found.0.contains_key(key));
        complaints
            .extend(gone.map(|(_, name)| format!("{name}: there is no such case any more; `{WRITE}` removes it")));
        complaints
    }
}

const WRITE: &str = "make cost WRITE=1";

impl Cost {
    fn complaints(&self, found: &Self) -> Vec<String> {
        let measures = [
            ("instructions a decision", self.instructions, found.instructions),
            ("allocations in all", self.allocations, found.allocations),
            ("bytes allocated in all", self.bytes, found.bytes),
        ];
        measures.into_iter().filter_map(|(what, expected, found)| complaint(what, expected, found)).collect()
    }
}

fn complaint(what: &str, expected: u64, found: u64) -> Option<String> {
    let allowed = expected * ALLOWED_PERCENT / 100;
    let told = format!("{expected} {what} expected, {found} found, {ALLOWED_PERCENT} % allowed");
    if found > expected + allowed {
        Some(format!("{told}. If it is worth that, `{WRITE}` raises the figure; say in the commit what it buys"))
    } else if found + allowed < expected {
        Some(format!("{told}. It became cheaper: `{WRITE}` lowers the figure, so that it stays so"))
    } else {
        None
    }
}

/// `text` with `found` in the place of its figures: what it says about them stays.
pub fn written(text: &str, found: &Figures) -> String {
    let said: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    format!("{}\n{found}", said.join("\n"))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((_, name), cost) in &self.0 {
            let Cost { instructions, allocations, bytes } = cost;
            writeln!(f, "{name:<32} | {instructions:>6} | {allocations:>6} | {bytes:>8}")?;
        }
        Ok(())
    }
}

#[test]
fn figures_are_read_as_they_are_written() {
    let text = "# Why.\n# So.\n";
    let found = made_up("accepted", 7_000, 0, 0);
    let text = written(text, &found);
    assert_eq!(text, "# Why.\n# So.\naccepted                         |   7000 |      0 |        0\n");
    assert_eq!(Figures::parse(&text), Ok(found));
    for (text, error) in
        [("a | 1 | 2", "not four fields: a | 1 | 2"), ("a | x | 1 | 2", "`x` is no number: a | x | 1 | 2")]
    {
        assert_eq!(Figures::parse(text), Err(error.to_owned()));
    }
}

#[test]
fn what_costs_more_is_named_with_what_was_expected_and_how_to_raise_it() {
    let expected = made_up("accepted", 7_000, 2_000, 64_000);
    for (found, complaint) in [
        (
            made_up("accepted", 7_351, 2_000, 64_000),
            "7000 instructions a decision expected, 7351 found, 5 % allowed. If",
        ),
        (made_up("accepted", 7_000, 3_000, 64_000), "2000 allocations in all expected, 3000 found, 5 % allowed. If"),
        (
            made_up("accepted", 7_000, 2_000, 96_000),
            "64000 bytes allocated in all expected, 96000 found, 5 % allowed. If",
        ),
    ] {
        let [said] = &expected.complaints(&found)[..] else { panic!("one complaint about {found:?}") };
        assert!(said.starts_with(&format!("accepted: {complaint}")) && said.contains("make cost WRITE=1"), "{said}");
    }
    let none = made_up("accepted", 7_000, 0, 0);
    assert_eq!(none.complaints(&made_up("accepted", 7_000, 1, 8)).len(), 2, "a first allocation is one too many");
}

#[test]
fn what_became_much_cheaper_is_to_be_written_down() {
    let said = made_up("accepted", 7_000, 0, 0).complaints(&made_up("accepted", 6_000, 0, 0));
    assert!(said.len() == 1 && said[0].contains("It became cheaper: `make cost WRITE=1` lowers"), "{said:?}");
}

#[test]
fn what_stays_within_the_allowance_is_not_spoken_of() {
    let expected = made_up("accepted", 7_000, 2_000, 64_000);
    for instructions in [6_650, 7_000, 7_350] {
        assert_eq!(expected.complaints(&made_up("accepted", instructions, 2_000, 64_000)), [""; 0]);
    }
}

#[test]
fn cases_that_come_and_go_are_noticed() {
    let said = made_up("old", 1, 0, 0).complaints(&made_up("new", 1, 0, 0));
    assert!(said.len() == 2 && said[0].starts_with("new: not in its place") && said[1].starts_with("old: there is no"));
}

#[cfg(test)]
fn made_up(name: &str, instructions: u64, allocations: u64, bytes: u64) -> Figures {
    let cost = Cost { instructions, allocations, bytes };
    Figures([((0, name.to_owned()), cost)].into())
}
