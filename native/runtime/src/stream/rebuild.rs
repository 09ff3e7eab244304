//! Takes recorded decisions in again, with the labels that had been read before each.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use fraudengine_core::decision::Action;
use fraudengine_core::engine::flag;
use fraudengine_core::event::{CurrencyTable, Label, Transaction, check, check_label};
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Decided, Engine, Output, Stands};
use prost::Message as _;

use super::StreamError;
use super::delivery::TOPICS;
use super::recovery::{Recovered, by_partition};
use super::snapshot_file::Loaded;
use crate::kafka::{KafkaError, KafkaSettings};
use crate::log_reader::LogReader;
use crate::payload::record::DecisionView;
use crate::payload::{Scratch, decode_label};
use crate::settings::Settings;
use crate::wire;

const ROWS_AT_ONCE: usize = 1_024;

/// See the module's text.
pub struct Rebuild<'a> {
    settings: &'a Settings,
    currencies: CurrencyTable,
    engine: Engine,
    stands: Stands,
    /// Whether the log was decided within the bounds of `engine`.
    same_bounds: bool,
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
        loaded: Loaded,
        alerts_sent: HashSet<(i32, i64)>,
        alerts_generation: i64,
    ) -> Result<Self, StreamError> {
        let Loaded { header, engine, stands, same_bounds } = loaded;
        let recorded = header.sources.iter().enumerate();
        Ok(Self {
            settings,
            currencies: settings.engine.currencies()?,
            engine,
            stands,
            same_bounds,
            position: header.position,
            labels: LabelReader::new(settings, header.label_offset),
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

    /// Leaves out the labels at these offsets.
    pub fn skip_labels(&mut self, offsets: impl Iterator<Item = i64>) {
        self.labels.skipped.extend(offsets);
    }

    /// Takes in the record at an offset; `value` are its bytes.
    pub fn take(&mut self, offset: i64, record: &DecisionView<'_>, value: &[u8]) -> Result<(), StreamError> {
        let foreign = |reason: String| StreamError::ForeignRecord {
            topic: self.settings.kafka.decisions_topic.clone(),
            offset,
            reason,
        };
        let raw = record.transaction.ok_or_else(|| foreign("no transaction".to_owned()))?;
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
            let mut alert =
                wire::DecisionRecord::decode(value).map_err(|error| foreign(error.to_string()))?;
            alert.generation = self.alerts_generation;
            let key = raw.customer_id.unwrap_or_default().as_bytes().to_vec();
            self.alerts_missing.push((key, alert.encode_to_vec()));
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
        if repeated > 0 && !self.same_bounds {
            tracing::warn!(
                "{repeated} ids up to offset {} had been forgotten within other bounds",
                self.last_offset
            );
        } else if repeated > 0 {
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
            quarantined: HashSet::new(),
            alerts_missing: self.alerts_missing,
            replayed: self.replayed,
            begins_at_ends: false,
        }
    }
}

/// Reads the labels topic in step with the log.
struct LabelReader {
    reader: Option<LogReader>,
    settings: KafkaSettings,
    scratch: Scratch,
    next: i64,
    /// Offsets of labels that are left out.
    skipped: HashSet<i64>,
}

impl LabelReader {
    fn new(settings: &Settings, next: i64) -> Self {
        Self {
            reader: None,
            settings: settings.kafka.clone(),
            scratch: Scratch::default(),
            next,
            skipped: HashSet::new(),
        }
    }

    fn read_until(
        &mut self,
        until: i64,
        currencies: &CurrencyTable,
        mut each: impl FnMut(Label),
    ) -> Result<(), StreamError> {
        let KafkaSettings { labels_topic, labels_format, .. } = &self.settings;
        let mut last_progress = Instant::now();
        while self.next < until {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(LogReader::open(&self.settings, labels_topic, self.next)?),
            };
            // Never more than is needed: a record that is taken from the reader is gone.
            let room = usize::try_from(until - self.next).unwrap_or(usize::MAX).min(ROWS_AT_ONCE);
            let records = reader.poll(room, 100)?;
            for at in 0..records {
                let record = reader.record(at);
                // Refused labels were dead letters when they were first read.
                if !self.skipped.contains(&record.offset)
                    && let Ok(raw) = decode_label(*labels_format, record.value, &mut self.scratch)
                    && let Ok(label) = check_label(&raw, currencies)
                {
                    each(label);
                }
            }
            self.next = reader.next();
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
