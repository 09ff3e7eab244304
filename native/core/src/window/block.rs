//! The events of one entity in one heap block: times, amounts and tags, each contiguous, sorted by time.
//!
//! Contiguous columns (instead of a ring) make every scan a slice and a late insertion a move; the live
//! range slides towards the end of the block and is moved back when it reaches it. Invariant: times
//! ascend; among equal times, arrival order.

use super::prefetch::prefetch;

/// Set in a tag whose fingerprint occurs again in a later event of the same block.
pub const SUPERSEDED: u32 = 1 << 31;

/// Capacities grow through these steps; the last one leaves room to slide above the exact bound.
const CAPACITIES: [u16; 18] = [4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 288, 432, 580];

// The largest block suits a full log: its events, one more, and an eighth to spare.
const _: () = {
    let full = crate::limits::EXACT_EVENTS_MAX;
    assert!(CAPACITIES[CAPACITIES.len() - 1] as usize > full + full / 8);
};

/// Blocks up to this capacity are prefetched whole: twelve cache lines.
const PREFETCH_WHOLE: usize = 32;

/// Of a larger block, this many of the newest tags are asked for: eight cache lines.
const TAGS_AHEAD: usize = 128;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct EventBlock {
    /// `3 * capacity` words: times, amounts, first tags, second tags (two to a word).
    words: Box<[u64]>,
    start: u16,
    end: u16,
}

impl EventBlock {
    /// Number of events.
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    const fn capacity(&self) -> usize {
        self.words.len() / 3
    }

    /// Heap bytes held.
    pub const fn heap_bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// Starts loading what the next event will touch: a small block whole, of a large one the end, where
    /// the event goes, and the events at `tails`, which may leave a window.
    pub fn prefetch(&self, tails: &[u16]) {
        let capacity = self.capacity();
        let ask = |word: usize| prefetch(self.words.as_ptr().wrapping_add(word));
        if capacity <= PREFETCH_WHOLE {
            (0..3 * capacity).step_by(8).for_each(ask);
            return;
        }
        for column in 0..2 {
            ask(column * capacity + self.end as usize);
            for &tail in tails {
                ask(column * capacity + (self.start + tail) as usize);
            }
        }
        // Distinct counts search the newest tags; sixteen of them share a line.
        let newest = (self.end as usize).saturating_sub(TAGS_AHEAD)..=self.end as usize;
        for column in 4..6 {
            newest.clone().step_by(16).for_each(|at| ask((column * capacity + at) >> 1));
        }
    }

    fn column(&self, index: usize) -> &[u64] {
        let base = index * self.capacity();
        &self.words[base + self.start as usize..base + self.end as usize]
    }

    /// Event times in microseconds, ascending; positive, so the unsigned order is the order of time.
    pub fn times(&self) -> &[u64] {
        self.column(0)
    }

    /// Amounts in minor units.
    pub fn amounts(&self) -> &[u64] {
        self.column(1)
    }

    /// Tags of one kind (0 or 1); zero is absent.
    pub fn tags(&self, which: usize) -> &[u32] {
        let base = which * self.capacity();
        &self.tag_words()[base + self.start as usize..base + self.end as usize]
    }

    fn tag_words(&self) -> &[u32] {
        bytemuck::cast_slice(&self.words[2 * self.capacity()..])
    }

    fn tag_words_mut(&mut self) -> &mut [u32] {
        let base = 2 * self.capacity();
        bytemuck::cast_slice_mut(&mut self.words[base..])
    }

    /// Time of one event.
    pub fn time(&self, at: usize) -> i64 {
        self.words[self.start as usize + at] as i64
    }

    /// Amount of one event.
    pub fn amount(&self, at: usize) -> i64 {
        self.words[self.capacity() + self.start as usize + at] as i64
    }

    /// Marks one tag (0 or 1) of an event as occurring again later.
    pub fn supersede(&mut self, at: usize, which: usize) {
        let index = which * self.capacity() + self.start as usize + at;
        self.tag_words_mut()[index] |= SUPERSEDED;
    }

    /// Number of events at or before a time.
    pub fn count_until(&self, time: i64) -> usize {
        self.times().partition_point(|&each| each as i64 <= time)
    }

