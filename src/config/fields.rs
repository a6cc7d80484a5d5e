//! Maps with known keys: what is unknown, misplaced or of the wrong kind is an error that names what was meant.

use std::{borrow::Cow, ops::RangeInclusive};

use super::{
    ratelimit,
    report::{Report, Spot},
    shape::{Form, Shape},
    suggest::{did_you_mean, quoted},
    yaml::{Content, Node, Pair, Scalar},
};

/// A map whose keys are all known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'n, 't> {
    pub spot: Spot,
    pairs: &'n [Pair<'t>],
    shape: &'static Shape,
}

impl<'n, 't> Fields<'n, 't> {
    /// `node` as a map of this shape; None where it is no map. Bad keys are reported and passed over.
    pub(super) fn of(node: &'n Node<'t>, shape: &'static Shape, report: &mut Report) -> Option<Self> {
        let Content::Map(pairs) = &node.content else {
            report.error(node.spot, format!("{} is a map, this is {}", shape.name, node.kind()));
            return None;
        };
        for pair in pairs.iter().filter(|pair| shape.key(&pair.key).is_none()) {
            if report.is_full() {
                break;
            }
            complain(pair, shape, report);
        }
        Some(Self { spot: node.spot, pairs, shape })
    }

    /// What the table says of `key` must be what is read: the schema is made of it.
    fn assert_form(&self, key: &str, agrees: impl Fn(Form) -> bool) {
        debug_assert!(
            self.shape.key(key).is_some_and(|key| agrees(key.form)),
            "`{key}` of {} is read in another way than its table says",
            self.shape.name
        );
    }

    /// The value of `key`; null is as good as absent.
    pub(super) fn node(&self, key: &str) -> Option<&'n Node<'t>> {
        self.pair(key).map(|pair| &pair.value)
    }

    /// Where `key` stands, if it is given.
    pub(super) fn key_spot(&self, key: &str) -> Option<Spot> {
        self.pair(key).map(|pair| pair.spot)
    }

    fn pair(&self, key: &str) -> Option<&'n Pair<'t>> {
        self.pairs.iter().find(|pair| pair.key == key).filter(|pair| !pair.value.is_null())
    }

    /// The text of `key`: any single value stands for its text.
    pub(super) fn text(&self, key: &str, report: &mut Report) -> Option<(Spot, &'n str)> {
        let node = self.node(key)?;
        self.assert_form(key, Form::is_text);
        let scalar = scalar(node, key, "a text", report)?;
        Some((node.spot, &scalar.text))
    }

    pub(super) fn boolean(&self, key: &str, report: &mut Report) -> Option<bool> {
        let node = self.node(key)?;
        self.assert_form(key, |form| form == Form::Boolean);
        let scalar = scalar(node, key, "`true` or `false`", report)?;
        let boolean = scalar.boolean();
        if boolean.is_none() {
            let quoted = Scalar { text: Cow::Borrowed(&*scalar.text), plain: true }.boolean().is_some();
            let help = quoted.then(|| "write it without quotes".to_owned());
            report.error_help(node.spot, format!("`{key}` is `true` or `false`, not `{}`", brief(&scalar.text)), help);
        }
        boolean
    }

    /// A whole number of this range.
    pub(super) fn number(&self, key: &str, range: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let node = self.node(key)?;
        self.assert_form(key, |form| form == Form::Number(*range.start(), *range.end()));
        let scalar = scalar(node, key, "a whole number", report)?;
        let number =
            scalar.integer().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let quoted =
                Scalar { text: Cow::Borrowed(&*scalar.text), plain: true }.integer().is_some() && !scalar.plain;
            let help = quoted.then(|| "write it without quotes".to_owned());
            let (min, max) = (range.start(), range.end());
            let message = format!("`{key}` is a whole number from {min} to {max}, not `{}`", brief(&scalar.text));
            report.error_help(node.spot, message, help);
        }
        number
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        let (spot, text) = self.text(key, report)?;
        let same = |known: &[&str]| known.iter().eq(words.iter().map(|(word, _)| word));
        self.assert_form(key, |form| matches!(form, Form::Words(known) if same(known)));
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{key}` cannot be `{}`", brief(text));
            report.error_help(spot, message, super::suggest::choice(text, &known));
        }
        found
    }

    /// The nodes of a list; an absent one is empty.
    pub(super) fn list(&self, key: &str, report: &mut Report) -> &'n [Node<'t>] {
        let Some(node) = self.node(key) else { return &[] };
        self.assert_form(key, |form| matches!(form, Form::List(_) | Form::ListNotEmpty(_)));
        if let Content::List(nodes) = &node.content {
            return nodes;
        }
        let help = match &node.content {
            Content::Scalar(scalar) => format!("write `{key}: [{}]`", brief(&scalar.text)),
            _ => "put a `-` before each item".to_owned(),
        };
        report.error_help(node.spot, format!("`{key}` is a list, this is {}", node.kind()), help);
        &[]
    }

    /// A list of texts, or one text alone.
    pub(super) fn texts(&self, key: &str, report: &mut Report) -> Vec<(Spot, &'n str)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        self.assert_form(key, |form| form == Form::TEXTS);
        let nodes = match &node.content {
            Content::List(nodes) => nodes,
            Content::Scalar(_) | Content::Map(_) => std::slice::from_ref(node),
        };
        let mut texts = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(scalar) = scalar(node, key, "a list of texts", report) {
                texts.push((node.spot, &*scalar.text));
            }
        }
        texts
    }
}

/// `node` as a single value of `key`.
fn scalar<'n, 't>(node: &'n Node<'t>, key: &str, what: &str, report: &mut Report) -> Option<&'n Scalar<'t>> {
    if let Content::Scalar(scalar) = &node.content {
        return Some(scalar);
    }
    report.error(node.spot, format!("`{key}` is {what}, this is {}", node.kind()));
    None
}

fn complain(pair: &Pair<'_>, shape: &'static Shape, report: &mut Report) {
    /// More keys than that are a page of the manual, not an answer.
    const LISTED_MAX: usize = 10;
    let Pair { spot, key, .. } = pair;
    if shape.unavailable.contains(&&**key) {
        return report.error(*spot, format!("`{key}` is not available yet"));
    }
    if let Some(help) = ratelimit::misplaced(key, shape) {
        return report.slip(*spot, format!("{} has no key `{}`", shape.name, brief(key)), help);
    }
    let home = super::SHAPES.iter().find(|home| home.key(key).is_some() || home.unavailable.contains(&&**key));
    let help = did_you_mean(key, shape.names())
        .or_else(|| home.map(|home| format!("`{key}` is a key of {}", home.name)))
        .or_else(|| {
            (shape.keys.len() <= LISTED_MAX)
                .then(|| format!("its keys are {}", quoted(&shape.names().collect::<Vec<_>>())))
        });
    report.error_help(*spot, format!("{} has no key `{}`", shape.name, brief(key)), help);
}

/// Enough of a text to recognise it in a message.
pub(super) fn brief(text: &str) -> Cow<'_, str> {
    /// A message is one line of a terminal.
    const CHARS_MAX: usize = 60;
    let whole = text.len() <= CHARS_MAX && !text.contains(char::is_control);
    if whole {
        return Cow::Borrowed(text);
    }
    let mut brief: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        brief.push('…');
    }
    Cow::Owned(brief)
}
