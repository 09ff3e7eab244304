//! Writers behind the decisions: Postgres and Redis, each a reader of the log with a position of its own.
//!
//! The log is the only buffer. A sink holds one batch in hand and reads on when it is written, so an outage of a
//! database is lag, never memory and never loss. Rows and position are written together, and the position is
//! changed only from the value that was read (compare and set): a batch is written once, whoever tries, and
//! a second writer notices that the first one has moved on. See `docs/contract.md` for what is written.

mod copy;
mod migrate;
mod partitions;
mod postgres;
mod postgres_labels;
mod postgres_lookup;
mod postgres_session;
mod postgres_tls;
mod redis;
mod redis_batch;
mod redis_profile;
mod rows;
mod settings;
mod status;
mod worker;

pub use migrate::{MIGRATIONS, Migration};
pub use settings::{PostgresSettings, RedisSettings};
pub use status::{Retry, SinkError, SinkState, Status};

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::kafka::KafkaSettings;
use crate::stop::Stop;
use crate::tail::Tail;
use fraudengine_core::event::CurrencyTable;
use status::Shared;
use worker::{Log, Writer, run};

/// The threads of a sink. Dropping it leaves them running; they end when the stop flag is set.
#[derive(Debug)]
pub struct SinkHandle {
    threads: Vec<JoinHandle<()>>,
    shared: Vec<Shared>,
}

impl SinkHandle {
    /// How each reader of the sink stands.
    pub fn status(&self) -> Vec<Status> {
        self.shared.iter().map(Shared::get).collect()
    }

    /// Waits for the threads to end. Call it after the stop flag was set; what was in hand is written or given up
    /// within seconds, and read again after the next start.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!(target: "sink", "a thread of a sink has panicked");
            }
        }
    }

    fn spawn<W: Writer + Send + 'static>(
        &mut self,
        name: &'static str,
        log: Log,
        writer: W,
        stop: &Stop,
    ) -> io::Result<()> {
        let shared = Shared::new(name, &log.topic);
        let (own, stop) = (shared.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(writer, &log, &own, &stop))?;
        self.threads.push(thread);
        self.shared.push(shared);
        Ok(())
    }
}

/// Starts the writers to Postgres (`tail` holds the newest decisions, where this process writes them): one of decisions
/// and alerts, one of labels, which takes what an engine with these currencies takes; and what keeps the look-up
/// indexes up to date.
pub fn spawn_postgres(
    settings: &PostgresSettings,
    kafka: &KafkaSettings,
    currencies: CurrencyTable,
    tail: Option<&Arc<Tail>>,
    stop: &Stop,
) -> io::Result<SinkHandle> {
    let mut handle = SinkHandle { threads: Vec::new(), shared: Vec::new() };
    let decisions = postgres::DecisionWriter::new(settings, &kafka.decisions_topic);
    handle.spawn("postgres", Log::new(kafka, &kafka.decisions_topic, tail), decisions, stop)?;
    let format = kafka.labels_format;
    let labels = postgres_labels::LabelWriter::new(settings, &kafka.labels_topic, format, currencies);
    handle.spawn("postgres-labels", Log::new(kafka, &kafka.labels_topic, None), labels, stop)?;
    if settings.lookup_indexes {
        let (settings, stop) = (settings.clone(), stop.clone());
        let name = "postgres-lookup".to_owned();
        let thread = std::thread::Builder::new().name(name);
        handle.threads.push(thread.spawn(move || postgres_lookup::run(&settings, &stop))?);
    }
    Ok(handle)
}

/// Starts the writer to Redis.
pub fn spawn_redis(
    settings: &RedisSettings,
    kafka: &KafkaSettings,
    tail: Option<&Arc<Tail>>,
    stop: &Stop,
) -> io::Result<SinkHandle> {
    let mut handle = SinkHandle { threads: Vec::new(), shared: Vec::new() };
    let writer = redis::RedisWriter::new(settings, &kafka.decisions_topic);
    handle.spawn("redis", Log::new(kafka, &kafka.decisions_topic, tail), writer, stop)?;
    Ok(handle)
}
