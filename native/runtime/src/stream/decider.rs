//! The middle thread: the only writer of the state. It decides chunk by chunk, and between two chunks copies a
//! few parts of the state for the next snapshot.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use fraudengine_core::decision::Action;
use fraudengine_core::engine::flag;
use fraudengine_core::snapshot::{PARTS, Writer};
use fraudengine_core::workers::Workers;
use fraudengine_core::{Batch, Engine, Output};

use super::StreamError;
use super::chunk::{Chunk, DecidedChunk, Origin};
use super::delivery::Delivery;
use super::drill::Drill;
use super::model::ModelSlot;
use super::snapshot_writer::{Begin, ToWriter};
use super::source::hand_over;
use crate::metrics::{Metrics, Stage, now_micros};
use crate::settings::FeaturesIn;
use crate::stop::Stop;

/// Parts are copied for about this long between two chunks, at least one.
const COPY_BUDGET: Duration = Duration::from_millis(1);
/// After copying, nothing is copied for so many times as long: a snapshot slows the stream by a fifth at most, and
/// the disk gets it bit by bit.
const COPY_PAUSE: u32 = 4;
/// Time between two looks at the size of the state.
const TELLING: Duration = Duration::from_secs(1);
/// How long the thread waits for a chunk before it goes on copying.
const IDLE: Duration = Duration::from_millis(5);

/// What the thread owns.
pub struct Decider {
    /// The state.
    pub engine: Engine,
    /// Rows decided so far.
    pub position: u64,
    /// Chunks decided by this run.
    pub chunks: u64,
    /// Offset of the next label.
    pub label_offset: i64,
    /// Offset of the next transaction of each partition.
    pub sources: Vec<i64>,
    /// The model that decides.
    pub model: ModelSlot,
    /// Which decisions carry their feature values.
    pub features: FeaturesIn,
    /// What harms it on purpose.
    pub drill: Option<Drill>,
    /// Feature values of the chunk being decided.
    pub matrix: Vec<f32>,
    /// Threads that the engine borrows.
    pub workers: Box<dyn Workers + Send>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How far the log is safe.
    pub delivery: Arc<Delivery>,
    /// Takes the copied parts.
    pub writer: Sender<ToWriter>,
    /// Time between two snapshots.
    pub interval: Duration,
    /// Folder of the snapshots.
    pub folder: PathBuf,
    /// Where others see `sources`.
    pub progress: Arc<Mutex<Vec<i64>>>,
}

/// A copy under way.
struct Copying {
    /// The part that is copied next.
    next: usize,
    /// When the next parts may be copied.
    resume: Instant,
}

impl Decider {
    /// Decides until the source closes its channel; returns itself for the last snapshot.
    pub fn run(
        mut self,
        chunks: &Receiver<Chunk>,
        decided: &Sender<Chunk>,
        stop: &Stop,
    ) -> Result<Self, StreamError> {
        let mut copying: Option<Copying> = None;
        // Chunks decided before the newest copy began. At rest nothing is copied: there is nothing new to keep.
        let mut saved = None;
        let mut answered = self.metrics.snapshots_answered.load(Relaxed);
        let (mut last_copy, mut last_told) = (Instant::now(), Instant::now());
        self.metrics.set_tables(self.engine.tables());
        loop {
            match chunks.recv_timeout(IDLE) {
                Ok(mut chunk) => {
                    self.decide(&mut chunk);
                    if !hand_over(chunk, decided, stop) {
                        return Ok(self);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self),
            }
            if last_told.elapsed() >= TELLING {
                self.metrics.set_tables(self.engine.tables());
                last_told = Instant::now();
            }
            if let Some(copy) = &mut copying {
                if copy.resume <= Instant::now() && self.copy_some(copy) {
                    copying = None;
                    last_copy = Instant::now();
                }
                continue;
            }
            let asked = self.metrics.snapshots_asked.load(Relaxed);
            let due = last_copy.elapsed() >= self.interval && saved != Some(self.chunks);
            if due || asked != answered {
                copying = self.begin_copy();
                if copying.is_some() {
                    (saved, answered) = (Some(self.chunks), asked);
                }
            }
        }
    }

    fn decide(&mut self, chunk: &mut Chunk) {
        let since = Instant::now();
        for label in chunk.labels.drain(..) {
            self.engine.expect(label);
            self.metrics.labels.fetch_add(1, Relaxed);
        }
        self.label_offset = chunk.label_offset;
        let model = self.model.get();
        let labels = self.engine.due_labels(&chunk.transactions);
        let batch = Batch { transactions: &chunk.transactions, labels: &labels };
        let mut output = std::mem::take(&mut chunk.spare);
        let running = model.as_ref().map(|active| &active.model);
        if let Some(drill) = &self.drill {
            drill.deciding(&chunk.transactions);
        }
        std::mem::swap(&mut output.features, &mut self.matrix);
        self.engine.process_batch(batch, running, &*self.workers, &mut output);
        std::mem::swap(&mut output.features, &mut self.matrix);
        DecidedChunk::keep(&mut output, &self.matrix, self.features);
        let time_micros = now_micros();
        for row in &chunk.rows {
            self.advance(row.origin);
        }
        for refused in chunk.refused.iter().filter(|refused| !refused.is_label) {
            self.advance(refused.origin);
            self.metrics.dead_letters[refused.reason as usize].fetch_add(1, Relaxed);
        }
        for refused in chunk.refused.iter().filter(|refused| refused.is_label) {
            self.metrics.dead_letters[refused.reason as usize].fetch_add(1, Relaxed);
        }
        self.count(chunk, &output, time_micros);
        let model = model.map_or(0, |active| active.short_hash);
        chunk.decided = Some(DecidedChunk { output, model, time_micros, first: self.position });
        self.position += chunk.rows.len() as u64;
        self.chunks += 1;
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.sources);
        self.metrics.stage(Stage::Decide, since);
    }

