//! Takes the log of decisions in again, with the labels that had been read before each: from a snapshot on, and only
//! what counts (see `log.proto`). A process that takes over does so up to its marker; who follows the log goes on.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fraudengine_core::decision::Action;
use fraudengine_core::engine::flag;
use fraudengine_core::event::{CurrencyTable, Label, Transaction, check, check_label};
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Decided, Engine, Output, Stands};

use super::StreamError;
use super::care::Source;
use super::delivery::{DECISIONS, TOPICS};
use super::recovery::{Recovered, Verdict, by_partition, judge};
use super::snapshot_file::Loaded;
use crate::kafka::{KafkaError, KafkaSettings};
use crate::log_reader::{GenerationRule, LogReader};
use crate::payload::record::{DecisionView, decision};
use crate::payload::{Scratch, decode_label};
use crate::settings::Settings;

const ROWS_AT_ONCE: usize = 1_024;

/// A state that one thread takes records into while others look at it.
pub type SharedEngine = Arc<Mutex<Engine>>;

/// A record that counts.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'v> {
    /// The record.
    pub record: DecisionView<'v>,
    /// Its transaction.
    pub row: Transaction,
}

impl Taken<'_> {
    /// The alert that this record demands; `value` are its bytes.
    pub fn demanded(&self, offset: i64, value: &[u8]) -> Option<Demanded> {
        let record = &self.record;
        let duplicate = record.flags & u32::from(flag::DUPLICATE) != 0;
        (action(record) != Action::Approve && !duplicate).then(|| Demanded {
            source: (record.source_partition, record.source_offset),
            offset,
            key: record.transaction.and_then(|raw| raw.customer_id).unwrap_or_default().as_bytes().to_vec(),
            value: value.to_vec(),
        })
    }
}

/// An alert that a decision demands.
#[derive(Debug)]
pub struct Demanded {
    /// Partition and offset of the transaction.
    pub source: (i32, i64),
    /// Offset of the decision.
    pub offset: i64,
    /// Key of the alert.
    pub key: Vec<u8>,
    /// The decision as it stands in the log.
    pub value: Vec<u8>,
}

fn action(record: &DecisionView<'_>) -> Action {
    Action::from_code((record.action - 1).clamp(0, 2) as u8)
}

/// See the module's text.
pub struct Rebuild<'a> {
    settings: &'a Settings,
    currencies: CurrencyTable,
    engine: SharedEngine,
    /// File of the snapshot; none: the log's beginning.
    path: Option<PathBuf>,
    generation: i64,
    start: i64,
    end_offset: i64,
    rule: GenerationRule,
    stands: Stands,
    /// Whether the log was decided within the bounds of `engine`.
    same_bounds: bool,
    position: u64,
    labels: LabelReader,
    sources: BTreeMap<i32, i64>,
    rows: Vec<Transaction>,
    decided: Vec<Decided>,
    /// Offset of the last record in `rows`.
    last_offset: i64,
    output: Output,
    replayed: u64,
}

