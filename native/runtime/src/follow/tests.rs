//! Who is answered when, by what; and what the stream has passed by.

use std::time::{Duration, Instant};

use fraudengine_core::EngineConfig;
use fraudengine_core::decision::Action;
use fraudengine_core::event::Transaction;
use fraudengine_core::units::{AmountMinor, EntityKey, EventTimeMicros};

use super::answer::{self, NoAnswer};
use super::calls::{Asked, Calls, Target};
use super::replica::{Blind, Replica};
use super::settings::ServeSettings;
use crate::payload::encode;
use crate::payload::record::decision;
use crate::scoring::degraded;
use crate::stream::rebuild::Taken;

const PATIENCE: Duration = Duration::from_millis(100);

fn settings(in_flight_max: usize) -> ServeSettings {
    ServeSettings {
        answers_kept: 100,
        behind_ms_max: 100.0,
        deadline_margin_ms: 20.0,
        in_flight_max,
        lag_records_max: 0,
        warm_transactions: 0,
        no_answer_approve_below: 0,
        no_answer_block_from: 0,
    }
}

fn row(id: &str) -> Transaction {
    Transaction {
        id: EntityKey::of(id.as_bytes()),
        time: EventTimeMicros(1_600_000_000_000_000),
        amount: AmountMinor(500),
        entities: [Some(EntityKey::of(b"c")), None, None, None, None],
        place: None,
        channel: None,
        category: None,
        country: None,
    }
}

fn ask(calls: &Calls, id: &str, ticket: u64, deadline: Option<Instant>, now: Instant) -> Asked {
    calls.ask(&row(id), id, Target::Call(ticket), deadline, now, true)
}

/// The record with which the stream decides an id, at a place of a partition.
fn decide(calls: &Calls, id: &str, offset: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let raw = fraudengine_core::event::RawTransaction {
        transaction_id: Some(id),
        event_time_micros: Some(1_600_000_000_000_000),
        customer_id: Some("c"),
        amount_minor: Some(500),
        ..Default::default()
    };
    let reasons = [
        encode::Reason { feature: "a", value: f32::NAN, contribution: 0.5 },
        encode::Reason { feature: "b", value: 2.0, contribution: 0.25 },
    ];
    encode::decision(
        &encode::Decision {
            transaction: encode::Source::Raw(&raw),
            score: 0.625,
            anomaly: 0.5,
            action: Action::Block,
            reasons: &reasons,
            flags: 6,
            source_partition: 0,
            source_offset: offset,
            source_time_micros: 7,
            decided_time_micros: 8,
            model: 9,
            catalogue: 10,
            generation: 0,
            label_offset: 0,
            features: &[],
        },
        &mut bytes,
    );
    let record = decision(&bytes).unwrap();
    calls.decided(&Taken { record, row: row(id) });
    answer::of_record(&record)
}

#[test]
fn everybody_who_asks_for_an_id_gets_the_decision_that_passes_by() {
    let (calls, now) = (Calls::new(&settings(10)), Instant::now());
    assert_eq!(ask(&calls, "a", 1, None, now), Asked::Send);
    assert_eq!(ask(&calls, "a", 2, None, now), Asked::Waits, "it is under way, and sent once");
    let told = decide(&calls, "a", 0);
    let taken = calls.take(now);
    let wrapped = |decision: &[u8]| {
        let mut out = Vec::new();
        encode::embed(1, decision, &mut out);
        out
    };
    assert_eq!(taken, [(1, wrapped(&told)), (2, wrapped(&crate::scoring::repeated(told.clone())))]);
    let later = ask(&calls, "a", 3, None, now);
    assert_eq!(later, Asked::Known(crate::scoring::repeated(told)), "and for some time afterwards");
    assert_eq!(calls.under_way().0, 0);
}

#[test]
fn an_answer_carries_what_the_record_says() {
    let calls = Calls::new(&settings(10));
    let mut expected = Vec::new();
    let reasons = [
        encode::Reason { feature: "a", value: f32::NAN, contribution: 0.5 },
        encode::Reason { feature: "b", value: 2.0, contribution: 0.25 },
    ];
    let parts = encode::Answer {
        transaction_id: "a",
        event_time_micros: 1_600_000_000_000_000,
        score: 0.625,
        action: Action::Block,
        reasons: &reasons,
        degraded_reasons: &[degraded::LATE, degraded::COARSE_WINDOW],
        model: 9,
        decided_time_micros: 8,
    };
    encode::answer(&parts, &mut expected);
    assert_eq!(decide(&calls, "a", 0), expected);
}

