//! What the stream counts, declared once, and its page in the Prometheus text format.
//!
//! Counters are atomics that several threads add to, once per chunk; the page is made when somebody asks. Names
//! follow the Prometheus conventions: base units, `_total` for counters, few labels.
//!
//! # Thread Safety
//!
//! Every atomic is a statistic on its own: relaxed ordering everywhere, nothing is inferred from two of them.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fraudengine_core::engine::TableStats;
use fraudengine_core::event::{ENTITY_KINDS, EntityKind};

use crate::log;
use crate::sink::{SinkHandle, SinkState, Status};

/// Upper bounds of the latency buckets in microseconds.
pub const LATENCY_BOUNDS_MICROS: [u64; 16] = [
    250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 25_000, 50_000, 75_000, 95_000,
    250_000, 1_000_000,
];

/// Observations by upper bound.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; LATENCY_BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&self, micros: u64) {
        self.observe_many(micros, 1);
    }

    /// Adds the same observation several times.
    pub fn observe_many(&self, micros: u64, times: u64) {
        let bucket = LATENCY_BOUNDS_MICROS.partition_point(|&bound| bound < micros);
        self.buckets[bucket].fetch_add(times, Relaxed);
        self.sum_micros.fetch_add(micros * times, Relaxed);
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// Observations up to each bound, the last without a bound; bounds in seconds.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let bounds = LATENCY_BOUNDS_MICROS.iter().map(|&bound| bound as f64 / 1e6).chain([f64::INFINITY]);
        let up_to = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Relaxed);
            Some(*sum)
        });
        bounds.zip(up_to).collect()
    }

    /// Sum of the observations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros.load(Relaxed) as f64 / 1e6
    }

    /// Upper bound of the bucket that holds this share of the observations, in microseconds; `None` when there
    /// are none or it is beyond the last bound.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total = self.count();
        let rank = (share * total as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, bound) in self.buckets.iter().zip(LATENCY_BOUNDS_MICROS) {
            seen += bucket.load(Relaxed);
            if total > 0 && seen >= rank {
                return Some(bound);
            }
        }
        None
    }

    fn write(&self, page: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, up_to) in self.cumulative() {
            let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let _ = writeln!(page, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {up_to}");
            count = up_to;
        }
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(page, "{name}_sum{braces} {}", self.sum_seconds());
        let _ = writeln!(page, "{name}_count{braces} {count}");
    }
}

/// The threads whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Polling aside: decoding and checking a chunk.
    Decode,
    /// Windows, features, scores, decisions of a chunk.
    Decide,
    /// Encoding a chunk and handing it to the producer.
    Encode,
    /// Copying parts of the state between two chunks.
    Snapshot,
}

const STAGES: [&str; 4] = ["decode", "decide", "encode", "snapshot"];
const ACTIONS: [&str; 3] = ["approve", "review", "block"];
const REASONS: [&str; 6] = ["unspecified", "malformed", "invalid", "too_large", "time_ahead", "poison"];

