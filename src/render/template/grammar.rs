//! Reads what stands inside a tag: values and conditions.
//!
//! ```text
//! condition   = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation    = { "not" } ( "(" condition ")" | test )
//! test        = value [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value ]
//! value       = variable | number | text in quotes
//! ```

use super::{
    condition::{Comparison, Condition, Step, Test},
    expression::{Name, Number, Part, Text, Value},
    lexer::{Lexer, Token},
};
use crate::{bounds, render::Fault, spelling::did_you_mean};

pub(super) fn condition(lexer: &mut Lexer<'_>) -> Result<Condition, Fault> {
    let mut steps = Vec::new();
    alternatives(lexer, &mut steps, 0)?;
    Ok(Condition { steps: steps.into() })
}

/// `a or b or …`
fn alternatives(lexer: &mut Lexer<'_>, steps: &mut Vec<Step>, depth: usize) -> Result<(), Fault> {
    conjunction(lexer, steps, depth)?;
    while is_word(&lexer.peek()?, "or") {
        lexer.next()?;
        conjunction(lexer, steps, depth)?;
        steps.push(Step::Or);
    }
    Ok(())
}

/// `a and b and …`
fn conjunction(lexer: &mut Lexer<'_>, steps: &mut Vec<Step>, depth: usize) -> Result<(), Fault> {
    negation(lexer, steps, depth)?;
    while is_word(&lexer.peek()?, "and") {
        lexer.next()?;
        negation(lexer, steps, depth)?;
        steps.push(Step::And);
    }
    Ok(())
}

/// `not a`, `(…)`, or a test
fn negation(lexer: &mut Lexer<'_>, steps: &mut Vec<Step>, depth: usize) -> Result<(), Fault> {
    let mut negated = false;
    while is_word(&lexer.peek()?, "not") {
        lexer.next()?;
        negated = !negated;
    }
    if lexer.peek()? == Token::Symbol("(") {
        let (_, at) = lexer.next()?;
        if depth == bounds::TEMPLATE_NESTING_MAX {
            let message = format!("parentheses nested more than {} deep", bounds::TEMPLATE_NESTING_MAX);
            return Err(lexer.fault(at, message));
        }
        alternatives(lexer, steps, depth + 1)?;
        match lexer.next()? {
            (Token::Symbol(")"), _) => {}
            (token, at) => return Err(unexpected(lexer, &token, at, "`)`")),
        }
    } else {
        steps.push(Step::Test(test(lexer)?));
    }
    if negated {
        steps.push(Step::Not);
    }
    Ok(())
}

/// A value, or two of one kind compared.
fn test(lexer: &mut Lexer<'_>) -> Result<Test, Fault> {
    let (left, left_at) = value(lexer)?;
    let comparison = match lexer.peek()? {
        Token::Symbol("==") => Comparison::Equal,
        Token::Symbol("!=") => Comparison::NotEqual,
        Token::Symbol("<") => Comparison::Less,
        Token::Symbol("<=") => Comparison::LessOrEqual,
        Token::Symbol(">") => Comparison::Greater,
        Token::Symbol(">=") => Comparison::GreaterOrEqual,
        _ => return Ok(Test::Holds(left)),
    };
    lexer.next()?;
    let (right, right_at) = value(lexer)?;
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Ok(Test::Numbers(left, comparison, right)),
        (Value::Text(Text::Name(left)), Value::Text(Text::Name(right))) => Ok(Test::Texts(left, comparison, right)),
        (Value::Denied, _) => {
            Err(lexer.fault(left_at, "`denied` is not compared").help("write `denied` or `not denied`"))
        }
        (_, Value::Denied) => Err(lexer.fault(right_at, "`denied` is not compared")),
        (Value::Text(Text::Message | Text::Policies), _) => {
            Err(lexer.fault(left_at, "`message` and `policies` are made up for people and not compared"))
        }
        (_, Value::Text(Text::Message | Text::Policies)) => {
            Err(lexer.fault(right_at, "`message` and `policies` are made up for people and not compared"))
        }
        (Value::Number(_), _) => Err(lexer.fault(right_at, "a number is compared with a text")),
        (_, Value::Number(_)) => Err(lexer.fault(right_at, "a text is compared with a number")),
    }
}

