//! Decisions to Redis: counters, feeds and profiles that are live and can be lost.
//!
//! One script call a flush, guarded by the position that Redis itself holds: a batch is applied whole and once,
//! whatever happens to the connection, and a replay cannot move anything backwards. When Redis has lost its data the
//! writer goes on from where it stands, and the counters say by a new `epoch` that they have begun anew. When Redis
//! comes back with older data, position included, the log is read again from there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Client, Connection, ErrorKind, RedisError, Script};

use super::redis_batch::{Batch, POSITION};
use super::redis_profile::SCORES_KEPT;
use super::settings::RedisSettings;
use super::status::{Retry, SinkError};
use super::worker::{Counts, Start, Writer};
use crate::log_reader::{GenerationRule, LogRecord};
use crate::payload::record::decision;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Most records of a batch: bounds the work of one script call.
const BATCH_RECORDS: usize = 50_000;
/// Bit of the flags: the id was decided before.
const DUPLICATE: u32 = 1;
/// Decisions that a Redis without a position gets to begin with: it shows what is live, not a week of history.
const FRESH_RECORDS: i64 = 1_000_000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct RedisWriter {
    settings: RedisSettings,
    topic: String,
    script: Script,
    connection: Option<Held>,
    rule: GenerationRule,
    /// Where this process stands, to tell lost data from a first start.
    known: Option<(i64, i64)>,
    batch: Batch,
}

/// A connection; it has no useful debug text of its own.
struct Held(Connection);

impl std::fmt::Debug for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Held")
    }
}

impl RedisWriter {
    pub(super) fn new(settings: &RedisSettings, topic: &str) -> Self {
        Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            script: Script::new(include_str!("guarded.lua")),
            connection: None,
            rule: GenerationRule::default(),
            known: None,
            batch: Batch::default(),
        }
    }
}

/// Runs calls on the connection, which is made if there is none and dropped after an error.
fn with_connection<T>(
    held: &mut Option<Held>,
    url: &str,
    call: &'static str,
    calls: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
) -> Result<T, SinkError> {
    let mut connection = match held.take() {
        Some(Held(connection)) => connection,
        None => connect(url)?,
    };
    let done = calls(&mut connection).map_err(failed(call))?;
    *held = Some(Held(connection));
    Ok(done)
}

fn connect(url: &str) -> Result<Connection, SinkError> {
    let client = Client::open(url).map_err(failed("read redis.url"))?;
    let connection = client.get_connection_with_timeout(TIMEOUT).map_err(failed("connect"))?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(failed("set a timeout"))?;
    connection.set_write_timeout(Some(TIMEOUT)).map_err(failed("set a timeout"))?;
    Ok(connection)
}

fn failed(call: &'static str) -> impl Fn(RedisError) -> SinkError {
    move |error| {
        let later = [ErrorKind::AuthenticationFailed, ErrorKind::InvalidClientConfig];
        let retry = if later.contains(&error.kind()) { Retry::Later } else { Retry::Soon };
        SinkError::Redis { call, reason: error.to_string(), retry }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

impl Writer for RedisWriter {
    fn batch(&self) -> (usize, Duration) {
        (BATCH_RECORDS, Duration::from_millis(self.settings.flush_ms))
    }

    fn resume(&mut self) -> Result<Start, SinkError> {
        self.batch.clear();
        let (next, generation, topic): (Option<i64>, Option<i64>, Option<String>) =
            with_connection(&mut self.connection, &self.settings.url, "read the position", |connection| {
                redis::cmd("HMGET")
                    .arg(POSITION)
                    .arg(&["next_offset", "generation", "topic"])
                    .query(connection)
            })?;
        let ours = topic.is_none_or(|topic| topic == self.topic);
        if let Some(next) = next.filter(|_| ours) {
            self.rule = GenerationRule::resume(generation.unwrap_or(0));
            self.known = Some((next, generation.unwrap_or(0)));
            return Ok(Start::At(next));
        }
        if !ours {
            let reason = format!("{POSITION} belongs to another topic than {}", self.topic);
            return Err(SinkError::Redis { call: "read the position", reason, retry: Retry::Later });
        }
        let Some((next, generation)) = self.known else { return Ok(Start::Fresh(FRESH_RECORDS)) };
        self.rule = GenerationRule::resume(generation);
        Ok(Start::At(next))
    }

    fn begin(&mut self, at: i64) -> Result<(), SinkError> {
        // Written with the first batch, together with the epoch.
        self.known = Some((at, 0));
        Ok(())
    }

    fn take(&mut self, record: LogRecord<'_>) {
        let Ok(view) = decision(record.value) else {
            self.batch.counts.refused += 1;
            return;
        };
        let Some(raw) = view.transaction else {
            self.rule.marker(record.offset);
            self.batch.counts.skipped += 1;
            return;
        };
        if !self.rule.admits(view.generation) {
            self.batch.counts.fenced += 1;
        } else if view.flags & DUPLICATE != 0 {
            self.batch.counts.skipped += 1;
            self.batch.repeated += 1;
        } else {
            self.batch.take(&view, &raw, record.offset, &self.settings);
        }
    }

    fn full(&self) -> bool {
        false
    }

    fn flush(&mut self, from: i64, to: i64) -> Result<Counts, SinkError> {
        let now = now_ms();
        let commands = self.batch.commands(&self.settings, now);
        let generation = self.rule.highest();
        let mut call = self.script.prepare_invoke();
        call.key(POSITION).arg(from).arg(to).arg(generation).arg(now);
        // Unique enough: one writer at a time, and a process that lost its data twice in a millisecond is the same.
        call.arg(format!("{now:x}-{:x}", std::process::id())).arg(&self.topic).arg(SCORES_KEPT);
        for command in &commands {
            call.arg(command.len());
            for word in command {
                call.arg(word.as_slice());
            }
        }
        let (answer, position): (String, String) =
            with_connection(&mut self.connection, &self.settings.url, "write", |connection| {
                call.invoke(connection)
            })?;
        if answer == "moved" {
            tracing::info!(target: "sink", from, position, "redis stands elsewhere");
            return Err(SinkError::Moved { expected: from });
        }
        if answer == "restarted" {
            tracing::info!(target: "sink", from, "the counters in redis begin anew");
        }
        self.known = Some((to, generation));
        let counts = self.batch.counts;
        self.batch.clear();
        Ok(counts)
    }
}
