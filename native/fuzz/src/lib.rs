//! What must hold for any bytes from outside: no panic, no runaway, and no record that others would read differently.
//!
//! Each function is the body of the fuzz target of its name. `native/runtime/tests/hostile.rs` includes this file and
//! runs the bodies over the seeds and their mutations in every `cargo test`, without nightly and libFuzzer.

use fraudengine_core::engine::{Engine, EngineConfig, Output};
use fraudengine_core::event::{CurrencyCode, CurrencyTable, RawTransaction};
use fraudengine_core::model::Ensemble;
use fraudengine_core::snapshot::{PARTS, Reader, Writer};
use fraudengine_core::workers::Inline;
use fraudengine_runtime::payload::{Format, Scratch, decode_label, decode_transaction, encode, message};
use fraudengine_runtime::scoring::{Answers, Decider, encode_batch};
use fraudengine_runtime::scoring_request::{transaction_of, transactions_of};
use fraudengine_runtime::wire;
use prost::Message;

/// What we accept as protobuf, prost accepts and reads the same; our own encoding of it reads the same again.
pub fn payload_protobuf(bytes: &[u8]) {
    let (mut scratch, mut again) = (Scratch::default(), Scratch::default());
    if let Ok(raw) = decode_transaction(Format::Protobuf, bytes, &mut scratch) {
        let bare = message(Format::Protobuf, bytes).expect("decoded");
        let theirs = wire::Transaction::decode(bare).expect("prost accepts what we accept");
        assert_eq!(raw.transaction_id.unwrap_or_default(), theirs.transaction_id);
        assert_eq!(raw.amount_minor, theirs.amount_minor);
        let mut encoded = Vec::new();
        encode::transaction(&raw, &mut encoded);
        if !encoded.is_empty() {
            let read =
                decode_transaction(Format::Protobuf, &encoded, &mut again).expect("we read what we write");
            assert_eq!(format!("{read:?}"), format!("{raw:?}"));
        }
    }
    if let Err(malformed) = decode_transaction(Format::Protobuf, bytes, &mut scratch) {
        assert!(!malformed.to_string().contains('\n'), "one line");
        assert!(malformed.offset <= bytes.len());
    }
    if let Ok(label) = decode_label(Format::Protobuf, bytes, &mut scratch) {
        let bare = message(Format::Protobuf, bytes).expect("decoded");
        let theirs = wire::Label::decode(bare).expect("prost accepts what we accept");
        assert_eq!(label.is_fraud, theirs.is_fraud == 2);
        assert_eq!(label.typology, theirs.typology.as_deref());
    }
}

/// What we accept as JSON is JSON, and as protobuf it is the same record.
pub fn payload_json(bytes: &[u8]) {
    let (mut scratch, mut again) = (Scratch::default(), Scratch::default());
    match decode_transaction(Format::Json, bytes, &mut scratch) {
        Ok(raw) => {
            let bare = message(Format::Json, bytes).expect("decoded");
            serde_json::from_slice::<serde::de::IgnoredAny>(bare).expect("what we accept is JSON");
            // Protobuf keeps what the engine accepts: channels of the schema, categories of 32 bits, no empty id.
            let known = raw.channel.is_none_or(|name| encode::channel_code(name) != 0)
                && raw.merchant_category.is_none_or(|code| i32::try_from(code).is_ok())
                && raw.transaction_id != Some("")
                && raw.customer_id != Some("")
                && raw.event_time_micros != Some(0);
            let mut encoded = Vec::new();
            encode::transaction(&raw, &mut encoded);
            if known {
                let read = decode_transaction(Format::Protobuf, &encoded, &mut again);
                // A record beyond the limit once its names are gone is no longer beyond it; the rest is equal.
                assert_eq!(format!("{:?}", read.expect("we read what we write")), format!("{raw:?}"));
            }
        }
        Err(malformed) => {
            assert!(!malformed.to_string().contains('\n'), "one line");
            assert!(malformed.offset <= bytes.len());
        }
    }
    let _ = decode_label(Format::Json, bytes, &mut scratch);
}

