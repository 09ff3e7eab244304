//! Where the events of a very busy entity go once the exact log is full: panes of `w / 64` per window.
//!
//! Each window has its own ring of 65 panes on the grid of multiples of its pane width. A pane counts as
//! long as any part of it lies inside `(t - w, t]`, so a window's aggregate can include events up to
//! `w / 64` older than its start, never miss one. Decisions that read panes are flagged approximate.

use super::extremes::Extremes;
use crate::limits::{PANES_PER_WINDOW, WINDOW_COUNT, WINDOWS};

const RING: usize = PANES_PER_WINDOW as usize + 1;

/// Aggregate of some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pane {
    /// Number of events.
    pub count: u64,
    /// Sum of amounts in minor units, saturating.
    pub sum: i64,
    /// Smallest and largest amount.
    pub extremes: Extremes,
}

impl Pane {
    /// Of no events.
    pub const EMPTY: Self = Self { count: 0, sum: 0, extremes: Extremes::EMPTY };

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.extremes.merge(other.extremes);
    }
}

/// One window's panes.
#[derive(Clone, Debug)]
pub(super) struct PaneRing {
    /// Number of the oldest pane that still counts.
    pub(super) oldest: i64,
    pub(super) panes: [Pane; RING],
    /// Events and their sum over all panes that count.
    pub(super) count: u64,
    pub(super) sum: i64,
}

fn slot(pane: i64) -> usize {
    pane.rem_euclid(RING as i64) as usize
}

impl PaneRing {
    /// Forgets the panes before `oldest` and returns the extremes of what was forgotten.
    fn advance(&mut self, oldest: i64) -> Extremes {
        let mut forgotten = Extremes::EMPTY;
        if self.count == 0 {
            self.oldest = self.oldest.max(oldest);
            return forgotten;
        }
        for pane in self.oldest..oldest.min(self.oldest + RING as i64) {
            let gone = &mut self.panes[slot(pane)];
            forgotten.merge(gone.extremes);
            self.count -= gone.count;
            self.sum = self.sum.saturating_sub(gone.sum);
            *gone = Pane::EMPTY;
        }
        self.oldest = self.oldest.max(oldest);
        forgotten
    }
}

/// The panes of all windows of one entity, and the sum of squares for the widest one.
#[derive(Clone, Debug)]
pub struct PaneRings {
    pub(super) rings: [PaneRing; WINDOW_COUNT],
    /// Sums of squared amounts of the widest window's panes, and their total.
    pub(super) squares: [i128; RING],
    pub(super) squares_total: i128,
    /// Time of the newest event that left the exact log.
    pub(super) newest_spilled: i64,
    /// First time at which some pane stops counting: nothing to do before.
    next_advance: i64,
}

impl PaneRings {
    /// Empty panes at a time.
    pub fn new(now: i64) -> Box<Self> {
        let ring = |window: usize| PaneRing {
            oldest: Self::oldest_pane(window, now),
            panes: [Pane::EMPTY; RING],
            count: 0,
            sum: 0,
        };
        Box::new(Self {
            rings: std::array::from_fn(ring),
            squares: [0; RING],
            squares_total: 0,
            newest_spilled: i64::MIN,
            next_advance: i64::MIN,
        })
    }

    const fn width(window: usize) -> i64 {
        WINDOWS[window].0 / PANES_PER_WINDOW
    }

    const fn oldest_pane(window: usize, now: i64) -> i64 {
        (now - WINDOWS[window].0).div_euclid(Self::width(window))
    }

