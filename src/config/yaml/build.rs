//! From the parser's events to the tree: aliases, merge keys and budgets.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};
use hashbrown::{HashMap, HashSet};

use super::{Content, Node, Pair, Scalar};
use crate::{
    bounds::{YAML_DEPTH_MAX, YAML_NODE_CHARS, YAML_NODES_MAX},
    config::report::{Report, Spot},
};

/// The documents of one file, empty ones left out; what is wrong with a document goes to `report`, and the next one
/// is read all the same.
pub(in crate::config) fn documents<'t>(file: u32, bytes: &'t [u8], report: &mut Report) -> Vec<Node<'t>> {
    let Some(text) = decoded(file, bytes, report) else { return Vec::new() };
    let options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: YAML_DEPTH_MAX,
        block_nesting_limit: YAML_DEPTH_MAX,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut tree = Tree::new(file, report);
    let mut whole = Vec::new();
    loop {
        let went_on = match parser.next() {
            None | Some(Ok((Event::StreamEnd, _))) => return whole,
            Some(Ok((Event::DocumentEnd, _))) => {
                whole.extend(tree.finish().filter(|root| !root.is_null()));
                Ok(())
            }
            Some(Ok((Event::DocumentStart(..), span))) if tree.report.forgives() && !whole.is_empty() => {
                let spot = tree.spot_at(span.start.line(), span.start.col());
                let help = "make a file of its own of each document".to_owned();
                tree.report.warning(
                    spot,
                    "only the first document of a file is read, as by envoyproxy/ratelimit",
                    help,
                );
                return whole;
            }
            Some(Ok((event, span))) => tree.take(event, span),
            Some(Err(fault)) => {
                let mark = fault.marker();
                let spot = tree.spot_at(mark.line(), mark.col());
                tree.report.error(spot, format!("this is no YAML: {}", fault.info()));
                Err(Stop::Document)
            }
        };
        match went_on {
            Ok(()) => {}
            Err(Stop::File) => return whole,
            Err(Stop::Document) => {
                drop(tree.finish());
                let more = parser.proceed_next_document().unwrap_or(false);
                if !more || tree.report.is_full() {
                    return whole;
                }
            }
        }
    }
}

/// The bytes as text, without a byte-order mark.
fn decoded<'t>(file: u32, bytes: &'t [u8], report: &mut Report) -> Option<&'t str> {
    let start = Spot { file, line: 1, column: 1 };
    if let [0xfe, 0xff, ..] | [0xff, 0xfe, ..] = bytes {
        report.error_help(start, "the file is UTF-16", "save it as UTF-8".to_owned());
        return None;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(fault) => {
            let before = String::from_utf8_lossy(&bytes[..fault.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            let byte = bytes.get(fault.valid_up_to()).copied().unwrap_or_default();
            report.error_help(
                Spot { file, line: narrow(line), column: narrow(column) },
                format!("the byte {byte:#04x} is not UTF-8"),
                "save the file as UTF-8".to_owned(),
            );
            None
        }
    }
}

/// Lines and columns of files of at most 64 MB fit.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How far an error reaches.
enum Stop {
    Document,
    File,
}

/// A document while it is read.
struct Tree<'t, 'r> {
    file: u32,
    report: &'r mut Report,
    /// What the whole file weighs so far.
    weight: usize,
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    /// None while the node is still open: an alias to it would stand in itself.
    anchors: HashMap<usize, Option<Node<'t>>>,
}

/// A list or map whose end has not come yet.
struct Open<'t> {
    spot: Spot,
    anchor: usize,
    parts: Parts<'t>,
}

enum Parts<'t> {
    List(Vec<Node<'t>>),
    Map { pairs: Vec<Pair<'t>>, key: Key<'t> },
}

/// The key of a map whose value has not come yet.
#[derive(Default)]
enum Key<'t> {
    #[default]
    None,
    Text(Spot, Scalar<'t>),
    /// It is no text: said so, and its value is passed over.
    Bad,
}

impl<'t, 'r> Tree<'t, 'r> {
    fn new(file: u32, report: &'r mut Report) -> Self {
        Self { file, report, weight: 0, open: Vec::new(), root: None, anchors: HashMap::new() }
    }