/// Stripping never goes wrong, and takes off exactly what framing puts on.
pub fn payload_framing(bytes: &[u8]) {
    for format in [Format::Protobuf, Format::Json] {
        if let Ok(bare) = message(format, bytes) {
            assert!(bytes.ends_with(bare));
        }
        let mut framed = Vec::new();
        fraudengine_runtime::payload::framing::append(format, 7, &mut framed);
        framed.extend_from_slice(bytes);
        if let Ok(bare) = message(format, &framed) {
            assert_eq!(bare, bytes);
        }
    }
}

/// Neither a whole snapshot nor the content of one part, with a check sum that is right, can do harm.
pub fn snapshot(bytes: &[u8]) {
    let _ = Engine::restore(bytes);
    let Some((&part, content)) = bytes.split_first() else { return };
    let mut head = Writer::default();
    Engine::new(EngineConfig { entities_max: 1_024, ..EngineConfig::default() }).write_head(&mut head);
    let mut engine = Engine::read_head(&mut Reader::new(&head.bytes)).expect("written above");
    let mut framed = (content.len() as u32).to_le_bytes().to_vec();
    framed.extend(crc32fast::hash(content).to_le_bytes());
    framed.extend_from_slice(content);
    let part = usize::from(part) * PARTS / 256;
    if engine.read_part(part, &mut Reader::new(&framed)).is_ok() {
        let mut again = Writer::default();
        engine.write_part(part, &mut again);
    }
}

/// Neither an ensemble file nor one whose check sum was put right can do harm; what is accepted can be scored.
pub fn ensemble(bytes: &[u8]) {
    let _ = Ensemble::parse(bytes);
    let Some(body) = bytes.get(16..) else { return };
    let mut mended = b"FRAUDENS".to_vec();
    mended.extend(1_u32.to_le_bytes());
    mended.extend(crc32fast::hash(body).to_le_bytes());
    mended.extend_from_slice(body);
    if let Ok(ensemble) = Ensemble::parse(&mended) {
        let row = vec![f32::NAN; ensemble.feature_count()];
        let _ = ensemble.attributions(&row);
    }
}

/// Whatever a caller sends as a request is decided, or refused in one line with a code; its neighbour is decided.
pub fn scoring(bytes: &[u8]) {
    const NOW: i64 = 1_735_689_600_000_000;
    let good = {
        let mut message = Vec::new();
        let raw = RawTransaction {
            transaction_id: Some("good"),
            event_time_micros: Some(NOW),
            customer_id: Some("c"),
            amount_minor: Some(1),
            ..RawTransaction::default()
        };
        encode::transaction(&raw, &mut message);
        message
    };
    let mut engine = Engine::new(EngineConfig { entities_max: 1_024, ..EngineConfig::default() });
    let currencies = CurrencyTable::new(CurrencyCode::parse("EUR").expect("a code"), Vec::new());
    let mut decider = Decider {
        engine: &mut engine,
        model: None,
        model_hash: 0,
        workers: &Inline,
        output: &mut Output::default(),
        currencies: &currencies,
    };
    let mut answers = Answers::new(2, 0, 0);
    let mut messages = vec![bytes];
    messages.extend(transaction_of(bytes));
    messages.extend(transactions_of(bytes, 64).unwrap_or_default());
    messages.push(&good);
    let all = answers.decide(&mut decider, &messages, NOW);
    assert_eq!(all.len(), messages.len());
    assert!(all.last().is_some_and(Result::is_ok));
    for refusal in all.iter().filter_map(|each| each.as_ref().err()) {
        assert!(!refusal.code.is_empty() && !refusal.message.contains('\n'), "{refusal:?}");
    }
    let response = encode_batch(&all);
    assert_eq!(transactions_of(&response, all.len()).map(|each| each.len()), Ok(all.len()));
}
