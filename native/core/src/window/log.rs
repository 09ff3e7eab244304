//! The sliding windows of one entity.
//!
//! Invariants, at the newest time `n` seen by this entity:
//! - `tails[i]` is the first event with time `> n - WINDOWS[i]`, and `sums[i]` adds the amounts from
//!   there to the end; all in integers, so nothing drifts;
//! - inside the widest distinct window, the last event of each tag value is the one without the
//!   [`SUPERSEDED`] mark, so the distinct values of a window are the unmarked tags in it;
//! - events are kept for the widest window plus the lateness bound, so that a late event inside the bound
//!   sees its own exact windows.
//!
//! In-order events cost a few instructions per window. Late events scan their windows: they are rare and
//! the log is bounded.

use super::block::{EventBlock, SUPERSEDED};
use super::extremes::Extremes;
use super::leaving::Leaving;
use super::panes::PaneRings;
use super::plan::{Money, Plan, are_among, slot_of, widest};
use super::view::WindowView;
use crate::limits::{EXACT_EVENTS_MAX, WINDOW_COUNT, WINDOWS};
use crate::units::DurationMicros;

/// Tags carried by each event: identifiers whose distinct values are counted.
pub const TAG_COUNT: usize = 2;
/// Indices into [`WINDOWS`] for which distinct tags are counted: 1 h, 24 h, 7 d.
pub const DISTINCT_WINDOWS: [usize; 3] = [1, 2, 3];
/// Indices into [`WINDOWS`] for which extremes are kept: 24 h and 30 d.
pub const EXTREME_WINDOWS: [usize; 2] = [2, 4];

/// One event as an entity's log sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Event time in microseconds since 1970.
    pub time: i64,
    /// Amount in minor units.
    pub amount: i64,
    /// Fingerprints of the tags; zero is absent.
    pub tags: [u32; TAG_COUNT],
}

/// See the module's text. The plan says which windows, tags and aggregates are kept.
#[derive(Clone, Debug)]
pub struct EventLog<P: Plan> {
    pub(super) block: EventBlock<P>,
    /// Newest event time seen; `i64::MIN` before the first event.
    pub(super) newest: i64,
    /// Position of the first event inside each window.
    pub(super) tails: [u16; WINDOW_COUNT],
    /// Sums, squares and extremes of the amounts from there on.
    pub(super) money: P::Money,
    pub(super) distinct: [[u16; DISTINCT_WINDOWS.len()]; TAG_COUNT],
    pub(super) panes: Option<Box<PaneRings>>,
}

impl<P: Plan> Default for EventLog<P> {
    fn default() -> Self {
        Self {
            block: EventBlock::default(),
            newest: i64::MIN,
            tails: [0; WINDOW_COUNT],
            money: P::Money::default(),
            distinct: [[0; DISTINCT_WINDOWS.len()]; TAG_COUNT],
            panes: None,
        }
    }
}

impl<P: Plan> EventLog<P> {
    /// The widest window kept.
    pub(super) const WIDEST: usize = widest(P::WINDOWS);
    /// The widest that counts distinct tags.
    pub(super) const WIDEST_DISTINCT: usize = {
        let [first, second] = P::DISTINCT;
        if widest(first) > widest(second) { widest(first) } else { widest(second) }
    };
    const SOUND: () = {
        let mut at = 1;
        while at < P::WINDOWS.len() {
            assert!(P::WINDOWS[at - 1] < P::WINDOWS[at], "windows ascend");
            at += 1;
        }
        let [first, second] = P::DISTINCT;
        let read =
            are_among(P::SUMS, P::WINDOWS) && are_among(first, P::WINDOWS) && are_among(second, P::WINDOWS);
        assert!(read, "what is added up or counted in a window needs the window");
        assert!(P::TAGS <= TAG_COUNT && Self::WIDEST < WINDOW_COUNT && Self::WIDEST_DISTINCT <= Self::WIDEST);
    };

