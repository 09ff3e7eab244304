//! The life of a stream: wait for the seat, recover, run, stand up, again and again until stopped.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::StreamError;
use super::model::{ActiveModel, ModelSlot};
use super::quarantine::Quarantine;
use super::recovery::source_positions;
use super::run::Run;
use super::sinks::Sinks;
use super::standby::Standby;
use crate::kafka::{Consumer, Seat, SeatState};
use crate::metrics::{Metrics, now_micros};
use crate::settings::Settings;
use crate::stop::Stop;

const TICK: Duration = Duration::from_millis(50);
const EVERY_SECOND: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another process decides.
    StandingBy,
    /// Finding out where things stand.
    Recovering,
    /// Deciding.
    Running,
    /// Something failed that may heal; a new run begins soon.
    Retrying,
    /// Stopped as asked.
    Stopped,
    /// Something failed that somebody must mend.
    Failed,
}

impl Phase {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandingBy => "standing_by",
            Self::Recovering => "recovering",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

struct Shared {
    settings: Settings,
    model: ModelSlot,
    metrics: Arc<Metrics>,
    stop: Stop,
    /// Whether this process may compete for the seat.
    admitted: AtomicBool,
    /// Whether another process waits to go on from here.
    hand_over: AtomicBool,
    state: Mutex<(Phase, Option<String>)>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Phase, Option<String>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase, error: Option<String>) {
        let mut state = self.lock();
        if let Some(error) = &error {
            tracing::error!("{error}");
        }
        if state.0 != phase {
            tracing::info!(phase = phase.name(), "stream");
        }
        if phase != Phase::Running {
            // What was known is of the run before.
            self.metrics.lag.store(-1, Relaxed);
        }
        *state = (phase, error.or_else(|| state.1.take().filter(|_| phase != Phase::Running)));
        self.changed.notify_all();
    }
}

/// A stream that runs in its own threads until it is stopped or dropped.
pub struct Stream {
    shared: Arc<Shared>,
    instance: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Stream {
    /// Checks the settings; nothing runs before [`Stream::start`]. `instance` names this process across restarts.
    pub fn prepare(settings: Settings, instance: String) -> Result<Self, StreamError> {
        settings.engine.config()?;
        let shared = Arc::new(Shared {
            settings,
            model: ModelSlot::default(),
            metrics: Arc::new(Metrics::default()),
            stop: Stop::default(),
            admitted: AtomicBool::new(false),
            hand_over: AtomicBool::new(false),
            state: Mutex::new((Phase::StandingBy, None)),
            changed: Condvar::new(),
        });
        Ok(Self { shared, instance, thread: Mutex::new(None) })
    }

    /// Lets this process compete for the seat: the state folder is its own now. `last_words` are what the process before
    /// it left there when a fatal signal ended it.
    pub fn admit(&self, last_words: Option<&str>) -> Result<(), StreamError> {
        if let Some(words) = last_words {
            tracing::error!("the process before this one was ended by a fatal signal: {words}");
            Quarantine::new(&self.shared.settings.state.folder).bad_end()?;
        }
        // Release: who sees it also sees what was noted in the folder.
        self.shared.admitted.store(true, Release);
        Ok(())
    }

    /// Starts: follows the log, and decides as soon as it is admitted and has the seat. A second call changes nothing.
    pub fn start(&self) -> Result<(), StreamError> {
        let mut running = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let (own, instance) = (Arc::clone(&self.shared), self.instance.clone());
            let thread = std::thread::Builder::new().name("stream".to_owned());
            let thread = thread.spawn(move || supervise(&own, &instance));
            *running = Some(thread.map_err(|_| StreamError::Thread("stream"))?);
        }
        Ok(())
    }

    /// Decides with this model from the next chunk on.
    pub fn activate(&self, model: ActiveModel) {
        self.shared.metrics.model.store(model.short_hash, Relaxed);
        self.shared.model.set(model);
    }

    /// What it is doing, and the last error that has not been overcome.
    pub fn phase(&self) -> (Phase, Option<String>) {
        self.shared.lock().clone()
    }

    /// Waits until it has ended or the time is up; returns the phase.
    pub fn wait_for_end(&self, timeout: Duration) -> Phase {
        let running = |state: &mut (Phase, Option<String>)| !state.0.is_final();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), timeout, running);
        waited.unwrap_or_else(PoisonError::into_inner).0.0
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Asks it to end in order at once, because another process has the state at hand and waits: without a last snapshot,
    /// and without waiting for the sinks, which go on from their own positions there.
    pub fn hand_over(&self) {
        self.shared.hand_over.store(true, Relaxed);
        self.stop();
    }

    /// Asks it to end in order; [`Stream::wait_for_end`] tells when it has.
    pub fn stop(&self) {
        self.shared.stop.set();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the stream panicked");
        }
    }
}

