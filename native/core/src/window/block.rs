//! The events of one entity in one heap block: times, amounts and tags, each contiguous, sorted by time.
//!
//! Contiguous columns (instead of a ring) make every scan a slice and a late insertion a move; the live
//! range slides towards the end of the block and is moved back when it reaches it. Invariant: times
//! ascend; among equal times, arrival order.
//!
//! A time is kept as its low 42 bits (51 days) and told apart by the newest time of the entity: events live
//! at most the widest window and the lateness bound. An amount has 38 bits. Low halves are 32-bit columns, the
//! rest of both shares a 16-bit one: 10 bytes, and 4 for each tag.

use std::marker::PhantomData;

use super::events::Events;
use super::log::TAG_COUNT;
use super::plan::{Money, Plan};
use crate::limits::{AMOUNT_MINOR_MAX, LATENESS_MAX, WINDOW_MAX};
use crate::prefetch::prefetch;

/// Set in a tag whose fingerprint occurs again in a later event of the same block.
pub const SUPERSEDED: u32 = 1 << 31;

/// Bits of a time and of an amount beyond the low 32.
const TIME_HIGH_BITS: u32 = 10;
const TIME_MASK: u64 = (1 << (32 + TIME_HIGH_BITS)) - 1;
const AMOUNT_BITS: u32 = 32 + 16 - TIME_HIGH_BITS;

const _: () = {
    assert!((WINDOW_MAX.0 + LATENESS_MAX.0) as u64 <= TIME_MASK, "the age of every event fits");
    assert!(AMOUNT_MINOR_MAX < 1 << AMOUNT_BITS, "every amount fits");
};

/// Capacities grow through these steps, small ones from 16 on: room that is not used is most of what a customer takes
/// in vain. The last one leaves room to slide above the exact bound. Even, so that the 16-bit column fills whole words.
const CAPACITIES: [u16; 27] = [
    2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 240, 288, 360,
    432, 580,
];

/// A block of this capacity or less does not shrink.
const KEPT_CAPACITY: usize = 8;

// The largest block suits a full log: its events, one more, and an eighth to spare.
const _: () = {
    let full = crate::limits::EXACT_EVENTS_MAX;
    assert!(CAPACITIES[CAPACITIES.len() - 1] as usize > full + full / 8);
};

/// Blocks up to this many words are prefetched whole: twelve cache lines.
const PREFETCH_WHOLE: usize = 12 * LINE;

/// Words of a cache line.
const LINE: usize = 16;

/// Of a larger block, this many of the newest tags are asked for: eight cache lines.
const TAGS_AHEAD: usize = 128;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct EventBlock<P> {
    /// Columns of `capacity` words: times, amounts (if the plan has any), tags; then half a column of what
    /// is left of times and amounts, two events to a word.
    words: Box<[u32]>,
    capacity: u16,
    start: u16,
    end: u16,
    plan: PhantomData<P>,
}

impl<P: Plan> EventBlock<P> {
    const FIRST_TAG: usize = 1 + P::Money::AMOUNTS as usize;
    /// Columns of words, without the half one.
    const COLUMNS: usize = Self::FIRST_TAG + P::TAGS;

    /// Number of events.
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// An empty block of a capacity whose first event comes to a place, if a block can be like that.
    pub fn placed(capacity: u16, start: u16) -> Option<Self> {
        if capacity == 0 && start == 0 {
            return Some(Self::default());
        }
        (CAPACITIES.contains(&capacity) && start < capacity).then(|| Self {
            words: Self::room(capacity as usize),
            capacity,
            start,
            end: start,
            plan: PhantomData,
        })
    }

    /// Where the first event is in the block: with the capacity, this says when the block will grow or shrink.
    pub const fn start(&self) -> u16 {
        self.start
    }

    /// Events for which there is room, used or not.
    pub const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    fn room(capacity: usize) -> Box<[u32]> {
        vec![0; Self::COLUMNS * capacity + capacity / 2].into_boxed_slice()
    }

    /// Heap bytes held.
    pub const fn heap_bytes(&self) -> usize {
        self.words.len() * size_of::<u32>()
    }

    /// Starts loading what the next event will touch: a small block whole, of a large one the end, where
    /// the event goes, and the events at `tails`, which may leave a window.
    pub fn prefetch(&self, tails: impl Iterator<Item = u16>) {
        let ask = |word: usize| prefetch(self.words.as_ptr().wrapping_add(word));
        if self.words.len() <= PREFETCH_WHOLE {
            (0..self.words.len()).step_by(LINE).for_each(ask);
            return;
        }
        let capacity = self.capacity();
        for at in tails.map(|tail| self.start + tail).chain([self.end]) {
            (0..Self::FIRST_TAG).for_each(|column| ask(column * capacity + at as usize));
            ask(Self::COLUMNS * capacity + at as usize / 2);
        }
        // Distinct counts search the newest tags; sixteen of them share a line.
        let newest = (self.end as usize).saturating_sub(TAGS_AHEAD)..=self.end as usize;
        for column in Self::FIRST_TAG..Self::COLUMNS {
            newest.clone().step_by(LINE).for_each(|at| ask(column * capacity + at));
        }
    }

