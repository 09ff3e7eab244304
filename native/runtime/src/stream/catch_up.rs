//! A snapshot and the three logs behind it, taken in as far as they go: by a process that stands by for as long as it
//! does, by one that was just seated up to its markers.
//!
//! Of the decisions nothing is kept but the state ([`Rebuild`]). Alerts are kept while only one side of a pair was seen,
//! the decision that demands one or the alert itself. Dead letters are kept for records that are not decided yet. So
//! what waits here is bounded by what was in flight, however long the process stands by.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message as _;

use super::StreamError;
use super::care::{self, Source};
use super::delivery::{ALERTS, DEAD_LETTERS, DECISIONS, TOPICS};
use super::rebuild::{Demanded, Rebuild};
use super::recovery::{KeyedRecord, Recovered, foreign, output_topics};
use super::snapshot_file::Loaded;
use crate::kafka::KafkaError;
use crate::log_reader::{GenerationRule, LogReader};
use crate::payload::record::decision;
use crate::settings::Settings;
use crate::wire;

const POLL_MS: i32 = 100;
/// How long a part of a log that must be there may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS_AT_ONCE: usize = 4_096;
/// Dead letters that may gather before those of decided records are let go.
const LETTERS_MAX: usize = 65_536;

/// One of the logs, from an offset on.
struct Log {
    topic: String,
    reader: LogReader,
}

impl Log {
    fn open(settings: &Settings, topic: usize, from: i64) -> Result<Self, StreamError> {
        let topic = output_topics(settings)[topic].to_owned();
        Ok(Self { reader: LogReader::open(&settings.kafka, &topic, from)?, topic })
    }

    /// Takes in what is there; returns how many records that were.
    fn step(
        &mut self,
        timeout_ms: i32,
        mut each: impl FnMut(&str, i64, &[u8]) -> Result<(), StreamError>,
    ) -> Result<usize, StreamError> {
        let records = self.reader.poll(RECORDS_AT_ONCE, timeout_ms)?;
        for at in 0..records {
            let record = self.reader.record(at);
            each(&self.topic, record.offset, record.value)?;
        }
        Ok(records)
    }

    /// Takes in everything before `until`, one of our own markers.
    fn step_until(
        &mut self,
        until: i64,
        mut each: impl FnMut(&str, i64, &[u8]) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let mut last_progress = Instant::now();
        while self.reader.next() < until {
            let before = |topic: &str, offset: i64, value: &[u8]| {
                if offset < until { each(topic, offset, value) } else { Ok(()) }
            };
            if self.step(POLL_MS, before)? > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > PATIENCE {
                let topic = &self.topic;
                let reason = format!("{topic} could not be read up to offset {until} within {PATIENCE:?}");
                return Err(KafkaError::Call { call: "recover", reason }.into());
            }
        }
        Ok(())
    }
}

/// Alerts: those that decisions demand, and those that are there.
struct Alerts {
    rule: GenerationRule,
    demanded: HashMap<(i32, i64), Demanded>,
    sent: HashSet<(i32, i64)>,
}

impl Alerts {
    fn take(&mut self, topic: &str, offset: i64, value: &[u8]) -> Result<(), StreamError> {
        let record = decision(value).map_err(|error| foreign(topic, offset, &error))?;
        let source = (record.source_partition, record.source_offset);
        if record.is_marker() {
            self.rule.marker(offset);
        } else if self.rule.admits(record.generation) && self.demanded.remove(&source).is_none() {
            self.sent.insert(source);
        }
        Ok(())
    }

    fn demand(&mut self, demanded: Demanded) {
        if !self.sent.remove(&demanded.source) {
            self.demanded.insert(demanded.source, demanded);
        }
    }

    /// Encoded in the order of the log, stamped with a generation, with their keys.
    fn missing(self, topic: &str, generation: i64) -> Result<Vec<KeyedRecord>, StreamError> {
        let mut missing: Vec<Demanded> = self.demanded.into_values().collect();
        missing.sort_unstable_by_key(|each| each.offset);
        let encoded = missing.into_iter().map(|each| {
            let mut alert = wire::DecisionRecord::decode(each.value.as_slice())
                .map_err(|error| foreign(topic, each.offset, &error))?;
            alert.generation = generation;
            Ok((each.key, alert.encode_to_vec()))
        });
        encoded.collect()
    }
}

/// Refused records by their dead letters.
struct Letters {
    rule: GenerationRule,
    labels_topic: String,
    sent: HashSet<Source>,
    /// Those that had ended the process.
    poison: HashSet<Source>,
}

impl Letters {
    fn take(&mut self, topic: &str, offset: i64, value: &[u8]) -> Result<(), StreamError> {
        let letter = wire::DeadLetter::decode(value).map_err(|error| foreign(topic, offset, &error))?;
        if letter.owner != 0 {
            self.rule.marker(offset);
        } else if self.rule.admits(letter.generation) {
            let is_label = letter.source_topic == self.labels_topic;
            let place = (is_label, letter.source_partition, letter.source_offset);
            self.sent.insert(place);
            if letter.reason == wire::DeadLetterReason::Poison as i32 {
                self.poison.insert(place);
            }
        }
        Ok(())
    }
}

/// See the module's text.
pub struct CatchUp<'a> {
    settings: &'a Settings,
    rebuild: Rebuild<'a>,
    logs: [Log; TOPICS],
    alerts: Alerts,
    letters: Letters,
    /// Labels that were left out so far.
    skipped: HashSet<i64>,
    /// Offset of the first label that the snapshot does not hold.
    first_label: i64,
    /// Where the state is whole: end of the snapshot's copy in the log.
    whole_from: i64,
}