/// See the module's text.
#[derive(Debug)]
pub struct Metrics {
    /// Decisions by action, in the order of their codes.
    pub actions: [AtomicU64; 3],
    /// Repeated ids, late records, decisions with coarse windows.
    pub flagged: [AtomicU64; 3],
    /// Labels taken in.
    pub labels: AtomicU64,
    /// Dead letters by reason.
    pub dead_letters: [AtomicU64; 6],
    /// Alerts sent.
    pub alerts: AtomicU64,
    /// From the broker's time of a transaction to its decision.
    pub latency: Histogram,
    /// Time of each stage for a chunk.
    pub stages: [Histogram; STAGES.len()],
    /// Chunks decided.
    pub chunks: AtomicU64,
    /// Decisions sent and not acknowledged.
    pub in_flight: AtomicU64,
    /// Decisions acknowledged.
    pub delivered: AtomicU64,
    /// Records of the transactions topic that have not been decided, over all partitions; -1: not known yet.
    pub lag: AtomicI64,
    /// Decisions that a process that stands by has still to take in; -1: it decides, or has no state yet.
    pub standby_behind: AtomicI64,
    /// Newest event time, microseconds since 1970.
    pub watermark: AtomicI64,
    /// Snapshots published.
    pub snapshots: AtomicU64,
    /// When the last one was published, microseconds since 1970; 0: never.
    pub snapshot_time: AtomicI64,
    /// Its size in bytes.
    pub snapshot_bytes: AtomicU64,
    /// Snapshots that operators have asked for.
    pub snapshots_asked: AtomicU64,
    /// The newest of those requests that has its snapshot.
    pub snapshots_answered: AtomicU64,
    /// Runs that ended with an error and were begun again.
    pub restarts: AtomicU64,
    /// Records taken in again from the log at the last start.
    pub recovered: AtomicU64,
    /// Time from the last start to the first poll, microseconds.
    pub recovery_micros: AtomicU64,
    /// Errors of the source that the client is mending by itself.
    pub source_errors: AtomicU64,
    /// Short hash of the model that decides.
    pub model: AtomicU64,
    /// 1 while records are taken one at a time because a run ended badly.
    pub careful: AtomicU64,
    /// Labels that wait for their time.
    pub labels_pending: AtomicU64,
    tables: Mutex<Option<[TableStats; ENTITY_KINDS]>>,
    sinks: Mutex<Vec<Arc<SinkHandle>>>,
    last_trouble: Mutex<Option<(Instant, String)>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            actions: Default::default(),
            flagged: Default::default(),
            labels: AtomicU64::new(0),
            dead_letters: Default::default(),
            alerts: AtomicU64::new(0),
            latency: Histogram::default(),
            stages: Default::default(),
            chunks: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lag: AtomicI64::new(-1),
            standby_behind: AtomicI64::new(-1),
            watermark: AtomicI64::new(0),
            snapshots: AtomicU64::new(0),
            snapshot_time: AtomicI64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            snapshots_asked: AtomicU64::new(0),
            snapshots_answered: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            recovery_micros: AtomicU64::new(0),
            source_errors: AtomicU64::new(0),
            model: AtomicU64::new(0),
            careful: AtomicU64::new(0),
            labels_pending: AtomicU64::new(0),
            tables: Mutex::new(None),
            sinks: Mutex::new(Vec::new()),
            last_trouble: Mutex::new(None),
        }
    }
}

/// Microseconds since 1970 by this machine's clock.
pub fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

impl Metrics {
    /// Records the time of a stage.
    pub fn stage(&self, stage: Stage, since: Instant) {
        self.stages[stage as usize].observe(since.elapsed().as_micros() as u64);
    }

    /// Counts an error that the client mends by itself, and logs it at most every ten seconds.
    pub fn source_trouble(&self, text: &str) {
        self.source_errors.fetch_add(1, Relaxed);
        let mut last = self.last_trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.as_ref().is_none_or(|(when, _)| when.elapsed().as_secs() >= 10) {
            tracing::warn!("the source waits: {text}");
            *last = Some((Instant::now(), text.to_owned()));
        }
    }

    /// Replaces what is known of the size of the state.
    pub fn set_tables(&self, tables: [TableStats; ENTITY_KINDS]) {
        *self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(tables);
    }

    /// Replaces the writers whose state is told.
    pub fn set_sinks(&self, sinks: Vec<Arc<SinkHandle>>) {
        *self.sinks.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = sinks;
    }

    /// How the writers stand.
    pub fn sinks(&self) -> Vec<Status> {
        let sinks = self.sinks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        sinks.iter().flat_map(|sink| sink.status()).collect()
    }

