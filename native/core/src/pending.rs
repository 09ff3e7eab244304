//! Labels that have arrived but are not due: a verdict changes nothing before the time it was known.
//!
//! In a live stream a label arrives when it is known, so this is nearly empty; in a replay, or when a topic is
//! read from its beginning, all labels may be here long before their time. Order: by the time a label is
//! known, then by arrival. Bounded by [`PENDING_LABELS_MAX`]: beyond it the earliest is handed out at
//! once, which costs room in a fraud log but tells nothing early (`FraudLog::view` looks at the time too).

use std::collections::BTreeMap;

use crate::event::{ENTITY_KINDS, Label, Transaction};
use crate::limits::PENDING_LABELS_MAX;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::{AmountMinor, EntityKey, EventTimeMicros};

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingLabels {
    by_time: BTreeMap<(EventTimeMicros, u64), Label>,
    arrived: u64,
}

impl PendingLabels {
    /// Labels that wait.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// Takes in a label.
    pub fn push(&mut self, label: Label) {
        self.by_time.insert((label.known_time, self.arrived), label);
        self.arrived += 1;
    }

    /// Hands out the labels known no later than each transaction, with the row they precede; `now` is the
    /// newest event time before the first of them.
    pub fn due(&mut self, transactions: &[Transaction], now: Option<EventTimeMicros>) -> Vec<(u32, Label)> {
        let mut due = Vec::new();
        let Some(mut next) = self.next_due() else { return due };
        let mut now = now.unwrap_or(EventTimeMicros(i64::MIN));
        for (row, transaction) in transactions.iter().enumerate() {
            now = now.max(transaction.time);
            while next <= now {
                due.extend(self.by_time.pop_first().map(|(_, label)| (row as u32, label)));
                let Some(following) = self.next_due() else { return due };
                next = following;
            }
        }
        due
    }

    /// The labels that are known by a time, in the order in which they are handed out; they go on waiting.
    pub fn known_by(&self, now: EventTimeMicros) -> impl Iterator<Item = &Label> {
        self.by_time.range(..=(now, u64::MAX)).map(|(_, label)| label)
    }

    /// No longer keeps the labels that are known by a time.
    pub fn forget_known_by(&mut self, now: EventTimeMicros) {
        self.by_time.retain(|&(time, _), _| time > now);
    }

    /// When the next label is due: at once when there are too many.
    fn next_due(&self) -> Option<EventTimeMicros> {
        let (&(time, _), _) = self.by_time.first_key_value()?;
        Some(if self.by_time.len() > PENDING_LABELS_MAX { EventTimeMicros(i64::MIN) } else { time })
    }

    /// Appends the labels to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        out.u32(self.by_time.len() as u32);
        for label in self.by_time.values() {
            out.u64(label.id.get());
            out.i64(label.event_time.0);
            out.i64(label.known_time.0);
            out.u8(u8::from(label.is_fraud));
            out.i64(label.amount.0);
            for entity in label.entities {
                out.u64(entity.map_or(0, EntityKey::get));
            }
        }
    }

    /// Takes labels from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut pending = Self::default();
        for _ in 0..input.length("pending labels", 2 * PENDING_LABELS_MAX)? {
            let id = EntityKey::from_hash(input.u64()?);
            let (event_time, known_time) = (EventTimeMicros(input.i64()?), EventTimeMicros(input.i64()?));
            let is_fraud = input.u8()? != 0;
            let amount = AmountMinor(input.i64()?);
            let mut entities = [None; ENTITY_KINDS];
            for entity in &mut entities {
                let key = input.u64()?;
                *entity = (key != 0).then(|| EntityKey::from_hash(key));
            }
            pending.push(Label { id, event_time, known_time, is_fraud, amount, entities });
        }
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(id: u64, known: i64) -> Label {
        Label {
            id: EntityKey::from_hash(id),
            event_time: EventTimeMicros(1),
            known_time: EventTimeMicros(known),
            is_fraud: id.is_multiple_of(2),
            amount: AmountMinor(5),
            entities: [Some(EntityKey::from_hash(9)), None, None, Some(EntityKey::from_hash(8)), None],
        }
    }

    fn at(time: i64) -> Transaction {
        Transaction {
            id: EntityKey::from_hash(1),
            time: EventTimeMicros(time),
            amount: AmountMinor(1),
            entities: [None; ENTITY_KINDS],
            place: None,
            channel: None,
            category: None,
            country: None,
        }
    }

    #[test]
    fn a_label_comes_out_before_the_first_row_at_or_after_its_time_and_ties_keep_their_order() {
        let mut pending = PendingLabels::default();
        for (id, known) in [(1, 30), (2, 10), (3, 20), (4, 20)] {
            pending.push(label(id, known));
        }
        let due = pending.due(&[at(5), at(20), at(6), at(29)], None);
        let due: Vec<_> = due.iter().map(|(row, label)| (*row, label.id.get())).collect();
        assert_eq!(due, [(1, 2), (1, 3), (1, 4)]);
        assert_eq!(pending.due(&[at(6)], Some(EventTimeMicros(30))).len(), 1);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_snapshot_keeps_labels_and_their_order() {
        let mut pending = PendingLabels::default();
        for (id, known) in [(1, 30), (2, 10), (3, 30)] {
            pending.push(label(id, known));
        }
        let mut out = Writer::default();
        pending.write(&mut out);
        let mut read = PendingLabels::read(&mut Reader::new(&out.bytes)).unwrap();
        assert_eq!(read.due(&[at(40)], None), pending.due(&[at(40)], None));
        assert!(PendingLabels::read(&mut Reader::new(&out.bytes[..20])).is_err());
    }

    #[test]
    fn beyond_the_bound_the_earliest_goes_first() {
        let mut pending = PendingLabels::default();
        for id in 0..PENDING_LABELS_MAX as u64 + 3 {
            pending.push(label(id + 1, 1_000_000 + id as i64));
        }
        let due = pending.due(&[at(1)], None);
        assert_eq!(due.iter().map(|(_, label)| label.id.get()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(pending.len(), PENDING_LABELS_MAX);
    }
}