#[test]
fn a_call_is_overdue_at_the_end_of_patience_or_before_its_deadline() {
    let (calls, now) = (Calls::new(&settings(10)), Instant::now());
    let deadline = now + Duration::from_millis(60);
    assert_eq!(ask(&calls, "soon", 1, Some(deadline), now), Asked::Send);
    assert_eq!(ask(&calls, "patient", 2, Some(now + Duration::from_secs(9)), now), Asked::Send);
    let late = |at: Instant| {
        let overdue = calls.overdue(at);
        overdue.into_iter().map(|each| (each.id, each.why)).collect::<Vec<_>>()
    };
    assert!(late(now + Duration::from_millis(39)).is_empty());
    let stale = degraded::STALE_STATE;
    assert_eq!(late(now + Duration::from_millis(40)), [("soon".to_owned(), stale)]);
    assert!(late(now + Duration::from_millis(99)).is_empty());
    assert_eq!(late(now + PATIENCE), [("patient".to_owned(), stale)]);
    // The stream is behind: who comes now does not wait, but is sent.
    let later = now + Duration::from_millis(150);
    assert_eq!(ask(&calls, "next", 3, None, later), Asked::Send);
    assert_eq!(late(later), [("next".to_owned(), stale)]);
    // Its decision is kept all the same, and the stream is no longer behind.
    for (offset, id) in ["soon", "patient", "next"].into_iter().enumerate() {
        decide(&calls, id, offset as i64);
    }
    assert!(calls.take(now).is_empty(), "they were answered before");
    assert!(matches!(ask(&calls, "next", 4, None, later), Asked::Known(_)));
    assert_eq!(ask(&calls, "new", 5, None, later), Asked::Send);
    assert!(late(later).is_empty());
}

#[test]
fn what_the_stream_has_passed_by_is_not_waited_for() {
    for acknowledged_first in [true, false] {
        let (calls, now) = (Calls::new(&settings(10)), Instant::now());
        for (ticket, id) in ["poison", "good"].into_iter().enumerate() {
            assert_eq!(ask(&calls, id, ticket as u64, None, now), Asked::Send);
        }
        if acknowledged_first {
            calls.delivered(row("poison").id.get(), 0, 5);
            calls.delivered(row("good").id.get(), 0, 6);
            // Another partition says nothing about this one.
            calls.delivered(row("unknown").id.get(), 1, 2);
            assert!(calls.overdue(now).is_empty());
            decide(&calls, "good", 6);
        } else {
            decide(&calls, "good", 6);
            assert!(calls.overdue(now).is_empty());
            calls.delivered(row("poison").id.get(), 0, 5);
        }
        let overdue = calls.overdue(now);
        assert_eq!(overdue.len(), 1, "{overdue:?}");
        assert_eq!((overdue[0].id.as_str(), overdue[0].why), ("poison", degraded::SET_ASIDE));
        assert_eq!(calls.under_way().0, 0);
    }
}

#[test]
fn beyond_the_bound_nothing_is_sent_and_the_answer_says_so() {
    let (calls, now) = (Calls::new(&settings(2)), Instant::now());
    assert_eq!(ask(&calls, "a", 1, None, now), Asked::Send);
    assert_eq!(ask(&calls, "b", 2, None, now), Asked::Send);
    assert_eq!(ask(&calls, "c", 3, None, now), Asked::Waits);
    assert_eq!(calls.overdue(now).iter().map(|each| each.why).collect::<Vec<_>>(), [degraded::SHED]);
    calls.unsent(row("a").id.get());
    assert_eq!(calls.overdue(now).iter().map(|each| each.why).collect::<Vec<_>>(), [degraded::SHED]);
    assert_eq!(ask(&calls, "a", 4, None, now), Asked::Send, "there is room again");
}

#[test]
fn a_batch_is_answered_when_all_its_rows_are() {
    let (calls, now) = (Calls::new(&settings(10)), Instant::now());
    calls.begin_batch(7, 2);
    assert_eq!(calls.ask(&row("a"), "a", Target::Batch(7, 0), None, now, true), Asked::Send);
    let refusal = crate::scoring::Refusal { field: "", code: "x", message: String::new() };
    calls.fill(7, 1, Err(refusal.clone()));
    assert!(calls.take(now).is_empty());
    let told = decide(&calls, "a", 0);
    assert_eq!(calls.take(now), [(7, crate::scoring::encode_batch(&[Ok(told), Err(refusal)]))]);
}

#[test]
fn the_amount_decides_where_nothing_else_can() {
    let default = NoAnswer { approve_below: 0, block_from: 0 };
    assert_eq!([0, i64::MAX].map(|amount| default.action(amount)), [Action::Review; 2]);
    let told = NoAnswer { approve_below: 1_000, block_from: 50_000 };
    let actions = [0, 999, 1_000, 49_999, 50_000].map(|amount| told.action(amount));
    let expected = [Action::Approve, Action::Approve, Action::Review, Action::Review, Action::Block];
    assert_eq!(actions, expected);
}

#[test]
fn a_replica_is_blind_without_state_or_model() {
    let replica = Replica::new(0);
    assert_eq!(replica.look(&[row("a")]).err(), Some(Blind::State));
    let engine = fraudengine_core::Engine::new(EngineConfig::default());
    replica.show(std::sync::Arc::new(std::sync::Mutex::new(engine)));
    assert_eq!(replica.look(&[row("a")]).err(), Some(Blind::Model));
}