    /// All decisions.
    pub fn decisions(&self) -> u64 {
        self.actions.iter().map(|action| action.load(Relaxed)).sum()
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::with_capacity(8_192);
        let out = &mut page;
        family(out, "fraudengine_decisions_total", "counter", "Transactions decided, by action.");
        for (name, value) in ACTIONS.iter().zip(&self.actions) {
            let _ = writeln!(out, "fraudengine_decisions_total{{action=\"{name}\"}} {}", value.load(Relaxed));
        }
        for (name, help, value) in [
            ("duplicates", "Transactions answered with an earlier decision.", &self.flagged[0]),
            ("late", "Transactions behind the lateness bound: decided, in no window.", &self.flagged[1]),
            ("approximate", "Decisions that read windows of coarse resolution.", &self.flagged[2]),
            ("labels", "Labels taken in.", &self.labels),
            ("alerts", "Alerts sent.", &self.alerts),
            ("chunks", "Pieces of the input decided at once.", &self.chunks),
            ("delivered_decisions", "Decisions acknowledged by the broker.", &self.delivered),
            ("snapshots", "Snapshots published.", &self.snapshots),
            ("restarts", "Runs begun again after an error.", &self.restarts),
            ("source_errors", "Errors of the source that the client mends by itself.", &self.source_errors),
        ] {
            let name = format!("fraudengine_{name}_total");
            family(out, &name, "counter", help);
            let _ = writeln!(out, "{name} {}", value.load(Relaxed));
        }
        let name = "fraudengine_log_lines_dropped_total";
        family(out, name, "counter", "Lines of the log that nobody took in time.");
        let _ = writeln!(out, "{name} {}", log::lines_dropped());
        family(out, "fraudengine_dead_letters_total", "counter", "Records refused, by reason.");
        for (name, value) in REASONS.iter().zip(&self.dead_letters).skip(1) {
            let _ =
                writeln!(out, "fraudengine_dead_letters_total{{reason=\"{name}\"}} {}", value.load(Relaxed));
        }
        family(
            out,
            "fraudengine_decision_latency_seconds",
            "histogram",
            "From the broker's time of a transaction to its decision.",
        );
        self.latency.write(out, "fraudengine_decision_latency_seconds", "");
        family(out, "fraudengine_stage_duration_seconds", "histogram", "Time of each stage for one chunk.");
        for (name, histogram) in STAGES.iter().zip(&self.stages) {
            histogram.write(out, "fraudengine_stage_duration_seconds", &format!("stage=\"{name}\""));
        }
        self.gauges(out);
        self.sizes(out);
        self.sink_families(out);
        page
    }

    fn gauges(&self, out: &mut String) {
        let age = match self.snapshot_time.load(Relaxed) {
            0 => f64::NAN,
            time => (now_micros() - time) as f64 / 1e6,
        };
        let lag = match self.lag.load(Relaxed) {
            -1 => f64::NAN,
            lag => lag as f64,
        };
        let behind = match self.standby_behind.load(Relaxed) {
            -1 => f64::NAN,
            records => records as f64,
        };
        for (name, help, value) in [
            ("in_flight_decisions", "Decisions sent, not acknowledged.", self.in_flight.load(Relaxed) as f64),
            ("lag_records", "Transactions that wait to be decided; NaN: not known.", lag),
            (
                "standby_behind_records",
                "Decisions that a process that stands by has still to take in; NaN: it decides, or has no state.",
                behind,
            ),
            ("watermark_seconds", "Newest event time.", self.watermark.load(Relaxed) as f64 / 1e6),
            (
                "snapshot_age_seconds",
                "Since the last snapshot; grows at rest, when nothing new is to be kept; NaN: none yet.",
                age,
            ),
            ("snapshot_size_bytes", "Size of it.", self.snapshot_bytes.load(Relaxed) as f64),
            ("recovered_records", "Taken in again at the last start.", self.recovered.load(Relaxed) as f64),
            ("recovery_seconds", "Time that took.", self.recovery_micros.load(Relaxed) as f64 / 1e6),
            (
                "careful_info",
                "1 while records are taken one at a time, because a run ended badly.",
                self.careful.load(Relaxed) as f64,
            ),
            ("labels_pending_records", "Labels not due yet.", self.labels_pending.load(Relaxed) as f64),
        ] {
            let name = format!("fraudengine_{name}");
            family(out, &name, "gauge", help);
            let _ = writeln!(out, "{name} {value}");
        }
        family(out, "fraudengine_model_info", "gauge", "1 for the model that decides.");
        let _ = writeln!(out, "fraudengine_model_info{{model=\"{:016x}\"}} 1", self.model.load(Relaxed));
    }

