//! What the native transport counts. Every atomic is a statistic on its own: relaxed ordering everywhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::metrics::Histogram;

/// Methods of the scoring service, in the order of [`Figures::calls`].
pub const METHODS: [&str; 3] = ["Score", "ScoreBatch", "ScoreStream"];

/// See the module's text.
#[derive(Debug, Default)]
pub struct Figures {
    /// From a request to its answer, by method.
    pub calls: [Histogram; METHODS.len()],
    /// Calls under way.
    pub open: AtomicI64,
    /// Transactions of batches under way.
    pub rows: AtomicI64,
    /// Calls denied for want of a known token.
    pub denied_token: AtomicU64,
    /// Calls denied because of their client's rate.
    pub denied_rate: AtomicU64,
    /// Calls turned away because too many were under way.
    pub denied_overload: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Figures {
    /// Counts a refused transaction by the rule that it broke.
    pub fn refuse(&self, code: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Refused transactions by rule.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls denied before they were looked at, by reason.
    pub fn denied(&self) -> [(&'static str, u64); 3] {
        [
            ("token", self.denied_token.load(Relaxed)),
            ("rate", self.denied_rate.load(Relaxed)),
            ("overload", self.denied_overload.load(Relaxed)),
        ]
    }
}
