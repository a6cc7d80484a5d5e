//! YAML as a tree of nodes that know where they stand. The only module that knows the parser.
//!
//! Aliases share what they point to, so that a file of a few lines cannot fill the memory; what a walk over the tree
//! would cost with every alias written out is weighed against [`YAML_NODES_MAX`](crate::bounds::YAML_NODES_MAX).

mod build;
pub(super) mod scalar;

use std::{borrow::Cow, rc::Rc};

pub(super) use build::documents;
pub(super) use scalar::Scalar;

use super::report::Spot;

/// One value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    pub spot: Spot,
    pub content: Content<'t>,
    /// What a walk over it costs, aliases written out.
    weight: u32,
    /// How many collections stand in each other, this one included.
    height: u16,
}

#[derive(Clone, Debug)]
pub(super) enum Content<'t> {
    Scalar(Scalar<'t>),
    List(Rc<[Node<'t>]>),
    /// In the order of the file, merge keys resolved, no key twice.
    Map(Rc<[Pair<'t>]>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(super) struct Pair<'t> {
    pub spot: Spot,
    pub key: Cow<'t, str>,
    /// Whether the key was written without quotes: only then is `<<` a merge key.
    plain: bool,
    pub value: Node<'t>,
}

impl Node<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}
