//! Sends blocks at their time and counts what became of their records.
//!
//! The client reports failures only, so an acknowledged record costs no callback: acknowledged is what was handed
//! over, less what still waits, less what failed. The timestamp of a record is the moment at which it was handed
//! over, so how late it was against the schedule can be told from the log as well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use fraudengine_generator::World;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::feed::{Block, Feed, Kind};
use super::pace::Pace;
use super::progress::{Phase, Progress};
use super::settings::{LoadError, LoadSettings};

/// Encoded blocks between the two threads; about ten megabytes.
const BLOCKS_MAX: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest nap while nothing is due: the bound on how late a record is sent on an idle machine.
const NAP: Duration = Duration::from_micros(500);
/// How long the end waits for the broker to take the last records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a full queue, at the stop flag, or at records under way.
const PATIENCE: Duration = Duration::from_millis(20);
/// Records between two looks at the clock while sending without a rate.
const UNPACED_RECORDS: u64 = 512;

/// Counts failed deliveries; the client's other events are its own affair.
#[derive(Debug)]
pub(super) struct Failures(Arc<Progress>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.0.fail(&format!("{}: {error}", message.topic()));
        }
    }
}

type LoadProducer = BaseProducer<Failures>;

/// Makes the client and asks the broker for the topics.
pub(super) fn connect(settings: &LoadSettings, progress: &Arc<Progress>) -> Result<LoadProducer, LoadError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        // The partition that the Java client would choose.
        .set("partitioner", "murmur2_random")
        .set("delivery.report.only.error", "true")
        .set("linger.ms", "5")
        .set("batch.num.messages", "10000")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "524288");
    for (name, value) in &settings.client {
        config.set(name, value);
    }
    let producer: LoadProducer = config
        .create_with_context(Failures(Arc::clone(progress)))
        .map_err(|error| LoadError::Client(error.to_string()))?;
    let labels = Some(settings.labels_topic.as_str()).filter(|topic| !topic.is_empty());
    for topic in [Some(settings.transactions_topic.as_str()), labels].into_iter().flatten() {
        available(&producer, settings, topic)?;
    }
    Ok(producer)
}

