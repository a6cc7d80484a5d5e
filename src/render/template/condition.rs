//! Conditions of `{% if %}`: `not`, `and`, `or`, parentheses, comparisons, and bare values, which hold when they are
//! neither 0 nor empty nor false.
//!
//! A number that an answer does not have counts as 0. Texts are compared byte by byte.

use super::expression::{Name, Number, Value};
use crate::{bounds, render::facts::Facts};

/// A condition, its operators behind their operands: evaluated in one pass without recursion.
#[derive(Debug)]
pub struct Condition {
    pub(super) steps: Box<[Step]>,
}

/// One step of an evaluation.
#[derive(Debug)]
pub enum Step {
    Test(Test),
    Not,
    And,
    Or,
}

/// What a condition asks.
#[derive(Debug)]
pub enum Test {
    /// Neither 0 nor empty nor false.
    Holds(Value),
    Numbers(Number, Comparison, Number),
    Texts(Name, Comparison, Name),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Waiting operands are the bits of a u64: at most two a level of parentheses (one of `or`, one of `and`), and the last.
const _: () = assert!(2 * (bounds::TEMPLATE_NESTING_MAX + 1) < 64);

impl Condition {
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let mut operands = 0_u64;
        for step in &self.steps {
            operands = match step {
                Step::Test(test) => (operands << 1) | u64::from(test.holds(facts)),
                Step::Not => operands ^ 1,
                Step::And => (operands >> 1) & (operands | !1),
                Step::Or => (operands >> 1) | (operands & 1),
            };
        }
        operands & 1 == 1
    }

    pub(in crate::render) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.steps.iter().filter_map(|step| if let Step::Test(test) = step { Some(test) } else { None })
    }
}

impl Test {
    /// The numbers it looks at.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &Number> {
        let (one, other) = match self {
            Self::Holds(Value::Number(number)) => (Some(number), None),
            Self::Numbers(left, _, right) => (Some(left), Some(right)),
            Self::Holds(_) | Self::Texts(..) => (None, None),
        };
        one.into_iter().chain(other)
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Holds(Value::Denied) => facts.refused,
            Self::Holds(Value::Number(number)) => number.of(facts).unwrap_or(0) != 0,
            Self::Holds(Value::Text(text)) => !text.is_empty(facts),
            Self::Numbers(left, comparison, right) => {
                comparison.holds(&left.of(facts).unwrap_or(0), &right.of(facts).unwrap_or(0))
            }
            Self::Texts(left, comparison, right) => comparison.holds(left.of(facts), right.of(facts)),
        }
    }
}

impl Comparison {
    fn holds<T: Ord + ?Sized>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}
