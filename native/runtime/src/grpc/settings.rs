//! What the native transport needs of the section `[serve]`; `python/fraudengine/default.toml` documents each.

use serde::Deserialize;

use crate::settings::SettingsError;

/// Part of the section `[serve]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcSettings {
    /// Host name or address to listen at.
    pub host: String,
    /// Its port; 0 picks a free one.
    pub port: u16,
    /// Threads that read requests and write answers.
    pub threads: usize,
    /// Most calls under way.
    pub calls_max: usize,
    /// Transactions of batches under way from which on no further batch is let in.
    pub rows_max: usize,
    /// Longest request in bytes.
    pub message_bytes_max: usize,
    /// Which calls are logged: `all`, `problems` or `none`.
    pub log_scores: LogScores,
    /// A call that takes longer is slow, milliseconds.
    pub slow_ms: f64,
    /// Certificate and key; none: plain text.
    pub tls: Option<TlsFiles>,
}

/// Which calls are logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogScores {
    /// Each.
    All,
    /// Those that failed or were slow.
    Problems,
    /// None.
    None,
}

/// PEM texts.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: String,
    /// Private key.
    pub key: String,
    /// Who may sign the certificates of clients; none: clients need none.
    pub client_ca: Option<String>,
}

/// Without the key.
impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

impl GrpcSettings {
    /// Reads what Python hands over.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        serde_json::from_str(json).map_err(|error| SettingsError::Format(error.to_string()))
    }
}
