//! The bytes of the hand-written encoders against prost's, over random parts.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::payload::test_support::{transaction as any_transaction, wire_of};
use crate::wire;

fn any_reason() -> impl Strategy<Value = wire::Reason> {
    let value = prop_oneof![Just(None), any::<f32>().prop_filter("a number", |v| !v.is_nan()).prop_map(Some)];
    let contribution = any::<f32>().prop_filter("a number", |v| !v.is_nan());
    ("[a-z_0-9]{0,40}", value, contribution).prop_map(|(feature, value, contribution)| wire::Reason {
        feature,
        value,
        contribution,
    })
}

fn decoded_equal(ours: &[u8], theirs: &wire::DecisionRecord) {
    assert_eq!(ours, theirs.encode_to_vec());
}

proptest! {
    #[test]
    fn transactions_and_labels_have_prosts_bytes(wire in any_transaction(), fraud in any::<bool>(), known in any::<i64>(), typology in proptest::option::of("[a-z_]{0,20}")) {
        let raw = wire_of::raw(&wire);
        let mut out = Vec::new();
        transaction(&raw, &mut out);
        // A channel of 0 is not known, and is not written.
        let written = wire::Transaction { channel: wire.channel.filter(|&code| code != 0), ..wire.clone() };
        prop_assert_eq!(&out, &written.encode_to_vec());
        out.clear();
        label(&RawLabel { transaction: raw, known_time_micros: Some(known), is_fraud: fraud, typology: typology.as_deref() }, &mut out);
        prop_assert_eq!(&out, &wire_of::label(&wire, fraud, known, typology).encode_to_vec());
    }

    #[test]
    fn decisions_have_prosts_bytes(
        wire in any_transaction(),
        reasons in proptest::collection::vec(any_reason(), 0..5),
        features in proptest::collection::vec(any::<f32>(), 0..70),
        numbers in any::<(i32, i64, i64, i64, i64, i64)>(),
        ids in any::<(u64, u64)>(),
        floats in any::<(f32, f32)>(),
        action in 0_u8..3,
        flags in 0_u32..16,
    ) {
        let raw = wire_of::raw(&wire);
        let encoded = wire::Transaction { channel: wire.channel.filter(|&code| code != 0), ..wire.clone() };
        let bytes = encoded.encode_to_vec();
        let borrowed: Vec<Reason<'_>> = reasons
            .iter()
            .map(|r| Reason { feature: &r.feature, value: r.value.unwrap_or(f32::NAN), contribution: r.contribution })
            .collect();
        let record = wire::DecisionRecord {
            transaction: Some(encoded.clone()),
            score: floats.0,
            anomaly: floats.1,
            action: i32::from(action) + 1,
            reasons: reasons.clone(),
            flags,
            source_partition: numbers.0,
            source_offset: numbers.1,
            source_time_micros: numbers.2,
            decided_time_micros: numbers.3,
            model: ids.0,
            catalogue: ids.1,
            generation: numbers.4,
            label_offset: numbers.5,
            features: features.clone(),
            owner: 0,
        };
        for source in [Source::Raw(&raw), Source::Encoded(&bytes)] {
            let mut out = Vec::new();
            decision(&Decision {
                transaction: source,
                score: record.score,
                anomaly: record.anomaly,
                action: Action::from_code(action),
                reasons: &borrowed,
                flags,
                source_partition: record.source_partition,
                source_offset: record.source_offset,
                source_time_micros: record.source_time_micros,
                decided_time_micros: record.decided_time_micros,
                model: record.model,
                catalogue: record.catalogue,
                generation: record.generation,
                label_offset: record.label_offset,
                features: &features,
            }, &mut out);
            decoded_equal(&out, &record);
        }
    }

    #[test]
    fn dead_letters_have_prosts_bytes(detail in ".{0,200}", topic in "[a-z.]{0,20}", numbers in any::<(i32, i64, i64, u32, u64, i64)>(), raw in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))) {
        let mut out = Vec::new();
        dead_letter(&DeadLetter {
            reason: DeadLetterReason::Invalid,
            detail: &detail,
            source_topic: &topic,
            source_partition: numbers.0,
            source_offset: numbers.1,
            source_time_micros: numbers.2,
            length: numbers.3,
            keyed_hash: numbers.4,
            raw: raw.as_deref(),
            generation: numbers.5,
        }, &mut out);
        let record = wire::DeadLetter {
            reason: DeadLetterReason::Invalid as i32,
            detail,
            source_topic: topic,
            source_partition: numbers.0,
            source_offset: numbers.1,
            source_time_micros: numbers.2,
            length: numbers.3,
            keyed_hash: numbers.4,
            raw,
            generation: numbers.5,
            owner: 0,
        };
        prop_assert_eq!(out, record.encode_to_vec());
    }
}

#[test]
fn markers_carry_nothing_but_their_owner() {
    let mut out = Vec::new();
    decision_marker(0x0123_4567_89ab_cdef, &mut out);
    let marker = wire::DecisionRecord { owner: 0x0123_4567_89ab_cdef, ..wire::DecisionRecord::default() };
    assert_eq!(out, marker.encode_to_vec());
    out.clear();
    dead_letter_marker(7, &mut out);
    assert_eq!(out, wire::DeadLetter { owner: 7, ..wire::DeadLetter::default() }.encode_to_vec());
}

#[test]
fn codes_are_those_of_the_definition() {
    assert_eq!([Action::Approve, Action::Review, Action::Block].map(action_code), [1, 2, 3]);
    for (at, name) in wire::CHANNELS.iter().enumerate() {
        assert_eq!(channel_code(name), at as i32);
    }
    assert_eq!(channel_code("pigeon"), 0);
}
