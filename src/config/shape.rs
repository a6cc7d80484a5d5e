//! The tables of the language: every map of a rule file with its keys, what may stand at each and what it means. Files
//! are read by them, the manual lists them and the schema for editors is made of them, so that none of the three
//! forgets a key.

/// One kind of map in a rule file.
#[derive(Debug)]
pub(super) struct Shape {
    /// As the schema refers to it.
    pub id: &'static str,
    /// As messages name it.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// Sets of keys, of which one at least is given whole.
    pub needs: &'static [&'static [&'static str]],
    /// Sets of keys, of which no two keys stand together.
    pub exclusive: &'static [&'static [&'static str]],
    /// Keys of the language that this version does not carry out: refused by name, never passed over.
    pub unavailable: &'static [&'static str],
}

/// One key of a map.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub form: Form,
    /// A line of the manual, and what an editor shows beside the key.
    pub meaning: &'static str,
}

/// What may stand at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Any single value stands for its text.
    Text,
    /// `120/minute`.
    Rate,
    /// A unit or a duration.
    Window,
    /// `15m`.
    Duration,
    Boolean,
    /// A whole number, from the first to the second.
    Number(u64, u64),
    Words(&'static [&'static str]),
    /// The same, and capitals do not matter.
    WordsInAnyCase(&'static [&'static str]),
    /// A map by the shape of this [`id`](Shape::id).
    Map(&'static str),
    /// A map with any keys.
    AnyMap,
    List(&'static Form),
    ListNotEmpty(&'static Form),
    Either(&'static [Form]),
}

impl Form {
    /// A list of texts, or one alone.
    pub(super) const TEXTS: Self = Self::Either(&[Self::Text, Self::ListNotEmpty(&Self::Text)]);

    /// Whether it is read as a text, which then is looked at more closely.
    pub(super) const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Rate | Self::Window | Self::Duration | Self::Words(_) | Self::WordsInAnyCase(_)
        )
    }
}

/// A line of a table.
pub(super) const fn key(name: &'static str, form: Form, meaning: &'static str) -> Key {
    Key { name, form, meaning }
}

impl Shape {
    /// The line of one of its keys.
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What its keys are called, in the order of the table.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.iter().map(|key| key.name)
    }
}