    /// Inserts an event so that it stands at `at`; the later ones move up.
    pub fn insert(&mut self, at: usize, time: i64, amount: i64, tags: [u32; 2]) {
        if self.end as usize == self.capacity() {
            self.make_room();
        }
        let capacity = self.capacity();
        let (from, end) = (self.start as usize + at, self.end as usize);
        for (column, value) in [time as u64, amount as u64].into_iter().enumerate() {
            insert_at(&mut self.words[column * capacity..][..capacity], from, end, value);
        }
        for (column, tag) in tags.into_iter().enumerate() {
            insert_at(&mut self.tag_words_mut()[column * capacity..][..capacity], from, end, tag);
        }
        self.end += 1;
    }

    /// Removes the oldest events.
    pub fn drop_front(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count as u16;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Makes room at the end: slides the events back to the front of the block, or moves them to a block
    /// of the capacity that suits their number. A block whose entity has calmed down shrinks.
    #[cold]
    fn make_room(&mut self) {
        let (start, len, capacity) = (self.start as usize, self.len(), self.capacity());
        // An eighth to spare: sliding then costs a few moves per event.
        let needed = len + 1 + len / 8;
        let suited = CAPACITIES.iter().map(|&each| each as usize).find(|&each| each >= needed);
        let suited = suited.expect("a log spills to panes before it outgrows the largest block");
        if suited <= capacity && 2 * suited > capacity {
            for column in 0..2 {
                self.words[column * capacity..][..capacity].copy_within(start..start + len, 0);
                self.tag_words_mut()[column * capacity..][..capacity].copy_within(start..start + len, 0);
            }
            (self.start, self.end) = (0, len as u16);
        } else {
            *self = self.moved_to(suited);
        }
    }

    fn moved_to(&self, capacity: usize) -> Self {
        let len = self.len();
        let mut moved = Self { words: vec![0; 3 * capacity].into_boxed_slice(), start: 0, end: len as u16 };
        moved.words[..len].copy_from_slice(self.times());
        moved.words[capacity..capacity + len].copy_from_slice(self.amounts());
        for which in 0..2 {
            moved.tag_words_mut()[which * capacity..][..len].copy_from_slice(self.tags(which));
        }
        moved
    }
}

/// Puts a value at `at` of the first `end` values of a column; the later ones move up.
fn insert_at<T: Copy>(column: &mut [T], at: usize, end: usize, value: T) {
    if at < end {
        column.copy_within(at..end, at + 1);
    }
    column[at] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stay_sorted_through_growth_sliding_and_late_insertion() {
        let mut block = EventBlock::default();
        for time in 0..500_i64 {
            block.insert(block.len(), 10 * time, time, [time as u32, 7]);
            if time % 3 == 0 && time > 20 {
                block.drop_front(1);
            }
            if time % 7 == 0 && time > 20 {
                let late = 10 * time - 35;
                block.insert(block.count_until(late), late, -1, [0, 0]);
            }
        }
        assert!(block.times().windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(block.times().len(), block.len());
        for at in 0..block.len() {
            let (amount, tags) = (block.amount(at), [block.tags(0)[at], block.tags(1)[at]]);
            assert_eq!(tags, if amount < 0 { [0, 0] } else { [amount as u32, 7] });
        }
        assert!(block.heap_bytes() >= 24 * block.len());
    }

    #[test]
    fn a_block_shrinks_when_its_entity_calms_down() {
        let mut block = EventBlock::default();
        for time in 0..300_i64 {
            block.insert(block.len(), time, time, [1, 1]);
        }
        let busy = block.heap_bytes();
        block.drop_front(290);
        for time in 300..700_i64 {
            block.insert(block.len(), time, time, [1, 1]);
            block.drop_front(1);
        }
        assert!(block.heap_bytes() * 8 < busy);
        assert_eq!(block.amounts(), (690..700).collect::<Vec<u64>>());
    }

    #[test]
    fn an_equal_time_goes_after_those_that_arrived_before() {
        let mut block = EventBlock::default();
        for amount in 1..=3 {
            let at = block.count_until(5);
            block.insert(at, 5, amount, [0, 0]);
        }
        assert_eq!(block.amounts(), [1, 2, 3]);
    }
}
