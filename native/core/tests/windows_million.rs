//! A million events over cold, warm and hot keys in a table that evicts, with ties, late events and events that
//! come twice, against an oracle that follows the documented semantics and nothing else: the last 512 events
//! exactly, older ones by their pane, distinct tags among the exact ones.

mod support;

use fraudengine_core::limits::{EXACT_EVENTS_MAX, PANES_PER_WINDOW, SLAB_COUNT, WINDOWS};
use fraudengine_core::units::DurationMicros;
use fraudengine_core::window::{
    DISTINCT_WINDOWS, EXTREME_WINDOWS, Entity, Event, EventLog, Everything, SlotHint, Table, WindowView,
};
use std::collections::{HashMap, VecDeque};
use support::{Draws, HOUR, START, key};

const EVENTS: usize = 1_000_000;
const LATENESS: DurationMicros = DurationMicros(HOUR);

#[derive(Clone, Default)]
struct Logged(EventLog<Everything>);

impl Entity for Logged {
    fn last_seen(&self) -> i64 {
        self.0.newest()
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    fn prefetch(&self) {}
}

/// What the documentation says about one key: events kept exactly, and events in panes.
#[derive(Default)]
struct History {
    /// By time, then by arrival.
    exact: VecDeque<Event>,
    /// Events that a full log gave up, each with the windows it was still inside then.
    paned: Vec<(Event, [bool; WINDOWS.len()])>,
}

impl History {
    /// Forgets what nothing can reach, and makes room for one more event.
    fn make_room(&mut self, newest: i64) {
        let reachable = newest - WINDOWS[4].0 - LATENESS.0;
        while self.exact.front().is_some_and(|e| e.time <= reachable) {
            self.exact.pop_front();
        }
        if self.exact.len() == EXACT_EVENTS_MAX
            && let Some(oldest) = self.exact.pop_front()
        {
            self.paned.push((oldest, WINDOWS.map(|width| oldest.time > newest - width.0)));
        }
        let pane = WINDOWS[4].0 / PANES_PER_WINDOW;
        self.paned.retain(|(e, _)| e.time > reachable - pane);
    }

    /// `(count, sum, min, max)` of the earlier events in one window that ends at `event`.
    fn window(&self, event: &Event, window: usize) -> (u64, i64, i64, i64) {
        let start = event.time - WINDOWS[window].0;
        let pane = WINDOWS[window].0 / PANES_PER_WINDOW;
        let exact = self.exact.iter().filter(|e| e.time > start && e.time <= event.time);
        let paned = self
            .paned
            .iter()
            .filter(|(e, inside)| inside[window] && (e.time.div_euclid(pane) + 1) * pane > start);
        exact.chain(paned.map(|(e, _)| e)).fold((0, 0, i64::MAX, i64::MIN), |all, e| {
            (all.0 + 1, all.1 + e.amount, all.2.min(e.amount), all.3.max(e.amount))
        })
    }
}

impl History {
    /// Distinct values of a tag, zero aside, in one window that ends at `event`, itself included.
    fn distinct(&self, event: &Event, window: usize, which: usize) -> u32 {
        let start = event.time - WINDOWS[window].0;
        let exact = self.exact.iter().filter(|e| e.time > start && e.time <= event.time);
        // All tags are below 64: a set is a word.
        let set = exact.chain([event]).fold(0_u64, |set, e| set | 1 << e.tags[which]);
        (set & !1).count_ones()
    }

    /// Compares every aggregate of a view; returns how many there were.
    fn compare(&self, event: &Event, view: &WindowView, key: u64) -> u64 {
        for window in 0..WINDOWS.len() {
            let (count, sum, min, max) = self.window(event, window);
            assert_eq!(view.count[window], count + 1, "count of window {window} of key {key}");
            assert_eq!(view.sum[window], sum + event.amount, "sum of window {window} of key {key}");
            if let Some(slot) = EXTREME_WINDOWS.iter().position(|&each| each == window) {
                let extremes = view.prior_extremes[slot];
                assert_eq!((extremes.min, extremes.max), (min, max), "extremes of key {key}");
            }
            if let Some(slot) = DISTINCT_WINDOWS.iter().position(|&each| each == window) {
                for which in 0..2 {
                    let expected = self.distinct(event, window, which);
                    let found = view.distinct[which][slot];
                    assert_eq!(found, expected, "distinct tags {which} of window {window} of key {key}");
                }
            }
        }
        (2 * WINDOWS.len() + EXTREME_WINDOWS.len() + 2 * DISTINCT_WINDOWS.len()) as u64
    }
}

/// Keys 0 and 1 are hot enough to spill, the next 60 dense enough to be late, the rest are cold. Times tie.
fn draw(draws: &mut Draws, now: &mut i64) -> (u64, Event) {
    *now += if draws.chance(10) { 0 } else { draws.below(100_000_000) as i64 };
    let number = match draws.below(100) {
        0..2 => draws.below(2),
        2..32 => 2 + draws.below(60),
        _ => 62 + draws.below(4_000),
    };
    let back = if number > 1 && draws.chance(8) { draws.below(HOUR as u64) as i64 } else { 0 };
    let event = Event {
        time: *now - back,
        amount: draws.below(100_000) as i64,
        tags: [draws.below(50) as u32, draws.below(4) as u32],
    };
    (number, event)
}

#[test]
fn a_million_events_have_no_mismatch() {
    let mut draws = Draws(42);
    let mut table: Table<Logged> = Table::new(SLAB_COUNT * 10, usize::MAX);
    let mut histories: HashMap<u64, History> = HashMap::new();
    let (mut now, mut compared, mut evicted, mut paned, mut late, mut again) = (START, 0_u64, 0, 0, 0, 0);
    let mut latest = draw(&mut draws, &mut now);
    for _ in 0..EVENTS {
        if draws.chance(2) {
            again += 1;
        } else {
            latest = draw(&mut draws, &mut now);
        }
        let (number, event) = latest;
        let key = key(1, number);
        let slab = table.slabs_mut().nth(Table::<Logged>::slab_of(key)).unwrap();
        if slab.get(key).is_none() {
            evicted += usize::from(histories.insert(number, History::default()).is_some());
        }
        let (before, view) = slab.update(SlotHint::NONE, key, now, |entity| {
            (entity.0.newest(), entity.0.observe(&event, LATENESS))
        });
        let newest = before.max(event.time);
        late += usize::from(event.time < before);
        let history = histories.get_mut(&number).unwrap();
        history.make_room(newest);
        compared += history.compare(&event, &view, number);
        paned += usize::from(view.approximate);
        let at = history.exact.partition_point(|e| e.time <= event.time);
        history.exact.insert(at, event);
    }
    assert_eq!(compared, 18 * EVENTS as u64);
    let rare = [evicted, paned, late, again];
    assert!(rare.iter().all(|&each| each > 1_000), "{rare:?}");
}
