//! What feature formulas read: one event, the windows of one entity, and arithmetic in which an absent
//! value is NaN, never zero.

use crate::entity::PlaceView;
use crate::event::Transaction;
use crate::limits::{D30, EXACT_EVENTS_MAX, WINDOW_COUNT};
use crate::units::DurationMicros;
use crate::window::{FraudView, WindowView};

/// A customer's habits at one event; NaN where unknown.
#[derive(Clone, Copy, Debug)]
pub struct HabitFacts {
    /// Share of earlier events within an hour of this hour of the day, 0 to 1.
    pub hour_share: f64,
    /// Whether the merchant category is new, 0 or 1.
    pub category_new: f64,
    /// Distance and speed.
    pub place: PlaceView,
}

/// Everything one entity knows at one event.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The event.
    pub transaction: &'a Transaction,
    /// The windows, this event included.
    pub view: &'a WindowView,
    /// What labels have told.
    pub frauds: FraudView,
    /// Events of the entity after its latest known fraud, this one included.
    pub since_fraud: u32,
    /// Events of the entity from its earliest known fraud of the widest window to its latest.
    pub fraud_span: u32,
    /// Time since the entity was first seen.
    pub age: DurationMicros,
    /// Minor units in a major unit.
    pub minor_per_major: f64,
    /// Habits; NaN for entities without.
    pub habits: HabitFacts,
}

impl Facts<'_> {
    pub(super) fn amount(&self) -> f64 {
        self.transaction.amount.0 as f64 / self.minor_per_major
    }

    pub(super) fn count(&self, window: usize) -> f64 {
        self.view.count[window] as f64
    }

    pub(super) fn sum(&self, window: usize) -> f64 {
        self.view.sum[window] as f64 / self.minor_per_major
    }

    pub(super) fn prior_count(&self, window: usize) -> u64 {
        self.view.count[window] - 1
    }

    fn prior_sum_minor(&self, window: usize) -> i64 {
        self.view.sum[window] - self.transaction.amount.0
    }

    /// Mean amount of the earlier events, in major units.
    pub(super) fn prior_mean(&self, window: usize) -> f64 {
        let count = self.prior_count(window);
        if count == 0 {
            return f64::NAN;
        }
        self.prior_sum_minor(window) as f64 / count as f64 / self.minor_per_major
    }

    /// This amount over another; NaN when that one is zero or missing, never infinite.
    pub(super) fn ratio_to(&self, other: f64) -> f64 {
        if other > 0.0 { self.amount() / other } else { f64::NAN }
    }

    /// This amount over the mean of the earlier ones.
    pub(super) fn ratio_to_mean(&self, window: usize) -> f64 {
        self.ratio_to(self.prior_mean(window))
    }

    /// Sample standard deviation of the earlier amounts of the widest window, in major units.
    ///
    /// From integer moments while the window is exact, so it does not depend on the order of events.
    pub(super) fn prior_deviation(&self) -> f64 {
        let window = WINDOW_COUNT - 1;
        let count = self.prior_count(window);
        if count < 2 {
            return f64::NAN;
        }
        let (n, sum) = (i128::from(count), i128::from(self.prior_sum_minor(window)));
        let variance = if count <= EXACT_EVENTS_MAX as u64 {
            nearest(n * self.view.prior_squares - sum * sum) / nearest(n * (n - 1))
        } else {
            let mean = sum as f64 / n as f64;
            (self.view.prior_squares as f64 / n as f64 - mean * mean).max(0.0)
        };
        libm::sqrt(variance.max(0.0)) / self.minor_per_major
    }

    /// Distance of this amount from the earlier mean in standard deviations (at least one minor unit).
    pub(super) fn z_score(&self) -> f64 {
        let deviation = self.prior_deviation();
        if deviation.is_nan() {
            return f64::NAN;
        }
        (self.amount() - self.prior_mean(WINDOW_COUNT - 1)) / deviation.max(1.0 / self.minor_per_major)
    }

    /// This amount over the largest earlier one in an extreme window (0: 24 h, 1: 30 d).
    pub(super) fn ratio_to_max(&self, slot: usize) -> f64 {
        let max = self.view.prior_extremes[slot].max;
        self.ratio_to(max as f64 / self.minor_per_major)
    }

    /// This amount over the smallest earlier one in an extreme window (0: 24 h, 1: 30 d).
    pub(super) fn ratio_to_min(&self, slot: usize) -> f64 {
        let min = self.view.prior_extremes[slot].min;
        if min == i64::MAX { f64::NAN } else { self.ratio_to(min as f64 / self.minor_per_major) }
    }

    /// Distinct values of a tag in a distinct window (0: 1 h, 1: 24 h, 2: 7 d); NaN if all are absent.
    pub(super) fn distinct(&self, tag: usize, slot: usize) -> f64 {
        match self.view.distinct[tag][slot] {
            0 => f64::NAN,
            count => f64::from(count),
        }
    }

    /// Earlier events with the same tag in the widest window.
    pub(super) fn seen(&self, tag: usize) -> f64 {
        self.view.seen[tag].map_or(f64::NAN, f64::from)
    }

    pub(super) fn hours_since_last(&self) -> f64 {
        self.view.since_last.map_or(f64::NAN, DurationMicros::hours)
    }

    pub(super) fn reported(&self, slot: usize) -> f64 {
        f64::from(self.frauds.reported[slot])
    }

    /// Known frauds of the widest window over all events of that window.
    pub(super) fn fraud_rate(&self) -> f64 {
        f64::from(self.frauds.happened) / self.count(D30)
    }

    /// Known frauds over all events between the earliest and the latest of them.
    pub(super) fn fraud_span_share(&self) -> f64 {
        if self.fraud_span == 0 {
            return f64::NAN;
        }
        f64::from(self.frauds.happened) / f64::from(self.fraud_span)
    }

    /// Mean amount of the known frauds of the widest window, in major units.
    pub(super) fn fraud_mean(&self) -> f64 {
        if self.frauds.happened == 0 {
            return f64::NAN;
        }
        self.frauds.happened_sum as f64 / f64::from(self.frauds.happened) / self.minor_per_major
    }

    /// Events since the latest known fraud; NaN if there is none.
    pub(super) fn count_since_fraud(&self) -> f64 {
        self.frauds.since_latest.map_or(f64::NAN, |_| f64::from(self.since_fraud))
    }

    pub(super) fn days(span: Option<DurationMicros>) -> f64 {
        span.map_or(f64::NAN, DurationMicros::days)
    }

    /// Hour of the day in UTC with its fraction, 0 to 24.
    pub(super) fn hour(&self) -> f64 {
        self.transaction.time.0.rem_euclid(86_400_000_000) as f64 / 3.6e9
    }

    /// Day of the week, 0 for Monday.
    pub(super) fn weekday(&self) -> f64 {
        // 1970-01-01 was a Thursday.
        ((self.transaction.time.0.div_euclid(86_400_000_000) + 3).rem_euclid(7)) as f64
    }
}

/// The nearest `f64`.
fn nearest(value: i128) -> f64 {
    i64::try_from(value).map_or_else(|_| nearest_of_large(value), |small| small as f64)
}

/// For what 64 bits do not hold: there is no instruction for it. Cold, or it would be computed for all.
#[cold]
#[inline(never)]
fn nearest_of_large(value: i128) -> f64 {
    value as f64
}
