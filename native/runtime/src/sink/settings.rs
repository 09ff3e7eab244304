//! The sections `[postgres]` and `[redis]` as Python hands them over.
//!
//! `python/fraudengine/default.toml` documents every setting with its range, which is checked there.

use std::fmt;

use serde::Deserialize;

/// The section `[postgres]`. Its URL may hold a password, so it is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// Whether to write there at all.
    pub enabled: bool,
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: String,
    /// Days that transactions are kept; 0: for ever.
    pub retention_days: u32,
    /// Whether look-up indexes are kept up to date.
    pub lookup_indexes: bool,
    /// Most rows of one database transaction.
    pub batch_rows: usize,
    /// Longest wait for a batch to fill.
    pub batch_wait_ms: u64,
}

/// The section `[redis]`. Its URL may hold a password, so it is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// Whether to write there at all.
    pub enabled: bool,
    /// `redis://USER:PASSWORD@HOST:PORT/NUMBER`.
    pub url: String,
    /// Entries kept in each live feed, about.
    pub feed_length: u64,
    /// Time after which the profile of a silent customer expires.
    pub profile_ttl_seconds: u64,
    /// Most profiles written in a second; 0: none.
    pub profiles_per_second_max: u64,
    /// Time between two writes.
    pub flush_ms: u64,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PostgresSettings")
            .field("enabled", &self.enabled)
            .field("retention_days", &self.retention_days)
            .field("lookup_indexes", &self.lookup_indexes)
            .field("batch_rows", &self.batch_rows)
            .field("batch_wait_ms", &self.batch_wait_ms)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisSettings")
            .field("enabled", &self.enabled)
            .field("feed_length", &self.feed_length)
            .field("profile_ttl_seconds", &self.profile_ttl_seconds)
            .field("profiles_per_second_max", &self.profiles_per_second_max)
            .field("flush_ms", &self.flush_ms)
            .finish_non_exhaustive()
    }
}