    /// The document's root, and everything ready for the next document.
    fn finish(&mut self) -> impl Iterator<Item = Node<'t>> + use<'t> {
        self.open.clear();
        self.anchors.clear();
        self.root.take().into_iter()
    }

    fn spot_at(&self, line: usize, column_from_0: usize) -> Spot {
        Spot { file: self.file, line: narrow(line).max(1), column: narrow(column_from_0.saturating_add(1)) }
    }

    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), Stop> {
        let spot = self.spot_at(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(spot, style, tag.as_deref());
                self.weigh(spot, 1 + text.len() / YAML_NODE_CHARS)?;
                let weight = narrow(1 + text.len() / YAML_NODE_CHARS);
                let content = Content::Scalar(Scalar { text, plain });
                self.complete(Node { spot, content, weight, height: 0 }, anchor);
                Ok(())
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_plain(spot, ScalarStyle::Plain, tag.as_deref());
                self.begin(spot, anchor, Parts::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_plain(spot, ScalarStyle::Plain, tag.as_deref());
                self.begin(spot, anchor, Parts::Map { pairs: Vec::new(), key: Key::None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(spot, anchor),
            Event::UnresolvedAlias(name) => {
                self.report.error(spot, format!("the alias `*{name}` has no anchor `&{name}` before it"));
                let content = Content::Scalar(Scalar { text: Cow::Borrowed(""), plain: true });
                self.complete(Node { spot, content, weight: 1, height: 0 }, 0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a scalar may be more than text. `!!str` says it is not; other tags of the core schema say nothing that
    /// the place where a value stands does not say better.
    fn is_plain(&mut self, spot: Spot, style: ScalarStyle, tag: Option<&Tag>) -> bool {
        let Some(tag) = tag else { return style == ScalarStyle::Plain };
        if tag.is_yaml_core_schema() {
            return !tag.is_yaml_core_schema_tag("str");
        }
        // `! text` is YAML's own way of saying "text, whatever it looks like".
        let non_specific =
            tag.handle().is_empty() && tag.suffix() == "!" || tag.handle() == "!" && tag.suffix().is_empty();
        if !non_specific {
            self.report.error(spot, format!("the tag `{}{}` means nothing here", tag.handle(), tag.suffix()));
        }
        false
    }

    fn weigh(&mut self, spot: Spot, weight: usize) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= YAML_NODES_MAX {
            return Ok(());
        }
        self.report.error(spot, format!("the file has more than {YAML_NODES_MAX} values, aliases written out"));
        Err(Stop::File)
    }

    fn begin(&mut self, spot: Spot, anchor: usize, parts: Parts<'t>) -> Result<(), Stop> {
        self.weigh(spot, 1)?;
        self.nest(spot, 1)?;
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { spot, anchor, parts });
        Ok(())
    }

    fn nest(&mut self, spot: Spot, height: u16) -> Result<(), Stop> {
        if self.open.len() + usize::from(height) <= YAML_DEPTH_MAX {
            return Ok(());
        }
        self.report.error(spot, format!("lists and maps stand more than {YAML_DEPTH_MAX} deep in each other"));
        Err(Stop::Document)
    }

    fn alias(&mut self, spot: Spot, anchor: usize) -> Result<(), Stop> {
        let Some(Some(node)) = self.anchors.get(&anchor).cloned() else {
            self.report.error(spot, "this alias stands inside of what it points to");
            return Err(Stop::Document);
        };
        self.weigh(spot, node.weight as usize)?;
        self.nest(spot, node.height)?;
        self.complete(node, 0);
        Ok(())
    }

    /// A node is there: it becomes the root, the next of a list, or a key or value of a map.
    fn complete(&mut self, node: Node<'t>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        let (pairs, key) = match self.open.last_mut().map(|open| &mut open.parts) {
            None => {
                self.root = Some(node);
                return;
            }
            Some(Parts::List(nodes)) => return nodes.push(node),
            Some(Parts::Map { pairs, key }) => (pairs, key),
        };
        *key = match (std::mem::take(key), node.content) {
            (Key::Text(spot, name), content) => {
                let value = Node { content, ..node };
                pairs.push(Pair { spot, key: name.text, plain: name.plain, value });
                Key::None
            }
            (Key::Bad, _) => Key::None,
            (Key::None, Content::Scalar(name)) => Key::Text(node.spot, name),
            (Key::None, Content::List(_) | Content::Map(_)) => {
                self.report.error(node.spot, "a key is a single text, not a list or a map");
                Key::Bad
            }
        };
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { spot, anchor, parts }) = self.open.pop() else { return Ok(()) };
        let node = match parts {
            Parts::List(nodes) => {
                let (weight, height) = sizes(nodes.iter());
                Node { spot, content: Content::List(nodes.into()), weight, height }
            }
            Parts::Map { pairs, .. } => {
                let pairs = self.without_duplicates(pairs);
                let pairs = self.merged(pairs)?;
                let (weight, height) = sizes(pairs.iter().map(|pair| &pair.value));
                Node { spot, content: Content::Map(pairs.into()), weight, height }
            }
        };
        self.complete(node, anchor);
        Ok(())
    }

    /// Keeps the last of equal keys.
    fn without_duplicates(&mut self, pairs: Vec<Pair<'t>>) -> Vec<Pair<'t>> {
        /// Up to here comparing all with all is faster than hashing, and nearly every map is smaller.
        const FEW: usize = 12;
        let many = pairs.len() > FEW;
        let equal = |(place, pair): (usize, &Pair<'t>)| pairs[..place].iter().any(|first| first.key == pair.key);
        if !many && !pairs.iter().enumerate().any(equal) {
            return pairs;
        }
        let mut firsts: Vec<Pair<'t>> = Vec::with_capacity(pairs.len());
        let mut index: HashMap<Cow<'t, str>, usize> = HashMap::new();
        for pair in pairs {
            let first =
                if many { index.get(&pair.key).copied() } else { firsts.iter().position(|p| p.key == pair.key) };
            if let Some(first) = first {
                let line = firsts[first].spot.line;
                let message = format!("the key `{}` is given twice, first on line {line}", pair.key);
                self.report.slip(
                    pair.spot,
                    message,
                    "keep one of them; for envoyproxy/ratelimit the last one counts".to_owned(),
                );
                firsts[first] = pair;
                continue;
            }
            if many {
                index.insert(pair.key.clone(), firsts.len());
            }
            firsts.push(pair);
        }
        firsts
    }

    /// Resolves `<<`: the keys of the maps it names, where the map does not give them itself; the first map wins.
    fn merged(&mut self, mut pairs: Vec<Pair<'t>>) -> Result<Vec<Pair<'t>>, Stop> {
        let Some(at) = pairs.iter().position(|pair| pair.plain && pair.key == "<<") else { return Ok(pairs) };
        let merge = pairs.remove(at);
        let sources = match &merge.value.content {
            Content::List(sources) => &sources[..],
            Content::Scalar(_) | Content::Map(_) => std::slice::from_ref(&merge.value),
        };
        let mut taken: HashSet<Cow<'t, str>> = pairs.iter().map(|pair| pair.key.clone()).collect();
        for source in sources {
            let Content::Map(merged) = &source.content else {
                self.report
                    .error(source.spot, format!("`<<` merges a map or a list of maps, this is {}", source.kind()));
                continue;
            };
            for pair in merged.iter().filter(|pair| taken.insert(pair.key.clone())) {
                self.weigh(merge.spot, 1 + pair.value.weight as usize)?;
                pairs.push(pair.clone());
            }
        }
        Ok(pairs)
    }
}

fn sizes<'n, 't: 'n>(parts: impl Iterator<Item = &'n Node<'t>>) -> (u32, u16) {
    parts.fold((1, 1), |(weight, height), part| {
        (part.weight.saturating_add(weight), height.max(part.height.saturating_add(1)))
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<String>) {
        let mut report = Report::default();
        let file = report.add_file("f".into());
        let nodes = documents(file, text.as_ref(), &mut report).iter().map(shown).collect();
        (nodes, report.finish().iter().map(ToString::to_string).collect())
    }

    /// A node in one line, with what is not plain in quotes.
    fn shown(node: &Node<'_>) -> String {
        match &node.content {
            Content::Scalar(scalar) if scalar.plain => scalar.text.to_string(),
            Content::Scalar(scalar) => format!("{:?}", scalar.text),
            Content::List(nodes) => format!("[{}]", nodes.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Content::Map(pairs) => {
                let pairs = pairs.iter().map(|pair| format!("{}: {}", pair.key, shown(&pair.value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn documents_become_trees() {
        for (text, trees) in [
            ("", &[][..]),
            ("# nothing\n---\n...\n---\n", &[]),
            ("\u{feff}a: 1", &["{a: 1}"]),
            ("a: 1\n---\nb: '2'\n", &["{a: 1}", "{b: \"2\"}"]),
            ("a: &x [1, 2]\nb: *x", &["{a: [1, 2], b: [1, 2]}"]),
            ("a: !!str 5\nb: !!int 5\nc: ! 5", &["{a: \"5\", b: 5, c: \"5\"}"]),
            ("<<: {a: 1, b: 1}\na: 2", &["{a: 2, b: 1}"]),
            ("a: 2\n<<: [{a: 1, b: 1}, {b: 2, c: 2}]", &["{a: 2, b: 1, c: 2}"]),
            ("'<<': {a: 1}", &["{<<: {a: 1}}"]),
            ("a: |\n  two\n  lines\n", &["{a: \"two\\nlines\\n\"}"]),
        ] {
            let (found, errors) = read(text);
            assert_eq!(found, trees, "{text}");
            assert!(errors.is_empty(), "{text}: {errors:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, errors) in [
            (
                "a: 1\nb: 2\na: 3",
                &[
                    "f:3:1: error: the key `a` is given twice, first on line 1; help: keep one of them; for envoyproxy/ratelimit \
                  the last one counts",
                ][..],
            ),
            ("a: *b", &["f:1:4: error: the alias `*b` has no anchor `&b` before it"]),
            ("a: &a [*a]", &["f:1:8: error: this alias stands inside of what it points to"]),
            ("? [a]\n: 1", &["f:1:3: error: a key is a single text, not a list or a map"]),
            ("<<: 5", &["f:1:5: error: `<<` merges a map or a list of maps, this is a single value"]),
            ("a: !env B", &["f:1:9: error: the tag `!env` means nothing here"]),
        ] {
            assert_eq!(read(text).1, errors, "{text}");
        }
        assert_eq!(
            read(b"a: 1\nb: \"\xc3\xa9\xff\"").1,
            ["f:2:6: error: the byte 0xff is not UTF-8; help: save the file as UTF-8"]
        );
        assert_eq!(read(b"\xff\xfea\0").1, ["f:1:1: error: the file is UTF-16; help: save it as UTF-8"]);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_errors_of_the_next() {
        let (_, errors) = read("a: [1\n---\nb: 1\nb: 2\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[1].starts_with("f:4:1: error: the key `b` is given twice"), "{errors:?}");
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let mut laughs = "a0: &a0 [x]\n".to_owned();
        for i in 1..40 {
            let nine = vec![format!("*a{}", i - 1); 9].join(", ");
            writeln!(laughs, "a{i}: &a{i} [{nine}]").expect("a String can be written to");
        }
        let mut tower = "a0: &a0 [x]\n".to_owned();
        for i in 1..10_000 {
            writeln!(tower, "a{i}: &a{i} [*a{}]", i - 1).expect("a String can be written to");
        }
        let mut echo = format!("a: &a \"{}\"\nb:\n", "x".repeat(1 << 20));
        echo.push_str(&"- *a\n".repeat(10_000));
        for (bomb, message) in [
            (laughs, "values, aliases written out"),
            (tower, "deep in each other"),
            (echo, "values, aliases written out"),
            ("[".repeat(1_000_000), "f:1:"),
            ("- ".repeat(1_000_000), "f:1:"),
            ("{a: ".repeat(1_000_000), "f:1:"),
            ("? ".repeat(1_000_000), "f:1:"),
        ] {
            let (_, errors) = read(&bomb);
            assert!(errors.iter().any(|error| error.contains(message)), "{message}: {errors:?}");
            assert!(errors.len() < 10, "{}", errors.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            read(bytes);
        }

        #[test]
        fn nothing_that_looks_like_yaml_makes_it_panic(text in "[-a:*&!<>|\\[\\]{}'\"#%, \n]{0,60}") {
            read(text);
        }
    }
}
