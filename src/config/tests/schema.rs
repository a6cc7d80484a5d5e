//! The schema for editors, held against what loads, the tables of keys and the manual.

use std::{cell::RefCell, fmt::Write as _, fs, path::Path};

use hashbrown::HashMap;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::*;
use crate::config::{
    schema::schema,
    shape::Form,
    yaml::{Content, Node, Scalar},
};

/// What loading says where a schema can say it, too.
const SEEN: [&str; 17] = [
    " has no key `",
    " is not available yet",
    " is a map, this is",
    " is a list, this is",
    " is a list of texts, this is",
    " is a list of entries, this is",
    " is a text, this is",
    " a profile's name or a list",
    " is `true` or `false`",
    " is a whole number from",
    " cannot be `",
    " is not COUNT/WINDOW",
    "`rate` or `requests` with `per`",
    "there are no headers `",
    "the rule has no `key`",
    "the document has no `domain`",
    "a rule matches in one way",
];

/// Holds the schema against what became of `files`.
pub(super) fn agrees(files: &[RuleFile], loaded: &Result<Compiled, Vec<Diagnostic>>) {
    /// Files that are long are so to try bounds.
    const BYTES_MAX: usize = 16 * 1_024;
    if files.iter().any(|file| file.text.len() > BYTES_MAX) {
        return;
    }
    // What is no YAML shows an editor no more than that.
    let Some(documents) = files.iter().map(|file| documents(&file.text)).collect::<Option<Vec<_>>>() else { return };
    let faults: Vec<String> = documents.concat().iter().filter_map(fault).collect();
    let texts = || files.iter().map(|file| String::from_utf8_lossy(&file.text)).collect::<Vec<_>>().join("\n---\n");
    match loaded {
        // Where `unlimited` makes the unit unread, it may be anything.
        Ok(compiled) if lines(&compiled.warnings).contains("is not read beside `unlimited`") => {}
        Ok(_) => assert!(faults.is_empty(), "this loads, and the schema says: {faults:?}\n{}", texts()),
        Err(errors) => {
            let said = errors.iter().find(|error| SEEN.iter().any(|seen| error.message.contains(seen)));
            assert!(said.is_none() || !faults.is_empty(), "the schema does not see: {}\n{}", lines(errors), texts());
        }
    }
}

/// The documents of a file as an editor sees them; None where it is no YAML.
fn documents(text: &[u8]) -> Option<Vec<Value>> {
    let mut report = Report::default();
    let documents = yaml::documents(0, text, &mut report);
    (!report.failed()).then(|| documents.iter().map(json_of).collect())
}

fn json_of(node: &Node<'_>) -> Value {
    match &node.content {
        Content::Scalar(scalar) => single(scalar),
        Content::List(nodes) => nodes.iter().map(json_of).collect(),
        // A key that is left empty is as good as absent.
        Content::Map(pairs) => {
            let given = pairs.iter().filter(|pair| !pair.value.is_null());
            given.map(|pair| (pair.key.to_string(), json_of(&pair.value))).collect::<Map<_, _>>().into()
        }
    }
}

fn single(scalar: &Scalar<'_>) -> Value {
    if scalar.is_null() {
        return Value::Null;
    }
    let integer = || scalar.integer().and_then(|number| u64::try_from(number).ok()).map(Value::from);
    let number = || scalar.boolean().map(Value::from).or_else(integer).or_else(|| scalar.number().map(Value::from));
    number().unwrap_or_else(|| Value::from(&*scalar.text))
}

fn fault(document: &Value) -> Option<String> {
    thread_local! {
        static SCHEMA: Value = schema();
    }
    SCHEMA.with(|schema| Validator { root: schema }.fault(schema, document))
}

/// The words of JSON Schema that ours has, and no other.
struct Validator<'s> {
    root: &'s Value,
}

impl Validator<'_> {
    /// The first thing that is wrong with `value`.
    fn fault(&self, schema: &Value, value: &Value) -> Option<String> {
        let words = schema.as_object().expect("a schema is a map");
        words.iter().find_map(|(word, rule)| self.word(word, rule, schema, value))
    }

    fn word(&self, word: &str, rule: &Value, schema: &Value, value: &Value) -> Option<String> {
        let all = || rule.as_array().expect("a list");
        let holds = match word {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let place = rule.as_str().and_then(|text| text.strip_prefix('#')).expect("a place in here");
                return self.fault(self.root.pointer(place).expect("it is there"), value);
            }
            "type" => match rule.as_array() {
                Some(types) => types.iter().any(|one| is(one, value)),
                None => is(rule, value),
            },
            "enum" => all().contains(value),
            "pattern" => value.as_str().is_none_or(|text| pattern(rule).is_match(text)),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
            "required" => value.as_object().is_none_or(|map| all().iter().all(|key| map.contains_key(text(key)))),
            "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number")),
            "items" => return value.as_array()?.iter().find_map(|item| self.fault(rule, item)),
            "properties" => {
                return value.as_object()?.iter().find_map(|(key, value)| self.fault(rule.get(key)?, value));
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().expect("a map");
                value.as_object().is_none_or(|map| map.keys().all(|key| known.contains_key(key)))
            }
            "anyOf" => all().iter().any(|one| self.fault(one, value).is_none()),
            "allOf" => return all().iter().find_map(|one| self.fault(one, value)),
            "not" => self.fault(rule, value).is_some(),
            other => panic!("`{other}` is no word of our schema"),
        };
        (!holds).then(|| format!("{value} against {word}: {rule}"))
    }
}

