//! What labels have told about one entity: its known frauds, each once.
//!
//! A fraud counts from the moment it is known, never before. A label that comes twice changes nothing; a
//! later verdict "genuine" takes the fraud back. Bounded to [`KNOWN_FRAUDS_MAX`]: the earliest reported
//! makes room.

use crate::limits::{KNOWN_FRAUDS_MAX, WINDOWS};
use crate::prefetch::prefetch_bytes;
use crate::units::{DurationMicros, EntityKey};

/// Indices into [`WINDOWS`] for which reports are counted: 24 h, 7 d, 30 d.
pub const REPORT_WINDOWS: [usize; 3] = [2, 3, 4];

/// One fraud, as its label told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFraud {
    /// Key of the transaction id.
    pub id: EntityKey,
    /// When the fraud happened, in microseconds since 1970.
    pub event_time: i64,
    /// When it was reported, in microseconds since 1970.
    pub known_time: i64,
    /// Its amount in minor units.
    pub amount: i64,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FraudLog {
    /// In the order of their labels.
    pub(super) known: Vec<KnownFraud>,
}

/// What is known at one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FraudView {
    /// Frauds reported within each of [`REPORT_WINDOWS`] up to the event.
    pub reported: [u32; REPORT_WINDOWS.len()],
    /// Known frauds that happened within the widest window up to the event.
    pub happened: u32,
    /// Sum of their amounts in minor units.
    pub happened_sum: i64,
    /// Time since the latest known fraud happened.
    pub since_latest: Option<DurationMicros>,
    /// Time since the earliest known fraud of the widest window happened.
    pub since_earliest: Option<DurationMicros>,
}

impl FraudLog {
    /// Takes in one verdict.
    pub fn learn(&mut self, fraud: KnownFraud, is_fraud: bool) {
        let place = self.known.iter().position(|known| known.id == fraud.id);
        match (place, is_fraud) {
            (Some(at), false) => {
                self.known.remove(at);
                self.fit(self.known.len());
            }
            (None, true) => {
                if self.known.len() == KNOWN_FRAUDS_MAX {
                    self.known.remove(0);
                }
                self.fit(self.known.len() + 1);
                self.known.push(fraud);
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    /// The room for a number of frauds: it follows from the number alone, so that a restored log is as large as the
    /// one that was saved.
    const fn room(len: usize) -> usize {
        if len == 0 { 0 } else { len.next_power_of_two() }
    }

    /// Makes the room that a number of frauds needs, and no more.
    pub(super) fn fit(&mut self, len: usize) {
        let room = Self::room(len);
        self.known.shrink_to(room);
        self.known.reserve_exact(room - self.known.len());
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// When the latest report came, in microseconds since 1970.
    pub fn newest_report(&self) -> Option<i64> {
        self.known.iter().map(|fraud| fraud.known_time).max()
    }

    /// Starts loading the first frauds; the processor sees by itself that the others follow.
    pub fn prefetch(&self) {
        prefetch_bytes(self.known.as_ptr(), 128);
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        Self::room(self.known.len()) * size_of::<KnownFraud>() + size_of::<Self>()
    }

    /// What is known at `now`; labels that arrived later do not exist yet.
    pub fn view(&self, now: i64) -> FraudView {
        let mut view = FraudView::default();
        let mut latest = i64::MIN;
        let mut earliest = i64::MAX;
        let widest = now - WINDOWS[REPORT_WINDOWS[2]].0;
        for fraud in self.known.iter().filter(|fraud| fraud.known_time <= now) {
            for (slot, &window) in REPORT_WINDOWS.iter().enumerate() {
                view.reported[slot] += u32::from(fraud.known_time > now - WINDOWS[window].0);
            }
            latest = latest.max(fraud.event_time);
            if fraud.event_time > widest {
                view.happened += 1;
                view.happened_sum = view.happened_sum.saturating_add(fraud.amount);
                earliest = earliest.min(fraud.event_time);
            }
        }
        view.since_latest = (latest != i64::MIN).then(|| DurationMicros(now - latest));
        view.since_earliest = (earliest != i64::MAX).then(|| DurationMicros(now - earliest));
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn fraud(id: u64, event_day: i64, known_day: i64) -> KnownFraud {
        KnownFraud {
            id: EntityKey::from_hash(id),
            event_time: event_day * DAY,
            known_time: known_day * DAY,
            amount: 500,
        }
    }

    #[test]
    fn a_fraud_counts_once_from_its_report_on_and_can_be_taken_back() {
        let mut log = FraudLog::default();
        log.learn(fraud(1, 10, 17), true);
        log.learn(fraud(1, 10, 18), true);
        assert_eq!(log.view(16 * DAY), FraudView::default());
        let view = log.view(17 * DAY);
        assert_eq!(view.reported, [1, 1, 1]);
        assert_eq!(view.since_latest, Some(DurationMicros(7 * DAY)));
        assert_eq!((view.happened, view.happened_sum), (1, 500));
        assert_eq!(log.view(18 * DAY).reported, [0, 1, 1]);
        log.learn(fraud(1, 10, 19), false);
        assert!(log.is_empty());
    }

    #[test]
    fn the_log_is_bounded_and_forgets_the_earliest_report() {
        let mut log = FraudLog::default();
        for id in 0..KNOWN_FRAUDS_MAX as u64 + 5 {
            log.learn(fraud(id + 1, 0, id as i64), true);
        }
        assert_eq!(log.known.len(), KNOWN_FRAUDS_MAX);
        assert_eq!(log.known[0].known_time, 5 * DAY);
    }
}