    fn sink_families(&self, out: &mut String) {
        let sinks = self.sinks();
        let families: [Family<Status, f64>; 6] = [
            ("sink_lag_records", "gauge", "Decisions not yet written.", |sink| sink.lag_records as f64),
            ("sink_lag_seconds", "gauge", "Age of the oldest of them.", |sink| sink.lag_seconds),
            ("sink_rows_total", "counter", "Rows written.", |sink| sink.rows_written as f64),
            ("sink_retries_total", "counter", "Attempts after an error.", |sink| sink.retries as f64),
            (
                "sink_lost_records_total",
                "counter",
                "Dropped by the broker before they were written.",
                |sink| sink.lost as f64,
            ),
            ("sink_up", "gauge", "1 while it writes or waits for records.", |sink| {
                f64::from(u8::from(sink.state == SinkState::Running))
            }),
        ];
        for (name, kind, help, value) in families {
            let name = format!("fraudengine_{name}");
            family(out, &name, kind, help);
            for sink in &sinks {
                let _ = writeln!(out, "{name}{{sink=\"{}\"}} {}", sink.sink, value(sink));
            }
        }
    }

    fn sizes(&self, out: &mut String) {
        let tables = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(tables) = tables.as_ref() else { return };
        let families: [Family<TableStats, u64>; 4] = [
            ("entities", "gauge", "Live entities, by kind.", |table| table.entities as u64),
            ("state_size_bytes", "gauge", "Memory of their windows.", |table| table.bytes as u64),
            ("evicted_entities_total", "counter", "Entities that made room.", |table| table.slabs.evicted),
            ("expired_entities_total", "counter", "Entities idle for too long.", |table| table.slabs.expired),
        ];
        for (name, kind, help, value) in families {
            let name = format!("fraudengine_{name}");
            family(out, &name, kind, help);
            for (entity, table) in EntityKind::ALL.iter().zip(tables) {
                let _ = writeln!(out, "{name}{{entity=\"{}\"}} {}", entity.name(), value(table));
            }
        }
    }
}

/// Name, kind, help, and how to read the value.
type Family<T, V> = (&'static str, &'static str, &'static str, fn(&T) -> V);

fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}");
    let _ = writeln!(page, "# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_family_once_and_cumulative_buckets() {
        let metrics = Metrics::default();
        metrics.latency.observe_many(900, 3);
        metrics.latency.observe(2_000_000);
        metrics.actions[2].fetch_add(4, Relaxed);
        let page = metrics.page();
        assert!(page.contains("fraudengine_decisions_total{action=\"block\"} 4"));
        assert!(page.contains("fraudengine_decision_latency_seconds_bucket{le=\"0.001\"} 3"));
        assert!(page.contains("fraudengine_decision_latency_seconds_bucket{le=\"+Inf\"} 4"));
        assert!(page.contains("fraudengine_decision_latency_seconds_count 4"));
        let mut families: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count);
    }

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=1_000 {
            histogram.observe(micros * 10);
        }
        assert_eq!(histogram.quantile(0.5), Some(5_000));
        assert_eq!(histogram.quantile(0.99), Some(10_000));
        histogram.observe_many(5_000_000, 100_000);
        assert_eq!(histogram.quantile(0.99), None);
    }
}
