//! The order and the content of what would be sent, without a broker.

use std::collections::{BTreeMap, BTreeSet};

use crossbeam_channel::bounded;
use fraudengine_generator::Config;

use super::*;
use crate::payload::{Format, Scratch, decode_label, decode_transaction};

fn settings(world: Config) -> LoadSettings {
    LoadSettings {
        world,
        brokers: String::new(),
        client: BTreeMap::new(),
        transactions_topic: "transactions".to_owned(),
        labels_topic: "labels".to_owned(),
        genuine_labels: true,
        format: Format::Protobuf,
        schema_id: None,
        tps: 0.0,
        skip_days: 0,
        warm_days: 0,
        count: 0,
        seconds: 0.0,
        hold: false,
        malformed: 0.0,
    }
}

/// Everything that is handed over: day, kind, key and value.
fn sent(settings: &LoadSettings) -> Vec<(u32, Kind, String, Vec<u8>)> {
    let world = World::new(settings.world.clone()).unwrap();
    let (full_in, full_out) = bounded(2);
    let (used_in, used_out) = bounded(2);
    std::thread::scope(|scope| {
        scope.spawn(|| Feed::new(settings, full_in, used_out).run(&world));
        let mut all = Vec::new();
        while let Ok(block) = full_out.recv() {
            for (kind, key, value) in block.records() {
                all.push((block.day, kind, String::from_utf8(key.to_vec()).unwrap(), value.to_vec()));
            }
            let _ = used_in.try_send(block);
        }
        all
    })
}

#[test]
fn only_what_was_reported_as_fraud_has_a_label_where_the_settings_say_so() {
    let world =
        Config { customers: 300, days: 12, label_delay_hours: 24.0, fraud_rate: 0.02, ..Config::default() };
    let labels = |settings: &LoadSettings| {
        let all = sent(settings).into_iter().filter(|(_, kind, ..)| *kind == Kind::Label);
        all.map(|(.., value)| value).collect::<Vec<_>>()
    };
    let all = labels(&settings(world.clone()));
    let reported = labels(&LoadSettings { genuine_labels: false, ..settings(world) });
    let mut scratch = Scratch::default();
    let frauds = all.into_iter().filter(|value| {
        decode_label(Format::Protobuf, value, &mut scratch).is_ok_and(|label| label.is_fraud)
    });
    assert!(!reported.is_empty());
    assert_eq!(reported, frauds.collect::<Vec<_>>());
}

#[test]
fn labels_come_once_after_their_transaction_at_their_moment() {
    let world = Config {
        customers: 300,
        days: 12,
        label_delay_hours: 24.0,
        fraud_rate: 0.02,
        duplicate_rate: 0.1,
        jitter_seconds: 60.0,
        ..Config::default()
    };
    let all = sent(&settings(world));
    let mut scratch = Scratch::default();
    let (mut clock, mut seen, mut labelled, mut repeated) = (0, BTreeSet::new(), BTreeSet::new(), 0);
    for (_, kind, key, value) in &all {
        if *kind == Kind::Transaction {
            let raw = decode_transaction(Format::Protobuf, value, &mut scratch).unwrap();
            assert_eq!(raw.customer_id, Some(key.as_str()));
            clock = clock.max(raw.event_time_micros.unwrap());
            repeated += usize::from(!seen.insert(raw.transaction_id.unwrap().to_owned()));
        } else {
            let label = decode_label(Format::Protobuf, value, &mut scratch).unwrap();
            let id = label.transaction.transaction_id.unwrap().to_owned();
            assert!(seen.contains(&id), "a label before its transaction");
            assert!(labelled.insert(id), "a label twice");
            let ahead = label.known_time_micros.unwrap() - clock;
            assert!(ahead < 4 * 3_600_000_000, "a label {ahead} us before the clock reached it");
        }
    }
    assert!(repeated > 100, "{repeated}");
    assert!(labelled.len() > seen.len() / 2, "{} of {}", labelled.len(), seen.len());
}

#[test]
fn skipped_days_leave_only_the_labels_that_become_known_later() {
    let world = Config { customers: 200, days: 8, label_delay_hours: 30.0, ..Config::default() };
    let whole = sent(&settings(world.clone()));
    let part = sent(&LoadSettings { skip_days: 5, ..settings(world) });
    let rest: Vec<_> = whole.into_iter().filter(|record| record.0 >= 5).collect();
    assert_eq!(part.len(), rest.len());
    assert!(part == rest, "the same records in the same order");
}

#[test]
fn broken_records_stand_between_the_good_ones_and_change_none() {
    let world = Config { customers: 100, days: 2, ..Config::default() };
    let plain = sent(&settings(world.clone()));
    let mixed = sent(&LoadSettings { malformed: 1.5, ..settings(world) });
    let (broken, good): (Vec<_>, Vec<_>) = mixed.into_iter().partition(|record| record.1 == Kind::Malformed);
    assert!(good == plain);
    let transactions = plain.iter().filter(|record| record.1 == Kind::Transaction).count();
    assert!(broken.len().abs_diff(transactions * 3 / 2) <= 2, "{} for {transactions}", broken.len());
}

#[test]
fn json_and_framing_are_what_was_asked_for() {
    let world = Config { customers: 50, days: 1, ..Config::default() };
    let mut scratch = Scratch::default();
    for format in [Format::Json, Format::Protobuf] {
        for (_, _, key, value) in
            sent(&LoadSettings { format, schema_id: Some(7), ..settings(world.clone()) })
        {
            assert_eq!(&value[..5], b"\0\0\0\0\x07");
            let raw = decode_transaction(format, &value, &mut scratch).unwrap();
            assert_eq!(raw.customer_id, Some(key.as_str()));
        }
    }
}
