//! Takes recorded decisions in again, with the labels that had been read before each.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use fraudengine_core::decision::Action;
use fraudengine_core::engine::flag;
use fraudengine_core::event::{CurrencyTable, RawTransaction, Transaction, check, check_label};
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Decided, Engine, Output, Stands};
use prost::Message as _;

use super::StreamError;
use super::delivery::TOPICS;
use super::recovery::{Recovered, by_partition};
use super::snapshot_file::Header;
use crate::kafka::{Consumer, KafkaError, Polled, Position};
use crate::payload::{Format, Scratch, decode_label};
use crate::settings::Settings;
use crate::wire;

const ROWS_AT_ONCE: usize = 1_024;

/// See the module's text.
pub struct Rebuild<'a> {
    settings: &'a Settings,
    currencies: CurrencyTable,
    engine: Engine,
    stands: Stands,
    position: u64,
    labels: LabelReader,
    sources: BTreeMap<i32, i64>,
    alerts_sent: HashSet<(i32, i64)>,
    alerts_missing: Vec<(Vec<u8>, Vec<u8>)>,
    alerts_generation: i64,
    rows: Vec<Transaction>,
    decided: Vec<Decided>,
    /// Offset of the last record in `rows`.
    last_offset: i64,
    output: Output,
    replayed: u64,
}

impl<'a> Rebuild<'a> {
    /// Begins at a snapshot.
    pub fn new(
        settings: &'a Settings,
        engine: Engine,
        stands: Stands,
        header: &Header,
        alerts_sent: HashSet<(i32, i64)>,
        alerts_generation: i64,
    ) -> Result<Self, StreamError> {
        let recorded = header.sources.iter().enumerate();
        Ok(Self {
            settings,
            currencies: settings.engine.currencies()?,
            engine,
            stands,
            position: header.position,
            labels: LabelReader::new(settings, header.label_offset)?,
            sources: recorded.map(|(partition, &offset)| (partition as i32, offset)).collect(),
            alerts_sent,
            alerts_missing: Vec::new(),
            alerts_generation,
            rows: Vec::with_capacity(ROWS_AT_ONCE),
            decided: Vec::with_capacity(ROWS_AT_ONCE),
            last_offset: -1,
            output: Output::default(),
            replayed: 0,
        })
    }

    /// Takes in the record at an offset.
    pub fn take(&mut self, offset: i64, mut record: wire::DecisionRecord) -> Result<(), StreamError> {
        let foreign = |reason: String| StreamError::ForeignRecord {
            topic: self.settings.kafka.decisions_topic.clone(),
            offset,
            reason,
        };
        let transaction = record.transaction.take().ok_or_else(|| foreign("no transaction".to_owned()))?;
        let raw = raw_of(&transaction);
        let row = check(&raw, &self.currencies).map_err(|violation| foreign(violation.to_string()))?;
        // Labels were read before the chunk of this record: whatever waits in `rows` came before them.
        if record.label_offset > self.labels.next || self.rows.len() == ROWS_AT_ONCE {
            self.flush()?;
            let engine = &mut self.engine;
            self.labels.read_until(record.label_offset, &self.currencies, |label| engine.expect(label))?;
        }
        self.rows.push(row);
        let action = Action::from_code((record.action - 1).clamp(0, 2) as u8);
        self.decided.push(Decided { flags: record.flags as u8 & 7, score: record.score, action });
        self.last_offset = offset;
        let source = (record.source_partition, record.source_offset);
        let next = self.sources.entry(source.0).or_insert(-1);
        *next = (*next).max(source.1 + 1);
        let duplicate = record.flags & u32::from(flag::DUPLICATE) != 0;
        if action != Action::Approve && !duplicate && !self.alerts_sent.contains(&source) {
            let key = transaction.customer_id.clone().into_bytes();
            record.transaction = Some(transaction);
            record.generation = self.alerts_generation;
            self.alerts_missing.push((key, record.encode_to_vec()));
        }
        Ok(())
    }

