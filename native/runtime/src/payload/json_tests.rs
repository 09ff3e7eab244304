//! The JSON decoder against `serde_json`: the same values, the same syntax, and a name for every refusal.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::payload::test_support::{damage, spoil, transaction as any_transaction, wire_of};

fn object_of(raw: &RawTransaction<'_>) -> Map<String, Value> {
    let value = json!({
        "transaction_id": raw.transaction_id,
        "event_time": raw.event_time_micros,
        "customer_id": raw.customer_id,
        "card_id": raw.card_id,
        "device_id": raw.device_id,
        "merchant_id": raw.merchant_id,
        "ip_address": raw.ip_address,
        "amount_minor": raw.amount_minor,
        "currency": raw.currency,
        "channel": raw.channel,
        "merchant_category": raw.merchant_category,
        "country": raw.country,
        "latitude": raw.latitude.filter(|degrees| degrees.is_finite()),
        "longitude": raw.longitude.filter(|degrees| degrees.is_finite()),
    });
    value.as_object().unwrap().clone()
}

fn refused(text: &str) -> String {
    transaction(text.as_bytes(), &mut Scratch::default()).unwrap_err().to_string()
}

fn is_about_syntax(fault: Fault) -> bool {
    matches!(fault, Fault::Syntax | Fault::Truncated | Fault::ControlCharacter | Fault::Trailing)
}

