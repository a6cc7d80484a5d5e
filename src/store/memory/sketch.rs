//! What finds no place is counted in a sketch of its limit: a few rows of cells, each shared by many counters.
//!
//! A counter's cells hold at least what was charged to it, so nobody is forgiven. With `n` hits of counters without a
//! place in one window, a counter reads at most `e × n / width` hits too many, but for one in 55 counters (e⁻⁴, four
//! rows): Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch" (2005). Only the cells that
//! must be are raised ("conservative update", Estan and Varghese 2002), which makes the error smaller still.

use super::slot::{Form, Name, form_of};
use crate::{
    bounds,
    limit::{Counter, Limit},
    units::Timestamp,
};

/// Rows of a sketch; each takes 16 bits of a counter's name to choose a cell.
const ROWS: usize = 4;

/// A [`Counter`] as an array of numbers: an allocator hands out zeros without touching them.
type Cell = [u64; 3];

/// The sketches of all limits that have counters without a place.
#[derive(Debug)]
pub(super) struct Sketches {
    list: Vec<Sketch>,
    /// Cells of a row.
    width: usize,
}

#[derive(Debug)]
struct Sketch {
    group: u32,
    limit: Limit,
    /// When nothing in it counts any more.
    until: Timestamp,
    cells: Vec<Cell>,
}

impl Sketches {
    /// Sketches beside `max_counters` with a place: all together take at most an eighth of their memory, or 0.8 MB.
    pub(super) fn new(max_counters: usize) -> Self {
        let width = (max_counters / bounds::COUNTERS_PER_SKETCH_CELL).clamp(1 << 10, bounds::SKETCH_WIDTH_MAX);
        Self { list: Vec::new(), width: 1 << width.ilog2() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.list.iter().map(|sketch| sketch.cells.capacity() * size_of::<Cell>()).sum()
    }

    /// What the counter called `name` has been charged at most; None where its limit has no
    /// sketch.
    pub(super) fn estimate(&self, name: Name, group: u32, limit: &Limit, now: Timestamp) -> Option<Counter> {
        let sketch = self.list.iter().find(|sketch| sketch.is_of(group, limit))?;
        let cells = places(name, self.width).map(|place| limit.at(from_cell(sketch.cells[place]), now));
        // All its cells hold at least what it was charged; the one with most room holds least too much.
        cells.into_iter().max_by_key(|&cell| limit.standing(cell, now).available)
    }

    /// Remembers that the counter called `name` now is `counter`; false where there is no sketch left for its limit.
    pub(super) fn record(&mut self, name: Name, group: u32, limit: &Limit, counter: Counter, now: Timestamp) -> bool {
        let found = self.list.iter().position(|sketch| sketch.is_of(group, limit));
        let Some(index) = found.or_else(|| self.begin(group, limit, now)) else { return false };
        let sketch = &mut self.list[index];
        sketch.until = sketch.until.max(limit.forgotten_at(counter));
        for place in places(name, self.width) {
            let cell = limit.at(from_cell(sketch.cells[place]), now);
            let Counter { used, rest, time } = greater(limit, cell, counter, now);
            sketch.cells[place] = [used, rest, time.0];
        }
        true
    }

    /// Drops the sketches in which nothing counts any more.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.list.retain(|sketch| now < sketch.until);
    }

    /// The place of a new sketch, if there may be one more.
    fn begin(&mut self, group: u32, limit: &Limit, now: Timestamp) -> Option<usize> {
        self.forget(now);
        if self.list.len() == bounds::SKETCHES_MAX {
            return None;
        }
        let cells = vec![[0; 3]; ROWS * self.width];
        self.list.push(Sketch { group, limit: limit.clone(), until: Timestamp::EPOCH, cells });
        Some(self.list.len() - 1)
    }
}

impl Sketch {
    /// A reload may give a group's number to another limit, whose windows mean something else; another count of the
    /// same window goes on with what was counted.
    fn is_of(&self, group: u32, limit: &Limit) -> bool {
        self.group == group && self.limit.algorithm == limit.algorithm && self.limit.window == limit.window
    }
}

/// The cells of a counter, one a row. Names are keyed hashes: their parts choose as independently as hash functions.
#[expect(clippy::cast_possible_truncation, reason = "16 bits are asked for")]
fn places(name: Name, width: usize) -> [usize; ROWS] {
    std::array::from_fn(|row| row * width + (usize::from((name.low >> (16 * row)) as u16) & (width - 1)))
}

/// A counter that has no more room than either, now or later.
fn greater(limit: &Limit, one: Counter, other: Counter, now: Timestamp) -> Counter {
    let room = |counter| limit.standing(counter, now).available;
    // Numbers that belong to one time can be compared each on its own. A bucket's two are one number.
    if one.time == other.time && form_of(limit) != Form::Bucket {
        return Counter { used: one.used.max(other.used), rest: one.rest.max(other.rest), time: one.time };
    }
    if room(one) < room(other) { one } else { other }
}

fn from_cell([used, rest, time]: Cell) -> Counter {
    Counter { used, rest, time: Timestamp(time) }
}
