//! Smallest and largest amount of a window.

/// Smallest and largest amount among some events; empty when there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremes {
    /// Smallest amount in minor units; `i64::MAX` when empty.
    pub min: i64,
    /// Largest amount in minor units; `i64::MIN` when empty.
    pub max: i64,
}

impl Extremes {
    /// Of no events.
    pub const EMPTY: Self = Self { min: i64::MAX, max: i64::MIN };

    /// Takes in one more amount.
    pub fn add(&mut self, amount: i64) {
        self.min = self.min.min(amount);
        self.max = self.max.max(amount);
    }

    /// Takes in the extremes of other events.
    pub fn merge(&mut self, other: Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Whether losing this amount may change the extremes.
    pub const fn touches(&self, amount: i64) -> bool {
        amount == self.min || amount == self.max
    }

    /// Whether losing the events with these extremes may change the extremes.
    pub const fn touches_any(&self, lost: Self) -> bool {
        lost.min == self.min || lost.max == self.max
    }
}
