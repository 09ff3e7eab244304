//! The thread that keeps the replica: newest snapshot, then the log of decisions, for as long as the service runs.
//!
//! Each decision that passes by answers who waits for it. Whatever goes wrong is told, and the thread begins anew
//! with the newest snapshot; looks use the state that was there before until then.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::calls::Calls;
use super::replica::{FollowPhase, Replica};
use crate::kafka::Consumer;
use crate::log_reader::LogReader;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::stream::StreamError;
use crate::stream::care::quarantined;
use crate::stream::delivery::{DECISIONS, TOPICS};
use crate::stream::rebuild::Rebuild;
use crate::stream::recovery::{load_snapshot, nothing_yet};
use crate::stream::snapshot_file::{self, Loaded};

const ASK_TIMEOUT_MS: i32 = 5_000;
/// How long a wait for records lasts before a stop is looked for.
const POLL_MS: i32 = 25;
/// Few enough that a look waits for a millisecond or two at most.
const RECORDS_AT_ONCE: usize = 512;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// The same where somebody must mend something first: a snapshot is not read again every moment.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// What the thread has.
pub struct Follower {
    /// Where the topics and the snapshots are.
    pub settings: Settings,
    /// Decisions that the replica may be behind and still count as caught up.
    pub lag_max: u64,
    /// Who waits.
    pub calls: Arc<Calls>,
    /// What is kept.
    pub replica: Arc<Replica>,
    /// Ends the thread.
    pub stop: Stop,
}

impl Follower {
    /// Follows until the stop.
    pub fn run(&self) {
        let mut aside = HashSet::new();
        while !self.stop.is_set() {
            self.replica.enter(FollowPhase::Loading, self.replica.trouble());
            let Err(error) = self.follow(&mut aside) else { return };
            tracing::warn!(target: "follow", "the replica begins anew: {error}");
            self.replica.enter(FollowPhase::Failed, Some(error.to_string()));
            if let StreamError::Snapshot { path, .. } | StreamError::Overtaken { path, .. } = &error {
                aside.insert(path.clone());
            } else {
                self.stop.sleep(if error.is_transient() { PAUSE } else { LONG_PAUSE });
            }
        }
    }

    fn follow(&self, aside: &mut HashSet<PathBuf>) -> Result<(), StreamError> {
        let settings = &self.settings;
        let (loaded, path) = self.load(aside)?;
        let (start, end) = (loaded.header.offsets[DECISIONS], loaded.header.end_offset);
        let end_position = loaded.header.end_position;
        let mut rebuild = Rebuild::new(settings, loaded, path.as_deref())?;
        let quarantined = quarantined(settings)?;
        rebuild
            .skip_labels(quarantined.iter().filter(|(is_label, ..)| *is_label).map(|&(.., offset)| offset));
        let mut reader = LogReader::open(&settings.kafka, &settings.kafka.decisions_topic, start)?;
        self.replica.enter(FollowPhase::Following, None);
        let mut shown = false;
        while !self.stop.is_set() {
            let records = reader.poll(RECORDS_AT_ONCE, POLL_MS)?;
            for at in 0..records {
                let record = reader.record(at);
                if let Some(taken) = rebuild.take(record.offset, record.value)? {
                    self.calls.decided(&taken);
                }
            }
            if records > 0 {
                rebuild.flush()?;
                self.replica.give_way();
            }
            if !shown && reader.next() >= end && rebuild.position() >= end_position {
                self.replica.show(rebuild.engine());
                shown = true;
            }
            let lag = reader.lag();
            self.replica.stands(rebuild.position(), lag);
            self.replica.set_ready(shown && lag <= self.lag_max);
        }
        Ok(())
    }

    /// The newest snapshot that can be used, or the log's beginning.
    fn load(&self, aside: &mut HashSet<PathBuf>) -> Result<(Loaded, Option<PathBuf>), StreamError> {
        let (settings, kafka) = (&self.settings, &self.settings.kafka);
        let questions = Consumer::idle(kafka)?;
        let first = |topic: &str| questions.handle().watermarks(topic, 0, ASK_TIMEOUT_MS).map(|(low, _)| low);
        let log_start = first(&kafka.decisions_topic)?;
        for path in snapshot_file::list(&settings.state.folder)? {
            if aside.contains(&path) {
                continue;
            }
            match load_snapshot(settings, &path, log_start) {
                Ok(loaded) => return Ok((loaded, Some(path))),
                Err(error @ StreamError::Snapshot { .. }) => {
                    tracing::warn!(target: "follow", "a snapshot is left aside: {error}");
                    aside.insert(path);
                }
                // The stream removes old ones while we look.
                Err(StreamError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut offsets = [0; TOPICS];
        offsets[DECISIONS] = log_start;
        Ok((nothing_yet(settings, first(&kafka.labels_topic)?, offsets)?, None))
    }
}