    /// The events, to be read.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as a call of its own a twentieth of the fold's instructions")]
    pub fn events(&self) -> Events<'_, P> {
        let (capacity, start, len) = (self.capacity(), self.start as usize, self.len());
        let column = |index: usize| &self.words[index * capacity + start..][..len];
        let high: &[u16] = bytemuck::cast_slice(&self.words[Self::COLUMNS * capacity..]);
        Events {
            times: column(0),
            amounts: if P::Money::AMOUNTS { column(1) } else { &[] },
            tags: std::array::from_fn(
                |which| {
                    if which < P::TAGS { column(Self::FIRST_TAG + which) } else { &[] }
                },
            ),
            high: &high[start..][..len],
            plan: PhantomData,
        }
    }

    /// Marks one tag (0 or 1) of an event as occurring again later.
    pub fn supersede(&mut self, at: usize, which: usize) {
        let index = (Self::FIRST_TAG + which) * self.capacity() + self.start as usize + at;
        self.words[index] |= SUPERSEDED;
    }

    /// Appends an event.
    #[inline]
    pub fn push(&mut self, time: i64, amount: i64, tags: [u32; TAG_COUNT]) {
        if self.end == self.capacity {
            self.make_room();
        }
        let (capacity, at) = (self.capacity(), self.end as usize);
        self.words[at] = time as u32;
        if P::Money::AMOUNTS {
            self.words[capacity + at] = amount as u32;
        }
        for (which, tag) in tags.into_iter().enumerate().take(P::TAGS) {
            self.words[(Self::FIRST_TAG + which) * capacity + at] = tag;
        }
        let high: &mut [u16] = bytemuck::cast_slice_mut(&mut self.words[Self::COLUMNS * capacity..]);
        high[at] = Self::high_of(time, amount);
        self.end += 1;
    }

    /// Inserts an event so that it stands at `at`; the later ones move up.
    pub fn insert(&mut self, at: usize, time: i64, amount: i64, tags: [u32; TAG_COUNT]) {
        let moving = at..self.len();
        self.push(time, amount, tags);
        let (capacity, start) = (self.capacity(), self.start as usize);
        let moving = start + moving.start..=start + moving.end;
        for column in 0..Self::COLUMNS {
            self.words[column * capacity..][moving.clone()].rotate_right(1);
        }
        let high: &mut [u16] = bytemuck::cast_slice_mut(&mut self.words[Self::COLUMNS * capacity..]);
        high[moving].rotate_right(1);
    }

    /// What the 16-bit column has of an event.
    const fn high_of(time: i64, amount: i64) -> u16 {
        let of_amount = if P::Money::AMOUNTS { (amount as u64 >> 32) as u16 } else { 0 };
        ((time as u64 & TIME_MASK) >> 32 << (16 - TIME_HIGH_BITS)) as u16 | of_amount
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
        let (start, end, len, capacity) =
            (self.start as usize, self.end as usize, self.len(), self.capacity());
        // An eighth to spare: sliding then costs a few moves per event.
        let needed = len + 1 + len / 8;
        let suited = CAPACITIES.iter().map(|&each| each as usize).find(|&each| each >= needed);
        let suited = suited.expect("a log spills to panes before it outgrows the largest block");
        // To go back and forth between the smallest blocks costs more than what they take.
        if suited <= capacity && (2 * suited > capacity || capacity <= KEPT_CAPACITY) {
            for column in 0..Self::COLUMNS {
                self.words[column * capacity..][..capacity].copy_within(start..end, 0);
            }
            let high: &mut [u16] = bytemuck::cast_slice_mut(&mut self.words[Self::COLUMNS * capacity..]);
            high.copy_within(start..end, 0);
        } else {
            self.words = self.moved_to(suited);
            self.capacity = suited as u16;
        }
        (self.start, self.end) = (0, len as u16);
    }

    fn moved_to(&self, capacity: usize) -> Box<[u32]> {
        let (start, len, mut moved) = (self.start as usize, self.len(), Self::room(capacity));
        for column in 0..Self::COLUMNS {
            let events = &self.words[column * self.capacity() + start..][..len];
            moved[column * capacity..][..len].copy_from_slice(events);
        }
        let high: &mut [u16] = bytemuck::cast_slice_mut(&mut moved[Self::COLUMNS * capacity..]);
        high[..len].copy_from_slice(self.events().high);
        moved
    }
}

/// How long before the newest time of the entity an event happened, from its columns.
#[inline]
pub(super) const fn age_of(low: u32, high: u16, newest: i64) -> i64 {
    let bits = low as u64 | ((high >> (16 - TIME_HIGH_BITS)) as u64) << 32;
    ((newest as u64).wrapping_sub(bits) & TIME_MASK) as i64
}

/// The amount of an event from its columns.
#[inline]
pub(super) const fn amount_of(low: u32, high: u16) -> i64 {
    let high = high & ((1 << (16 - TIME_HIGH_BITS)) - 1);
    low as i64 | (high as i64) << 32
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
