//! The rule language as a JSON Schema (draft 2020-12), made of the tables by which files are read. It keeps to words that
//! draft 7 has too, which is what editors know best.
//!
//! It refuses no file that loads, if that is written as YAML 1.2 has it (`true`, not `yes`; `1000`, not `1_000`) and leaves
//! no key empty. What it cannot see (names that are taken, regular expressions, zones, templates) only loading finds.

use serde_json::{Map, Value, json};

use super::{
    SHAPES,
    document::DOCUMENT,
    rate,
    shape::{Form, Key, Shape},
};

/// The schema of one document of a rule file.
pub fn schema() -> Value {
    let mut schema = shape(&DOCUMENT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Rules of tallygate");
    let others = SHAPES.iter().filter(|other| other.id != DOCUMENT.id);
    schema["$defs"] = others.map(|other| (other.id.to_owned(), shape(other))).collect::<Map<_, _>>().into();
    schema
}

fn shape(shape: &Shape) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": shape.keys.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    match shape.needs {
        [] => {}
        [all] => schema["required"] = json!(all),
        several => schema["anyOf"] = several.iter().map(|keys| json!({"required": keys})).collect(),
    }
    let excluded: Vec<Value> = shape.exclusive.iter().flat_map(|keys| pairs(keys)).map(not_both).collect();
    if !excluded.is_empty() {
        schema["allOf"] = excluded.into();
    }
    schema
}

fn property(key: &Key) -> (String, Value) {
    let mut schema = form(key.form);
    schema["description"] = json!(key.meaning);
    (key.name.to_owned(), schema)
}

fn form(what: Form) -> Value {
    match what {
        Form::Text => json!({"type": ["string", "number", "boolean"]}),
        Form::Rate => json!({"type": "string", "pattern": rate::rate_pattern()}),
        Form::Window => json!({"type": "string", "pattern": rate::window_pattern()}),
        Form::Duration => json!({"type": "string", "pattern": rate::duration_pattern()}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Number(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Form::Words(words) => json!({"enum": words}),
        // The plain words first: an editor offers them.
        Form::WordsInAnyCase(words) => {
            let any_case: Vec<String> = words.iter().map(|word| in_any_case(word)).collect();
            json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": format!("^({})$", any_case.join("|"))}]})
        }
        Form::Map(id) => json!({"$ref": format!("#/$defs/{id}")}),
        Form::AnyMap => json!({"type": "object"}),
        Form::List(of) => json!({"type": "array", "items": form(*of)}),
        Form::ListNotEmpty(of) => json!({"type": "array", "items": form(*of), "minItems": 1}),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(|one| form(*one)).collect::<Vec<_>>()}),
    }
}

/// `day` as `[dD][aA][yY]`: the regular expressions of JSON Schema have no flags.
fn in_any_case(word: &str) -> String {
    word.chars().flat_map(|letter| ['[', letter, letter.to_ascii_uppercase(), ']']).collect()
}

fn pairs<'k>(keys: &'k [&'k str]) -> impl Iterator<Item = [&'k str; 2]> {
    let rest = |after: usize| keys.iter().skip(after + 1);
    keys.iter().enumerate().flat_map(move |(at, first)| rest(at).map(move |second| [*first, *second]))
}

fn not_both(keys: [&str; 2]) -> Value {
    json!({"not": {"required": keys}})
}
