//! Events that arrive behind the newest one of their entity.
//!
//! A late event sees the windows that end at its own time, computed by a scan, and enters the log at its
//! place, so that later windows include it. Inside the lateness bound this is exact, unless the log has
//! spilled to panes; then the view is flagged approximate.

use super::block::SUPERSEDED;
use super::extremes::Extremes;
use super::log::{EXTREME_WINDOWS, Event, EventLog, TAG_COUNT, count_tag, distinct_slots, last_with_tag};
use super::panes::PaneRings;
use super::plan::{Money, Plan, slot_of};
use super::view::WindowView;
use crate::limits::{EXACT_EVENTS_MAX, WINDOW_COUNT, WINDOWS};
use crate::units::DurationMicros;

impl<P: Plan> EventLog<P> {
    pub(super) fn observe_late(&mut self, event: &Event) -> WindowView {
        let at = self.block.events().count_until(event.time, self.newest);
        let view = self.view_late(event, at);
        self.enter_late(event, at);
        view
    }

    /// The windows that end at a late event, as they are just after it entered.
    fn view_late(&self, event: &Event, at: usize) -> WindowView {
        let events = self.block.events();
        let mut view = WindowView { approximate: self.panes.is_some(), ..WindowView::of(event) };
        for &window in P::WINDOWS {
            let from = events.count_until(event.time - WINDOWS[window].0, self.newest);
            view.count[window] += (at - from) as u64;
            let (mut sum, mut extremes) = (0, Extremes::EMPTY);
            for amount in events.amounts_from(from).take(at - from) {
                sum += amount;
                extremes.add(amount);
            }
            if let Some(panes) = &self.panes {
                let pane = panes.at(window, event.time);
                view.count[window] += pane.count;
                sum = pane.sum.saturating_add(sum);
                extremes.merge(pane.extremes);
            }
            if P::SUMS.contains(&window) {
                view.sum[window] = view.sum[window].saturating_add(sum);
            }
            if let Some(slot) = slot_of(&EXTREME_WINDOWS, window) {
                view.prior_extremes[slot] = extremes;
            }
            for which in 0..P::TAGS {
                for (slot, _) in distinct_slots::<P>(which).filter(|&(_, counted)| counted == window) {
                    view.distinct[which][slot] = self.distinct_between(from, at, which, event.tags[which]);
                }
            }
        }
        let from = events.count_until(event.time - WINDOWS[Self::WIDEST].0, self.newest);
        // Only within the widest window: what lies before it may have been forgotten already.
        view.since_last = (at > from).then(|| DurationMicros(event.time - events.time(at - 1, self.newest)));
        let squares = |amount| i128::from(amount) * i128::from(amount);
        view.prior_squares = events.amounts_from(from).take(at - from).map(squares).sum();
        view.prior_squares += self.panes.as_ref().map_or(0, |panes| panes.squares_total());
        view.seen = std::array::from_fn(|which| {
            let tag = event.tags[which];
            (P::SEEN[which] && tag != 0).then(|| count_tag(&events.tags(which)[from..at], tag))
        });
        view
    }

    /// Distinct values of one tag among `[from, to)` and one more event.
    fn distinct_between(&self, from: usize, to: usize, which: usize, tag: u32) -> u32 {
        let tags = &self.block.events().tags(which)[from..to];
        let mut values: Vec<u32> = tags.iter().map(|&tag| tag & !SUPERSEDED).collect();
        values.push(tag);
        values.sort_unstable();
        values.dedup();
        values.iter().filter(|&&value| value != 0).count() as u32
    }

    /// Puts a late event at its place and into every window, at the newest time, that holds it.
    fn enter_late(&mut self, event: &Event, at: usize) {
        let inside: [bool; WINDOW_COUNT] =
            std::array::from_fn(|window| event.time > self.newest - WINDOWS[window].0);
        if self.block.len() == EXACT_EVENTS_MAX && at == 0 {
            self.enter_panes(event, inside);
            return;
        }
        let mut at = at;
        if self.block.len() == EXACT_EVENTS_MAX {
            self.spill();
            at -= 1;
        }
        let tags = self.enter_tags(event, at, inside);
        self.block.insert(at, event.time, event.amount, tags);
        for &window in P::WINDOWS.iter().filter(|&&window| !inside[window]) {
            self.tails[window] += 1;
        }
        for (&window, sum) in P::SUMS.iter().zip(self.money.sums_mut()) {
            *sum += if inside[window] { event.amount } else { 0 };
        }
        if inside[WINDOW_COUNT - 1] {
            for squares in self.money.squares_mut() {
                squares.set(squares.get() + i128::from(event.amount) * i128::from(event.amount));
            }
        }
        self.add_extremes(event.amount, inside);
    }

    /// Counts a late event's tags where they are new, marks whichever occurrence is not the last one,
    /// and returns the event's tags as they are to be stored.
    fn enter_tags(&mut self, event: &Event, at: usize, inside: [bool; WINDOW_COUNT]) -> [u32; TAG_COUNT] {
        let mut tags = event.tags;
        let from = self.tails[Self::WIDEST_DISTINCT] as usize;
        for (which, tag) in tags.iter_mut().enumerate().take(P::TAGS) {
            if *tag == 0 {
                continue;
            }
            let last = last_with_tag(self.block.events().tags(which), from, *tag);
            if last.is_some_and(|last| last >= at) {
                *tag |= SUPERSEDED;
            } else {
                for (slot, window) in distinct_slots::<P>(which) {
                    let counted = last.is_some_and(|last| last >= self.tails[window] as usize);
                    self.distinct[which][slot] += u16::from(inside[window] && !counted);
                }
                if let Some(last) = last {
                    self.block.supersede(last, which);
                }
            }
        }
        tags
    }

    /// A late event older than a full log goes straight to the panes.
    fn enter_panes(&mut self, event: &Event, inside: [bool; WINDOW_COUNT]) {
        let mut panes = self.panes.take().unwrap_or_else(|| PaneRings::new(self.newest));
        panes.newest_spilled = panes.newest_spilled.max(event.time);
        for &window in P::WINDOWS.iter().filter(|&&window| inside[window]) {
            panes.add(window, event.time, event.amount);
        }
        self.panes = Some(panes);
        self.add_extremes(event.amount, inside);
    }

    fn add_extremes(&mut self, amount: i64, inside: [bool; WINDOW_COUNT]) {
        for (slot, extremes) in self.money.extremes_mut().iter_mut().enumerate() {
            if inside[EXTREME_WINDOWS[slot]] {
                extremes.add(amount);
            }
        }
    }
}