fn supervise(shared: &Arc<Shared>, instance: &str) {
    let mut retry = Duration::from_millis(200);
    let mut standby = Standby::new(&shared.settings);
    while !shared.stop.is_set() {
        let since = Instant::now();
        match turn(shared, instance, &mut standby) {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                if let Err(error) = note_panic(shared, &error) {
                    return shared.enter(Phase::Failed, Some(error.to_string()));
                }
                shared.enter(Phase::Retrying, Some(error.to_string()));
                shared.metrics.restarts.fetch_add(1, Relaxed);
                // A run that lasted has proved that things work: the next failure is a new one.
                retry = if since.elapsed() > 3 * RETRY_MAX { Duration::from_millis(200) } else { retry * 2 };
                retry = retry.min(RETRY_MAX);
                wait(shared, retry);
            }
            Err(error) => return shared.enter(Phase::Failed, Some(error.to_string())),
        }
    }
    shared.enter(Phase::Stopped, None);
}

fn note_panic(shared: &Shared, error: &StreamError) -> Result<(), StreamError> {
    match error {
        StreamError::Panicked("source" | "decider" | "output") => {
            Quarantine::new(&shared.settings.state.folder).bad_end()
        }
        _ => Ok(()),
    }
}

fn wait(shared: &Shared, time: Duration) {
    let deadline = Instant::now() + time;
    while !shared.stop.is_set() && Instant::now() < deadline {
        std::thread::park_timeout(TICK);
    }
}

/// One membership of the group: from joining it to leaving it.
fn turn(shared: &Arc<Shared>, instance: &str, standby: &mut Standby<'_>) -> Result<(), StreamError> {
    while !shared.admitted.load(Acquire) {
        if shared.stop.is_set() {
            return Ok(());
        }
        shared.enter(Phase::StandingBy, None);
        if !standby.step(&shared.metrics) {
            std::thread::park_timeout(TICK);
        }
    }
    let seat = Seat::join(&shared.settings.kafka, instance)?;
    let joined = Instant::now();
    loop {
        match seat.state() {
            SeatState::StandingBy if shared.stop.is_set() => return Ok(()),
            SeatState::StandingBy => {
                let phase = shared.lock().0;
                if phase != Phase::Retrying || joined.elapsed() >= RETRY_MAX {
                    shared.enter(Phase::StandingBy, None);
                }
                if !standby.step(&shared.metrics) {
                    seat.wait_while(&SeatState::StandingBy, TICK);
                }
            }
            SeatState::Seated => {
                decide(shared, &seat, standby)?;
                seat.stood_up();
                if shared.stop.is_set() {
                    seat.leave_to_others();
                    return Ok(());
                }
            }
            SeatState::MustStandUp => seat.stood_up(),
            SeatState::Lost(reason) => {
                return Err(crate::kafka::KafkaError::Fatal(reason).into());
            }
        }
    }
}

/// Runs as long as this process has the seat.
fn decide(shared: &Arc<Shared>, seat: &Seat, standby: &mut Standby<'_>) -> Result<(), StreamError> {
    shared.enter(Phase::Recovering, None);
    let settings = &shared.settings;
    // Never 0, which would be no owner.
    let owner = (now_micros() as u64) << 16 | u64::from(std::process::id() & 0xFFFF) | 1;
    let warm = standby.take(&shared.metrics);
    let run = Run::start(settings, &shared.model, &shared.metrics, owner, warm)?;
    let mut sinks = None;
    shared.enter(Phase::Running, None);
    let mut gauge = LagGauge::new(settings)?;
    loop {
        // Not while suspects are taken: a fault of a sink must not accuse a record.
        if sinks.is_none() && shared.metrics.careful.load(Relaxed) == 0 {
            sinks = Some(Sinks::start(settings, &shared.metrics, run.tail())?);
        }
        let state = seat.wait_while(&SeatState::Seated, TICK);
        if run.has_failed() {
            let error = run.abandon();
            return Err(error.unwrap_or(StreamError::Thread("stream")));
        }
        if shared.stop.is_set() || state == SeatState::MustStandUp {
            let hand_over = shared.hand_over.load(Relaxed);
            run.finish(!hand_over)?;
            if let Some(sinks) = sinks.as_ref().filter(|_| !hand_over) {
                sinks.catch_up();
            }
            return Ok(());
        }
        if state != SeatState::Seated {
            // The session ended: somebody else may be seated already.
            return run.abandon().map_or(Ok(()), Err);
        }
        gauge.look(&run, seat, &shared.metrics);
    }
}

/// Looks once a second how far the transactions reach, and commits how far they are decided.
struct LagGauge<'a> {
    settings: &'a Settings,
    questions: Consumer,
    last: Option<Instant>,
}

impl<'a> LagGauge<'a> {
    fn new(settings: &'a Settings) -> Result<Self, StreamError> {
        Ok(Self { settings, questions: Consumer::idle(&settings.kafka)?, last: None })
    }

    fn look(&mut self, run: &Run, seat: &Seat, metrics: &Metrics) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY_SECOND) {
            return;
        }
        self.last = Some(Instant::now());
        let positions = source_positions(self.settings, &run.progress());
        let ends = positions.iter().map(|at| {
            self.questions.handle().watermarks(&at.topic, at.partition, 200).map(|(_, high)| high - at.offset)
        });
        // An unreachable broker leaves the last known lag.
        if let Ok(lags) = ends.collect::<Result<Vec<_>, _>>() {
            metrics.lag.store(lags.iter().map(|lag| lag.max(&0)).sum(), Relaxed);
        }
        seat.commit(positions);
    }
}
