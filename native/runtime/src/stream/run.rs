//! One run: from recovery until the seat is given up, somebody stops it, or something fails.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::StreamError;
use super::care::Care;
use super::catch_up::CatchUp;
use super::chunk::Chunk;
use super::decider::Decider;
use super::delivery::{ALERTS, DECISIONS, Delivery, TOPICS};
use super::drill::Drill;
use super::encoder::Encoder;
use super::model::ModelSlot;
use super::output::Outlet;
use super::recovery::{self, KeyedRecord, Recovered};
use super::snapshot_writer::{self, QUEUED_PARTS_MAX, ToWriter};
use super::source::Source;
use crate::kafka::{Producer, Record};
use crate::limits::{CHUNKS_MAX, CHUNKS_QUEUED_MAX};
use crate::metrics::Metrics;
use crate::settings::{DrillStage, Settings};
use crate::stop::Stop;
use crate::tail::{Tail, TailWriter};
use crate::workers;

/// How long an orderly end waits for acknowledgements.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

type Work<T> = Option<JoinHandle<Result<T, StreamError>>>;

/// The threads of a run.
pub struct Run {
    source: Work<()>,
    decider: Work<Decider>,
    output: Work<()>,
    writer: Work<()>,
    stop_source: Stop,
    abandon: Stop,
    /// Offset of the next transaction of each partition, as decided.
    progress: Arc<Mutex<Vec<i64>>>,
    /// The newest acknowledged decisions.
    tail: Option<Arc<Tail>>,
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, StreamError> + Send + 'static,
) -> Result<Work<T>, StreamError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(Some).map_err(|_| StreamError::Thread(name))
}

fn join<T>(name: &'static str, work: &mut Work<T>) -> Result<Option<T>, StreamError> {
    match work.take() {
        None => Ok(None),
        Some(thread) => thread.join().map_err(|_| StreamError::Panicked(name))?.map(Some),
    }
}

fn is_over<T>(work: Option<&JoinHandle<T>>) -> bool {
    work.is_none_or(JoinHandle::is_finished)
}

/// Sends the alerts that the run before did not get to.
fn send_missing(
    producer: &mut Producer,
    alerts: &[KeyedRecord],
    delivery: &Delivery,
) -> Result<(), StreamError> {
    producer.send(ALERTS, alerts.iter().map(|(key, value)| Record { key, value, tag: 0 }))?;
    let mut sent = [0; TOPICS];
    sent[ALERTS] = alerts.len() as u64;
    delivery.sent_ahead(sent);
    Ok(())
}

impl Run {
    /// Recovers and starts; `owner` tells this run's markers from others', `warm` is what was followed so far.
    pub fn start(
        settings: &Settings,
        model: &ModelSlot,
        metrics: &Arc<Metrics>,
        owner: u64,
        warm: Option<CatchUp<'_>>,
    ) -> Result<Self, StreamError> {
        let since = Instant::now();
        let topics = recovery::output_topics(settings);
        let output = &settings.output;
        let mut producer = Producer::new(&settings.kafka, output.linger_ms, &output.compression, &topics)?;
        let generations = recovery::write_markers(&mut producer, owner)?;
        let recovered = recovery::recover(settings, generations, warm)?;
        metrics.recovered.store(recovered.replayed, Relaxed);
        metrics.recovery_micros.store(since.elapsed().as_micros() as u64, Relaxed);
        tracing::info!(
            records = recovered.replayed,
            position = recovered.position,
            seconds = since.elapsed().as_secs_f64(),
            "recovered"
        );
        Self::launch(settings, model, metrics, producer, recovered)
    }