impl<'a> Rebuild<'a> {
    /// Begins at a snapshot, or where `path` is none at the log's beginning.
    pub fn new(settings: &'a Settings, loaded: Loaded, path: Option<&Path>) -> Result<Self, StreamError> {
        let Loaded { header, engine, stands, same_bounds } = loaded;
        let recorded = header.sources.iter().enumerate();
        let generation = header.generations[DECISIONS];
        Ok(Self {
            settings,
            currencies: settings.engine.currencies()?,
            engine: Arc::new(Mutex::new(engine)),
            path: path.map(Path::to_owned),
            generation,
            start: header.offsets[DECISIONS],
            end_offset: header.end_offset,
            rule: GenerationRule::resume(generation),
            stands,
            same_bounds,
            position: header.position,
            labels: LabelReader::new(settings, header.label_offset),
            sources: recorded.map(|(partition, &offset)| (partition as i32, offset)).collect(),
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

    /// Whether a record is not decided yet: it stands at or behind what the log has come to.
    pub fn is_ahead(&self, (is_label, partition, offset): Source) -> bool {
        if is_label {
            offset >= self.labels.next
        } else {
            self.sources.get(&partition).is_none_or(|&next| offset >= next)
        }
    }

    /// Whether the label at this offset has been read.
    pub const fn has_read_label(&self, offset: i64) -> bool {
        offset < self.labels.next
    }

    /// The state: whole from the snapshot's end on, and as of the last [`flush`](Self::flush).
    pub fn engine(&self) -> SharedEngine {
        Arc::clone(&self.engine)
    }

    /// Rows taken in since the beginning of the log.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Takes in the record at an offset; `value` are its bytes. `None`: it does not count.
    pub fn take<'v>(&mut self, offset: i64, value: &'v [u8]) -> Result<Option<Taken<'v>>, StreamError> {
        let record = decision(value).map_err(|error| self.foreign(offset, &error))?;
        if record.is_marker() {
            self.rule.marker(offset);
            return match judge(self.generation, self.start, self.end_offset, 0, Some(offset)) {
                Verdict::Overtaken => Err(self.overtaken(offset)),
                Verdict::Good | Verdict::TooOld => Ok(None),
            };
        }
        if record.generation > self.rule.highest() && self.path.is_some() {
            // Its marker lies before the snapshot's place: the snapshot was copied from a state that nobody heard.
            return Err(self.overtaken(record.generation));
        }
        if !self.rule.admits(record.generation) {
            return Ok(None);
        }
        self.enter(offset, &record).map(|row| Some(Taken { record, row }))
    }

    fn foreign(&self, offset: i64, reason: &impl ToString) -> StreamError {
        let topic = self.settings.kafka.decisions_topic.clone();
        StreamError::ForeignRecord { topic, offset, reason: reason.to_string() }
    }

    fn overtaken(&self, marker: i64) -> StreamError {
        StreamError::Overtaken { path: self.path.clone().unwrap_or_default(), marker }
    }

    fn enter(&mut self, offset: i64, record: &DecisionView<'_>) -> Result<Transaction, StreamError> {
        let raw = record.transaction.ok_or_else(|| self.foreign(offset, &"no transaction"))?;
        let row = check(&raw, &self.currencies).map_err(|violation| self.foreign(offset, &violation))?;
        // Labels were read before the chunk of this record: whatever waits in `rows` came before them.
        if record.label_offset > self.labels.next || self.rows.len() == ROWS_AT_ONCE {
            self.flush()?;
            let engine = &self.engine;
            self.labels
                .read_until(record.label_offset, &self.currencies, |label| locked(engine).expect(label))?;
        }
        self.rows.push(row);
        let decided = Decided { flags: record.flags as u8 & 7, score: record.score, action: action(record) };
        self.decided.push(decided);
        self.last_offset = offset;
        let source = (record.source_partition, record.source_offset);
        let next = self.sources.entry(source.0).or_insert(-1);
        *next = (*next).max(source.1 + 1);
        Ok(row)
    }

    /// Takes in what waits.
    pub fn flush(&mut self) -> Result<(), StreamError> {
        let repeated = {
            let mut engine = locked(&self.engine);
            let labels = engine.due_labels(&self.rows);
            let batch = Batch { transactions: &self.rows, labels: &labels };
            let stands = &self.stands;
            engine.replay_batch(batch, &self.decided, self.position, stands, &Inline, &mut self.output)
        };
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
        // Nobody else holds it where this is called.
        let engine = Arc::try_unwrap(self.engine).map_or_else(
            |shared| locked(&shared).clone(),
            |alone| alone.into_inner().unwrap_or_else(PoisonError::into_inner),
        );
        Recovered {
            engine,
            position: self.position,
            label_offset: self.labels.next,
            sources: by_partition(&self.sources),
            generations,
            letters_sent: HashSet::new(),
            quarantined: HashSet::new(),
            alerts_missing: Vec::new(),
            replayed: self.replayed,
            begins_at_ends: false,
        }
    }
}

fn locked(engine: &SharedEngine) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
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