    fn advance(&mut self, done: Origin) {
        if let Some(next) = self.sources.get_mut(done.partition as usize) {
            *next = (*next).max(done.offset + 1);
        }
    }

    fn count(&self, chunk: &Chunk, output: &Output, time_micros: i64) {
        let metrics = &self.metrics;
        for action in [Action::Approve, Action::Review, Action::Block] {
            let count = output.action.iter().filter(|&&each| each == action).count() as u64;
            metrics.actions[usize::from(action.code())].fetch_add(count, Relaxed);
        }
        for (counter, bit) in metrics.flagged.iter().zip([flag::DUPLICATE, flag::LATE, flag::APPROXIMATE]) {
            counter.fetch_add(output.flags.iter().filter(|&&flags| flags & bit != 0).count() as u64, Relaxed);
        }
        // Rows of one chunk that the broker stamped alike have one latency.
        let mut at = 0;
        while let Some(row) = chunk.rows.get(at) {
            let same = chunk.rows[at..]
                .iter()
                .take_while(|each| each.origin.time_micros == row.origin.time_micros)
                .count();
            if row.origin.time_micros > 0 {
                let micros = (time_micros - row.origin.time_micros).max(0) as u64;
                metrics.latency.observe_many(micros, same as u64);
            }
            at += same;
        }
        metrics.chunks.fetch_add(1, Relaxed);
        metrics.labels_pending.store(self.engine.labels_pending() as u64, Relaxed);
        metrics.watermark.store(self.engine.watermark().map_or(0, |time| time.0), Relaxed);
    }

    fn begin(&self) -> ToWriter {
        let mut head = Writer::default();
        self.engine.write_head(&mut head);
        ToWriter::Begin(Box::new(Begin {
            folder: self.folder.clone(),
            head: head.bytes,
            position: self.position,
            label_offset: self.label_offset,
            sources: self.sources.clone(),
            asked: self.metrics.snapshots_asked.load(Relaxed),
            offsets: self.delivery.offsets(),
        }))
    }

    fn begin_copy(&self) -> Option<Copying> {
        // When the writer still waits for the disk or for acknowledgements, the next round tries again.
        if !self.writer.is_empty() || self.writer.try_send(self.begin()).is_err() {
            return None;
        }
        self.delivery.watch(self.position, self.chunks);
        Some(Copying { next: 0, resume: Instant::now() })
    }

    /// Copies parts until the budget is used or the writer is busy; returns whether that was all.
    fn copy_some(&self, copying: &mut Copying) -> bool {
        let since = Instant::now();
        while copying.next < PARTS && !self.writer.is_full() {
            let mut part = Writer::default();
            self.engine.write_part(copying.next, &mut part);
            if self.writer.send(ToWriter::Part(self.position, part.bytes)).is_err() {
                return true;
            }
            copying.next += 1;
            if since.elapsed() >= COPY_BUDGET {
                break;
            }
        }
        self.metrics.stage(Stage::Snapshot, since);
        copying.resume = Instant::now() + since.elapsed() * COPY_PAUSE;
        if copying.next < PARTS || self.writer.is_full() {
            return false;
        }
        self.delivery.watch(self.position, self.chunks);
        let _ = self.writer.send(ToWriter::End(self.position));
        true
    }

    /// Hands the whole state to the writer at once: for when nothing is decided any more.
    pub fn copy_all(&self) {
        self.delivery.watch(self.position, self.chunks);
        // Waits for an earlier snapshot: its outputs are acknowledged, so that one is soon done.
        if self.writer.send(self.begin()).is_err() {
            return;
        }
        for part in 0..PARTS {
            let mut bytes = Writer::default();
            self.engine.write_part(part, &mut bytes);
            if self.writer.send(ToWriter::Part(self.position, bytes.bytes)).is_err() {
                return;
            }
        }
        self.delivery.watch(self.position, self.chunks);
        let _ = self.writer.send(ToWriter::End(self.position));
    }
}
