//! One record at a time: from a message of Kafka to a row, a label or a refusal in a chunk.

use std::collections::HashSet;

use fraudengine_core::event::{CurrencyTable, RawTransaction, check, check_label};
use fraudengine_core::units::EventTimeMicros;
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::StreamError;
use super::care::Source as Place;
use super::chunk::{Chunk, Origin, Refused, Row};
use super::drill::Drill;
use crate::kafka::Message;
use crate::limits::RAW_BYTES_MAX;
use crate::payload::{Format, Scratch, decode_label, decode_transaction, encode, message as unframed};
use crate::settings::{DrillStage, Settings};
use crate::wire::DeadLetterReason;

/// Decoding, apart from where the bytes come from.
pub struct Reader {
    transactions: Format,
    labels: Format,
    currencies: CurrencyTable,
    ahead_micros_max: i64,
    hash_secret: Vec<u8>,
    keep_raw: bool,
    /// Records that are never decided.
    quarantined: HashSet<Place>,
    drill: Option<Drill>,
    label_drill: Option<Drill>,
    scratch: Scratch,
}

/// Shortest secret that XXH3 accepts.
const SECRET_BYTES: usize = 192;

impl Reader {
    /// A reader by the settings that refuses what is quarantined.
    pub fn new(settings: &Settings, quarantined: HashSet<Place>) -> Result<Self, StreamError> {
        let key = settings.dead_letter.hash_key.as_bytes();
        // Stretches the configured text to the length that the hash needs; no two texts give the same.
        let mut secret = Vec::with_capacity(SECRET_BYTES);
        for block in 0..SECRET_BYTES as u64 / 8 {
            let word = xxhash_rust::xxh3::xxh3_64_with_seed(key, block + 1);
            secret.extend_from_slice(&word.to_le_bytes());
        }
        Ok(Self {
            transactions: settings.kafka.transactions_format,
            labels: settings.kafka.labels_format,
            currencies: settings.engine.currencies()?,
            ahead_micros_max: (settings.engine.ahead_seconds_max * 1e6) as i64,
            hash_secret: secret,
            keep_raw: settings.dead_letter.raw,
            quarantined,
            drill: Drill::at(&settings.drill, DrillStage::Decode),
            label_drill: Drill::at(&settings.drill, DrillStage::Label),
            scratch: Scratch::default(),
        })
    }

    /// Takes one transaction into the chunk, as a row or as refused.
    pub fn transaction(&mut self, message: &Message<'_>, chunk: &mut Chunk) {
        let read =
            self.refuse_quarantined(message, false).and_then(|()| self.try_transaction(message, chunk));
        if let Err((reason, detail)) = read {
            let refused = self.refused(message, false, reason, detail);
            chunk.refused.push(refused);
        }
    }

    fn try_transaction(
        &mut self,
        message: &Message<'_>,
        chunk: &mut Chunk,
    ) -> Result<(), (DeadLetterReason, String)> {
        let raw = decode_transaction(self.transactions, message.value, &mut self.scratch)
            .map_err(|malformed| (malformed.reason(), malformed.to_string()))?;
        if let Some(drill) = &self.drill {
            drill.decoded(raw.transaction_id);
        }
        let transaction = check(&raw, &self.currencies)
            .map_err(|violation| (DeadLetterReason::Invalid, violation.to_string()))?;
        let origin = origin(message);
        // Against the broker's clock, not ours: a replay must agree.
        if origin.time_micros > 0 && transaction.time.0 > origin.time_micros + self.ahead_micros_max {
            return Err((DeadLetterReason::TimeAhead, ahead(transaction.time, origin.time_micros)));
        }
        let start = chunk.bytes.len();
        append_message(self.transactions, message.value, &raw, &mut chunk.bytes);
        let length = (chunk.bytes.len() - start) as u32;
        let customer = raw.customer_id.unwrap_or_default().as_bytes();
        chunk.bytes.extend_from_slice(customer);
        chunk.rows.push(Row { origin, customer_length: customer.len() as u16, length, start });
        chunk.transactions.push(transaction);
        Ok(())
    }

    #[inline]
    fn refuse_quarantined(
        &self,
        message: &Message<'_>,
        is_label: bool,
    ) -> Result<(), (DeadLetterReason, String)> {
        let place = (is_label, message.partition, message.offset);
        if self.quarantined.is_empty() || !self.quarantined.contains(&place) {
            return Ok(());
        }
        Err((DeadLetterReason::Poison, "it ended the process twice".to_owned()))
    }

    /// Takes one label into the chunk.
    pub fn label(&mut self, message: &Message<'_>, chunk: &mut Chunk) {
        let decoded = self.refuse_quarantined(message, true).and_then(|()| {
            decode_label(self.labels, message.value, &mut self.scratch)
                .map_err(|malformed| (malformed.reason(), malformed.to_string()))
        });
        let checked = decoded.and_then(|raw| {
            if let Some(drill) = &self.label_drill {
                drill.decoded(raw.transaction.transaction_id);
            }
            check_label(&raw, &self.currencies)
                .map_err(|violation| (DeadLetterReason::Invalid, violation.to_string()))
        });
        match checked {
            Ok(label) => chunk.labels.push(label),
            Err((reason, detail)) => {
                let refused = self.refused(message, true, reason, detail);
                chunk.refused.push(refused);
            }
        }
        chunk.label_offset = message.offset + 1;
    }

    fn refused(
        &self,
        message: &Message<'_>,
        is_label: bool,
        reason: DeadLetterReason,
        detail: String,
    ) -> Refused {
        Refused {
            is_label,
            origin: origin(message),
            reason,
            detail,
            length: message.value.len() as u32,
            keyed_hash: xxh3_64_with_secret(message.value, &self.hash_secret),
            raw: self.keep_raw.then(|| message.value[..message.value.len().min(RAW_BYTES_MAX)].to_vec()),
        }
    }
}

fn origin(message: &Message<'_>) -> Origin {
    let time_micros = message.timestamp_ms.max(0) * 1_000;
    Origin { partition: message.partition, offset: message.offset, time_micros }
}

#[cold]
fn ahead(time: EventTimeMicros, broker_micros: i64) -> String {
    format!("event_time_micros is {}, which is ahead of the broker's time {broker_micros}", time.0)
}

/// Appends the transaction as a bare protobuf message.
fn append_message(format: Format, value: &[u8], raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    match (format, unframed(format, value)) {
        (Format::Protobuf, Ok(message)) => out.extend_from_slice(message),
        _ => encode::transaction(raw, out),
    }
}
