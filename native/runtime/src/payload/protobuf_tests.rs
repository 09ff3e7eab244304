//! The decoder against prost: the same values, the same refusals, whatever the bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::payload::test_support::{damage, spoil, transaction as any_transaction, wire_of};
use crate::wire;

/// One field of any tag and type, known or not, as bytes.
fn any_field() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![1..16_u32, 1..600_u32];
    let body = prop_oneof![
        any::<u64>().prop_map(|value| {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            (VARINT, bytes)
        }),
        vec(any::<u8>(), 8).prop_map(|bytes| (FIXED64, bytes)),
        vec(any::<u8>(), 4).prop_map(|bytes| (FIXED32, bytes)),
        "[a-z]{0,12}".prop_map(|text| (BYTES, [&[text.len() as u8], text.as_bytes()].concat())),
    ];
    (tag, body, any::<bool>()).prop_map(|(tag, (wire_type, body), grouped)| {
        let mut bytes = Vec::new();
        if grouped {
            prost::encoding::encode_varint((99 << 3 | GROUP_START).into(), &mut bytes);
        }
        prost::encoding::encode_varint(key(tag, wire_type).into(), &mut bytes);
        bytes.extend(body);
        if grouped {
            prost::encoding::encode_varint((99 << 3 | GROUP_END).into(), &mut bytes);
        }
        bytes
    })
}

/// Bits of the coordinates, since NaN is equal to nothing.
fn comparable(raw: &RawTransaction<'_>) -> (String, Option<u64>, Option<u64>) {
    let places = (raw.latitude.map(f64::to_bits), raw.longitude.map(f64::to_bits));
    let rest = RawTransaction { latitude: None, longitude: None, ..*raw };
    (format!("{rest:?}"), places.0, places.1)
}

fn agree(bytes: &[u8]) {
    match (transaction(bytes), wire::Transaction::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(comparable(&ours), comparable(&wire_of::raw(&theirs))),
        (Err(_), Err(_)) => {}
        (Err(fault), Ok(theirs)) => {
            assert_eq!(fault.fault, Fault::ChannelUnknown, "{fault}");
            assert!(theirs.channel.is_some_and(|code| !(0..8).contains(&code)));
        }
        (Ok(ours), Err(error)) => panic!("accepted {ours:?}, prost says {error}"),
    }
    match (label(bytes), wire::Label::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.transaction.transaction_id.unwrap_or_default(), theirs.transaction_id);
            assert_eq!(ours.known_time_micros.unwrap_or_default(), theirs.label_known_time_micros);
            assert_eq!(ours.is_fraud, theirs.is_fraud == 2);
            assert_eq!(ours.typology, theirs.typology.as_deref());
        }
        (Err(_), Err(_)) => {}
        (Err(fault), Ok(theirs)) => {
            assert!(matches!(fault.fault, Fault::VerdictMissing | Fault::NotVerdict), "{fault}");
            assert!(!matches!(theirs.is_fraud, 1 | 2));
        }
        (Ok(ours), Err(error)) => panic!("accepted {ours:?}, prost says {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_valid_message_reads_as_prost_reads_it(wire in any_transaction()) {
        let bytes = wire.encode_to_vec();
        prop_assert_eq!(comparable(&transaction(&bytes).unwrap()), comparable(&wire_of::raw(&wire)));
        agree(&bytes);
    }

    #[test]
    fn fields_in_any_order_repeated_or_unknown(fields in vec(any_field(), 0..24), wire in any_transaction()) {
        let mut bytes = wire.encode_to_vec();
        bytes.extend(fields.concat());
        agree(&bytes);
        agree(&fields.concat());
    }

    #[test]
    fn labels_read_as_prost_reads_them(wire in any_transaction(), fraud in any::<bool>(), known in any::<i64>(), typology in proptest::option::of(".{0,20}")) {
        let theirs = wire_of::label(&wire, fraud, known, typology.clone());
        let bytes = theirs.encode_to_vec();
        let ours = label(&bytes).unwrap();
        let keys = wire::Transaction { channel: None, merchant_category: None, country: None, latitude: None, longitude: None, ..wire.clone() };
        prop_assert_eq!(comparable(&ours.transaction), comparable(&wire_of::raw(&keys)));
        prop_assert_eq!((ours.is_fraud, ours.known_time_micros.unwrap_or_default()), (fraud, known));
        prop_assert_eq!(ours.typology, typology.as_deref());
    }

    #[test]
    fn spoilt_messages_are_refused_where_prost_refuses_them(wire in any_transaction(), damages in damage()) {
        let mut bytes = wire.encode_to_vec();
        spoil(&mut bytes, &damages);
        agree(&bytes);
    }

    #[test]
    fn so_is_noise(bytes in vec(any::<u8>(), 0..80)) {
        agree(&bytes);
    }
}

#[test]
fn faults_name_field_and_place() {
    let fault = |bytes: &[u8]| transaction(bytes).map_err(|error| error.to_string()).map(|_| ());
    let said = |text: &str| Err(text.to_owned());
    assert_eq!(fault(b"\x0a\x05abc"), said("transaction_id is cut off (byte 2)"));
    assert_eq!(fault(b"\x0a\x03a\xffb"), said("transaction_id is not UTF-8 (byte 3)"));
    assert_eq!(fault(b"\x42\x00"), said("amount_minor is encoded as another type (byte 1)"));
    assert_eq!(
        fault(&[&b"\x40"[..], &[0xff; 10]].concat()),
        said("amount_minor has a varint of more than 64 bits (byte 1)")
    );
    assert_eq!(fault(b"\x00"), said("the message has an impossible field key (byte 1)"));
    assert_eq!(fault(b"\x50\x08"), said("channel is not a channel of the schema, not 8 (byte 2)"));
    let groups = [0x9b_u8, 0x06].repeat(101);
    assert!(fault(&groups).unwrap_err().starts_with("the message is nested too deep"));
}

#[test]
fn explicit_presence_tells_zero_from_absent() {
    let raw = transaction(b"\x40\x00\x58\x00\x22\x00").unwrap();
    assert_eq!((raw.amount_minor, raw.merchant_category, raw.card_id), (Some(0), Some(0), Some("")));
    let raw = transaction(b"\x0a\x00\x10\x00\x50\x00").unwrap();
    assert_eq!((raw.transaction_id, raw.event_time_micros, raw.channel), (None, None, None));
}
