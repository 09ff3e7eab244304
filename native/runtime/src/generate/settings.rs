//! What can be asked of the load generator, with a range for everything.

use std::collections::BTreeMap;

use fraudengine_generator::{Config, ConfigError};
use thiserror::Error;

use crate::payload::Format;

/// Settings of a load.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// The history.
    pub world: Config,
    /// Brokers, `host:port`, comma-separated.
    pub brokers: String,
    /// Further librdkafka properties; they win over ours.
    pub client: BTreeMap<String, String>,
    /// Topic of transactions; the partition of a customer is the one that Java clients choose (murmur2).
    pub transactions_topic: String,
    /// Topic of labels; empty: none are sent.
    pub labels_topic: String,
    /// Whether genuine transactions have labels too; otherwise only what was reported as fraud.
    pub genuine_labels: bool,
    /// How both are written.
    pub format: Format,
    /// Id of a schema registry's framing before each value; none: bare.
    pub schema_id: Option<u32>,
    /// Transactions a second after the warm-up, 0 (as fast as possible) to 10,000,000.
    pub tps: f64,
    /// Days at the start of the history whose events are not sent at all.
    pub skip_days: u32,
    /// Days after those that are sent as fast as possible, before rate, count and seconds apply.
    pub warm_days: u32,
    /// After the warm-up, wait for [`super::Load::release`].
    pub hold: bool,
    /// Transactions after the warm-up; 0: no limit.
    pub count: u64,
    /// Seconds after the warm-up; 0: no limit.
    pub seconds: f64,
    /// Broken records for each good transaction, 0 to 100: a test tool.
    pub malformed: f64,
}

/// Why a load could not start.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LoadError {
    /// A setting of the history is out of range.
    #[error(transparent)]
    World(#[from] ConfigError),
    /// A setting of the load is out of range.
    #[error("{field} is {value}, must be {min} to {max}")]
    Range {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: f64,
        /// Smallest allowed value.
        min: f64,
        /// Largest allowed value.
        max: f64,
    },
    /// A client property is unknown or has a value it cannot have.
    #[error("kafka client: {0}")]
    Client(String),
    /// The brokers do not answer.
    #[error("no broker answers at {brokers}: {reason}")]
    Unreachable {
        /// The brokers asked.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// A topic that the broker neither has nor creates.
    #[error("topic {topic} is not available: {reason}")]
    Topic {
        /// The topic.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(String),
}

impl LoadSettings {
    /// Refuses the first setting that is outside its range.
    pub fn check(&self) -> Result<(), LoadError> {
        self.world.check()?;
        let days = f64::from(self.world.days);
        for (field, value, min, max) in [
            ("tps", self.tps, 0.0, 1e7),
            ("seconds", self.seconds, 0.0, 1e9),
            ("malformed", self.malformed, 0.0, 100.0),
            ("skip_days", f64::from(self.skip_days), 0.0, days - 1.0),
            (
                "skip_days and warm_days together",
                f64::from(self.skip_days) + f64::from(self.warm_days),
                0.0,
                days,
            ),
        ] {
            if !(min..=max).contains(&value) {
                return Err(LoadError::Range { field, value, min, max });
            }
        }
        Ok(())
    }
}
