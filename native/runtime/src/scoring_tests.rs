//! What the service answers, read back by the definition's own types.

use fraudengine_core::EngineConfig;
use fraudengine_core::event::CurrencyCode;
use fraudengine_core::workers::Inline;

use super::*;

const NOW: i64 = 1_735_689_600_000_000;

#[derive(Clone, PartialEq, prost::Message)]
struct Decision {
    #[prost(string, tag = "1")]
    transaction_id: String,
    #[prost(int64, tag = "2")]
    event_time_micros: i64,
    #[prost(float, tag = "3")]
    score: f32,
    #[prost(int32, tag = "4")]
    action: i32,
    #[prost(bool, tag = "6")]
    degraded: bool,
    #[prost(int32, repeated, tag = "7")]
    degraded_reasons: Vec<i32>,
    #[prost(bool, tag = "8")]
    repeated_id: bool,
    #[prost(int64, tag = "10")]
    decided_time_micros: i64,
}

fn decide(answers: &mut Answers, engine: &mut Engine, raws: &[RawTransaction<'_>]) -> Vec<Answer> {
    let currencies = CurrencyTable::new(CurrencyCode::parse("EUR").unwrap(), std::iter::empty().collect());
    let messages: Vec<Vec<u8>> = raws
        .iter()
        .map(|raw| {
            let mut out = Vec::new();
            encode::transaction(raw, &mut out);
            out
        })
        .collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut output = Output::default();
    let mut decider = Decider {
        engine,
        model: None,
        model_hash: 0,
        workers: &Inline,
        output: &mut output,
        currencies: &currencies,
    };
    answers.decide(&mut decider, &messages, NOW)
}

fn transaction(id: &str) -> RawTransaction<'_> {
    RawTransaction {
        transaction_id: Some(id),
        event_time_micros: Some(NOW),
        customer_id: Some("c1"),
        amount_minor: Some(100),
        ..RawTransaction::default()
    }
}

fn read(answer: &Answer) -> Decision {
    prost::Message::decode(answer.as_ref().unwrap().as_slice()).unwrap()
}

#[test]
fn a_repeated_id_gets_its_first_answer_and_changes_nothing() {
    let (mut answers, mut engine) = (Answers::new(100, 0, 0), Engine::new(EngineConfig::default()));
    let first = decide(&mut answers, &mut engine, &[transaction("a"), transaction("a"), transaction("b")]);
    assert_eq!(engine.counters().transactions, 2);
    let decision = read(&first[0]);
    assert_eq!((decision.transaction_id.as_str(), decision.event_time_micros), ("a", NOW));
    assert!(decision.score.is_nan() && decision.action == 2 && decision.degraded_reasons == [3]);
    assert!(!decision.repeated_id && read(&first[1]).repeated_id && !read(&first[2]).repeated_id);
    // Of another customer, and much later than eight ids ago: still the first answer.
    let other = RawTransaction { customer_id: Some("c2"), ..transaction("a") };
    let again = decide(&mut answers, &mut engine, &[other]);
    assert_eq!(again[0], first[1]);
    assert_eq!(engine.counters().transactions, 2);
}

#[test]
fn the_oldest_answer_makes_room() {
    let (mut answers, mut engine) = (Answers::new(2, 0, 0), Engine::new(EngineConfig::default()));
    let ids = ["a", "b", "c"];
    for id in ids {
        let raw = RawTransaction { customer_id: Some(id), ..transaction(id) };
        assert!(!read(&decide(&mut answers, &mut engine, &[raw])[0]).repeated_id);
    }
    assert_eq!(answers.kept.len(), 2);
    let other = RawTransaction { customer_id: Some("d"), ..transaction("a") };
    assert!(!read(&decide(&mut answers, &mut engine, &[other])[0]).repeated_id);
}

#[test]
fn a_refusal_names_its_field_and_the_rows_around_it_are_decided() {
    let (mut answers, mut engine) = (Answers::new(100, 600, 0), Engine::new(EngineConfig::default()));
    let raws = [
        transaction("good"),
        RawTransaction { amount_minor: Some(-5), ..transaction("x") },
        RawTransaction { merchant_id: Some("4111 1111 1111 1111"), ..transaction("x") },
        RawTransaction { event_time_micros: Some(NOW + 601), ..transaction("x") },
        RawTransaction { event_time_micros: None, ..transaction("x") },
        RawTransaction { event_time_micros: Some(NOW + 600), ..transaction("also good") },
    ];
    let all = decide(&mut answers, &mut engine, &raws);
    let refused = |at: usize| all[at].as_ref().map_err(|refusal| (refusal.field, refusal.code)).unwrap_err();
    assert!(all[0].is_ok() && all[5].is_ok());
    assert_eq!(refused(1), ("amount_minor", "amount_negative"));
    assert_eq!(refused(2), ("merchant_id", "card_number"));
    assert_eq!(refused(3), ("event_time_micros", "time_ahead"));
    assert_eq!(refused(4), ("event_time_micros", "missing"));
    assert!(!format!("{all:?}").contains("4111"));
    assert_eq!(engine.counters().transactions, 2);
}

#[test]
fn a_state_that_has_seen_too_little_is_called_cold() {
    let (mut answers, mut engine) = (Answers::new(100, 0, 3), Engine::new(EngineConfig::default()));
    let first = decide(&mut answers, &mut engine, &[transaction("a"), transaction("b")]);
    assert!(first.iter().all(|answer| read(answer).degraded_reasons == [3, 5]));
    // The third is decided by a state that has seen three.
    let third = decide(&mut answers, &mut engine, &[transaction("c")]);
    assert_eq!(read(&third[0]).degraded_reasons, [3]);
}
