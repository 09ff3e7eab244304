//! What can end a run of the stream, and whether trying again can help.

use std::path::PathBuf;

use fraudengine_core::snapshot::SnapshotError;
use thiserror::Error;

use crate::kafka::KafkaError;
use crate::settings::SettingsError;

/// Why a run ended.
#[derive(Debug, Error)]
pub enum StreamError {
    /// Kafka or its client.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A snapshot that cannot be used; an older one, or the log, is tried instead.
    #[error("{path}: {error}")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// A snapshot that the log contradicts: another process had taken over before it was complete.
    #[error("{path}: another process had taken over at offset {marker} before this snapshot was complete")]
    Overtaken {
        /// The file.
        path: PathBuf,
        /// Offset of the other process's marker.
        marker: i64,
    },
    /// Another process has announced itself in a topic that only the process with the seat writes to. Readers
    /// ignore what this run has written since: it must begin again, with a marker of its own.
    #[error("{topic}: another process has announced itself at offset {offset} since this one took over")]
    Intruder {
        /// The topic.
        topic: String,
        /// Offset of its marker.
        offset: i64,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A record in a topic that only we write is not what we write.
    #[error("{topic}: the record at offset {offset} is not a decision record: {reason}")]
    ForeignRecord {
        /// The topic.
        topic: String,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A label that had ended a process was taken in before its dead letter was read: the state must be read anew.
    #[error("the label at offset {offset} was taken in before it was known to be refused")]
    LabelRefusedLate {
        /// Its offset.
        offset: i64,
    },
    /// State and log do not belong together.
    #[error(
        "the state holds {repeated} transactions to be repeated that the log says are new, before offset {offset}"
    )]
    Diverged {
        /// How many.
        repeated: usize,
        /// Where in the log.
        offset: i64,
    },
    /// More records than allowed have ended the process twice: the fault is not theirs.
    #[error(
        "{count} records have ended the process twice, more than dead_letter.poison_max = {most}; mend what they hit, then \
         remove {path} to begin the count anew"
    )]
    Poisoned {
        /// How many.
        count: usize,
        /// How many may.
        most: usize,
        /// Where they are listed.
        path: PathBuf,
    },
    /// A thread that handles records panicked.
    #[error("thread {0} panicked")]
    Panicked(&'static str),
    /// A thread could not be started, or panicked.
    #[error("thread {0} failed")]
    Thread(&'static str),
}

impl StreamError {
    /// Whether a new run, from the last snapshot on, can succeed without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Kafka(error) => {
                !matches!(error, KafkaError::Property { .. } | KafkaError::Partitions { .. })
            }
            Self::Thread(_)
            | Self::Panicked(_)
            | Self::Overtaken { .. }
            | Self::Intruder { .. }
            | Self::LabelRefusedLate { .. } => true,
            Self::Settings(_)
            | Self::Snapshot { .. }
            | Self::File { .. }
            | Self::ForeignRecord { .. }
            | Self::Poisoned { .. }
            | Self::Diverged { .. } => false,
        }
    }
}
