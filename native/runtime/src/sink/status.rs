//! What a sink tells about itself, and the errors it tells about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;

use crate::kafka::KafkaError;

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It passes by itself: an outage, a restart, a timeout.
    Soon,
    /// Somebody must change something first: a password, a right, a version.
    Later,
}

impl Retry {
    /// First and longest pause between two attempts.
    pub const fn pauses(self) -> (Duration, Duration) {
        match self {
            Self::Soon => (Duration::from_millis(100), Duration::from_secs(5)),
            Self::Later => (Duration::from_secs(2), Duration::from_secs(30)),
        }
    }
}

/// Why a sink does not get on. Secrets are never part of the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SinkError {
    /// The topic cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The database refuses or does not answer.
    #[error("postgres: {call}: {reason}")]
    Postgres {
        /// What was being done.
        call: &'static str,
        /// What the server or the connection says.
        reason: String,
        /// Whether trying again can help.
        retry: Retry,
    },
    /// Redis refuses or does not answer.
    #[error("redis: {call}: {reason}")]
    Redis {
        /// What was being done.
        call: &'static str,
        /// What the server or the connection says.
        reason: String,
        /// Whether trying again can help.
        retry: Retry,
    },
    /// A row with the key of one of the batch exists.
    #[error("postgres: a row with this key exists")]
    Repeated,
    /// A row of the batch fits no partition, because one was dropped meanwhile.
    #[error("postgres: a row fits no partition")]
    NoPartition,
    /// Another writer has written on: the position must be read anew.
    #[error("another writer has moved the position from {expected}")]
    Moved {
        /// The position that was expected.
        expected: i64,
    },
}

impl SinkError {
    /// Whether trying again can help.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Postgres { retry, .. } | Self::Redis { retry, .. } => *retry,
            Self::Kafka(KafkaError::Property { .. } | KafkaError::OffsetOutOfRange { .. }) => Retry::Later,
            Self::Kafka(_) | Self::Repeated | Self::NoPartition | Self::Moved { .. } => Retry::Soon,
        }
    }
}

/// What a sink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Connecting for the first time.
    #[default]
    Starting,
    /// Writing, or waiting for records.
    Running,
    /// Waiting to try again after an error.
    Retrying,
    /// Ended.
    Stopped,
}

impl SinkState {
    /// Its name in the status and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
        }
    }
}

/// A snapshot of a sink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `postgres`, `postgres-labels` or `redis`.
    pub sink: &'static str,
    /// Topic that it reads.
    pub topic: String,
    /// What it is doing.
    pub state: SinkState,
    /// Offset of the next record to write: what is below it is written.
    pub next_offset: i64,
    /// Records that wait to be written, as far as is known.
    pub lag_records: u64,
    /// Age of the oldest of them, about; 0 when there are none.
    pub lag_seconds: f64,
    /// Rows (Postgres) or decisions (Redis) written since the start.
    pub rows_written: u64,
    /// Batches written since the start.
    pub batches: u64,
    /// Records left out on purpose: repeated ids, markers, days beyond the retention.
    pub skipped: u64,
    /// Records of processes that had been replaced.
    pub fenced: u64,
    /// Records that could not be read.
    pub refused: u64,
    /// Records that the broker had already dropped when they were wanted.
    pub lost: u64,
    /// Profiles not written because of the budget; Redis only.
    pub profiles_skipped: u64,
    /// Attempts after an error since the start.
    pub retries: u64,
    /// The last error; kept until the next batch is written.
    pub last_error: Option<String>,
}

impl Status {
    /// Whether everything that is known to be in the log is written.
    pub fn is_idle(&self) -> bool {
        self.state == SinkState::Running && self.lag_records == 0
    }
}

/// A status that its thread writes and others read.
///
/// # Thread Safety
///
/// A mutex held for a copy: once per batch by the sink, rarely by readers.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Status>>);

impl Shared {
    /// A new one.
    pub fn new(sink: &'static str, topic: &str) -> Self {
        let status = Status { sink, topic: topic.to_owned(), ..Status::default() };
        Self(Arc::new(Mutex::new(status)))
    }

    /// How things stand.
    pub fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
