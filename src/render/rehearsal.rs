//! Every answer that a response may give, tried when rules load: a body that a client could break is an error of the
//! rule file, not an incident.
//!
//! Values are hostile one way at a time, numbers take their extremes, and what a template compares with is tried on
//! both sides, so that every branch which some request can reach is likely to be seen. It is a rehearsal, not a
//! proof; what it does not miss, in any branch it sees, is a value in the wrong place, such as a request's text outside
//! of JSON's quotes.

use std::collections::BTreeSet;

use super::{
    Body, Headers, Response,
    facts::{Facts, WindowFacts},
    headers::list::List,
    scene::{Scene, Stand},
    template::{
        Condition, Template,
        condition::Test,
        expression::{Name, Number, Source, Text, Value},
    },
};
use crate::{bounds, request::Entry, units::Nanos};

/// One rehearsed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    pub refused: bool,
    /// None where the answer has no body.
    pub content_type: Option<String>,
    /// Whether `body` must parse as JSON.
    pub is_json: bool,
    pub body: Vec<u8>,
    /// Valid names and values, whatever was inserted.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Values that break what is not escaped, or not bounded.
const HOSTILE: [&[u8]; 13] = [
    b"",
    b"acme",
    b"\"",
    b"\\",
    b"'",
    b"\", \"admin\": true, \"x\": \"",
    b"a\r\nset-cookie: a=b",
    b"\0",
    b"\xFF\xFEa\xC3",
    b"</script><script>alert(1)</script>",
    b"]]><!--&amp;",
    b"\xE2\x80\xA8{{ message }}{% if",
    b"0",
];

/// Nothing, one, a number as any, and the longest.
const EXTREMES: [u64; 4] = [0, 1, 59, u64::MAX];
/// Keys of one response that are tried alone, and all but them: with more, loading would take too long.
const ODD_KEYS_MAX: usize = 16;
/// Comparisons of one response that are rehearsed; what compares with more is a program, not a template.
const LITERALS_MAX: usize = 64;

/// Every answer of `response` to hostile requests; none where nothing of it is written in the rules, because our own
/// profiles and bodies need no rehearsal.
pub fn rehearse(response: &Response) -> Vec<Rehearsed> {
    let Some(script) = Script::of(response) else { return Vec::new() };
    script.scenes().iter().map(|scene| perform(scene, response)).collect()
}

/// Every page that `template` may make of hostile values: with all of its windows, with each of them missing, and with
/// none. All must parse as JSON.
pub fn rehearse_page(template: &Template) -> Vec<Vec<u8>> {
    let mut script = Script { numbers: EXTREMES.into(), ..Script::default() };
    script.read(template);
    let names: BTreeSet<&str> = template.windows().collect();
    let window =
        |name, number| WindowFacts { name, current: number, limit: number, remaining: number, reset_secs: number };
    let stands = |number: u64| {
        let all: Vec<_> = names.iter().map(|name| window(*name, number)).collect();
        let missing = (0..all.len().min(ODD_KEYS_MAX)).map(|odd| [&all[..odd], &all[odd + 1..]].concat());
        [all.clone(), Vec::new()].into_iter().chain(missing.collect::<Vec<_>>())
    };
    let mut pages = Vec::new();
    let mut play = |number: u64, value_of: &dyn Fn(&[u8]) -> Vec<u8>| {
        let values: Vec<_> = script.keys.iter().map(|key| (key.as_slice(), value_of(key))).collect();
        let entries: Vec<_> = values.iter().map(|(key, value)| Entry { key, value }).collect();
        let scene = Scene::new("rule", "domain");
        for windows in stands(number) {
            let mut page = Vec::new();
            let _ = template
                .fill(&Facts::of_page(scene.now, Some(&scene.domain), &scene.rule, &windows, &entries), &mut page);
            pages.push(page);
        }
    };
    for value in script.values() {
        play(59, &|_| value.clone());
    }
    for &number in &script.numbers {
        play(number, &|_| b"acme".to_vec());
    }
    for odd in script.keys.iter().take(ODD_KEYS_MAX) {
        play(59, &|key| if key == odd { b"acme".to_vec() } else { Vec::new() });
        play(59, &|key| if key == odd { Vec::new() } else { b"acme".to_vec() });
    }
    pages
}

fn perform(scene: &Scene, response: &Response) -> Rehearsed {
    let answer = scene.play(response);
    let content_type = answer.body.is_some().then(|| response.body.content_type()).flatten();
    Rehearsed {
        refused: scene.refused,
        content_type: content_type.map(str::to_owned),
        is_json: content_type.is_some() && response.body.is_json(),
        body: answer.body.unwrap_or_default(),
        headers: answer.headers,
    }
}