    /// Forgets the panes that lie wholly before the windows that end at `now`; returns the extremes of
    /// what each window forgot.
    pub fn advance(&mut self, now: i64) -> [Extremes; WINDOW_COUNT] {
        if now < self.next_advance {
            return [Extremes::EMPTY; WINDOW_COUNT];
        }
        let widest = WINDOW_COUNT - 1;
        let oldest = Self::oldest_pane(widest, now);
        let from = self.rings[widest].oldest;
        for pane in from..oldest.min(from + RING as i64) {
            self.squares_total -= std::mem::take(&mut self.squares[slot(pane)]);
        }
        let forgotten =
            std::array::from_fn(|window| self.rings[window].advance(Self::oldest_pane(window, now)));
        let next = |window: usize| (self.rings[window].oldest + 1) * Self::width(window) + WINDOWS[window].0;
        self.next_advance = (0..WINDOW_COUNT).map(next).min().unwrap_or(i64::MIN);
        forgotten
    }

    /// Adds an event to one window's panes. It must lie inside that window.
    pub fn add(&mut self, window: usize, time: i64, amount: i64) {
        let pane = time.div_euclid(Self::width(window));
        let ring = &mut self.rings[window];
        debug_assert!(pane >= ring.oldest && pane < ring.oldest + RING as i64);
        let mut extremes = Extremes::EMPTY;
        extremes.add(amount);
        ring.panes[slot(pane)].merge(&Pane { count: 1, sum: amount, extremes });
        ring.count += 1;
        ring.sum = ring.sum.saturating_add(amount);
        if window == WINDOW_COUNT - 1 {
            let square = i128::from(amount) * i128::from(amount);
            self.squares[slot(pane)] += square;
            self.squares_total += square;
        }
        self.newest_spilled = self.newest_spilled.max(time);
    }

    /// The panes of one window that hold events: number, content, sum of squares.
    pub(super) fn live(&self, window: usize) -> impl Iterator<Item = (i64, &Pane, i128)> {
        let ring = &self.rings[window];
        (ring.oldest..ring.oldest + RING as i64).filter_map(move |number| {
            let pane = &ring.panes[slot(number)];
            let squares = if window == WINDOW_COUNT - 1 { self.squares[slot(number)] } else { 0 };
            (pane.count > 0).then_some((number, pane, squares))
        })
    }

    /// Puts back a pane that [`live`](Self::live) gave, `offset` panes after the oldest.
    pub(super) fn restore_pane(&mut self, window: usize, offset: i64, pane: Pane, squares: i128) {
        let ring = &mut self.rings[window];
        let at = slot(ring.oldest + offset);
        ring.panes[at] = pane;
        ring.count = ring.count.saturating_add(pane.count);
        ring.sum = ring.sum.saturating_add(pane.sum);
        if window == WINDOW_COUNT - 1 {
            self.squares[at] = squares;
            self.squares_total = self.squares_total.saturating_add(squares);
        }
    }

    /// Count and sum of one window's panes at the newest time.
    pub const fn total(&self, window: usize) -> (u64, i64) {
        (self.rings[window].count, self.rings[window].sum)
    }

    /// Sum of squares of the widest window's panes at the newest time.
    pub const fn squares_total(&self) -> i128 {
        self.squares_total
    }

    /// Smallest and largest amount in one window's panes.
    pub fn extremes(&self, window: usize) -> Extremes {
        let mut all = Extremes::EMPTY;
        self.rings[window].panes.iter().for_each(|pane| all.merge(pane.extremes));
        all
    }

    /// Aggregate of the panes that overlap `(time - w, time]`, for a late event.
    pub fn at(&self, window: usize, time: i64) -> Pane {
        let ring = &self.rings[window];
        let first = Self::oldest_pane(window, time).max(ring.oldest);
        let last = time.div_euclid(Self::width(window)).min(ring.oldest + RING as i64 - 1);
        let mut all = Pane::EMPTY;
        (first..=last).for_each(|pane| all.merge(&ring.panes[slot(pane)]));
        all
    }

    /// Whether the pane of some spilled event can still count, given the oldest event time that a
    /// window, or a late one, could reach.
    pub const fn is_live(&self, oldest_reachable: i64) -> bool {
        self.newest_spilled > oldest_reachable - Self::width(WINDOW_COUNT - 1)
    }
}
