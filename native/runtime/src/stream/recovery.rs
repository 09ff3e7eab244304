//! How a process that has just been seated finds out where things stand.
//!
//! The log of decisions is the only truth: what is in it was answered, what is not was never seen by
//! anybody. The steps:
//!
//! 1. Write a marker to each of the three output topics. Its offset is this process's generation: readers ignore
//!    whatever a replaced process writes behind it, so from here on the log before the marker is final.
//! 2. Load the newest snapshot that is intact and that the log does not contradict (see [`judge`]).
//! 3. Read the log from the snapshot to the marker and take each decision in again, with its labels.
//! 4. Send the alerts that the log demands and the alerts topic lacks; remember which dead letters are there.
//! 5. Go on with the transactions behind the last recorded ones.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use fraudengine_core::Engine;
use prost::Message as _;

use super::StreamError;
use super::care::Source;
use super::catch_up::CatchUp;
use super::delivery::{DEAD_LETTERS, DECISIONS, TOPICS};
use super::snapshot_file::{self, Loaded};
use crate::kafka::{Consumer, KafkaError, Position, Producer, Record, StartFrom};
use crate::log_reader::LogReader;
use crate::payload::encode;
use crate::payload::record::decision;
use crate::settings::Settings;
use crate::wire;

const CALL_TIMEOUT_MS: i32 = 10_000;
const POLL_MS: i32 = 100;
/// How long a part of a log that must be there may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS_AT_ONCE: usize = 4_096;

/// An encoded record and its key.
pub type KeyedRecord = (Vec<u8>, Vec<u8>);

/// What a process starts from.
pub struct Recovered {
    /// The state.
    pub engine: Engine,
    /// Rows decided so far.
    pub position: u64,
    /// Offset of the next label.
    pub label_offset: i64,
    /// Offset of the next transaction of each partition.
    pub sources: Vec<i64>,
    /// This process's markers.
    pub generations: [i64; TOPICS],
    /// Refused records at or behind `sources` whose dead letters are there already.
    pub letters_sent: HashSet<Source>,
    /// Records that are never decided.
    pub quarantined: HashSet<Source>,
    /// Alerts that were missing.
    pub alerts_missing: Vec<KeyedRecord>,
    /// Records taken in from the log.
    pub replayed: u64,
    /// Whether this is a first start that begins where the transactions end: nothing but this says where that was.
    pub begins_at_ends: bool,
}

/// Names of the output topics in the order of the producer.
pub fn output_topics(settings: &Settings) -> [&str; TOPICS] {
    let kafka = &settings.kafka;
    [&kafka.decisions_topic, &kafka.alerts_topic, &kafka.dead_letter_topic]
}

/// Writes the markers and returns their offsets.
pub fn write_markers(producer: &mut Producer, owner: u64) -> Result<[i64; TOPICS], StreamError> {
    for topic in 0..TOPICS {
        let mut marker = Vec::new();
        if topic == DEAD_LETTERS {
            encode::dead_letter_marker(owner, &mut marker);
        } else {
            encode::decision_marker(owner, &mut marker);
        }
        producer.send(topic, [Record { key: &[], value: &marker, tag: 0 }])?;
    }
    let mut offsets = [-1; TOPICS];
    let deadline = Instant::now() + Duration::from_secs(60);
    while offsets.contains(&-1) {
        producer.deliveries(POLL_MS, |delivery| offsets[delivery.topic] = delivery.offset)?;
        if Instant::now() > deadline {
            let reason = "the broker did not acknowledge within 60 s".to_owned();
            return Err(KafkaError::Call { call: "write a marker", reason }.into());
        }
    }
    Ok(offsets)
}

/// What the log says of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be used.
    Good,
    /// The log no longer reaches back to it.
    TooOld,
    /// Another process had taken over before it was complete.
    Overtaken,
}

/// Judges a snapshot of generation `generation` that stands at `start` and was complete at `end`, by the first offset
/// of the log and the first marker behind its own generation, if there is one.
pub const fn judge(
    generation: i64,
    start: i64,
    end: i64,
    log_start: i64,
    next_marker: Option<i64>,
) -> Verdict {
    if start < log_start {
        return Verdict::TooOld;
    }
    match next_marker {
        // Records of this generation behind the marker were never valid, and the snapshot holds some.
        Some(marker) if marker > generation && marker < end => Verdict::Overtaken,
        _ => Verdict::Good,
    }
}