/// A variable or a literal, and where it begins, in bytes.
pub(super) fn value(lexer: &mut Lexer<'_>) -> Result<(Value, usize), Fault> {
    let (token, at) = lexer.next()?;
    let value = match token {
        Token::Number(number) => Value::Number(Number::Literal(number)),
        Token::Text(text) => Value::Text(Text::Name(Name::Literal(text.into()))),
        Token::Word(word) => match lexer.vocabulary().value(&word) {
            Some(value) => value,
            None => keyed_value(lexer, &word, at)?,
        },
        token => return Err(unexpected(lexer, &token, at, "a variable, a text in quotes or a number")),
    };
    Ok((value, at))
}

/// A variable with a key.
fn keyed_value(lexer: &mut Lexer<'_>, word: &str, at: usize) -> Result<Value, Fault> {
    let (variable, key) = word.split_once('.').unwrap_or((word, ""));
    match variable {
        "descriptor" => descriptor_value(lexer, key, at),
        "window" if lexer.vocabulary().has_windows() => window_value(lexer, key, at),
        _ => {
            let fault = lexer.fault(at, format!("unknown variable `{word}`"));
            let variables = lexer.vocabulary().variables();
            let meant = did_you_mean(word, variables.iter().copied());
            Err(fault.help_or(meant, || format!("variables are {}", listed(variables))))
        }
    }
}

/// `descriptor.KEY` or `descriptor["KEY"]`
fn descriptor_value(lexer: &mut Lexer<'_>, key: &str, at: usize) -> Result<Value, Fault> {
    let by_key = |key: &str| Value::Text(Text::Name(Name::Descriptor(key.as_bytes().into())));
    if !key.is_empty() {
        return Ok(by_key(key));
    }
    match index(lexer)? {
        Some(key) => Ok(by_key(&key)),
        None => {
            let fault = lexer.fault(at, "`descriptor` needs a key");
            Err(fault.help("write `descriptor.api_key` or `descriptor[\"any key\"]`"))
        }
    }
}

/// `window.NAME.PART` or `window["NAME"]["PART"]`
fn window_value(lexer: &mut Lexer<'_>, key: &str, at: usize) -> Result<Value, Fault> {
    let parts = match key.rsplit_once('.') {
        Some((name, part)) => Some((name.to_owned(), part.to_owned())),
        None if key.is_empty() => index(lexer)?.zip(index(lexer)?),
        None => None,
    };
    let Some((name, part)) = parts.filter(|(name, _)| !name.is_empty()) else {
        let fault = lexer.fault(at, "`window` needs a name and a figure");
        return Err(fault.help("write `window.minute.limit` or `window[\"any name\"][\"limit\"]`"));
    };
    match Part::named(&part) {
        Some(part) => Ok(Value::Number(Number::Window(name.into(), part))),
        None => {
            let fault = lexer.fault(at, format!("a window has no figure `{part}`"));
            let names = Part::names();
            Err(fault.help_or(did_you_mean(&part, names), || format!("figures are {}", listed(&names))))
        }
    }
}

/// `["KEY"]`; none where something else stands here.
fn index(lexer: &mut Lexer<'_>) -> Result<Option<String>, Fault> {
    match (lexer.next()?.0, lexer.next()?.0, lexer.next()?.0) {
        (Token::Symbol("["), Token::Text(key), Token::Symbol("]")) => Ok(Some(key)),
        _ => Ok(None),
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found == word)
}

pub(super) fn unexpected(lexer: &Lexer<'_>, token: &Token, at: usize, expected: &str) -> Fault {
    let found = match token {
        Token::Word(word) => format!("`{word}`"),
        Token::Number(number) => format!("`{number}`"),
        Token::Text(_) => "a text".to_owned(),
        Token::Symbol(symbol) => format!("`{symbol}`"),
        Token::End => "the end of the template".to_owned(),
    };
    lexer.fault(at, format!("expected {expected}, found {found}"))
}

pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
