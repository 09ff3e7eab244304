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

/// A state that is not an action's code: the value is a row of the batch being processed.
pub(crate) const PENDING: u8 = u8::MAX;

/// A ring of the last [`RECENT_IDS_MAX`] accepted ids, in columns: 105 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentIds {
    /// Keys; zero is unused.
    pub(crate) ids: [u64; RECENT_IDS_MAX],
    /// The bits of the score, or the row of the batch.
    pub(crate) values: [u32; RECENT_IDS_MAX],
    /// The action's code, or [`PENDING`].
    pub(crate) states: [u8; RECENT_IDS_MAX],
    pub(crate) next: u8,
}

impl RecentIds {
    fn position(&self, id: EntityKey) -> Option<usize> {
        self.ids.iter().position(|&each| each == id.get())
    }

    /// What is known of an id, if it is among the last ones.
    pub fn find(&self, id: EntityKey) -> Option<Earlier> {
        let at = self.position(id)?;
        Some(if self.states[at] == PENDING {
            Earlier::InBatch(self.values[at])
        } else {
            Earlier::Decided {
                score: f32::from_bits(self.values[at]),
                action: Action::from_code(self.states[at]),
            }
        })
    }

    /// Remembers a new id as the given row of the batch being processed.
    pub fn remember(&mut self, id: EntityKey, row: u32) {
        let at = usize::from(self.next);
        (self.ids[at], self.values[at], self.states[at]) = (id.get(), row, PENDING);
        self.next = (self.next + 1) % RECENT_IDS_MAX as u8;
    }

    /// Records what was decided for an id, if it is still remembered.
    pub fn decide(&mut self, id: EntityKey, score: f32, action: Action) {
        if let Some(at) = self.position(id) {
            (self.values[at], self.states[at]) = (score.to_bits(), action.code());
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
