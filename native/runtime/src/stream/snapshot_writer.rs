//! The thread that writes snapshots: it alone touches the disk, and publishes a file only when every output up
//! to the end of the copy has been acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Receiver;
use fraudengine_core::Engine;
use fraudengine_core::snapshot::{PARTS, Writer};

use super::StreamError;
use super::delivery::{DECISIONS, Delivery, TOPICS};
use super::snapshot_file::{Header, SnapshotWriter, prune};
use crate::metrics::{Metrics, now_micros};
use crate::settings::Settings;
use crate::stop::Stop;

/// Parts waiting to be written, at most: the memory that a snapshot takes.
pub const QUEUED_PARTS_MAX: usize = 4;

/// How a snapshot begins.
#[derive(Debug)]
pub struct Begin {
    /// Folder of the snapshots.
    pub folder: PathBuf,
    /// Head of the engine.
    pub head: Vec<u8>,
    /// Rows decided.
    pub position: u64,
    /// Offset of the next label.
    pub label_offset: i64,
    /// Offset of the next transaction of each partition.
    pub sources: Vec<i64>,
    /// Requests of operators that it answers.
    pub asked: u64,
    /// Ends of the logs: what belongs to later rows comes at or after them.
    pub offsets: [i64; TOPICS],
}

/// What the engine's thread sends.
#[derive(Debug)]
pub enum ToWriter {
    /// A new snapshot.
    Begin(Box<Begin>),
    /// Its next part, and the position at which it was copied.
    Part(u64, Vec<u8>),
    /// The position at which the copy ended.
    End(u64),
}

/// Writes down where a first start begins, before anything is read: until the log holds a decision from every
/// partition, nothing else would tell a restart, which would then skip what came in between.
pub fn keep_start(
    settings: &Settings,
    engine: &Engine,
    sources: &[i64],
    label_offset: i64,
    generations: [i64; TOPICS],
) -> Result<(), StreamError> {
    let mut head = Writer::default();
    engine.write_head(&mut head);
    let mut file = SnapshotWriter::begin(&settings.state.folder, &head.bytes)?;
    for part in 0..PARTS {
        let mut bytes = Writer::default();
        engine.write_part(part, &mut bytes);
        file.part(0, &bytes.bytes)?;
    }
    let offsets = generations.map(|marker| marker + 1);
    file.publish(&Header {
        position: 0,
        offsets,
        generations,
        end_position: 0,
        end_offset: offsets[DECISIONS],
        label_offset,
        sources: sources.to_vec(),
    })?;
    Ok(())
}

/// Writes until the channel closes; `stop` ends the wait for acknowledgements.
pub fn run(
    parts: &Receiver<ToWriter>,
    generations: [i64; TOPICS],
    kept: usize,
    delivery: &Arc<Delivery>,
    metrics: &Metrics,
    stop: &Stop,
) -> Result<(), StreamError> {
    let mut open: Option<(SnapshotWriter, Begin)> = None;
    for message in parts {
        match message {
            ToWriter::Begin(begin) => {
                open = Some((SnapshotWriter::begin(&begin.folder, &begin.head)?, *begin));
            }
            ToWriter::Part(position, bytes) => {
                if let Some((writer, _)) = &mut open {
                    writer.part(position, &bytes)?;
                }
            }
            ToWriter::End(end) => {
                let Some((mut writer, begin)) = open.take() else { continue };
                writer.sync()?;
                let Some(start) = delivery.wait(begin.position, stop) else { continue };
                let Some(reached) = delivery.wait(end, stop) else { continue };
                let mut offsets = begin.offsets;
                offsets[DECISIONS] = start.offsets[DECISIONS];
                let header = Header {
                    position: begin.position,
                    offsets,
                    generations,
                    end_position: end,
                    end_offset: reached.offsets[DECISIONS],
                    label_offset: begin.label_offset,
                    sources: begin.sources,
                };
                let bytes = writer.publish(&header)?;
                prune(&begin.folder, kept)?;
                metrics.snapshots.fetch_add(1, Relaxed);
                metrics.snapshots_answered.fetch_max(begin.asked, Relaxed);
                metrics.snapshot_bytes.store(bytes, Relaxed);
                metrics.snapshot_time.store(now_micros(), Relaxed);
            }
        }
    }
    Ok(())
}