    /// Takes in one event, no further than the lateness bound behind the newest, and says what its
    /// windows hold. Events are kept that much longer than the widest window.
    pub fn observe(&mut self, event: &Event, lateness: DurationMicros) -> WindowView {
        const { Self::SOUND };
        if event.time >= self.newest {
            self.observe_in_order(event, lateness)
        } else {
            self.observe_late(event)
        }
    }

    /// Newest event time, or `i64::MIN` before the first event.
    pub const fn newest(&self) -> i64 {
        self.newest
    }

    /// Events kept exactly at or before a time.
    pub fn count_until(&self, time: i64) -> u32 {
        self.block.events().count_until(time, self.newest) as u32
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.block.heap_bytes() + self.panes.as_ref().map_or(0, |_| size_of::<PaneRings>())
    }

    /// Starts loading what the next event will touch.
    pub fn prefetch(&self) {
        self.block.prefetch(P::WINDOWS.iter().map(|&window| self.tails[window]));
    }

    fn observe_in_order(&mut self, event: &Event, lateness: DurationMicros) -> WindowView {
        let since_last = (self.newest != i64::MIN).then(|| DurationMicros(event.time - self.newest));
        self.advance(event.time, lateness);
        let mut view = WindowView { since_last, ..WindowView::of(event) };
        for (slot, extremes) in self.money.extremes().iter().enumerate() {
            view.prior_extremes[slot] = *extremes;
        }
        for squares in self.money.squares() {
            view.prior_squares = squares.get() + self.panes.as_ref().map_or(0, |panes| panes.squares_total());
        }
        let last = self.look_up(event, &mut view);
        self.append(event, last);
        view.distinct = self.distinct.map(|each| each.map(u32::from));
        let len = self.block.len() as u64;
        for &window in P::WINDOWS {
            view.count[window] = len - u64::from(self.tails[window]);
        }
        for (&window, &sum) in P::SUMS.iter().zip(self.money.sums()) {
            view.sum[window] = sum;
        }
        if let Some(panes) = &self.panes {
            for &window in P::WINDOWS {
                let (count, sum) = panes.total(window);
                view.count[window] += count;
                view.sum[window] = view.sum[window].saturating_add(sum);
                view.approximate |= count > 0;
            }
        }
        view
    }

    /// Moves every window's start up to the windows that end at `now`.
    fn advance(&mut self, now: i64, lateness: DurationMicros) {
        // Ages are told from the time that was the newest when the events came in.
        let before = self.newest;
        let since = now.wrapping_sub(before);
        let events = self.block.events();
        let mut leaving = Leaving::<P>::new(events, &mut self.money, &mut self.distinct);
        leaving.advance(&mut self.tails, before, since);
        let mut stale = leaving.stale;
        let reach = WINDOWS[Self::WIDEST].0 + lateness.0;
        let mut gone = 0;
        while gone < self.tails[Self::WIDEST] as usize
            && events.age(gone, before) >= reach.wrapping_sub(since)
        {
            gone += 1;
        }
        if gone > 0 {
            self.block.drop_front(gone);
            for &window in P::WINDOWS {
                self.tails[window] -= gone as u16;
            }
        }
        self.newest = now;
        if let Some(panes) = &mut self.panes {
            let forgotten = panes.advance(now);
            for (slot, extremes) in self.money.extremes().iter().enumerate() {
                stale[slot] |= extremes.touches_any(forgotten[EXTREME_WINDOWS[slot]]);
            }
            if !panes.is_live(now - reach) {
                self.panes = None;
            }
        }
        for (slot, _) in stale.into_iter().enumerate().filter(|(_, stale)| *stale) {
            let extremes = self.scan_extremes(EXTREME_WINDOWS[slot]);
            self.money.extremes_mut()[slot] = extremes;
        }
    }

    pub(super) fn scan_extremes(&self, window: usize) -> Extremes {
        let mut all = self.panes.as_ref().map_or(Extremes::EMPTY, |panes| panes.extremes(window));
        let events = self.block.events();
        events.amounts_from(self.tails[window] as usize).for_each(|amount| all.add(amount));
        all
    }

