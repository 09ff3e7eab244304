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
use super::panes::PaneRings;
use super::view::WindowView;
use crate::limits::{EXACT_EVENTS_MAX, WINDOW_COUNT, WINDOW_MAX, WINDOWS};
use crate::units::DurationMicros;

/// Tags carried by each event: identifiers whose distinct values are counted.
pub const TAG_COUNT: usize = 2;
/// Indices into [`WINDOWS`] for which distinct tags are counted: 1 h, 24 h, 7 d.
pub const DISTINCT_WINDOWS: [usize; 3] = [1, 2, 3];
/// Indices into [`WINDOWS`] for which extremes are kept: 24 h and 30 d.
pub const EXTREME_WINDOWS: [usize; 2] = [2, 4];

const WIDEST: usize = WINDOW_COUNT - 1;
const WIDEST_DISTINCT: usize = DISTINCT_WINDOWS[DISTINCT_WINDOWS.len() - 1];

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

/// What the caller needs beside the running aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The lateness bound; events are kept that much longer than the widest window.
    pub lateness: DurationMicros,
    /// Whether to count the earlier events with the same tags: a scan of the log.
    pub seen: bool,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct EventLog {
    pub(super) block: EventBlock,
    /// Newest event time seen; `i64::MIN` before the first event.
    pub(super) newest: i64,
    /// Position of the first event inside each window.
    pub(super) tails: [u16; WINDOW_COUNT],
    /// Sum of the amounts from there on.
    pub(super) sums: [i64; WINDOW_COUNT],
    pub(super) distinct: [[u16; DISTINCT_WINDOWS.len()]; TAG_COUNT],
    pub(super) extremes: [Extremes; EXTREME_WINDOWS.len()],
    pub(super) squares: i128,
    pub(super) panes: Option<Box<PaneRings>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            block: EventBlock::default(),
            newest: i64::MIN,
            tails: [0; WINDOW_COUNT],
            sums: [0; WINDOW_COUNT],
            distinct: [[0; DISTINCT_WINDOWS.len()]; TAG_COUNT],
            extremes: [Extremes::EMPTY; EXTREME_WINDOWS.len()],
            squares: 0,
            panes: None,
        }
    }
}

impl EventLog {
    /// Takes in one event, no further than the lateness bound behind the newest, and says what its
    /// windows hold.
    pub fn observe(&mut self, event: &Event, wanted: Wanted) -> WindowView {
        if event.time >= self.newest {
            self.observe_in_order(event, wanted)
        } else {
            self.observe_late(event, wanted)
        }
    }

    /// Newest event time, or `i64::MIN` before the first event.
    pub const fn newest(&self) -> i64 {
        self.newest
    }

    /// Events kept exactly with a time in `[from, to]`.
    pub fn count_between(&self, from: i64, to: i64) -> u32 {
        let below = self.block.count_until(from - 1);
        self.block.count_until(to).saturating_sub(below) as u32
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.block.heap_bytes() + self.panes.as_ref().map_or(0, |_| size_of::<PaneRings>())
    }

    /// Starts loading what the next event will touch.
    pub fn prefetch(&self) {
        self.block.prefetch(&self.tails);
    }