/// What the templates of a response look at.
#[derive(Debug, Default)]
struct Script {
    keys: BTreeSet<Vec<u8>>,
    texts: BTreeSet<Vec<u8>>,
    numbers: BTreeSet<u64>,
}

impl Script {
    /// None where there is no template.
    fn of(response: &Response) -> Option<Self> {
        let list = if let Headers::List(list) = &response.headers { Some(list) } else { None };
        if list.is_none() && !matches!(response.body, Body::Template { .. }) {
            return None;
        }
        let mut script = Self { numbers: EXTREMES.into(), ..Self::default() };
        for template in list.into_iter().flat_map(List::templates).chain(response.body.template_of()) {
            script.read(template);
        }
        Some(script)
    }

    fn read(&mut self, template: &Template) {
        for insert in template.inserts() {
            if let Source::Text(Text::Name(name)) = &insert.source {
                self.read_name(name);
            }
        }
        for test in template.conditions().flat_map(Condition::tests) {
            match test {
                Test::Holds(Value::Text(Text::Name(name))) => self.read_name(name),
                Test::Holds(_) => {}
                Test::Numbers(left, _, right) => [left, right].into_iter().for_each(|number| self.read_number(number)),
                Test::Texts(left, _, right) => [left, right].into_iter().for_each(|name| self.read_name(name)),
            }
        }
    }

    fn read_name(&mut self, name: &Name) {
        match name {
            Name::Descriptor(key) => _ = self.keys.insert(key.to_vec()),
            Name::Literal(text) if self.texts.len() < LITERALS_MAX => _ = self.texts.insert(text.as_bytes().to_vec()),
            Name::Literal(_) | Name::Rule | Name::Window | Name::Domain => {}
        }
    }

    fn read_number(&mut self, number: &Number) {
        if let Number::Literal(number) = *number
            && self.numbers.len() < LITERALS_MAX
        {
            self.numbers.extend([number.saturating_sub(1), number, number.saturating_add(1)]);
        }
    }

    /// What a request may bring: one that is longer than any insert, too.
    fn values(&self) -> Vec<Vec<u8>> {
        let long = vec![b'"'; 2 * bounds::INSERT_MAX_BYTES];
        HOSTILE.map(<[u8]>::to_vec).into_iter().chain([long]).chain(self.texts.iter().cloned()).collect()
    }

    fn scenes(&self) -> Vec<Scene> {
        let mut scenes = Vec::new();
        for value in self.values() {
            let everywhere = |_: &[u8]| value.as_slice();
            self.outcomes(59, &value, everywhere, &mut scenes);
        }
        for &number in &self.numbers {
            self.outcomes(number, b"acme", |_| b"acme", &mut scenes);
        }
        // A value that is there beside one that is not: separators go wrong there.
        for odd in self.keys.iter().take(ODD_KEYS_MAX) {
            self.outcomes(59, b"acme", |key| if key == odd { b"acme" } else { b"" }, &mut scenes);
            self.outcomes(59, b"acme", |key| if key == odd { b"" } else { b"acme" }, &mut scenes);
        }
        scenes
    }

    /// The outcomes a request can have, with all figures at `number`, all names being `name` and the request's values
    /// as given.
    fn outcomes<'v>(&self, number: u64, name: &[u8], value_of: impl Fn(&[u8]) -> &'v [u8], scenes: &mut Vec<Scene>) {
        let name: String = String::from_utf8_lossy(name).chars().take(bounds::NAME_MAX_CHARS).collect();
        let bare = || {
            let mut scene = Scene::new(&name, &name);
            scene.entries = self.keys.iter().map(|key| (key.clone(), value_of(key).to_vec())).collect();
            scene
        };
        let stand = Stand { used: number, available: number, remaining: number, reset_secs: number };
        let over = Stand { remaining: 0, ..stand };
        // Two windows: one that `w` can name and one that it cannot.
        let with = |stand| {
            bare().window(&name, number, Nanos::from_secs(60), stand).window(&name, number, bounds::WINDOW_MIN, stand)
        };
        let wait = Some(number.max(1));
        let never = Scene { never: true, ..with(over).refuse(0, wait) };
        let hidden = Scene { exposed: false, ..with(over).refuse(0, wait) };
        scenes.extend([
            with(stand),
            with(over).refuse(0, wait),
            with(over).refuse(1, wait),
            never,
            hidden,
            bare(),
            // `deny`: no window, and nothing to wait for.
            bare().refuse(0, None),
        ]);
    }
}
