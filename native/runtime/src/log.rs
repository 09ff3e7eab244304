//! Structured logs of the native threads, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging at a level (`debug`, `info`, `warn`, `error`), as JSON lines or as text. A second call changes
/// nothing.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| format!("log level {level:?}: {error}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.try_init() };
    Ok(())
}