    fn launch(
        settings: &Settings,
        model: &ModelSlot,
        metrics: &Arc<Metrics>,
        mut producer: Producer,
        recovered: Recovered,
    ) -> Result<Self, StreamError> {
        let Recovered { engine, position, label_offset, sources, generations, .. } = recovered;
        // What this run writes stands behind its markers.
        let delivery = Arc::new(Delivery::new(position, generations.map(|marker| marker + 1)));
        send_missing(&mut producer, &recovered.alerts_missing, &delivery)?;
        let encoder = Encoder::new(settings, generations, recovered.letters_sent);
        // Only the writers to databases read it.
        let read = settings.postgres.enabled || settings.redis.enabled;
        let tail = read.then(|| Arc::new(Tail::new(delivery.offsets()[DECISIONS])));
        let (told, kept) = (Arc::clone(&delivery), TailWriter::new(tail.clone()));
        let outlet = Outlet::new(settings, producer, encoder, position, told, Arc::clone(metrics), kept);
        if recovered.begins_at_ends {
            snapshot_writer::keep_start(settings, &engine, &sources, label_offset, generations)?;
        }
        let positions = recovery::source_positions(settings, &sources);
        let care = Care::new(settings, Arc::clone(metrics))?;
        let source = Source::open(settings, &positions, label_offset, care, recovered.quarantined)?;
        let (stop_source, abandon) = (Stop::default(), Stop::default());
        let progress = Arc::new(Mutex::new(sources.clone()));
        let (to_decider, from_source) = bounded::<Chunk>(CHUNKS_QUEUED_MAX);
        let (to_output, from_decider) = bounded::<Chunk>(CHUNKS_QUEUED_MAX);
        let (to_source, empty) = bounded::<Chunk>(CHUNKS_MAX);
        let (to_writer, parts) = bounded::<ToWriter>(QUEUED_PARTS_MAX);
        let decider = Decider {
            engine,
            position,
            chunks: 0,
            label_offset,
            sources,
            model: model.clone(),
            features: settings.engine.features,
            drill: Drill::at(&settings.drill, DrillStage::Decide),
            matrix: Vec::new(),
            workers: workers::of(settings.engine.threads).map_err(|_| StreamError::Thread("worker"))?,
            metrics: Arc::clone(metrics),
            delivery: Arc::clone(&delivery),
            writer: to_writer,
            interval: Duration::from_secs_f64(settings.state.snapshot_interval_seconds),
            folder: settings.state.folder.clone(),
            progress: Arc::clone(&progress),
        };
        let (source_metrics, source_stop) = (Arc::clone(metrics), stop_source.clone());
        let (decider_stop, output_stop) = (abandon.clone(), abandon.clone());
        let writer = {
            let (metrics, stop, kept) = (Arc::clone(metrics), abandon.clone(), settings.state.snapshots_kept);
            spawn("snapshot", move || {
                snapshot_writer::run(&parts, generations, kept, &delivery, &metrics, &stop)
            })?
        };
        Ok(Self {
            source: spawn("source", move || source.run(&to_decider, &empty, &source_metrics, &source_stop))?,
            decider: spawn("decider", move || decider.run(&from_source, &to_output, &decider_stop))?,
            output: spawn("output", move || outlet.run(&from_decider, &to_source, &output_stop))?,
            writer,
            stop_source,
            abandon,
            progress,
            tail,
        })
    }

    /// Whether a thread has ended by itself, which only an error makes it do.
    pub fn has_failed(&self) -> bool {
        is_over(self.source.as_ref())
            || is_over(self.decider.as_ref())
            || is_over(self.output.as_ref())
            || is_over(self.writer.as_ref())
    }

    /// The newest acknowledged decisions, where a writer reads them.
    pub const fn tail(&self) -> Option<&Arc<Tail>> {
        self.tail.as_ref()
    }

    /// Offset of the next transaction of each partition, as decided.
    pub fn progress(&self) -> Vec<i64> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends in order: what was read is decided, delivered, and (with `keep`) in a snapshot. Bounded in time: what the broker
    /// does not acknowledge by then is decided again by whoever comes next.
    pub fn finish(mut self, keep: bool) -> Result<(), StreamError> {
        self.stop_source.set();
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let ended = self.finish_threads(deadline, keep);
        self.abandon.set();
        let writer = join("snapshot", &mut self.writer).map(|_| ());
        ended.and(writer)
    }

    fn finish_threads(&mut self, deadline: Instant, keep: bool) -> Result<(), StreamError> {
        join("source", &mut self.source)?;
        while !is_over(self.output.as_ref()) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if !is_over(self.output.as_ref()) {
            self.abandon.set();
        }
        let decider = join("decider", &mut self.decider)?;
        join("output", &mut self.output)?;
        if let Some(decider) = decider.filter(|_| keep && !self.abandon.is_set()) {
            decider.copy_all();
        }
        Ok(())
    }

    /// Ends at once: what is in flight is given up. Returns the error that ended the run, if there was one.
    pub fn abandon(mut self) -> Option<StreamError> {
        self.stop_source.set();
        self.abandon.set();
        // The first to fail is the cause: the others end because of it.
        [
            join("source", &mut self.source).err(),
            join("decider", &mut self.decider).err(),
            join("output", &mut self.output).err(),
            join("snapshot", &mut self.writer).err(),
        ]
        .into_iter()
        .flatten()
        .next()
    }
}
