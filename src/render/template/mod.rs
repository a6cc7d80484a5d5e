//! Templates of headers and bodies: compiled to a flat list of pieces when rules load, so that filling one in is a
//! walk over a slice that allocates nothing and cannot fail.
//!
//! | written | means |
//! |---|---|
//! | `{{ expression }}` | a value: a variable, `'text'` or a number, with filters behind it (`\| humanize`) |
//! | `{% if condition %}…{% elif condition %}…{% else %}…{% endif %}` | one of several texts |
//! | everything else | itself; what looks like a tag is written `{{ '{{' }}` |
//!
//! Variables and filters are in [`expression`], conditions in [`condition`].

pub mod condition;
pub mod expression;
mod grammar;
mod lexer;
mod parse;

pub use condition::Condition;
pub use expression::{Insert, Vocabulary};

use condition::Test;
use expression::Number;

use super::{Fault, facts::Facts, text::Escape};
use crate::bounds;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    escape: Escape,
    pieces: Box<[Piece]>,
}

/// One step of filling a template in.
#[derive(Debug)]
enum Piece {
    /// Text of the template, ready for its place.
    Text(Box<[u8]>),
    Insert(Insert),
    /// Goes on at another piece, always a later one.
    Skip(usize),
    /// Goes on at another piece, always a later one, where the condition does not hold.
    SkipUnless(Condition, usize),
}

/// Whether everything that was to be inserted was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Filled {
    Whole,
    /// A number was asked for that this answer does not have (a `deny` rule has no figures, an accepted request
    /// nothing to wait for); 0 stands in its place.
    Lacking,
}

impl Template {
    /// Compiles `text` for a place that `escape` describes.
    ///
    /// # Errors
    ///
    /// The first fault in the text: syntax, an unknown name, a filter that does not fit its value, or a request's
    /// value in a place whose escapes are not known.
    pub fn parse(text: &str, escape: Escape) -> Result<Self, Fault> {
        Self::parse_in(Vocabulary::Answer, text, escape)
    }

    /// The same for any place that has templates, each with variables of its own.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_in(vocabulary: Vocabulary, text: &str, escape: Escape) -> Result<Self, Fault> {
        let pieces = parse::parse(text, escape, vocabulary)?;
        Ok(Self { escape, pieces: pieces.into() })
    }

    /// That no answer it fills is longer than a body may be, so that none is ever cut: half a JSON is worse than none.
    ///
    /// # Errors
    ///
    /// It could fill more than [`bounds::BODY_MAX_BYTES`].
    pub fn fits_a_body(&self) -> Result<(), Fault> {
        let (longest, most) = (self.longest(), bounds::BODY_MAX_BYTES);
        if longest <= most {
            return Ok(());
        }
        let fault = Fault::new(format!("the body could be {longest} bytes long, at most {most} may be"));
        let insert = bounds::INSERT_MAX_BYTES;
        Err(fault.help(format!("a text that is inserted counts {insert} bytes, every branch of an `if` counts")))
    }

    /// Appends the filled template to `out`.
    pub fn fill(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> Filled {
        let mut filled = Filled::Whole;
        let mut at = 0;
        while let Some(piece) = self.pieces.get(at) {
            at += 1;
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Insert(insert) => {
                    if insert.write(facts, self.escape, out) == Filled::Lacking {
                        filled = Filled::Lacking;
                    }
                }
                Piece::Skip(to) => at = *to,
                Piece::SkipUnless(condition, to) => {
                    if !condition.holds(facts) {
                        at = *to;
                    }
                }
            }
        }
        filled
    }

    /// The most bytes it can fill, whatever is inserted: every branch counted.
    pub fn longest(&self) -> usize {
        let longest = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Insert(insert) => insert.longest(),
            Piece::Skip(_) | Piece::SkipUnless(..) => 0,
        };
        self.pieces.iter().map(longest).sum()
    }

    /// The windows that it asks for by name, each as often as it does.
    pub fn windows(&self) -> impl Iterator<Item = &str> {
        let inserted = self.inserts().filter_map(|insert| insert.source.number());
        let tested = self.conditions().flat_map(Condition::tests).flat_map(Test::numbers);
        inserted.chain(tested).filter_map(|number| match number {
            Number::Window(name, _) => Some(&**name),
            _ => None,
        })
    }

    pub(super) fn inserts(&self) -> impl Iterator<Item = &Insert> {
        self.pieces.iter().filter_map(|piece| if let Piece::Insert(insert) = piece { Some(insert) } else { None })
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.pieces.iter().filter_map(
            |piece| {
                if let Piece::SkipUnless(condition, _) = piece { Some(condition) } else { None }
            },
        )
    }
}

#[cfg(test)]
mod tests;
