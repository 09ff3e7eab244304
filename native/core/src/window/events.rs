//! The events of one entity, to be read: each column a slice of one length, looked up once for a whole scan.

use std::hint::select_unpredictable;
use std::marker::PhantomData;

use super::block::{age_of, amount_of};
use super::log::TAG_COUNT;
use super::plan::{Money, Plan};

/// See the module's text; [`EventBlock`](super::EventBlock) says what the columns hold.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a, P> {
    pub(super) times: &'a [u32],
    /// Empty if the plan has none, like the tags.
    pub(super) amounts: &'a [u32],
    pub(super) tags: [&'a [u32]; TAG_COUNT],
    pub(super) high: &'a [u16],
    pub(super) plan: PhantomData<P>,
}

impl<'a, P: Plan> Events<'a, P> {
    /// Number of events.
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How long before the newest time of the entity an event happened, in microseconds.
    #[inline]
    pub fn age(&self, at: usize, newest: i64) -> i64 {
        age_of(self.times[at], self.high[at], newest)
    }

    /// Time of one event, given the newest time of the entity.
    pub fn time(&self, at: usize, newest: i64) -> i64 {
        newest - self.age(at, newest)
    }

    /// Amount of one event; zero if the plan has none.
    #[inline]
    pub fn amount(&self, at: usize) -> i64 {
        if P::Money::AMOUNTS { amount_of(self.amounts[at], self.high[at]) } else { 0 }
    }

    /// Amounts from an event on, in their order; none if the plan has none.
    pub fn amounts_from(&self, from: usize) -> impl Iterator<Item = i64> {
        let pairs = self.amounts.iter().zip(self.high).skip(from);
        pairs.map(|(&low, &high)| amount_of(low, high))
    }

    /// Tags of one kind (0 or 1); zero is absent.
    #[inline]
    pub const fn tags(&self, which: usize) -> &'a [u32] {
        self.tags[which]
    }

    /// Number of events at or before a time, given the newest time of the entity.
    pub fn count_until(&self, time: i64, newest: i64) -> usize {
        // What is most often asked needs no search.
        if time >= newest {
            return self.len();
        }
        let age_min = newest.saturating_sub(time);
        let is_before = |at| self.age(at, newest) >= age_min;
        let (mut from, mut left) = (0, self.len());
        while left > 1 {
            let half = left / 2;
            // Nobody can guess which side it is: both are computed.
            from = select_unpredictable(is_before(from + half), from + half, from);
            left -= half;
        }
        from + usize::from(left > 0 && is_before(from))
    }
}
