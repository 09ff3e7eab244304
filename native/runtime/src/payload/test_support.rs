//! Random records for the tests of this module, and what they should become.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::wire;

/// A record that prost can encode: any texts, any numbers, channels of the schema.
pub fn transaction() -> impl Strategy<Value = wire::Transaction> {
    let id = || prop_oneof![4 => "[A-Za-z0-9_]{1,20}", 1 => ".{0,40}"];
    let number = || prop_oneof![4 => 0..200_000_000_000_i64, 1 => any::<i64>()];
    let ids = (id(), number(), id(), of(id()), of(id()), of(id()), of(id()));
    let rest = (
        of(number()),
        of(id()),
        of(0..8_i32),
        of(any::<i32>()),
        of(id()),
        of(any::<f64>()),
        of(any::<f64>()),
    );
    (ids, rest).prop_map(|(a, b)| wire::Transaction {
        transaction_id: a.0,
        event_time_micros: a.1,
        customer_id: a.2,
        card_id: a.3,
        device_id: a.4,
        merchant_id: a.5,
        ip_address: a.6,
        amount_minor: b.0,
        currency: b.1,
        channel: b.2,
        merchant_category: b.3,
        country: b.4,
        latitude: b.5,
        longitude: b.6,
    })
}

/// Places, bits and cuts with which a valid message is spoilt.
pub fn damage() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    vec((any::<usize>(), any::<u8>(), 0..5_u8), 0..4)
}

/// Spoils a message: changes, removes, inserts or repeats bytes, or cuts the end off.
pub fn spoil(message: &mut Vec<u8>, damages: &[(usize, u8, u8)]) {
    for &(place, byte, kind) in damages {
        if message.is_empty() {
            return;
        }
        let at = place % message.len();
        match kind {
            0 => message[at] = byte,
            1 => message[at] ^= 1 << (byte % 8),
            2 => drop(message.remove(at)),
            3 => message.insert(at, byte),
            _ => message.truncate(at),
        }
    }
}

/// From prost's types to what the decoders give.
pub mod wire_of {
    use fraudengine_core::event::RawTransaction;

    use crate::wire;

    /// The raw transaction of a record; an unknown channel has no name.
    pub fn raw(wire: &wire::Transaction) -> RawTransaction<'_> {
        let text = |text: &'_ str| (!text.is_empty()).then_some(()).is_some();
        RawTransaction {
            transaction_id: Some(wire.transaction_id.as_str()).filter(|id| text(id)),
            event_time_micros: Some(wire.event_time_micros).filter(|&micros| micros != 0),
            customer_id: Some(wire.customer_id.as_str()).filter(|id| text(id)),
            card_id: wire.card_id.as_deref(),
            device_id: wire.device_id.as_deref(),
            merchant_id: wire.merchant_id.as_deref(),
            ip_address: wire.ip_address.as_deref(),
            amount_minor: wire.amount_minor,
            currency: wire.currency.as_deref(),
            channel: wire
                .channel
                .and_then(|code| wire::CHANNELS.get(usize::try_from(code).ok()?).copied())
                .filter(|name| !name.is_empty()),
            merchant_category: wire.merchant_category.map(i64::from),
            country: wire.country.as_deref(),
            latitude: wire.latitude,
            longitude: wire.longitude,
        }
    }

    /// The label with a transaction's keys.
    pub fn label(wire: &wire::Transaction, fraud: bool, known: i64, typology: Option<String>) -> wire::Label {
        wire::Label {
            transaction_id: wire.transaction_id.clone(),
            event_time_micros: wire.event_time_micros,
            customer_id: wire.customer_id.clone(),
            card_id: wire.card_id.clone(),
            device_id: wire.device_id.clone(),
            merchant_id: wire.merchant_id.clone(),
            ip_address: wire.ip_address.clone(),
            amount_minor: wire.amount_minor,
            currency: wire.currency.clone(),
            is_fraud: if fraud { 2 } else { 1 },
            label_known_time_micros: known,
            typology,
        }
    }
}
