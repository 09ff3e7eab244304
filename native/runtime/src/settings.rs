//! Settings of the stream as Python hands them over, checked there and read here.
//!
//! `python/fraudengine/default.toml` documents every one of them. Unknown names are refused on both sides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fraudengine_core::EngineConfig;
use fraudengine_core::decision::Action;
use fraudengine_core::event::{CurrencyCode, CurrencyTable, minor_digits};
use fraudengine_core::units::DurationMicros;
use serde::Deserialize;
use thiserror::Error;

use crate::kafka::KafkaSettings;
use crate::sink::{PostgresSettings, RedisSettings};

/// All sections that the native stream reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[kafka]`.
    pub kafka: KafkaSettings,
    /// `[engine]`.
    pub engine: EngineSettings,
    /// `[output]`.
    pub output: OutputSettings,
    /// `[dead_letter]`.
    pub dead_letter: DeadLetterSettings,
    /// `[drill]`.
    pub drill: DrillSettings,
    /// `[state]`.
    pub state: StateSettings,
    /// `[postgres]`.
    pub postgres: PostgresSettings,
    /// `[redis]`.
    pub redis: RedisSettings,
    /// `[http]`, served by Python.
    pub http: serde_json::Value,
    /// `[log]`, read by Python.
    pub log: serde_json::Value,
}

/// Which decision records carry the values of the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeaturesIn {
    /// None.
    None,
    /// Those that were not approved.
    Flagged,
    /// All.
    All,
}

impl FeaturesIn {
    /// Whether the record of a decision carries the values.
    pub fn sent_with(self, action: Action) -> bool {
        match self {
            Self::None => false,
            Self::Flagged => action != Action::Approve,
            Self::All => true,
        }
    }

    /// Whether the values are sent or explain the decision.
    pub fn needed_for(self, action: Action) -> bool {
        self == Self::All || action != Action::Approve
    }
}

/// The section `[engine]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    /// Worker threads of the windows and the model, 1 to 64.
    pub threads: usize,
    /// Transactions taken in at once, at most.
    pub batch_max: usize,
    /// How far behind the newest event a record may be and still enter its windows.
    pub lateness_seconds: f64,
    /// How far ahead of the broker's time an event time may be; beyond, the record is refused.
    pub ahead_seconds_max: f64,
    /// Bound on live entities of each kind.
    pub entities_max: usize,
    /// Bound on the bytes of all tables together; zero for none.
    pub memory_max_bytes: usize,
    /// ISO 4217 code of the currency in which windows add amounts.
    pub reference_currency: String,
    /// Value of one unit of other currencies in units of the reference currency.
    pub rates: BTreeMap<String, f64>,
    /// Which decision records carry feature values.
    pub features: FeaturesIn,
}

/// The section `[output]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSettings {
    /// How long the producer waits for company before it sends.
    pub linger_ms: f64,
    /// Compression of what is produced: `none` or `lz4`.
    pub compression: String,
    /// Decisions sent and not yet acknowledged, at most; then the stream waits.
    pub in_flight_max: usize,
}

/// The section `[dead_letter]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterSettings {
    /// Whether dead letters carry the refused bytes.
    pub raw: bool,
    /// Secret of the keyed hash.
    pub hash_key: String,
    /// Records that may be quarantined before the stream stops.
    pub poison_max: usize,
}

impl std::fmt::Debug for DeadLetterSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DeadLetterSettings").field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// What a drill does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillFault {
    /// Ends the process by SIGABRT.
    Abort,
    /// Ends the thread by a panic.
    Panic,
}

/// Where a drill does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillStage {
    /// When the transaction is read.
    Decode,
    /// When its label is read.
    Label,
    /// When the transaction is decided.
    Decide,
}

/// The section `[drill]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillSettings {
    /// The transaction that does harm; empty: none.
    pub transaction_id: String,
    /// What it does.
    pub fault: DrillFault,
    /// When.
    pub stage: DrillStage,
}

/// The section `[state]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSettings {
    /// Folder of the snapshots.
    pub folder: PathBuf,
    /// Time between the end of one snapshot and the beginning of the next.
    pub snapshot_interval_seconds: f64,
    /// How many are kept.
    pub snapshots_kept: usize,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Not the agreed JSON.
    #[error("settings: {0}")]
    Format(String),
    /// A currency code that is not one.
    #[error("engine: currency {0:?} is not an ISO 4217 code")]
    Currency(String),
}

impl Settings {
    /// Reads what Python hands over.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        serde_json::from_str(json).map_err(|error| SettingsError::Format(error.to_string()))
    }
}

impl EngineSettings {
    /// The currencies that amounts are accepted in.
    pub fn currencies(&self) -> Result<CurrencyTable, SettingsError> {
        let parse =
            |text: &str| CurrencyCode::parse(text).ok_or_else(|| SettingsError::Currency(text.to_owned()));
        // Rates are millionths of the reference currency, as everywhere in the engine.
        let millionths = |rate: f64| (rate * 1e6).round() as u64;
        let rates = self.rates.iter().map(|(code, rate)| Ok((parse(code)?, millionths(*rate))));
        Ok(CurrencyTable::new(parse(&self.reference_currency)?, rates.collect::<Result<_, _>>()?))
    }

    /// Settings of the fold.
    pub fn config(&self) -> Result<EngineConfig, SettingsError> {
        Ok(EngineConfig {
            lateness: DurationMicros((self.lateness_seconds * 1e6) as i64),
            entities_max: self.entities_max,
            memory_max: self.memory_max_bytes,
            minor_digits: minor_digits(self.currencies()?.reference()),
        })
    }
}
