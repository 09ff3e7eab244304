//! The newest answers by transaction id, so that who asks again gets the same. At its bound the oldest makes room.

use std::collections::{HashMap, VecDeque};

use crate::scoring::repeated;

/// See the module's text.
#[derive(Debug)]
pub struct Kept {
    by_id: HashMap<u64, Vec<u8>>,
    order: VecDeque<u64>,
    most: usize,
}

impl Kept {
    /// Room for at most so many.
    pub fn new(most: usize) -> Self {
        Self { by_id: HashMap::new(), order: VecDeque::new(), most }
    }

    /// The first answer to an id, marked as repeated.
    pub fn again(&self, id: u64) -> Option<Vec<u8>> {
        self.by_id.get(&id).cloned().map(repeated)
    }

    /// Keeps the first answer to an id.
    pub fn keep(&mut self, id: u64, answer: &[u8]) {
        if self.most == 0 || self.by_id.contains_key(&id) {
            return;
        }
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, answer.to_vec());
        self.order.push_back(id);
    }

    /// How many are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_id.len().max(self.order.len())
    }
}
