//! Checked transactions and labels as bytes of a fixed size: how they travel from step to step.

use crate::event::{Channel, ENTITY_KINDS, Label, Place, Transaction};
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::{AmountMinor, EntityKey, EventTimeMicros};

/// Bytes of a transaction.
pub const TRANSACTION_BYTES: usize = 8 * (3 + ENTITY_KINDS) + 1 + 2 * 4 + 1 + 2 * 2;
/// Bytes of a label.
pub const LABEL_BYTES: usize = 8 * (4 + ENTITY_KINDS) + 1;
/// Stands for an absent channel, category or country.
const ABSENT: u16 = u16::MAX;

/// Appends a transaction.
pub fn write_transaction(transaction: &Transaction, out: &mut Writer) {
    out.u64(transaction.id.get());
    out.i64(transaction.time.0);
    out.i64(transaction.amount.0);
    write_entities(&transaction.entities, out);
    out.u8(u8::from(transaction.place.is_some()));
    let place = transaction.place.unwrap_or(Place { latitude: 0.0, longitude: 0.0 });
    out.f32(place.latitude);
    out.f32(place.longitude);
    out.u8(transaction.channel.map_or(u8::MAX, |channel| channel as u8));
    out.u16(transaction.category.unwrap_or(ABSENT));
    out.u16(transaction.country.unwrap_or(ABSENT));
}

/// Takes transactions, one behind the other to the end of the bytes.
pub fn read_transactions(bytes: &[u8]) -> Result<Vec<Transaction>, SnapshotError> {
    read_all(bytes, |input| {
        let id = EntityKey::from_hash(input.u64()?);
        let (time, amount) = (EventTimeMicros(input.i64()?), AmountMinor(input.i64()?));
        let entities = read_entities(input)?;
        let has_place = input.u8()? != 0;
        let place = Place { latitude: input.f32()?, longitude: input.f32()? };
        let channel = input.u8()?;
        let known = Channel::NAMES.get(usize::from(channel)).and_then(|name| Channel::parse(name));
        if known.is_none() && channel != u8::MAX {
            return Err(SnapshotError::OutOfRange { what: "channel", value: channel.into() });
        }
        let (category, country) = (input.u16()?, input.u16()?);
        Ok(Transaction {
            id,
            time,
            amount,
            entities,
            place: has_place.then_some(place),
            channel: known,
            category: (category != ABSENT).then_some(category),
            country: (country != ABSENT).then_some(country),
        })
    })
}

/// Appends a label.
pub fn write_label(label: &Label, out: &mut Writer) {
    out.u64(label.id.get());
    out.i64(label.event_time.0);
    out.i64(label.known_time.0);
    out.u8(u8::from(label.is_fraud));
    out.i64(label.amount.0);
    write_entities(&label.entities, out);
}

/// Takes labels, one behind the other to the end of the bytes.
pub fn read_labels(bytes: &[u8]) -> Result<Vec<Label>, SnapshotError> {
    read_all(bytes, read_label)
}

/// Takes one label.
pub fn read_label(input: &mut Reader<'_>) -> Result<Label, SnapshotError> {
    Ok(Label {
        id: EntityKey::from_hash(input.u64()?),
        event_time: EventTimeMicros(input.i64()?),
        known_time: EventTimeMicros(input.i64()?),
        is_fraud: input.u8()? != 0,
        amount: AmountMinor(input.i64()?),
        entities: read_entities(input)?,
    })
}

fn read_all<T>(
    bytes: &[u8],
    read: impl Fn(&mut Reader<'_>) -> Result<T, SnapshotError>,
) -> Result<Vec<T>, SnapshotError> {
    let mut input = Reader::new(bytes);
    let mut all = Vec::new();
    while !input.rest().is_empty() {
        all.push(read(&mut input)?);
    }
    Ok(all)
}

fn write_entities(entities: &[Option<EntityKey>; ENTITY_KINDS], out: &mut Writer) {
    for entity in entities {
        out.u64(entity.map_or(0, EntityKey::get));
    }
}

fn read_entities(input: &mut Reader<'_>) -> Result<[Option<EntityKey>; ENTITY_KINDS], SnapshotError> {
    let mut entities = [None; ENTITY_KINDS];
    for entity in &mut entities {
        let key = input.u64()?;
        *entity = (key != 0).then(|| EntityKey::from_hash(key));
    }
    Ok(entities)
}
