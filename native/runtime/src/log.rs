//! Structured logs of the native threads, to standard error.
//!
//! They are written by a thread of their own: nobody who reads them slowly, or not at all, holds up the work. What
//! does not fit the queue is dropped and counted.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::limits::LOG_LINES_WAITING_MAX;

/// The writing thread, while there is one, and what it could not take.
static WRITER: Mutex<(Option<WorkerGuard>, Option<ErrorCounter>)> = Mutex::new((None, None));

/// Starts logging at a level (`debug`, `info`, `warn`, `error`), as JSON lines or as text. A second call changes
/// nothing and returns false.
pub fn init(level: &str, json: bool) -> Result<bool, String> {
    let filter = EnvFilter::try_new(level).map_err(|error| format!("log level {level:?}: {error}"))?;
    let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    if writer.1.is_some() {
        return Ok(false);
    }
    let builder =
        NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES_WAITING_MAX).thread_name("log");
    let (lines, guard) = builder.lossy(true).finish(std::io::stderr());
    let dropped = lines.error_counter();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.try_init() };
    *writer = (Some(guard), Some(dropped));
    Ok(true)
}

/// Lines that were dropped because too many waited.
pub fn lines_dropped() -> u64 {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    writer.1.as_ref().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Writes what waits, for a second or so at most; later lines are lost. For the end of the process.
pub fn end() {
    let guard = WRITER.lock().unwrap_or_else(PoisonError::into_inner).0.take();
    drop(guard);
}
