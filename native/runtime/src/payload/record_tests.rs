//! prost is the oracle: what it writes is read alike, and what is spoilt never panics.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::payload::test_support::{self, damage, spoil};
use crate::wire;

fn record() -> impl Strategy<Value = wire::DecisionRecord> {
    let reason = ("[a-z_0-9]{1,30}", of(any::<f32>()), any::<f32>())
        .prop_map(|(feature, value, contribution)| wire::Reason { feature, value, contribution });
    let head = (of(test_support::transaction()), any::<f32>(), any::<f32>(), 0..4_i32, vec(reason, 0..=4));
    let middle = (any::<u32>(), any::<i32>(), any::<i64>(), any::<i64>(), any::<i64>());
    let tail =
        (any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>(), vec(any::<f32>(), 0..40), any::<u64>());
    (head, middle, tail).prop_map(|(a, b, c)| wire::DecisionRecord {
        transaction: a.0,
        score: a.1,
        anomaly: a.2,
        action: a.3,
        reasons: a.4,
        flags: b.0,
        source_partition: b.1,
        source_offset: b.2,
        source_time_micros: b.3,
        decided_time_micros: b.4,
        model: c.0,
        catalogue: c.1,
        generation: c.2,
        label_offset: c.3,
        features: c.4,
        owner: c.5,
    })
}

proptest! {
    #[test]
    fn reads_what_prost_writes(record in record()) {
        let bytes = record.encode_to_vec();
        // As prost reads it: it leaves out a negative zero, which is then zero.
        let record = wire::DecisionRecord::decode(&bytes[..]).unwrap();
        let view = decision(&bytes).unwrap();
        prop_assert_eq!(view.is_marker(), record.transaction.is_none());
        let raw = record.transaction.as_ref().map(test_support::wire_of::raw);
        // Compared as text, because NaN is not equal to itself.
        prop_assert_eq!(format!("{:?}", view.transaction), format!("{raw:?}"));
        prop_assert_eq!(view.score.to_bits(), record.score.to_bits());
        prop_assert_eq!(view.anomaly.to_bits(), record.anomaly.to_bits());
        prop_assert_eq!(view.reasons().len(), record.reasons.len());
        for (ours, theirs) in view.reasons().iter().zip(&record.reasons) {
            prop_assert_eq!(ours.feature, &theirs.feature);
            prop_assert_eq!(ours.value.map(f32::to_bits), theirs.value.map(f32::to_bits));
            prop_assert_eq!(ours.contribution.to_bits(), theirs.contribution.to_bits());
        }
        let ours: Vec<u32> = view.feature_values().map(f32::to_bits).collect();
        let theirs: Vec<u32> = record.features.iter().map(|value| value.to_bits()).collect();
        prop_assert_eq!(ours, theirs);
        prop_assert_eq!(
            (view.action, view.flags, view.source_partition, view.source_offset, view.source_time_micros),
            (record.action, record.flags, record.source_partition, record.source_offset, record.source_time_micros)
        );
        prop_assert_eq!(
            (view.decided_time_micros, view.model, view.catalogue, view.generation),
            (record.decided_time_micros, record.model, record.catalogue, record.generation)
        );
        prop_assert_eq!((view.label_offset, view.owner), (record.label_offset, record.owner));
    }

    #[test]
    fn what_we_take_prost_takes_too(record in record(), damages in damage()) {
        let mut bytes = record.encode_to_vec();
        spoil(&mut bytes, &damages);
        if decision(&bytes).is_ok() {
            prop_assert!(wire::DecisionRecord::decode(&bytes[..]).is_ok());
        }
    }
}

#[test]
fn more_reasons_than_an_engine_gives_are_refused() {
    let reason = wire::Reason { feature: "f".to_owned(), value: None, contribution: 1.0 };
    let record = wire::DecisionRecord { reasons: vec![reason; REASONS_MAX + 1], ..Default::default() };
    let refused = decision(&record.encode_to_vec()).unwrap_err();
    assert_eq!((refused.fault, refused.field), (Fault::TooLarge, Some("reasons")));
}
