//! The sliding windows of one entity.
//!
//! Invariants, at the newest time `n` seen by this entity:
//! - `windows[i].tail` is the first event with time `> n - WINDOWS[i]`, and `sum` adds the amounts from
//!   there to the end; all in integers, so nothing drifts;
//! - the last event of each tag value is the one without the [`SUPERSEDED`] mark, so the distinct values
//!   of a window are the unmarked tags in it;
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

impl Event {
    const fn tag_word(&self) -> u64 {
        self.tags[0] as u64 | (self.tags[1] as u64) << 32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Running {
    pub(super) sum: i64,
    pub(super) tail: u16,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct EventLog {
    pub(super) block: EventBlock,
    /// Newest event time seen; `i64::MIN` before the first event.
    pub(super) newest: i64,
    pub(super) windows: [Running; WINDOW_COUNT],
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
            windows: [Running::default(); WINDOW_COUNT],
            distinct: [[0; DISTINCT_WINDOWS.len()]; TAG_COUNT],
            extremes: [Extremes::EMPTY; EXTREME_WINDOWS.len()],
            squares: 0,
            panes: None,
        }
    }
}

impl EventLog {
    /// Takes in one event, no further than `lateness` behind the newest, and says what its windows hold.
    pub fn observe(&mut self, event: &Event, lateness: DurationMicros) -> WindowView {
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

    /// Events kept exactly with a time in `[from, to]`.
    pub fn count_between(&self, from: i64, to: i64) -> u32 {
        let below = self.block.count_until(from - 1);
        self.block.count_until(to).saturating_sub(below) as u32
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.block.heap_bytes() + self.panes.as_ref().map_or(0, |_| size_of::<PaneRings>())
    }

    /// Start of the heap block, for prefetching.
    pub const fn block_ptr(&self) -> *const u64 {
        self.block.as_ptr()
    }

    fn observe_in_order(&mut self, event: &Event, lateness: DurationMicros) -> WindowView {
        let since_last = (self.newest != i64::MIN).then(|| DurationMicros(event.time - self.newest));
        self.advance(event.time, lateness);
        let prior_extremes = self.extremes;
        let mut prior_squares = self.squares;
        if let Some(panes) = &self.panes {
            prior_squares += panes.squares_total();
        }
        let [first, second] = self.find_tags(event);
        self.append(event, [first.last, second.last]);
        let mut view = WindowView {
            count: [0; WINDOW_COUNT],
            sum: [0; WINDOW_COUNT],
            prior_extremes,
            prior_squares,
            distinct: self.distinct.map(|each| each.map(u32::from)),
            seen: [first.seen, second.seen],
            since_last,
            approximate: false,
        };
        for (window, running) in self.windows.iter().enumerate() {
            view.count[window] = (self.block.len() - running.tail as usize) as u64;
            view.sum[window] = running.sum;
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
        for window in 0..WINDOW_COUNT {
            let start = now - WINDOWS[window].0;
            let mut tail = self.windows[window].tail as usize;
            while tail < self.block.len() && self.block.time(tail) <= start {
                self.leave(window, tail, &mut stale);
                tail += 1;
            }
            self.windows[window].tail = tail as u16;
        }
        let reachable = now - WINDOW_MAX.0 - lateness.0;
        let mut gone = 0;
        while gone < self.windows[WIDEST].tail as usize && self.block.time(gone) <= reachable {
            gone += 1;
        }
        if gone > 0 {
            self.block.drop_front(gone);
            self.windows.iter_mut().for_each(|running| running.tail -= gone as u16);
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
        self.windows[window].sum -= amount;
        if window == WIDEST {
            self.squares -= i128::from(amount) * i128::from(amount);
        }
        if let Some(slot) = EXTREME_WINDOWS.iter().position(|&each| each == window) {
            stale[slot] |= self.extremes[slot].touches(amount);
        }
        if let Some(slot) = DISTINCT_WINDOWS.iter().position(|&each| each == window) {
            let word = self.block.tag(at);
            for which in 0..TAG_COUNT {
                self.distinct[which][slot] -= u16::from(is_last(word, which));
            }
        }
    }

    pub(super) fn scan_extremes(&self, window: usize) -> Extremes {
        let mut all = self.panes.as_ref().map_or(Extremes::EMPTY, |panes| panes.extremes(window));
        let tail = self.windows[window].tail as usize;
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
        for which in 0..TAG_COUNT {
            if event.tags[which] == 0 {
                continue;
            }
            for (slot, &window) in DISTINCT_WINDOWS.iter().enumerate() {
                let counted = last[which].is_some_and(|at| at >= self.windows[window].tail as usize);
                self.distinct[which][slot] += u16::from(!counted);
            }
            if let Some(at) = last[which] {
                self.block.supersede(at, which);
            }
        }
        self.block.insert(self.block.len(), event.time, event.amount, event.tag_word());
        self.windows.iter_mut().for_each(|running| running.sum += event.amount);
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
            if self.windows[window].tail == 0 {
                self.leave(window, 0, &mut stale);
                panes.add(window, time, amount);
            } else {
                self.windows[window].tail -= 1;
            }
        }
        self.block.drop_front(1);
        self.panes = Some(panes);
    }

    /// Where each tag of the event occurred last, and how often in the widest window.
    fn find_tags(&self, event: &Event) -> [TagMatch; TAG_COUNT] {
        let tags = self.block.tags();
        let tail = self.windows[WIDEST].tail as usize;
        std::array::from_fn(|which| find_tag(tags, tail, tags.len(), event.tags[which], which))
    }
}

pub(super) struct TagMatch {
    /// Position of the last event with this tag.
    pub(super) last: Option<usize>,
    /// Events with this tag from the given start on; `None` for an absent tag.
    pub(super) seen: Option<u32>,
}

/// Finds a tag in the whole log, and counts it in `[from, to)`.
pub(super) fn find_tag(tags: &[u64], from: usize, to: usize, tag: u32, which: usize) -> TagMatch {
    if tag == 0 {
        return TagMatch { last: None, seen: None };
    }
    let half = |word: u64| (word >> (32 * which)) as u32;
    let matching = |words: &[u64]| words.iter().map(|&word| u32::from(half(word) & !SUPERSEDED == tag)).sum();
    let seen: u32 = matching(&tags[from..to]);
    let elsewhere: u32 =
        if from == 0 && to == tags.len() { 0 } else { matching(&tags[..from]) + matching(&tags[to..]) };
    let last = if seen + elsewhere == 0 { None } else { tags.iter().rposition(|&word| half(word) == tag) };
    TagMatch { last, seen: Some(seen) }
}

/// Whether a tag is present and does not occur again later.
pub(super) const fn is_last(word: u64, which: usize) -> bool {
    let half = (word >> (32 * which)) as u32;
    half != 0 && half & SUPERSEDED == 0
}
