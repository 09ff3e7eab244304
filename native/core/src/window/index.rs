//! Where the keys of one slab are: open addressing with linear probing, one word an entry.
//!
//! A word holds the key's upper half above and the slot plus one below; zero is free. The home of a key
//! follows from its upper half, so that growing, shrinking and closing gaps read no slot.

use crate::units::EntityKey;

const WORDS_MIN: usize = 16;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Index(Vec<u64>);

/// The upper half of a key, as its word has it.
const fn upper(key: EntityKey) -> u64 {
    key.get() >> 32
}

impl Index {
    /// An empty index.
    pub(super) fn new() -> Self {
        Self(vec![0; WORDS_MIN])
    }

    /// An index of `1 << log2` words for `keys` keys, if an index of this size can hold as many.
    pub(super) fn with_words(log2: u8, keys: usize) -> Option<Self> {
        let words = 1_usize.checked_shl(log2.into())?;
        let fits = words >= WORDS_MIN && !Self::full(words, keys) && !Self::sparse(words, keys);
        fits.then(|| Self(vec![0; words]))
    }

    /// Logarithm of the number of words.
    pub(super) const fn log2(&self) -> u8 {
        self.0.len().trailing_zeros() as u8
    }

    /// Heap bytes held.
    pub(super) const fn bytes(&self) -> usize {
        self.0.len() * size_of::<u64>()
    }

    const fn full(words: usize, keys: usize) -> bool {
        keys + 1 > words / 4 * 3
    }

    const fn sparse(words: usize, keys: usize) -> bool {
        words > WORDS_MIN && 16 * keys < words
    }

    /// Heap bytes by which one more key, beside `keys`, makes the index grow.
    pub(super) const fn growth(&self, keys: usize) -> usize {
        if Self::full(self.0.len(), keys + 1) { self.bytes() } else { 0 }
    }

    /// Doubles or halves the index if that suits the number of keys in it.
    pub(super) fn fit(&mut self, keys: usize) {
        if Self::full(self.0.len(), keys) {
            self.resize(2 * self.0.len());
        } else if Self::sparse(self.0.len(), keys) {
            self.resize(self.0.len() / 2);
        }
    }

    #[cold]
    fn resize(&mut self, words: usize) {
        let before = std::mem::replace(&mut self.0, vec![0; words]);
        before.into_iter().filter(|&word| word != 0).for_each(|word| self.put(word));
    }

    const fn mask(&self) -> usize {
        self.0.len() - 1
    }

    fn put(&mut self, word: u64) {
        let mut at = (word >> 32) as usize & self.mask();
        while self.0[at] != 0 {
            at = (at + 1) & self.mask();
        }
        self.0[at] = word;
    }

    /// The first word of a key's probing.
    pub(super) fn home(&self, key: EntityKey) -> &u64 {
        &self.0[upper(key) as usize & self.mask()]
    }

    /// The first slot that may be the key's and that `is` says is.
    pub(super) fn find(&self, key: EntityKey, is: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = upper(key) as usize & self.mask();
        while self.0[at] != 0 {
            let slot = (self.0[at] as u32 - 1) as usize;
            if self.0[at] >> 32 == upper(key) && is(slot) {
                return Some(slot);
            }
            at = (at + 1) & self.mask();
        }
        None
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, key: EntityKey, slot: usize) {
        self.put(upper(key) << 32 | (slot as u64 + 1));
    }

    fn place(&self, key: EntityKey, slot: usize) -> usize {
        let mut at = upper(key) as usize & self.mask();
        while self.0[at] as u32 != slot as u32 + 1 {
            at = (at + 1) & self.mask();
        }
        at
    }

    /// Says that a key that is in the index has moved to another slot.
    pub(super) fn relocate(&mut self, key: EntityKey, from: usize, to: usize) {
        let at = self.place(key, from);
        self.0[at] = upper(key) << 32 | (to as u64 + 1);
    }

    /// Takes out a key that is in the index.
    pub(super) fn remove(&mut self, key: EntityKey, slot: usize) {
        let mask = self.mask();
        let mut hole = self.place(key, slot);
        // Close the gap: move back every follower that probing could no longer reach past it.
        let mut at = (hole + 1) & mask;
        while self.0[at] != 0 {
            let wanted = (self.0[at] >> 32) as usize & mask;
            if at.wrapping_sub(wanted) & mask >= at.wrapping_sub(hole) & mask {
                self.0[hole] = self.0[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.0[hole] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_while_others_come_move_and_go() {
        let key = |number: u64| EntityKey::of(&number.to_le_bytes());
        let mut index = Index::new();
        let mut slots: Vec<u64> = Vec::new();
        for number in 0..20_000_u64 {
            index.insert(key(number), slots.len());
            slots.push(number);
            index.fit(slots.len());
            // Grow to thousands, then fall back to a few.
            let gone = if number < 10_000 { number % 3 == 0 } else { slots.len() > 5 };
            if gone {
                for _ in 0..if number < 10_000 { 1 } else { 2 } {
                    let slot = (number * 7) as usize % slots.len();
                    index.remove(key(slots[slot]), slot);
                    if slot + 1 < slots.len() {
                        index.relocate(key(slots[slots.len() - 1]), slots.len() - 1, slot);
                    }
                    slots.swap_remove(slot);
                    index.fit(slots.len());
                }
            }
            if number % 97 == 0 {
                for (slot, &each) in slots.iter().enumerate() {
                    assert_eq!(index.find(key(each), |at| slots[at] == each), Some(slot));
                }
                assert_eq!(index.find(key(number + 1), |_| true), None);
            }
        }
        assert!(slots.len() <= 6 && index.bytes() <= 16 * 16 * 8, "{} bytes", index.bytes());
    }

    #[test]
    fn only_sizes_that_an_index_reaches_are_accepted() {
        assert!(Index::with_words(4, 0).is_some_and(|index| index.log2() == 4));
        assert!(Index::with_words(3, 0).is_none(), "below the smallest");
        assert!(Index::with_words(4, 11).is_some() && Index::with_words(4, 12).is_none(), "full");
        assert!(Index::with_words(8, 3).is_none(), "nearly empty");
        assert!(Index::with_words(63, 1_000).is_none() && Index::with_words(64, 1).is_none());
    }
}