impl<'a> CatchUp<'a> {
    /// Begins at a snapshot, or where `path` is none at the logs' beginnings.
    pub fn begin(settings: &'a Settings, loaded: Loaded, path: Option<&Path>) -> Result<Self, StreamError> {
        let header = &loaded.header;
        let [decisions, alerts, letters] = header.offsets;
        let mut logs = [
            Log::open(settings, DECISIONS, decisions)?,
            Log::open(settings, ALERTS, alerts)?,
            Log::open(settings, DEAD_LETTERS, letters)?,
        ];
        for log in &mut logs {
            log.reader.refresh_end()?;
        }
        let resume = |topic: usize| GenerationRule::resume(header.generations[topic]);
        let alerts = Alerts { rule: resume(ALERTS), demanded: HashMap::new(), sent: HashSet::new() };
        let letters = Letters {
            rule: resume(DEAD_LETTERS),
            labels_topic: settings.kafka.labels_topic.clone(),
            sent: HashSet::new(),
            poison: HashSet::new(),
        };
        let (first_label, whole_from) = (header.label_offset, header.end_offset);
        let rebuild = Rebuild::new(settings, loaded, path)?;
        let skipped = HashSet::new();
        let mut begun = Self { settings, rebuild, logs, alerts, letters, skipped, first_label, whole_from };
        begun.skip_labels(&care::quarantined(settings)?);
        Ok(begun)
    }

    /// Takes in what is there, waiting so long for the next decision; returns how many records came.
    pub fn step(&mut self, timeout_ms: i32) -> Result<usize, StreamError> {
        let mut records = self.read_letters(None)?;
        let alerts = &mut self.alerts;
        records += self.logs[ALERTS].step(0, |topic, offset, value| alerts.take(topic, offset, value))?;
        let timeout_ms = if records > 0 { 0 } else { timeout_ms };
        let Self { rebuild, logs, alerts, .. } = self;
        records +=
            logs[DECISIONS].step(timeout_ms, |_, offset, value| enter(rebuild, alerts, offset, value))?;
        self.rebuild.flush()?;
        if self.letters.sent.len() > LETTERS_MAX {
            let rebuild = &self.rebuild;
            self.letters.sent.retain(|source| rebuild.is_ahead(*source));
        }
        Ok(records)
    }

    /// Decisions that are known to follow; `None` while the state is not whole.
    pub fn behind(&self) -> Option<u64> {
        let reader = &self.logs[DECISIONS].reader;
        (reader.next() >= self.whole_from).then(|| reader.lag())
    }

    /// Takes in the rest before this process's markers; what was found, and whether a partition had a position.
    pub fn finish(mut self, generations: [i64; TOPICS]) -> Result<Recovered, StreamError> {
        self.read_letters(Some(generations[DEAD_LETTERS]))?;
        let mut quarantined = care::quarantined(self.settings)?;
        quarantined.extend(&self.letters.poison);
        self.skip_labels(&quarantined);
        let alerts = &mut self.alerts;
        self.logs[ALERTS]
            .step_until(generations[ALERTS], |topic, offset, value| alerts.take(topic, offset, value))?;
        let Self { rebuild, logs, alerts, .. } = &mut self;
        logs[DECISIONS]
            .step_until(generations[DECISIONS], |_, offset, value| enter(rebuild, alerts, offset, value))?;
        self.rebuild.flush()?;
        let Self { settings, rebuild, alerts, mut letters, .. } = self;
        letters.sent.retain(|source| rebuild.is_ahead(*source));
        let missing = alerts.missing(&settings.kafka.decisions_topic, generations[ALERTS])?;
        let mut recovered = rebuild.finish(generations);
        recovered.quarantined = quarantined;
        recovered.alerts_missing = missing;
        recovered.letters_sent = letters.sent;
        Ok(recovered)
    }

    /// Takes in dead letters, those before `until` or what is there.
    fn read_letters(&mut self, until: Option<i64>) -> Result<usize, StreamError> {
        let (letters, log) = (&mut self.letters, &mut self.logs[DEAD_LETTERS]);
        let known = letters.poison.len();
        let each = |topic: &str, offset: i64, value: &[u8]| letters.take(topic, offset, value);
        let records = match until {
            Some(until) => log.step_until(until, each).map(|()| 0)?,
            None => log.step(0, each)?,
        };
        if self.letters.poison.len() > known {
            let first_label = self.first_label;
            let late = self.letters.poison.iter().find(|(is_label, _, offset)| {
                *is_label
                    && *offset >= first_label
                    && self.rebuild.has_read_label(*offset)
                    && !self.skipped.contains(offset)
            });
            if let Some(&(.., offset)) = late {
                return Err(StreamError::LabelRefusedLate { offset });
            }
            let poison = self.letters.poison.clone();
            self.skip_labels(&poison);
        }
        Ok(records)
    }

    fn skip_labels(&mut self, quarantined: &HashSet<Source>) {
        let labels = quarantined.iter().filter(|(is_label, ..)| *is_label).map(|&(.., offset)| offset);
        self.skipped.extend(labels);
        self.rebuild.skip_labels(self.skipped.iter().copied());
    }
}

fn enter(
    rebuild: &mut Rebuild<'_>,
    alerts: &mut Alerts,
    offset: i64,
    value: &[u8],
) -> Result<(), StreamError> {
    if let Some(taken) = rebuild.take(offset, value)?
        && let Some(demanded) = taken.demanded(offset, value)
    {
        alerts.demand(demanded);
    }
    Ok(())
}
