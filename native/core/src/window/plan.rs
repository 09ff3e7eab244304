//! What the windows of one kind of entity keep: no more than the kind's features read.
//!
//! Memory is what a transaction costs, so a kind without amounts in its features stores none, and a kind
//! that looks back a day forgets after a day (and the lateness bound).

use std::fmt::Debug;

use super::extremes::Extremes;
use super::log::{DISTINCT_WINDOWS, EXTREME_WINDOWS, TAG_COUNT};
use crate::limits::WINDOW_COUNT;

/// The part of an [`EventLog`](super::EventLog) that a kind of entity needs. A window is its position in
/// [`WINDOWS`](crate::limits::WINDOWS), a list of windows ascends.
pub trait Plan: Clone + Copy + Debug + Default {
    /// The windows that are kept. A view shows one event, the current one, in the others.
    const WINDOWS: &'static [usize];
    /// Those of them in which amounts are added up: as many as [`Self::Money`] has sums.
    const SUMS: &'static [usize];
    /// How many tags are kept; the others are taken as absent.
    const TAGS: usize;
    /// For each tag, those of [`DISTINCT_WINDOWS`] in which its distinct values are counted.
    const DISTINCT: [&'static [usize]; TAG_COUNT];
    /// For which tags the earlier events with the same value are counted: a scan of the log.
    const SEEN: [bool; TAG_COUNT];
    /// The aggregates of amounts.
    type Money: Money;
}

/// Where a window stands in a list of windows.
pub(super) const fn slot_of(windows: &[usize], window: usize) -> Option<usize> {
    let mut at = 0;
    while at < windows.len() {
        if windows[at] == window {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The widest of a list of windows; the narrowest there is of an empty one.
pub(super) const fn widest(windows: &[usize]) -> usize {
    if windows.is_empty() { 0 } else { windows[windows.len() - 1] }
}

/// Whether every window of a list is in another one.
pub(super) const fn are_among(list: &[usize], windows: &[usize]) -> bool {
    let mut at = 0;
    while at < list.len() {
        if slot_of(windows, list[at]).is_none() {
            return false;
        }
        at += 1;
    }
    true
}

/// Running aggregates of amounts; what a plan does not want is an empty slice.
pub trait Money: Clone + Copy + Debug + Default {
    /// Whether events carry amounts at all.
    const AMOUNTS: bool;
    /// Sum of each window of [`Plan::SUMS`].
    fn sums(&self) -> &[i64];
    /// The sums, to be changed.
    fn sums_mut(&mut self) -> &mut [i64];
    /// Sum of squares of the widest window: one or none.
    fn squares(&self) -> &[Squares];
    /// The sum of squares, to be changed.
    fn squares_mut(&mut self) -> &mut [Squares];
    /// Smallest and largest amount of each of [`EXTREME_WINDOWS`].
    fn extremes(&self) -> &[Extremes];
    /// The extremes, to be changed.
    fn extremes_mut(&mut self) -> &mut [Extremes];
}

/// A sum of squared amounts. Packed, so that it does not make everything around it a multiple of 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(8))]
pub struct Squares(i128);

impl Squares {
    /// The sum.
    pub const fn get(self) -> i128 {
        self.0
    }

    /// Replaces the sum.
    pub const fn set(&mut self, value: i128) {
        self.0 = value;
    }
}

/// Aggregates of amounts in arrays that may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Amounts<const SUMS: usize, const SQUARES: usize, const EXTREMES: usize> {
    sums: [i64; SUMS],
    squares: [Squares; SQUARES],
    extremes: [Extremes; EXTREMES],
}

/// No amounts.
pub type NoAmounts = Amounts<0, 0, 0>;
/// Sums.
pub type Sums<const WINDOWS: usize> = Amounts<WINDOWS, 0, 0>;
/// Sums and the sum of squares.
pub type Moments<const WINDOWS: usize> = Amounts<WINDOWS, 1, 0>;
/// Sums, sum of squares, smallest and largest.
pub type AllAmounts<const WINDOWS: usize> = Amounts<WINDOWS, 1, { EXTREME_WINDOWS.len() }>;

impl<const SUMS: usize, const SQUARES: usize, const EXTREMES: usize> Default
    for Amounts<SUMS, SQUARES, EXTREMES>
{
    fn default() -> Self {
        Self { sums: [0; SUMS], squares: [Squares(0); SQUARES], extremes: [Extremes::EMPTY; EXTREMES] }
    }
}

impl<const SUMS: usize, const SQUARES: usize, const EXTREMES: usize> Money
    for Amounts<SUMS, SQUARES, EXTREMES>
{
    const AMOUNTS: bool = SUMS + SQUARES + EXTREMES > 0;

    fn sums(&self) -> &[i64] {
        &self.sums
    }

    fn sums_mut(&mut self) -> &mut [i64] {
        &mut self.sums
    }

    fn squares(&self) -> &[Squares] {
        &self.squares
    }

    fn squares_mut(&mut self) -> &mut [Squares] {
        &mut self.squares
    }

    fn extremes(&self) -> &[Extremes] {
        &self.extremes
    }

    fn extremes_mut(&mut self) -> &mut [Extremes] {
        &mut self.extremes
    }
}

/// Every window and every aggregate: what the windows are tested with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everything;

impl Plan for Everything {
    const WINDOWS: &'static [usize] = &[0, 1, 2, 3, 4];
    const SUMS: &'static [usize] = Self::WINDOWS;
    const TAGS: usize = TAG_COUNT;
    const DISTINCT: [&'static [usize]; TAG_COUNT] = [&DISTINCT_WINDOWS; TAG_COUNT];
    const SEEN: [bool; TAG_COUNT] = [true; TAG_COUNT];
    type Money = AllAmounts<WINDOW_COUNT>;
}