    fn observe_in_order(&mut self, event: &Event, wanted: Wanted) -> WindowView {
        let since_last = (self.newest != i64::MIN).then(|| DurationMicros(event.time - self.newest));
        self.advance(event.time, wanted.lateness);
        let prior_extremes = self.extremes;
        let mut prior_squares = self.squares;
        if let Some(panes) = &self.panes {
            prior_squares += panes.squares_total();
        }
        let seen = if wanted.seen {
            self.count_tags(event, self.tails[WIDEST] as usize, self.block.len())
        } else {
            [None; TAG_COUNT]
        };
        let last = self.find_last(event);
        self.append(event, last);
        let mut view = WindowView {
            count: [0; WINDOW_COUNT],
            sum: [0; WINDOW_COUNT],
            prior_extremes,
            prior_squares,
            distinct: self.distinct.map(|each| each.map(u32::from)),
            seen,
            since_last,
            approximate: false,
        };
        for window in 0..WINDOW_COUNT {
            view.count[window] = (self.block.len() - self.tails[window] as usize) as u64;
            view.sum[window] = self.sums[window];
            if let Some(panes) = &self.panes {
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
        self.newest = now;
        let mut stale = [false; EXTREME_WINDOWS.len()];
        for (window, width) in WINDOWS.iter().enumerate() {
            let start = now - width.0;
            let mut tail = self.tails[window] as usize;
            while tail < self.block.len() && self.block.time(tail) <= start {
                self.leave(window, tail, &mut stale);
                tail += 1;
            }
            self.tails[window] = tail as u16;
        }
        let reachable = now - WINDOW_MAX.0 - lateness.0;
        let mut gone = 0;
        while gone < self.tails[WIDEST] as usize && self.block.time(gone) <= reachable {
            gone += 1;
        }
        if gone > 0 {
            self.block.drop_front(gone);
            self.tails.iter_mut().for_each(|tail| *tail -= gone as u16);
        }
        if let Some(panes) = &mut self.panes {
            let forgotten = panes.advance(now);
            for (slot, &window) in EXTREME_WINDOWS.iter().enumerate() {
                stale[slot] |= self.extremes[slot].touches_any(forgotten[window]);
            }
            if !panes.is_live(reachable) {
                self.panes = None;
            }
        }
        for (slot, _) in stale.into_iter().enumerate().filter(|(_, stale)| *stale) {
            self.extremes[slot] = self.scan_extremes(EXTREME_WINDOWS[slot]);
        }
    }

    /// Takes the event at `at` out of one window's aggregates.
    fn leave(&mut self, window: usize, at: usize, stale: &mut [bool; EXTREME_WINDOWS.len()]) {
        let amount = self.block.amount(at);
        self.sums[window] -= amount;
        if window == WIDEST {
            self.squares -= i128::from(amount) * i128::from(amount);
        }
        if let Some(slot) = EXTREME_WINDOWS.iter().position(|&each| each == window) {
            stale[slot] |= self.extremes[slot].touches(amount);
        }
        if let Some(slot) = DISTINCT_WINDOWS.iter().position(|&each| each == window) {
            for which in 0..TAG_COUNT {
                self.distinct[which][slot] -= u16::from(is_last(self.block.tags(which)[at]));
            }
        }
    }

    pub(super) fn scan_extremes(&self, window: usize) -> Extremes {
        let mut all = self.panes.as_ref().map_or(Extremes::EMPTY, |panes| panes.extremes(window));
        let tail = self.tails[window] as usize;
        self.block.amounts()[tail..].iter().for_each(|&amount| all.add(amount as i64));
        all
    }

    /// Appends the newest event to the log and to every window.
    fn append(&mut self, event: &Event, last: [Option<usize>; TAG_COUNT]) {
        let mut last = last;
        if self.block.len() == EXACT_EVENTS_MAX {
            self.spill();
            last = last.map(|at| at.and_then(|at| at.checked_sub(1)));
        }
        for (which, last) in last.into_iter().enumerate() {
            if event.tags[which] == 0 {
                continue;
            }
            for (slot, &window) in DISTINCT_WINDOWS.iter().enumerate() {
                let counted = last.is_some_and(|at| at >= self.tails[window] as usize);
                self.distinct[which][slot] += u16::from(!counted);
            }
            if let Some(at) = last {
                self.block.supersede(at, which);
            }
        }
        self.block.insert(self.block.len(), event.time, event.amount, event.tags);
        self.sums.iter_mut().for_each(|sum| *sum += event.amount);
        self.squares += i128::from(event.amount) * i128::from(event.amount);
        self.extremes.iter_mut().for_each(|extremes| extremes.add(event.amount));
    }

    /// Moves the oldest event out of the full log into the panes of the windows it is still inside.
    #[cold]
    pub(super) fn spill(&mut self) {
        let (time, amount) = (self.block.time(0), self.block.amount(0));
        let mut panes = self.panes.take().unwrap_or_else(|| PaneRings::new(self.newest));
        panes.newest_spilled = panes.newest_spilled.max(time);
        // The extremes cover log and panes together, so moving an event between them changes nothing.
        let mut stale = [false; EXTREME_WINDOWS.len()];
        for window in 0..WINDOW_COUNT {
            if self.tails[window] == 0 {
                self.leave(window, 0, &mut stale);
                panes.add(window, time, amount);
            } else {
                self.tails[window] -= 1;
            }
        }
        self.block.drop_front(1);
        self.panes = Some(panes);
    }

    /// Position of the last event with each tag of `event`, among those that distinct counts can reach.
    pub(super) fn find_last(&self, event: &Event) -> [Option<usize>; TAG_COUNT] {
        let from = self.tails[WIDEST_DISTINCT] as usize;
        std::array::from_fn(|which| {
            let tags = &self.block.tags(which)[from..];
            last_with_tag(tags, event.tags[which]).map(|at| from + at)
        })
    }

    /// How often each tag of `event` occurs among the events `[from, to)`.
    pub(super) fn count_tags(&self, event: &Event, from: usize, to: usize) -> [Option<u32>; TAG_COUNT] {
        std::array::from_fn(|which| {
            let wanted = event.tags[which];
            let same = |&tag: &u32| u32::from(tag & !SUPERSEDED == wanted);
            (wanted != 0).then(|| self.block.tags(which)[from..to].iter().map(same).sum())
        })
    }
}

/// The event with this tag that no later one supersedes; there is at most one.
fn last_with_tag(tags: &[u32], wanted: u32) -> Option<usize> {
    if wanted == 0 {
        return None;
    }
    // Most tags are new: a branch-free count over the whole slice is what the compiler makes fast.
    let matches: u32 = tags.iter().map(|&tag| u32::from(tag == wanted)).sum();
    if matches == 0 { None } else { tags.iter().rposition(|&tag| tag == wanted) }
}

/// Whether a tag is present and does not occur again later.
pub(super) const fn is_last(tag: u32) -> bool {
    tag != 0 && tag & SUPERSEDED == 0
}
