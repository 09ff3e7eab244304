//! Events that go out of windows, and the aggregates that they are taken out of.

use super::events::Events;
use super::log::{DISTINCT_WINDOWS, EXTREME_WINDOWS, TAG_COUNT, distinct_slots, is_last};
use super::plan::{Money, Plan, slot_of};
use crate::limits::{WINDOW_COUNT, WINDOWS};

/// What an [`EventLog`](super::EventLog) lends while its windows move on.
pub(super) struct Leaving<'a, P: Plan> {
    events: Events<'a, P>,
    money: &'a mut P::Money,
    distinct: &'a mut [[u16; DISTINCT_WINDOWS.len()]; TAG_COUNT],
    /// Extremes that have to be looked for again.
    pub(super) stale: [bool; EXTREME_WINDOWS.len()],
}

impl<'a, P: Plan> Leaving<'a, P> {
    pub(super) fn new(
        events: Events<'a, P>,
        money: &'a mut P::Money,
        distinct: &'a mut [[u16; DISTINCT_WINDOWS.len()]; TAG_COUNT],
    ) -> Self {
        Self { events, money, distinct, stale: [false; EXTREME_WINDOWS.len()] }
    }

    /// Moves the start of every window over the events that are too old, `since` after the time that was the newest.
    #[inline]
    pub(super) fn advance(&mut self, tails: &mut [u16; WINDOW_COUNT], newest: i64, since: i64) {
        // Spelled out, so that each is compiled for what is kept of its window, and nothing is looked up for an event.
        self.advance_one::<0>(tails, newest, since);
        self.advance_one::<1>(tails, newest, since);
        self.advance_one::<2>(tails, newest, since);
        self.advance_one::<3>(tails, newest, since);
        self.advance_one::<4>(tails, newest, since);
        const { assert!(WINDOW_COUNT == 5, "each window has its line") };
    }

    #[inline]
    fn advance_one<const WINDOW: usize>(&mut self, tails: &mut [u16; WINDOW_COUNT], newest: i64, since: i64) {
        if slot_of(P::WINDOWS, WINDOW).is_none() {
            return;
        }
        let age_min = WINDOWS[WINDOW].0.wrapping_sub(since);
        let mut tail = tails[WINDOW] as usize;
        while tail < self.events.len() && self.events.age(tail, newest) >= age_min {
            self.take_out(WINDOW, tail);
            tail += 1;
        }
        tails[WINDOW] = tail as u16;
    }

    /// Takes the event at `at` out of one window's aggregates.
    #[inline]
    pub(super) fn take_out(&mut self, window: usize, at: usize) {
        let sum = slot_of(P::SUMS, window);
        let squares = window == WINDOW_COUNT - 1 && !self.money.squares().is_empty();
        let extremes = slot_of(&EXTREME_WINDOWS, window).filter(|&slot| slot < self.money.extremes().len());
        if sum.is_some() || squares || extremes.is_some() {
            let amount = self.events.amount(at);
            if let Some(slot) = sum {
                self.money.sums_mut()[slot] -= amount;
            }
            if squares {
                let squares = &mut self.money.squares_mut()[0];
                squares.set(squares.get() - i128::from(amount) * i128::from(amount));
            }
            if let Some(slot) = extremes {
                self.stale[slot] |= self.money.extremes()[slot].touches(amount);
            }
        }
        for which in 0..P::TAGS {
            for (slot, _) in distinct_slots::<P>(which).filter(|&(_, counted)| counted == window) {
                self.distinct[which][slot] -= u16::from(is_last(self.events.tags(which)[at]));
            }
        }
    }
}