    /// Counts the earlier events with each tag of an event that the plan asks about, and finds the last one with each.
    fn look_up(&self, event: &Event, view: &mut WindowView) -> [Option<usize>; TAG_COUNT] {
        let events = self.block.events();
        let (widest, from) = (self.tails[Self::WIDEST] as usize, self.tails[Self::WIDEST_DISTINCT] as usize);
        let mut last = [None; TAG_COUNT];
        for (which, last) in last.iter_mut().enumerate().take(P::TAGS) {
            let (tags, tag) = (events.tags(which), event.tags[which]);
            if tag == 0 {
                continue;
            }
            if P::SEEN[which] {
                let seen = count_tag(&tags[widest..], tag);
                view.seen[which] = Some(seen);
                // The widest window holds the ones that count distinct tags.
                if seen == 0 {
                    continue;
                }
            }
            *last = last_with_tag(tags, from, tag);
        }
        last
    }

    /// Appends the newest event to the log and to every window.
    fn append(&mut self, event: &Event, last: [Option<usize>; TAG_COUNT]) {
        let mut last = last;
        if self.block.len() == EXACT_EVENTS_MAX {
            self.spill();
            last = last.map(|at| at.and_then(|at| at.checked_sub(1)));
        }
        for (which, last) in last.into_iter().enumerate().take(P::TAGS) {
            if event.tags[which] == 0 {
                continue;
            }
            for (slot, window) in distinct_slots::<P>(which) {
                let counted = last.is_some_and(|at| at >= self.tails[window] as usize);
                self.distinct[which][slot] += u16::from(!counted);
            }
            if let Some(at) = last {
                self.block.supersede(at, which);
            }
        }
        self.block.push(event.time, event.amount, event.tags);
        self.money.sums_mut().iter_mut().for_each(|sum| *sum += event.amount);
        for squares in self.money.squares_mut() {
            squares.set(squares.get() + i128::from(event.amount) * i128::from(event.amount));
        }
        self.money.extremes_mut().iter_mut().for_each(|extremes| extremes.add(event.amount));
    }

    /// Moves the oldest event out of the full log into the panes of the windows it is still inside.
    #[cold]
    pub(super) fn spill(&mut self) {
        let events = self.block.events();
        let (time, amount) = (events.time(0, self.newest), events.amount(0));
        let mut panes = self.panes.take().unwrap_or_else(|| PaneRings::new(self.newest));
        panes.newest_spilled = panes.newest_spilled.max(time);
        // The extremes cover log and panes together, so moving an event between them changes nothing.
        let mut leaving = Leaving::<P>::new(events, &mut self.money, &mut self.distinct);
        for &window in P::WINDOWS {
            if self.tails[window] == 0 {
                leaving.take_out(window, 0);
                panes.add(window, time, amount);
            } else {
                self.tails[window] -= 1;
            }
        }
        self.block.drop_front(1);
        self.panes = Some(panes);
    }
}

/// The windows that count the distinct values of a tag, each with its place among [`DISTINCT_WINDOWS`].
pub(super) fn distinct_slots<P: Plan>(which: usize) -> impl Iterator<Item = (usize, usize)> {
    P::DISTINCT[which].iter().filter_map(|&window| Some((slot_of(&DISTINCT_WINDOWS, window)?, window)))
}

/// How often a tag occurs.
pub(super) fn count_tag(tags: &[u32], wanted: u32) -> u32 {
    tags.iter().map(|&tag| u32::from(tag & !SUPERSEDED == wanted)).sum()
}

/// The event from `from` on with this tag that no later one supersedes; there is at most one.
pub(super) fn last_with_tag(tags: &[u32], from: usize, wanted: u32) -> Option<usize> {
    let recent = &tags[from..];
    // Most tags are new: a branch-free count over the whole slice is what the compiler makes fast.
    let matches: u32 = recent.iter().map(|&tag| u32::from(tag == wanted)).sum();
    if matches == 0 { None } else { recent.iter().rposition(|&tag| tag == wanted).map(|at| from + at) }
}

/// Whether a tag is present and does not occur again later.
pub(super) const fn is_last(tag: u32) -> bool {
    tag != 0 && tag & SUPERSEDED == 0
}
