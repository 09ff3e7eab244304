//! The state of a process that stands by. It follows the logs from the newest snapshot on, so that taking over means
//! reading the last moments of them instead of a snapshot and all that came after.
//!
//! Nothing depends on it: whatever goes wrong here is told and begun again, and a process that is seated meanwhile
//! recovers from the snapshots as after a restart.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::StreamError;
use super::catch_up::CatchUp;
use super::recovery::{begin_anew, first_offset, load_snapshot};
use super::snapshot_file;
use crate::kafka::Consumer;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// How long a step waits for records: how late a change of the seat is seen.
const STEP_MS: i32 = 20;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// The same where somebody must mend something first.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// See the module's text.
pub struct Standby<'a> {
    settings: &'a Settings,
    state: Option<CatchUp<'a>>,
    /// Snapshots that cannot be used.
    aside: HashSet<PathBuf>,
    not_before: Instant,
}

impl<'a> Standby<'a> {
    /// Nothing is read before the first [`step`](Self::step).
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, state: None, aside: HashSet::new(), not_before: Instant::now() }
    }

    /// Follows for a moment, and notes how far behind the log it is; returns whether it waited for records meanwhile.
    pub fn step(&mut self, metrics: &Metrics) -> bool {
        if Instant::now() < self.not_before {
            return false;
        }
        let behind = match self.follow() {
            Ok(behind) => behind,
            Err(error) => {
                tracing::warn!(target: "standby", "the state is read anew: {error}");
                self.state = None;
                if let StreamError::Snapshot { path, .. } | StreamError::Overtaken { path, .. } = &error {
                    self.aside.insert(path.clone());
                }
                self.not_before = Instant::now() + if error.is_transient() { PAUSE } else { LONG_PAUSE };
                None
            }
        };
        metrics.standby_behind.store(behind.map_or(-1, |records| records as i64), Relaxed);
        self.state.is_some()
    }

    fn follow(&mut self) -> Result<Option<u64>, StreamError> {
        let state = match &mut self.state {
            Some(state) => state,
            none => none.insert(begin(self.settings, &mut self.aside)?),
        };
        state.step(STEP_MS)?;
        Ok(state.behind())
    }

    /// Hands over what was followed; the next step begins with a snapshot again.
    pub fn take(&mut self, metrics: &Metrics) -> Option<CatchUp<'a>> {
        metrics.standby_behind.store(-1, Relaxed);
        self.state.take()
    }
}

/// The newest snapshot that can be used, or the logs' beginnings.
fn begin<'a>(settings: &'a Settings, aside: &mut HashSet<PathBuf>) -> Result<CatchUp<'a>, StreamError> {
    let questions = Consumer::idle(&settings.kafka)?;
    let log_start = first_offset(&questions, &settings.kafka.decisions_topic)?;
    for path in snapshot_file::list(&settings.state.folder)? {
        if aside.contains(&path) {
            continue;
        }
        match load_snapshot(settings, &path, log_start) {
            Ok(loaded) => return CatchUp::begin(settings, loaded, Some(&path)),
            Err(error @ StreamError::Snapshot { .. }) => {
                tracing::warn!(target: "standby", "a snapshot is left aside: {error}");
                aside.insert(path);
            }
            // Who decides removes old ones while we look.
            Err(StreamError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    begin_anew(settings, &questions, log_start)
}