/// Finds out where things stand; `generations` are the markers just written, `warm` is what this process has followed
/// while it stood by.
pub fn recover(
    settings: &Settings,
    generations: [i64; TOPICS],
    warm: Option<CatchUp<'_>>,
) -> Result<Recovered, StreamError> {
    let questions = Consumer::idle(&settings.kafka)?;
    if let Some(warm) = warm {
        match finish(settings, warm, generations, &questions) {
            Ok(recovered) => return Ok(recovered),
            Err(error) => tracing::warn!("the state that was followed is left aside: {error}"),
        }
    }
    let log_start = first_offset(&questions, &settings.kafka.decisions_topic)?;
    for path in snapshot_file::list(&settings.state.folder)? {
        let loaded = load_snapshot(settings, &path, log_start)
            .and_then(|loaded| CatchUp::begin(settings, loaded, Some(&path)))
            .and_then(|begun| finish(settings, begun, generations, &questions));
        match loaded {
            Ok(recovered) => return Ok(recovered),
            Err(error @ (StreamError::Snapshot { .. } | StreamError::Overtaken { .. })) => {
                tracing::warn!("a snapshot is left aside: {error}");
            }
            // In a folder of several processes, who decided before may still have been removing old ones.
            Err(StreamError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    finish(settings, begin_anew(settings, &questions, log_start)?, generations, &questions)
}

/// Begins where the logs begin, for want of a snapshot.
pub fn begin_anew<'a>(
    settings: &'a Settings,
    questions: &Consumer,
    log_start: i64,
) -> Result<CatchUp<'a>, StreamError> {
    let kafka = &settings.kafka;
    if log_start > 0 {
        tracing::warn!("no usable snapshot, and the log begins at {log_start}: windows start from there");
    }
    let offsets = [
        log_start,
        first_offset(questions, &kafka.alerts_topic)?,
        first_offset(questions, &kafka.dead_letter_topic)?,
    ];
    let loaded = nothing_yet(settings, first_offset(questions, &kafka.labels_topic)?, offsets)?;
    CatchUp::begin(settings, loaded, None)
}

/// Takes in what is left, and gives every partition a position.
fn finish(
    settings: &Settings,
    begun: CatchUp<'_>,
    generations: [i64; TOPICS],
    questions: &Consumer,
) -> Result<Recovered, StreamError> {
    let mut recovered = begun.finish(generations)?;
    recovered.begins_at_ends =
        settings.kafka.start == StartFrom::Latest && recovered.sources.is_empty() && recovered.position == 0;
    recovered.sources = complete_sources(settings, questions, &recovered.sources, recovered.begins_at_ends)?;
    Ok(recovered)
}

/// What a process starts from that has no snapshot: the beginnings of the labels and of the other logs.
pub fn nothing_yet(
    settings: &Settings,
    label_offset: i64,
    offsets: [i64; TOPICS],
) -> Result<Loaded, StreamError> {
    let header = snapshot_file::Header {
        position: 0,
        offsets,
        generations: [0; TOPICS],
        end_position: 0,
        end_offset: offsets[DECISIONS],
        label_offset,
        sources: Vec::new(),
    };
    let engine = Engine::new(settings.engine.config()?);
    // Nobody knows within which bounds the log was decided.
    Ok(Loaded { header, engine, stands: fraudengine_core::Stands::all_at(0), same_bounds: false })
}

/// The first offset that the broker still has of a topic of one partition.
pub fn first_offset(questions: &Consumer, topic: &str) -> Result<i64, StreamError> {
    Ok(questions.handle().watermarks(topic, 0, CALL_TIMEOUT_MS)?.0)
}

/// Reads a snapshot that the log reaches back to.
pub fn load_snapshot(settings: &Settings, path: &Path, log_start: i64) -> Result<Loaded, StreamError> {
    let loaded = snapshot_file::load(path, &settings.engine.config()?)?;
    let header = &loaded.header;
    if judge(header.generations[DECISIONS], header.offsets[DECISIONS], header.end_offset, log_start, None)
        == Verdict::TooOld
    {
        let error = fraudengine_core::snapshot::SnapshotError::OutOfRange {
            what: "offset before the log's first",
            value: header.offsets[DECISIONS],
        };
        return Err(StreamError::Snapshot { path: path.to_owned(), error });
    }
    Ok(loaded)
}

/// A record of ours that cannot be ours.
pub fn foreign(topic: &str, offset: i64, reason: &impl ToString) -> StreamError {
    StreamError::ForeignRecord { topic: topic.to_owned(), offset, reason: reason.to_string() }
}

/// Looks at what others have written between our own records of an output topic: a replaced process whose last
/// records come late does no harm, a marker makes readers ignore us ([`StreamError::Intruder`]).
pub fn refuse_markers(settings: &Settings, topic: usize, from: i64, until: i64) -> Result<(), StreamError> {
    let name = output_topics(settings)[topic];
    if until < from {
        let reason = format!("{name} ends before offset {from}, which it had acknowledged: records are lost");
        return Err(KafkaError::Call { call: "send", reason }.into());
    }
    read_log(settings, name, from, until, |offset, value| {
        let is_marker = if topic == DEAD_LETTERS {
            wire::DeadLetter::decode(value).map_err(|error| foreign(name, offset, &error))?.owner != 0
        } else {
            decision(value).map_err(|error| foreign(name, offset, &error))?.is_marker()
        };
        if is_marker { Err(StreamError::Intruder { topic: name.to_owned(), offset }) } else { Ok(()) }
    })
}

/// Reads one of our topics from an offset up to (not including) our marker.
fn read_log(
    settings: &Settings,
    topic: &str,
    from: i64,
    until: i64,
    mut each: impl FnMut(i64, &[u8]) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    if from >= until {
        return Ok(());
    }
    let mut reader = LogReader::open(&settings.kafka, topic, from)?;
    let mut last_progress = Instant::now();
    while reader.next() < until {
        let records = reader.poll(RECORDS_AT_ONCE, POLL_MS)?;
        for at in 0..records {
            let record = reader.record(at);
            if record.offset >= until {
                return Ok(());
            }
            each(record.offset, record.value)?;
        }
        if records > 0 {
            last_progress = Instant::now();
        } else if last_progress.elapsed() > PATIENCE {
            let reason = format!("{topic} could not be read up to offset {until} within {PATIENCE:?}");
            return Err(KafkaError::Call { call: "recover", reason }.into());
        }
    }
    Ok(())
}

/// Gives every partition of the transactions a position: the recorded one, else its end or its beginning.
fn complete_sources(
    settings: &Settings,
    questions: &Consumer,
    recorded: &[i64],
    from_ends: bool,
) -> Result<Vec<i64>, StreamError> {
    let topic = &settings.kafka.transactions_topic;
    let partitions = questions.handle().partitions(topic, CALL_TIMEOUT_MS)?;
    if partitions == 0 {
        let topic = topic.clone();
        return Err(KafkaError::Partitions { topic, found: 0, needed: "at least 1" }.into());
    }
    if recorded.len() > partitions {
        let needed = "at least as many as before: partitions cannot be taken away";
        return Err(KafkaError::Partitions { topic: topic.clone(), found: partitions, needed }.into());
    }
    let mut sources = Vec::with_capacity(partitions);
    for partition in 0..partitions {
        let known = recorded.get(partition).copied().filter(|&offset| offset >= 0);
        if let Some(offset) = known {
            sources.push(offset);
            continue;
        }
        let (low, high) = questions.handle().watermarks(topic, partition as i32, CALL_TIMEOUT_MS)?;
        sources.push(if from_ends { high } else { low });
    }
    Ok(sources)
}

/// Positions of all partitions of the transactions.
pub fn source_positions(settings: &Settings, sources: &[i64]) -> Vec<Position> {
    let topic = &settings.kafka.transactions_topic;
    let position = |(partition, &offset): (usize, &i64)| Position {
        topic: topic.clone(),
        partition: partition as i32,
        offset,
    };
    sources.iter().enumerate().map(position).collect()
}

/// Next offsets by partition as a list, -1 where nothing is recorded.
pub fn by_partition(recorded: &BTreeMap<i32, i64>) -> Vec<i64> {
    let count = recorded.keys().last().map_or(0, |&last| last as usize + 1);
    let mut list = vec![-1; count];
    for (&partition, &offset) in recorded {
        list[partition as usize] = offset;
    }
    list
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