/// Whatever the bytes: what we take is JSON, what we call broken is broken, and the values are `serde_json`'s.
fn agree(bytes: &[u8]) {
    let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
    let mut scratch = Scratch::default();
    match transaction(bytes, &mut scratch) {
        Ok(ours) => {
            assert!(syntax.is_ok(), "accepted {:?}", String::from_utf8_lossy(bytes));
            let Ok(Value::Object(theirs)) = serde_json::from_slice(bytes) else { return };
            for (name, value) in object_of(&ours) {
                let there = match (name.as_str(), theirs.get(&name)) {
                    ("event_time", None) => theirs.get("event_time_micros"),
                    (_, value) => value,
                };
                match there {
                    Some(Value::String(_)) if name == "event_time" => assert!(value.is_i64()),
                    Some(Value::Number(number)) if name.ends_with("tude") => {
                        // serde_json rounds to a neighbour unless asked for its slow exact path.
                        let (a, b) = (value.as_f64().unwrap(), number.as_f64().unwrap());
                        assert!((a - b).abs() <= a.abs() * 1e-15 + f64::MIN_POSITIVE, "{a} {b}");
                    }
                    there => assert_eq!(&value, there.unwrap_or(&Value::Null), "{name}"),
                }
            }
        }
        Err(fault) if fault.fault == Fault::NotUtf8 => assert!(str::from_utf8(bytes).is_err()),
        Err(fault) if is_about_syntax(fault.fault) => {
            assert!(syntax.is_err(), "{fault}: {:?}", String::from_utf8_lossy(bytes));
        }
        Err(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_record_reads_as_it_was_written(wire in any_transaction(), pretty in any::<bool>()) {
        let mut raw = wire_of::raw(&wire);
        raw.latitude = raw.latitude.filter(|degrees| degrees.is_finite());
        raw.longitude = raw.longitude.filter(|degrees| degrees.is_finite());
        let object = object_of(&raw);
        let bytes = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
        let mut scratch = Scratch::default();
        let ours = transaction(&bytes, &mut scratch).unwrap();
        prop_assert_eq!(format!("{ours:?}"), format!("{raw:?}"));
        agree(&bytes);
    }

    #[test]
    fn spoilt_records_never_slip_through(wire in any_transaction(), damages in damage()) {
        let mut bytes = serde_json::to_vec(&object_of(&wire_of::raw(&wire))).unwrap();
        spoil(&mut bytes, &damages);
        agree(&bytes);
    }

    #[test]
    fn nor_does_noise_in_the_alphabet_of_json(text in r#"(\{("(card_id|amount_minor|x)":)?)?[\[\]{}:,"\\u0-9eE+.\- a-fnrtl]{0,24}\}?"#) {
        agree(text.as_bytes());
    }
}

#[test]
fn keys_with_escapes_unknown_keys_and_nulls() {
    let mut scratch = Scratch::default();
    let text = br#" { "transaction\u005fid" : "a\nb", "x": {"card_id": ["4", {"y": null}]}, "card_id": null,
        "device_id": "d\u00e9", "amount_minor": 0, "is_fraud": "whatever", "merchant_id": "m" } "#;
    let raw = transaction(text, &mut scratch).unwrap();
    assert_eq!(raw.transaction_id, Some("a\nb"));
    assert_eq!((raw.card_id, raw.device_id, raw.merchant_id), (None, Some("d\u{e9}"), Some("m")));
    assert_eq!((raw.amount_minor, raw.event_time_micros), (Some(0), None));
}

#[test]
fn times_come_as_numbers_or_texts() {
    for (text, micros) in [
        (r#"{"event_time":1735689600000001}"#, 1_735_689_600_000_001),
        (r#"{"event_time_micros":1735689600000001}"#, 1_735_689_600_000_001),
        (r#"{"event_time":"2025-01-01T00:00:00.000001+00:00"}"#, 1_735_689_600_000_001),
        (r#"{"event_time":"2025-01-01T00:00:00\u005a"}"#, 1_735_689_600_000_000),
    ] {
        let mut scratch = Scratch::default();
        assert_eq!(
            transaction(text.as_bytes(), &mut scratch).unwrap().event_time_micros,
            Some(micros),
            "{text}"
        );
    }
    assert!(refused(r#"{"event_time":1,"event_time_micros":1}"#).starts_with("event_time appears twice"));
    assert!(refused(r#"{"event_time":"2025-01-01"}"#).contains(r#"not \"2025-01-01\""#));
    assert!(refused(r#"{"event_time":1.5}"#).starts_with("event_time must be microseconds"));
}

#[test]
fn refusals_name_field_and_value() {
    let integer = "amount_minor must be an integer of 64 bits, without fraction or exponent, not";
    for value in ["1e400", "12.0", "\"12\"", "[1]", "99999999999999999999", "true"] {
        let said = refused(&format!(r#"{{"amount_minor":{value},"card_id":"x"}}"#));
        assert_eq!(said, format!("{integer} {} (byte 16)", value.escape_debug()));
    }
    assert_eq!(refused(r#"{"amount_minor":NaN}"#), "amount_minor is not JSON, not NaN (byte 16)");
    assert_eq!(refused(r#"{"latitude":1e400}"#), "latitude must be a finite number, not 1e400 (byte 12)");
    assert_eq!(refused(r#"{"latitude":-Infinity}"#), "latitude is not JSON, not -Infinity (byte 13)");
    assert_eq!(refused(r#"{"customer_id":7}"#), "customer_id must be text (byte 15)");
    assert_eq!(refused(r#"{"card_id":4111111111111111}"#), "card_id must be text (byte 11)");
    assert_eq!(
        refused(r#"{"card_id":"4111111111111111\q"}"#),
        "card_id has an escape that is not valid (byte 29)"
    );
    assert_eq!(refused(r#"{"amount_minor":1,"amount_minor":2}"#), "amount_minor appears twice (byte 18)");
    assert_eq!(refused("[1]"), "the message is not a JSON object (byte 3)");
    assert_eq!(refused("{} {}"), "the message goes on behind the JSON object (byte 3)");
    assert_eq!(refused(""), "the message is cut off (byte 0)");
    assert_eq!(refused(r#"{"card_id":"x",}"#), "the message is not JSON (byte 15)");
    assert_eq!(refused("\u{feff}{}"), "the message is not JSON (byte 0)");
}

#[test]
fn labels_need_a_verdict() {
    let mut scratch = Scratch::default();
    let text = br#"{"transaction_id":"t","is_fraud":true,"label_known_time":"1970-01-01T00:00:01Z","typology":"m\u0075le","country":7}"#;
    let read = label(text, &mut scratch).unwrap();
    assert_eq!((read.is_fraud, read.known_time_micros), (true, Some(1_000_000)));
    assert_eq!((read.transaction.transaction_id, read.transaction.country), (Some("t"), None));
    assert_eq!(read.typology, Some("mule"));
    for (value, is_fraud) in [("1", true), ("0", false), ("false", false)] {
        let text = format!(r#"{{"is_fraud":{value},"label_known_time_micros":5}}"#);
        let mut scratch = Scratch::default();
        let read = label(text.as_bytes(), &mut scratch).unwrap();
        assert_eq!((read.is_fraud, read.known_time_micros, read.typology), (is_fraud, Some(5), None));
    }
    for (value, fault) in
        [("2", Fault::NotVerdict), ("\"1\"", Fault::NotVerdict), ("null", Fault::VerdictMissing)]
    {
        let text = format!(r#"{{"is_fraud":{value}}}"#);
        assert_eq!(label(text.as_bytes(), &mut Scratch::default()).unwrap_err().fault, fault);
    }
    let twice = br#"{"is_fraud":1,"typology":"a","typology":"b"}"#;
    assert_eq!(label(twice, &mut Scratch::default()).unwrap_err().fault, Fault::Duplicate);
    let number = br#"{"is_fraud":1,"typology":7}"#;
    assert_eq!(label(number, &mut Scratch::default()).unwrap_err().fault, Fault::NotText);
    // A row of a history may be sent as a transaction: its label columns are not looked at.
    let row = br#"{"transaction_id":"t","typology":7,"typology":8}"#;
    assert_eq!(transaction(row, &mut Scratch::default()).unwrap().transaction_id, Some("t"));
}

#[test]
fn scratch_holds_one_record_at_a_time() {
    let mut scratch = Scratch::default();
    for id in ["a", "b", "c"] {
        let text = format!(r#"{{"transaction_id":"\u0041{id}","card_id":"\u0042"}}"#);
        let raw = transaction(text.as_bytes(), &mut scratch).unwrap();
        assert_eq!((raw.transaction_id, raw.card_id), (Some(&*format!("A{id}")), Some("B")));
    }
    assert_eq!(scratch.text.len(), 3);
}
