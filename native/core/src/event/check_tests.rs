//! Every violation is raised by a record that is otherwise valid, and names its field.

use super::super::CurrencyCode;
use super::*;
use proptest::prelude::*;

fn euro() -> CurrencyTable {
    CurrencyTable::new(CurrencyCode::parse("EUR").unwrap(), Vec::new())
}

fn valid() -> RawTransaction<'static> {
    RawTransaction {
        transaction_id: Some("t1"),
        event_time_micros: Some(1_600_000_000_000_000),
        customer_id: Some("c1"),
        card_id: Some("k1"),
        device_id: Some("d1"),
        merchant_id: Some("m1"),
        ip_address: Some("10.0.0.1"),
        amount_minor: Some(1_250),
        currency: Some("EUR"),
        channel: Some("ecommerce"),
        merchant_category: Some(5411),
        country: Some("FR"),
        latitude: Some(48.85),
        longitude: Some(2.35),
    }
}

#[test]
fn a_full_record_and_a_minimal_record_are_accepted() {
    let full = check(&valid(), &euro()).unwrap();
    assert_eq!(full.amount, AmountMinor(1_250));
    assert_eq!(full.channel, Some(Channel::Ecommerce));
    assert_eq!(full.country, Some(5 * 26 + 17 + 1));
    let minimal = RawTransaction {
        transaction_id: Some("t1"),
        event_time_micros: Some(1_600_000_000_000_000),
        customer_id: Some("c1"),
        amount_minor: Some(1),
        ..RawTransaction::default()
    };
    let minimal = check(&minimal, &euro()).unwrap();
    assert_eq!(minimal.entities[1..], [None; 4]);
    assert_eq!(minimal.place, None);
}

#[test]
fn every_violation_names_its_field() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let base = valid();
    let cases: Vec<(RawTransaction<'_>, Field, &str)> = vec![
        (RawTransaction { transaction_id: None, ..base }, Field::TransactionId, "missing"),
        (RawTransaction { transaction_id: Some(""), ..base }, Field::TransactionId, "empty"),
        (RawTransaction { customer_id: None, ..base }, Field::CustomerId, "missing"),
        (RawTransaction { event_time_micros: None, ..base }, Field::EventTime, "missing"),
        (RawTransaction { event_time_micros: Some(0), ..base }, Field::EventTime, "time_out_of_range"),
        (RawTransaction { event_time_micros: Some(i64::MAX), ..base }, Field::EventTime, "time_out_of_range"),
        (RawTransaction { amount_minor: None, ..base }, Field::Amount, "missing"),
        (RawTransaction { amount_minor: Some(-5), ..base }, Field::Amount, "amount_negative"),
        (RawTransaction { amount_minor: Some(i64::MAX), ..base }, Field::Amount, "amount_too_large"),
        (RawTransaction { merchant_id: Some(&long), ..base }, Field::MerchantId, "too_long"),
        (RawTransaction { device_id: Some("a\nb"), ..base }, Field::DeviceId, "control_character"),
        (RawTransaction { card_id: Some("4111 1111 1111 1111"), ..base }, Field::CardId, "card_number"),
        (RawTransaction { currency: Some("eur"), ..base }, Field::Currency, "currency_malformed"),
        (RawTransaction { currency: Some("USD"), ..base }, Field::Currency, "currency_without_rate"),
        (RawTransaction { channel: Some("fax"), ..base }, Field::Channel, "channel_unknown"),
        (
            RawTransaction { merchant_category: Some(10_000), ..base },
            Field::MerchantCategory,
            "category_out_of_range",
        ),
        (RawTransaction { country: Some("FRA"), ..base }, Field::Country, "country_malformed"),
        (RawTransaction { latitude: Some(f64::NAN), ..base }, Field::Latitude, "coordinate_out_of_range"),
        (RawTransaction { longitude: Some(180.5), ..base }, Field::Longitude, "coordinate_out_of_range"),
        (RawTransaction { longitude: None, ..base }, Field::Longitude, "coordinate_missing"),
        (RawTransaction { latitude: None, ..base }, Field::Latitude, "coordinate_missing"),
    ];
    for (raw, field, code) in cases {
        let violation = check(&raw, &euro()).unwrap_err();
        assert_eq!((violation.field(), violation.code()), (field, code), "{violation}");
        assert!(violation.to_string().contains(field.name()), "{violation}");
    }
}

#[test]
fn a_card_number_is_refused_without_being_repeated() {
    let raw = RawTransaction { card_id: Some("5500005555555559"), ..valid() };
    let message = check(&raw, &euro()).unwrap_err().to_string();
    assert!(!message.contains("5500"), "{message}");
    let token = RawTransaction { card_id: Some("5500005555555558"), ..valid() };
    assert!(check(&token, &euro()).is_ok(), "fails the checksum, so it is a token");
}

#[test]
fn a_label_cannot_be_known_before_its_transaction() {
    let raw = RawLabel {
        transaction: valid(),
        known_time_micros: Some(1_500_000_000_000_000),
        is_fraud: true,
        typology: None,
    };
    assert_eq!(check_label(&raw, &euro()).unwrap_err().code(), "known_before_event");
    let raw = RawLabel { known_time_micros: Some(1_600_000_000_000_000), ..raw };
    assert!(check_label(&raw, &euro()).unwrap().is_fraud);
}

#[test]
fn the_kind_of_fraud_keeps_the_rules_of_a_text_and_is_not_learnt_from() {
    let raw = RawLabel {
        transaction: valid(),
        known_time_micros: Some(1_600_000_000_000_000),
        is_fraud: true,
        typology: None,
    };
    let without = check_label(&raw, &euro()).unwrap();
    let check = |typology: &str| check_label(&RawLabel { typology: Some(typology), ..raw }, &euro());
    for typology in ["account_takeover", "\u{e9}", &"x".repeat(128)] {
        assert_eq!(check(typology).unwrap(), without, "{typology}");
    }
    for (typology, code) in [
        ("", "empty"),
        (&*"x".repeat(129), "too_long"),
        ("a\tb", "control_character"),
        ("4111 1111 1111 1111", "card_number"),
    ] {
        let violation = check(typology).unwrap_err();
        assert_eq!((violation.field(), violation.code()), (Field::Typology, code), "{violation}");
        assert!(!violation.to_string().contains("4111"), "{violation}");
    }
}

proptest! {
    #[test]
    fn any_values_give_a_transaction_or_a_violation(
        id in ".{0,200}", customer in ".{0,8}", time: i64, amount: i64, channel in ".{0,20}",
        category: i64, country in ".{0,4}", latitude: f64, longitude: f64, currency in "[A-Z]{0,4}",
    ) {
        let raw = RawTransaction {
            transaction_id: Some(&id), event_time_micros: Some(time), customer_id: Some(&customer),
            amount_minor: Some(amount), channel: Some(&channel), merchant_category: Some(category),
            country: Some(&country), latitude: Some(latitude), longitude: Some(longitude),
            currency: Some(&currency), ..RawTransaction::default()
        };
        if let Ok(transaction) = check(&raw, &euro()) {
            prop_assert!(transaction.amount.0 >= 0 && transaction.amount.0 <= AMOUNT_MINOR_MAX);
        }
    }
}

#[test]
fn a_control_character_is_found_at_every_place_and_nothing_else_is() {
    for len in 1..40 {
        for at in 0..len {
            for byte in 0..=u8::MAX {
                let mut text = vec![b'a'; len];
                text[at] = byte;
                assert_eq!(has_control(&text), byte.is_ascii_control(), "{byte} at {at} of {len}");
            }
        }
    }
}
