//! A rule's `metadata`: what YAML can say, without YAML.

/// A value as JSON and protobuf's `Struct` know it. Numbers are f64 there, so they are here.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    List(Box<[Value]>),
    /// In the order of the file; no key twice.
    Map(Box<[(Box<str>, Value)]>),
}