    /// Takes in what waits.
    pub fn flush(&mut self) -> Result<(), StreamError> {
        let labels = self.engine.due_labels(&self.rows);
        let batch = Batch { transactions: &self.rows, labels: &labels };
        let stands = &self.stands;
        let repeated =
            self.engine.replay_batch(batch, &self.decided, self.position, stands, &Inline, &mut self.output);
        if repeated > 0 {
            return Err(StreamError::Diverged { repeated, offset: self.last_offset });
        }
        self.position += self.rows.len() as u64;
        self.replayed += self.rows.len() as u64;
        self.rows.clear();
        self.decided.clear();
        Ok(())
    }

    /// The state, and where to go on.
    pub fn finish(self, generations: [i64; TOPICS]) -> Recovered {
        Recovered {
            engine: self.engine,
            position: self.position,
            label_offset: self.labels.next,
            sources: by_partition(&self.sources),
            generations,
            letters_sent: HashSet::new(),
            alerts_missing: self.alerts_missing,
            replayed: self.replayed,
        }
    }
}

/// A record's transaction as the engine's raw type.
fn raw_of(transaction: &wire::Transaction) -> RawTransaction<'_> {
    let channel = transaction.channel.and_then(|code| wire::CHANNELS.get(code as usize).copied());
    RawTransaction {
        transaction_id: Some(&transaction.transaction_id),
        event_time_micros: Some(transaction.event_time_micros),
        customer_id: Some(&transaction.customer_id),
        card_id: transaction.card_id.as_deref(),
        device_id: transaction.device_id.as_deref(),
        merchant_id: transaction.merchant_id.as_deref(),
        ip_address: transaction.ip_address.as_deref(),
        amount_minor: transaction.amount_minor,
        currency: transaction.currency.as_deref(),
        channel: channel.filter(|name| !name.is_empty()),
        merchant_category: transaction.merchant_category.map(i64::from),
        country: transaction.country.as_deref(),
        latitude: transaction.latitude,
        longitude: transaction.longitude,
    }
}

/// Reads the labels topic in step with the log.
struct LabelReader {
    consumer: Option<Consumer>,
    position: Position,
    settings: crate::kafka::KafkaSettings,
    format: Format,
    scratch: Scratch,
    next: i64,
}

impl LabelReader {
    fn new(settings: &Settings, offset: i64) -> Result<Self, StreamError> {
        let kafka = settings.kafka.clone();
        let position = Position { topic: kafka.labels_topic.clone(), partition: 0, offset };
        let format = kafka.labels_format;
        Ok(Self {
            consumer: None,
            position,
            settings: kafka,
            format,
            scratch: Scratch::default(),
            next: offset,
        })
    }

    fn read_until(
        &mut self,
        until: i64,
        currencies: &CurrencyTable,
        mut each: impl FnMut(fraudengine_core::event::Label),
    ) -> Result<(), StreamError> {
        let mut last_progress = Instant::now();
        while self.next < until {
            let consumer = match &mut self.consumer {
                Some(consumer) => consumer,
                none => none.insert(Consumer::new(&self.settings, std::slice::from_ref(&self.position))?),
            };
            // Never more than is needed: a record that is taken from the consumer is gone.
            let room = usize::try_from(until - self.next).unwrap_or(usize::MAX).min(1_024);
            let records = match consumer.poll(room, 100)? {
                Polled::Records(records) => records,
                Polled::Trouble(_) => 0,
            };
            for at in 0..records {
                let message = consumer.message(at);
                // Refused labels were dead letters when they were first read.
                if let Ok(raw) = decode_label(self.format, message.value, &mut self.scratch)
                    && let Ok(label) = check_label(&raw, currencies)
                {
                    each(label);
                }
                self.next = message.offset + 1;
            }
            if records > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > Duration::from_secs(60) {
                let reason = format!("labels could not be read up to offset {until} within 60 s");
                return Err(KafkaError::Call { call: "recover", reason }.into());
            }
        }
        Ok(())
    }
}