/// Waits until the broker says where the topic's partitions are; asking may have created it.
fn available(producer: &LoadProducer, settings: &LoadSettings, topic: &str) -> Result<(), LoadError> {
    let started = Instant::now();
    loop {
        let left = CONNECT_TIMEOUT.saturating_sub(started.elapsed()).max(PATIENCE);
        let metadata = producer.client().fetch_metadata(Some(topic), left).map_err(|error| {
            LoadError::Unreachable { brokers: settings.brokers.clone(), reason: error.to_string() }
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let reason = match found {
            Some(found) if found.error().is_none() && !found.partitions().is_empty() => return Ok(()),
            Some(found) => found.error().map_or_else(
                || "it has no partitions".to_owned(),
                |code| RDKafkaErrorCode::from(code).to_string(),
            ),
            None => "the broker does not know it".to_owned(),
        };
        if started.elapsed() > CONNECT_TIMEOUT {
            return Err(LoadError::Topic { topic: topic.to_owned(), reason });
        }
        producer.poll(PATIENCE);
        std::thread::sleep(PATIENCE);
    }
}

/// Sends the whole load and flushes it; returns when all is done or stopped.
pub(super) fn run(settings: &LoadSettings, producer: &LoadProducer, progress: &Progress) {
    if let Ok(world) = World::new(settings.world.clone()) {
        let (full_in, full_out) = bounded(BLOCKS_MAX);
        let (used_in, used_out) = bounded(BLOCKS_MAX);
        std::thread::scope(|scope| {
            let feed = || Feed::new(settings, full_in, used_out).run(&world);
            if let Err(error) =
                std::thread::Builder::new().name("load-feed".to_owned()).spawn_scoped(scope, feed)
            {
                // Without it the channel is closed, and the load ends at once with this error in its report.
                progress.fail(&format!("no thread could be started: {error}"));
            }
            let mut sender = Sending::new(settings, producer, progress);
            sender.send_all(&full_out, &used_in);
            // Without a receiver the feed ends at its next block.
            drop(full_out);
        });
    }
    progress.enter(Phase::Flushing);
    let started = Instant::now();
    while producer.in_flight_count() > 0 && started.elapsed() < FLUSH_TIMEOUT {
        producer.poll(PATIENCE);
        progress.settle(under_way(producer));
    }
    for _ in 0..under_way(producer) {
        progress.fail("not acknowledged within 60 s after the last record");
    }
    progress.settle(0);
    progress.enter(Phase::Done);
}

/// Records that the client holds.
fn under_way(producer: &LoadProducer) -> u64 {
    producer.in_flight_count().max(0) as u64
}

/// The state of the sending thread.
struct Sending<'a> {
    settings: &'a LoadSettings,
    producer: &'a LoadProducer,
    progress: &'a Progress,
    pace: Pace,
    /// When the warm-up ended; none: it has not.
    started: Option<Instant>,
    /// Transactions since then.
    paced: u64,
    /// How many of them may be sent by the last look at the clock.
    allowed: u64,
    /// Whether count, seconds or a stop has ended the load.
    ended: bool,
}

impl<'a> Sending<'a> {
    const fn new(settings: &'a LoadSettings, producer: &'a LoadProducer, progress: &'a Progress) -> Self {
        let pace = Pace::new(settings.tps);
        Self { settings, producer, progress, pace, started: None, paced: 0, allowed: 0, ended: false }
    }

    fn send_all(&mut self, full: &Receiver<Block>, used: &Sender<Block>) {
        loop {
            let block = match full.recv_timeout(PATIENCE) {
                Ok(block) => block,
                Err(RecvTimeoutError::Timeout) if !self.progress.is_stopped() => continue,
                Err(_) => break,
            };
            self.progress.day.store(u64::from(block.day) + 1, Ordering::Relaxed);
            let warm = block.day < self.settings.skip_days + self.settings.warm_days;
            if warm {
                self.progress.enter(Phase::Warming);
            } else if self.started.is_none() {
                self.hold();
                self.started = Some(Instant::now());
                self.progress.enter(Phase::Sending);
            }
            for (kind, key, value) in block.records() {
                if kind == Kind::Transaction && !warm {
                    self.wait_until_due();
                }
                if self.ended {
                    break;
                }
                self.send(kind, key, value, warm);
            }
            self.look_around();
            if self.ended {
                break;
            }
            // A full channel of used blocks has enough of them.
            let _ = used.try_send(block);
        }
        self.look_around();
    }

    /// Between warm-up and rate: waits to be released, if that was asked for.
    fn hold(&mut self) {
        if self.settings.hold {
            self.progress.enter(Phase::Holding);
        }
        while self.settings.hold && !self.progress.is_released() && !self.ended {
            self.producer.poll(PATIENCE);
            self.look_around();
            if under_way(self.producer) == 0 {
                std::thread::sleep(PATIENCE);
            }
        }
    }

    /// Waits for the next transaction's turn, or ends the load.
    fn wait_until_due(&mut self) {
        let started = self.started.unwrap_or_else(Instant::now);
        while self.paced >= self.allowed && !self.ended {
            let elapsed = started.elapsed();
            let settings = self.settings;
            let over = settings.seconds > 0.0 && elapsed.as_secs_f64() >= settings.seconds;
            let enough = settings.count > 0 && self.paced >= settings.count;
            if over || enough || self.progress.is_stopped() {
                self.ended = true;
                return;
            }
            let due = self.pace.due(elapsed).min(self.paced + UNPACED_RECORDS);
            self.allowed = if settings.count > 0 { due.min(settings.count) } else { due };
            let turn = self.pace.time_of(self.paced);
            if let Some(wait) = turn.checked_sub(elapsed).filter(|wait| !wait.is_zero()) {
                self.look_around();
                std::thread::sleep(wait.min(NAP));
            } else if self.settings.tps > 0.0 {
                let late = elapsed.saturating_sub(turn).as_micros() as u64;
                self.progress.late_micros.store(late, Ordering::Relaxed);
                self.progress.late_micros_max.fetch_max(late, Ordering::Relaxed);
            }
        }
    }

    /// Hands a record to the client; a full queue is waited for.
    fn send(&mut self, kind: Kind, key: &[u8], value: &[u8], warm: bool) {
        let topic = match kind {
            Kind::Label => &self.settings.labels_topic,
            Kind::Transaction | Kind::Malformed => &self.settings.transactions_topic,
        };
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        while let Err((error, refused)) = self.producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                self.progress.fail(&error.to_string());
                break;
            }
            if self.progress.is_stopped() {
                self.ended = true;
                return;
            }
            self.producer.poll(PATIENCE);
            self.look_around();
            record = refused;
        }
        let counter = match kind {
            Kind::Transaction => &self.progress.transactions,
            Kind::Label => &self.progress.labels,
            Kind::Malformed => &self.progress.malformed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if kind == Kind::Transaction {
            if warm {
                self.progress.warm_transactions.fetch_add(1, Ordering::Relaxed);
            } else {
                self.paced += 1;
            }
        }
    }

    /// Serves the client's callbacks and brings the figures up to date.
    fn look_around(&mut self) {
        self.producer.poll(Duration::ZERO);
        self.progress.settle(under_way(self.producer));
        if let Some(started) = self.started {
            self.progress.micros.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        self.ended |= self.progress.is_stopped();
    }
}
