//! The last transaction ids of a customer, and what was decided: a repeated id is answered, not counted.

use crate::decision::Action;
use crate::limits::RECENT_IDS_MAX;
use crate::units::EntityKey;

/// What became of a transaction id seen before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Earlier {
    /// It stands at this row of the batch being processed.
    InBatch(u32),
    /// It was decided in an earlier batch.
    Decided {
        /// Its score.
        score: f32,
        /// Its action.
        action: Action,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(crate) struct RecentId {
    /// The id's key; zero is unused.
    pub(crate) id: u64,
    pub(crate) score: f32,
    /// The action's code, or [`PENDING`] plus the row of the batch.
    pub(crate) state: u32,
}

const PENDING: u32 = 1 << 31;

/// A ring of the last [`RECENT_IDS_MAX`] accepted ids.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecentIds {
    pub(crate) ring: [RecentId; RECENT_IDS_MAX],
    pub(crate) next: u8,
}

impl RecentIds {
    /// What is known of an id, if it is among the last ones.
    pub fn find(&self, id: EntityKey) -> Option<Earlier> {
        let entry = self.ring.iter().find(|entry| entry.id == id.get())?;
        Some(if entry.state & PENDING != 0 {
            Earlier::InBatch(entry.state & !PENDING)
        } else {
            Earlier::Decided { score: entry.score, action: Action::from_code(entry.state as u8) }
        })
    }

    /// Remembers a new id as the given row of the batch being processed.
    pub fn remember(&mut self, id: EntityKey, row: u32) {
        self.ring[self.next as usize] = RecentId { id: id.get(), score: f32::NAN, state: PENDING | row };
        self.next = (self.next + 1) % RECENT_IDS_MAX as u8;
    }

    /// Records what was decided for an id, if it is still remembered.
    pub fn decide(&mut self, id: EntityKey, score: f32, action: Action) {
        if let Some(entry) = self.ring.iter_mut().find(|entry| entry.id == id.get()) {
            entry.score = score;
            entry.state = u32::from(action.code());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_until_enough_others_came() {
        let mut recent = RecentIds::default();
        let id = |n: usize| EntityKey::from_hash(n as u64 + 1);
        recent.remember(id(0), 7);
        assert_eq!(recent.find(id(0)), Some(Earlier::InBatch(7)));
        recent.decide(id(0), 0.5, Action::Review);
        for n in 1..RECENT_IDS_MAX {
            recent.remember(id(n), 0);
            assert_eq!(recent.find(id(0)), Some(Earlier::Decided { score: 0.5, action: Action::Review }));
        }
        recent.remember(id(RECENT_IDS_MAX), 0);
        assert_eq!(recent.find(id(0)), None);
        recent.decide(id(0), 0.1, Action::Block);
        assert_eq!(recent.find(id(0)), None);
    }
}
