//! A sink that keeps what it is given: for tests, rehearsals, and whoever shows an answer to people.

use super::{Field, Sink};
use crate::rules::Value;

/// A rendered answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
    pub fields: Vec<(String, CollectedField)>,
}

/// A metadata field that outlives its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum CollectedField {
    Text(String),
    Number(u64),
    Bool(bool),
    Value(Value),
}

impl Collected {
    /// The value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }

    /// The metadata field of this name.
    pub fn field(&self, name: &str) -> Option<&CollectedField> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

impl Sink for Collected {
    fn header(&mut self, name: &str, value: &[u8]) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn body(&mut self, body: &[u8]) {
        self.body = Some(body.to_owned());
    }

    fn field(&mut self, name: &str, value: Field<'_>) {
        let value = match value {
            Field::Text(text) => CollectedField::Text(text.to_owned()),
            Field::Number(number) => CollectedField::Number(number),
            Field::Bool(bool) => CollectedField::Bool(bool),
            Field::Value(value) => CollectedField::Value(value.clone()),
        };
        self.fields.push((name.to_owned(), value));
    }
}