fn is(what: &Value, value: &Value) -> bool {
    match text(what) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("`{other}` is no type"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn pattern(rule: &Value) -> Regex {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let compile = || Regex::new(text(rule)).expect("a regular expression");
    COMPILED.with_borrow_mut(|known| known.entry_ref(text(rule)).or_insert_with(compile).clone())
}

#[test]
fn a_schema_refuses_what_is_wrong_and_takes_what_is_right() {
    for (document, right) in [
        (json!({"domain": "d"}), true),
        (json!({"domain": 5, "descriptors": [{"key": "k", "limits": ["5/minute", {"rate": "1/30s"}]}]}), true),
        (json!({"descriptors": []}), false),
        (json!({"domain": "d", "descriptors": [{"key": "k", "limits": ["5/minut"]}]}), false),
        (json!({"domain": "d", "descriptors": [{"key": "k", "limits": [{"requests": 5}]}]}), false),
        (json!({"domain": "d", "descriptors": [{"key": "k", "limits": [{"requests": 5, "per": "day"}]}]}), true),
        (json!({"domain": "d", "descriptors": [{"key": "k", "rate_limit": {"unit": "Minute"}}]}), true),
        (json!({"domain": "d", "descriptors": [{"key": "k", "rate_limit": {"unit": "minuet"}}]}), false),
        (json!({"domain": "d", "descriptors": [{"key": "k", "value": "v", "path": "/p"}]}), false),
        (json!({"domain": "d", "descriptors": [{"key": "k", "descriptors": [{"key": "k", "kye": 1}]}]}), false),
        (json!({"domain": "d", "usage": {"path": "/p", "descriptors": [[]]}}), false),
        (json!({"domain": "d", "usage": {"path": "/p", "descriptors": [[{"key": "k", "value": "v"}]]}}), true),
    ] {
        assert_eq!(fault(&document).is_none(), right, "{document}: {:?}", fault(&document));
    }
}

/// Every form that a table names has to be there, and each key to be one that its sets know.
#[test]
fn the_tables_are_whole() {
    fn maps(form: Form, found: &mut Vec<&'static str>) {
        match form {
            Form::Map(id) => found.push(id),
            Form::List(of) | Form::ListNotEmpty(of) => maps(*of, found),
            Form::Either(forms) => forms.iter().for_each(|one| maps(*one, found)),
            _ => {}
        }
    }
    let mut named = vec![document::DOCUMENT.id];
    for shape in SHAPES {
        shape.keys.iter().for_each(|key| maps(key.form, &mut named));
        for key in [shape.needs, shape.exclusive].concat().concat() {
            assert!(shape.key(key).is_some(), "{} has no `{key}`", shape.name);
        }
    }
    named.sort_unstable();
    named.dedup();
    let mut there: Vec<_> = SHAPES.iter().map(|shape| shape.id).collect();
    there.sort_unstable();
    assert_eq!(named, there);
}

#[test]
fn every_rule_file_of_the_repository_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("examples/envoy")).expect("examples");
    let mut files: Vec<_> =
        examples.map(|entry| entry.expect("a file").path().join("rules.yaml")).filter(|path| path.exists()).collect();
    assert!(files.len() >= 5, "{files:?}");
    files.extend([root.join("config/rules/shop.yaml"), root.join("benches/cases/rules.yaml")]);
    let mut texts: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a file")).collect();
    for page in ["docs/rules.md", "docs/decisions.md", "README.md"] {
        let page = fs::read_to_string(root.join(page)).expect("a page");
        let blocks = page.split("\n```yaml rules\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        texts.extend(blocks.map(|block| block.as_bytes().to_vec()));
    }
    for text in texts {
        let found = documents(&text).expect("YAML");
        assert!(!found.is_empty());
        for document in found {
            assert_eq!(fault(&document), None, "{document:#}");
        }
    }
}

#[test]
fn the_copy_of_the_schema_is_that_of_the_code() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.schema.json");
    let copy: Value = serde_json::from_slice(&fs::read(copy).expect("the copy")).expect("it is JSON");
    assert!(copy == schema(), "write it anew: `tallygate schema > docs/rules.schema.json`");
}

#[test]
fn the_manual_lists_every_key() {
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md")).expect("the manual");
    let mut tables = String::from("\n## Every key\n");
    for shape in SHAPES {
        let _ = write!(tables, "\n### {}\n\n| key | value | meaning |\n|---|---|---|\n", title(shape));
        for key in shape.keys {
            let needed = shape.needs.first().is_some_and(|all| shape.needs.len() == 1 && all.contains(&key.name));
            let needed = if needed { ", required" } else { "" };
            let _ = writeln!(tables, "| `{}` | {}{needed} | {} |", key.name, said(key.form), key.meaning);
        }
    }
    assert!(manual.contains(&tables), "docs/rules.md should have{tables}");
}

fn title(shape: &Shape) -> String {
    let mut letters = shape.name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What may stand at a key, in the words of the manual.
fn said(form: Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Rate => "`COUNT/WINDOW`".to_owned(),
        Form::Window => "unit or duration".to_owned(),
        Form::Duration => "duration".to_owned(),
        Form::Boolean => "`true` or `false`".to_owned(),
        Form::Number(min, max) if max >= u64::from(u32::MAX) => format!("number from {min}"),
        Form::Number(min, max) => format!("number from {min} to {max}"),
        Form::Words(words) | Form::WordsInAnyCase(words) => super::super::suggest::quoted(words),
        Form::Map(id) => SHAPES.iter().find(|shape| shape.id == id).map_or("", |shape| shape.name).to_owned(),
        Form::AnyMap => "a map".to_owned(),
        Form::List(of) | Form::ListNotEmpty(of) => format!("list of: {}", said(*of)),
        Form::Either(forms) => forms.iter().map(|one| said(*one)).collect::<Vec<_>>().join("; or "),
    }
}
