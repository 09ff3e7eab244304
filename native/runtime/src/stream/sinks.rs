//! The writers behind the decisions, as long as this process has the seat.
//!
//! They read the log like anybody else and keep their own positions, so nothing here is needed for correctness:
//! two processes that both write would only be slower.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StreamError;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sink::{SinkHandle, spawn_postgres, spawn_redis};
use crate::stop::Stop;
use crate::tail::Tail;

/// How long an orderly end waits for the writers to write what has been decided.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);

/// The running writers; dropping them stops them.
pub struct Sinks {
    stop: Stop,
    handles: Vec<Arc<SinkHandle>>,
    metrics: Arc<Metrics>,
}

impl Sinks {
    /// Starts those that are switched on; they take from `tail` what it holds.
    pub fn start(
        settings: &Settings,
        metrics: &Arc<Metrics>,
        tail: Option<&Arc<Tail>>,
    ) -> Result<Self, StreamError> {
        let stop = Stop::default();
        let mut sinks = Self { stop, handles: Vec::new(), metrics: Arc::clone(metrics) };
        if settings.postgres.enabled {
            let currencies = settings.engine.currencies()?;
            let handle = spawn_postgres(&settings.postgres, &settings.kafka, currencies, tail, &sinks.stop);
            sinks.handles.push(Arc::new(handle.map_err(|_| StreamError::Thread("postgres"))?));
        }
        if settings.redis.enabled {
            let handle = spawn_redis(&settings.redis, &settings.kafka, tail, &sinks.stop);
            sinks.handles.push(Arc::new(handle.map_err(|_| StreamError::Thread("redis"))?));
        }
        metrics.set_sinks(sinks.handles.clone());
        Ok(sinks)
    }

    /// Waits a little for the writers to come to the end of the log.
    pub fn catch_up(&self) {
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        let behind =
            || self.handles.iter().flat_map(|handle| handle.status()).any(|status| !status.is_idle());
        while behind() && Instant::now() < deadline {
            self.stop.sleep(TICK);
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.set();
        self.metrics.set_sinks(Vec::new());
        for handle in self.handles.drain(..) {
            // A reader of the status may hold it for a moment longer; its threads end all the same.
            if let Ok(handle) = Arc::try_unwrap(handle) {
                handle.join();
            }
        }
    }
}
