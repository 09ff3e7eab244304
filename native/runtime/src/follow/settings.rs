//! What the service needs of the section `[serve]`; `python/fraudengine/default.toml` documents each.

use std::time::Duration;

use serde::Deserialize;

use super::answer::NoAnswer;
use crate::settings::SettingsError;

/// Part of the section `[serve]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSettings {
    /// Newest decisions kept, so that a repeated id gets its first answer.
    pub answers_kept: usize,
    /// How long the stream may take before calls are answered without it, milliseconds.
    pub behind_ms_max: f64,
    /// How long before its deadline a call is answered, milliseconds.
    pub deadline_margin_ms: f64,
    /// Transactions handed to the stream and not yet decided, at most.
    pub in_flight_max: usize,
    /// Decisions that the replica may be behind the log and still count as caught up.
    pub lag_records_max: u64,
    /// Transactions that a state must have seen before it is warm.
    pub warm_transactions: u64,
    /// Below this amount, in minor units of the reference currency, a transaction is approved that nothing can score.
    pub no_answer_approve_below: i64,
    /// From this amount on it is blocked; 0: never.
    pub no_answer_block_from: i64,
}

impl ServeSettings {
    /// Reads what Python hands over.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        serde_json::from_str(json).map_err(|error| SettingsError::Format(error.to_string()))
    }

    /// How long the stream may take.
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.behind_ms_max.clamp(0.0, 1e6) / 1e3)
    }

    /// How long before its deadline a call is answered.
    pub fn margin(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_margin_ms.clamp(0.0, 1e6) / 1e3)
    }

    /// What becomes of a transaction that nothing can score.
    pub const fn no_answer(&self) -> NoAnswer {
        NoAnswer { approve_below: self.no_answer_approve_below, block_from: self.no_answer_block_from }
    }
}
