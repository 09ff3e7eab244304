//! The sliding windows against a slow, obvious oracle that keeps every event and scans it each time.

use fraudengine_core::limits::{EXACT_EVENTS_MAX, WINDOWS};
use fraudengine_core::units::DurationMicros;
use fraudengine_core::window::{
    DISTINCT_WINDOWS, EXTREME_WINDOWS, Event, EventLog, Everything, Extremes, WindowView,
};
use proptest::prelude::*;
use std::collections::HashSet;

const HOUR: i64 = 3_600_000_000;
const LATENESS: DurationMicros = DurationMicros(2 * HOUR);

const START: i64 = 1_600_000_000_000_000;

/// Every event ever, in arrival order.
#[derive(Default)]
struct Oracle(Vec<Event>);

impl Oracle {
    fn observe(&mut self, event: Event) -> WindowView {
        let inside =
            |width: i64| self.0.iter().filter(move |e| e.time > event.time - width && e.time <= event.time);
        let widths = WINDOWS.map(|w| w.0);
        // A late event looks back no further than the widest window.
        let newest = self.0.iter().map(|e| e.time).max();
        let before = inside(WINDOWS[4].0).map(|e| e.time).max();
        let since = if newest.is_some_and(|n| n > event.time) { before } else { newest };
        let view = WindowView {
            count: widths.map(|w| 1 + inside(w).count() as u64),
            sum: widths.map(|w| event.amount + inside(w).map(|e| e.amount).sum::<i64>()),
            prior_extremes: EXTREME_WINDOWS.map(|i| {
                let mut all = Extremes::EMPTY;
                inside(widths[i]).for_each(|e| all.add(e.amount));
                all
            }),
            prior_squares: inside(widths[4]).map(|e| i128::from(e.amount).pow(2)).sum(),
            distinct: [0, 1].map(|tag| {
                DISTINCT_WINDOWS.map(|i| {
                    let mut values: HashSet<u32> = inside(widths[i]).map(|e| e.tags[tag]).collect();
                    values.insert(event.tags[tag]);
                    values.remove(&0);
                    values.len() as u32
                })
            }),
            seen: [0, 1].map(|tag| {
                let wanted = event.tags[tag];
                (wanted != 0).then(|| inside(widths[4]).filter(|e| e.tags[tag] == wanted).count() as u32)
            }),
            since_last: since.map(|time| DurationMicros(event.time - time)),
            approximate: false,
        };
        self.0.push(event);
        view
    }
}

/// Steps between events: ties, bursts, window edges, long silences, and steps back inside the bound.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0),
        6 => 0..HOUR,
        4 => 0..30 * HOUR,
        1 => 0..20 * 24 * HOUR,
        2 => prop::sample::select(WINDOWS.map(|w| w.0).to_vec()),
        3 => -2 * HOUR..0,
    ]
}

fn events(len: usize) -> impl Strategy<Value = Vec<Event>> {
    let amount = prop_oneof![4 => 1..20_000_i64, 1 => Just(100), 1 => 1..100_000_000_000_i64];
    prop::collection::vec((step(), amount, 0..6_u32, 0..4_u32), 1..len).prop_map(|steps| {
        let mut newest = START;
        let mut events = Vec::new();
        for (step, amount, a, b) in steps {
            let time = newest + step.max(-LATENESS.0);
            newest = newest.max(time);
            events.push(Event { time, amount, tags: [a, b] });
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn views_equal_the_oracle(events in events(120)) {
        let mut log = EventLog::<Everything>::default();
        let mut oracle = Oracle::default();
        for (at, event) in events.iter().enumerate() {
            let view = log.observe(event, LATENESS);
            prop_assert_eq!(view, oracle.observe(*event), "event {}", at);
        }
    }
}

#[test]
fn a_hot_entity_falls_back_to_panes_within_their_width_and_says_so() {
    let mut log = EventLog::<Everything>::default();
    let mut all: Vec<Event> = Vec::new();
    let mut flagged = 0;
    for n in 0..20_000_i64 {
        let event =
            Event { time: START + n * 7_000_000, amount: 1 + n % 997, tags: [1 + (n % 50) as u32, 0] };
        let view = log.observe(&event, LATENESS);
        all.push(event);
        flagged += usize::from(view.approximate);
        for (window, width) in WINDOWS.iter().enumerate() {
            let count_since = |start: i64| (all.len() - all.partition_point(|e| e.time <= start)) as u64;
            let exact = count_since(event.time - width.0);
            let wider = count_since(event.time - width.0 - width.0 / 64);
            assert!((exact..=wider).contains(&view.count[window]), "window {window} at event {n}");
            if exact <= EXACT_EVENTS_MAX as u64 {
                assert_eq!(view.count[window], exact, "window {window} at event {n}");
                let sum: i64 = all[all.len() - exact as usize..].iter().map(|e| e.amount).sum();
                assert_eq!(view.sum[window], sum);
            }
        }
        assert_eq!(view.distinct[0][1], 50.min(n as u32 + 1));
    }
    assert!(flagged > 19_000);
    assert!(log.heap_bytes() < 32 * 1024);
}

#[test]
fn panes_are_given_up_when_the_entity_calms_down() {
    let mut log = EventLog::<Everything>::default();
    for n in 0..1_000 {
        log.observe(&Event { time: START + n * 1_000_000, amount: 5, tags: [0, 0] }, LATENESS);
    }
    let later = START + 40 * 24 * HOUR;
    let view = log.observe(&Event { time: later, amount: 7, tags: [0, 0] }, LATENESS);
    assert!(!view.approximate);
    assert_eq!((view.count, view.sum), ([1; 5], [7; 5]));
    assert_eq!(view.prior_extremes, [Extremes::EMPTY; 2]);
}
