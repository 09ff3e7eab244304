//! `_native.SyntheticStream`: synthetic history as Arrow record batches, day by day.

use std::sync::{Arc, Mutex};

use arrow_array::builder::StringBuilder;
use arrow_array::{
    ArrayRef, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use fraudengine_generator::{Arrivals, CITIES, Channel, Config, Row, Typology, World, text};
use pyo3::prelude::*;
use pyo3_arrow::PyRecordBatch;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Kind, to_py_err};

/// See `_native.pyi`.
#[pyclass(name = "SyntheticStream", module = "fraudengine._native", frozen)]
pub struct PySyntheticStream {
    inner: Mutex<Inner>,
}

struct Inner {
    world: World,
    arrivals: Arrivals,
    pool: ThreadPool,
    next_day: u32,
    /// Days already made by the other threads, in reverse order.
    ready: Vec<Vec<Row>>,
}

#[pymethods]
impl PySyntheticStream {
    #[new]
    #[pyo3(signature = (*, seed, customers, merchants, days, start_micros, daily_mean, fraud_rate, label_delay_hours, label_noise, duplicate_rate, late_rate, late_seconds_max, jitter_seconds, drift, threads))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        py: Python<'_>,
        seed: u64,
        customers: u32,
        merchants: u32,
        days: u32,
        start_micros: i64,
        daily_mean: f64,
        fraud_rate: f64,
        label_delay_hours: f64,
        label_noise: f64,
        duplicate_rate: f64,
        late_rate: f64,
        late_seconds_max: f64,
        jitter_seconds: f64,
        drift: f64,
        threads: usize,
    ) -> PyResult<Self> {
        let config = Config {
            seed,
            customers,
            merchants,
            days,
            start_micros,
            daily_mean,
            fraud_rate,
            label_delay_hours,
            label_noise,
            duplicate_rate,
            late_rate,
            late_seconds_max,
            jitter_seconds,
            drift,
        };
        let config_error = |message: String| to_py_err(Kind::Config, message);
        let world = py.detach(|| World::new(config.clone())).map_err(|e| config_error(e.to_string()))?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| config_error(error.to_string()))?;
        let arrivals = Arrivals::new(config);
        let inner = Inner { world, arrivals, pool, next_day: 0, ready: Vec::new() };
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// The records that arrive on the next day; `None` after the last day.
    fn next_day(&self, py: Python<'_>) -> PyResult<Option<PyRecordBatch>> {
        let batch = py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.next_day().map(|rows| to_batch(&rows)).transpose()
        });
        let batch = batch.map_err(|error| to_py_err(Kind::Schema, error.to_string()))?;
        Ok(batch.map(PyRecordBatch::new))
    }
}

impl Inner {
    fn next_day(&mut self) -> Option<Vec<Row>> {
        if self.ready.is_empty() {
            let days = self.world.config().days;
            let ahead = self.next_day..(self.next_day + self.pool.current_num_threads() as u32).min(days);
            self.next_day = ahead.end;
            let world = &self.world;
            self.ready = self.pool.install(|| ahead.into_par_iter().map(|day| world.day(day)).collect());
            self.ready.reverse();
        }
        self.ready.pop().map(|rows| self.arrivals.next_day(rows))
    }
}

/// A column of texts written one after the other into the same buffer.
fn texts(rows: &[Row], bytes: usize, write: impl Fn(&Row, &mut Vec<u8>) -> bool) -> ArrayRef {
    let mut column = StringBuilder::with_capacity(rows.len(), bytes * rows.len());
    let mut buffer = Vec::with_capacity(32);
    for row in rows {
        buffer.clear();
        let there = write(row, &mut buffer);
        column.append_option(there.then(|| str::from_utf8(&buffer).unwrap_or_default()));
    }
    Arc::new(column.finish())
}

fn names(rows: &[Row], name: impl Fn(&Row) -> Option<&'static str>) -> ArrayRef {
    let mut column = StringBuilder::with_capacity(rows.len(), 8 * rows.len());
    for row in rows {
        column.append_option(name(row));
    }
    Arc::new(column.finish())
}

fn times(rows: &[Row], time: impl Fn(&Row) -> i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(time)).with_timezone("UTC"))
}

fn degrees(rows: &[Row], value: impl Fn(&Row) -> f32) -> ArrayRef {
    let some = |value: f32| (!value.is_nan()).then(|| f64::from(value));
    Arc::new(rows.iter().map(|row| some(value(row))).collect::<Float64Array>())
}

fn to_batch(rows: &[Row]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let optional = |number: u64, write: fn(u64, &mut Vec<u8>), out: &mut Vec<u8>| {
        write(number, out);
        number != 0
    };
    let typology =
        |row: &Row| (row.typology != Typology::Genuine).then(|| Typology::NAMES[row.typology as usize]);
    RecordBatch::try_from_iter_with_nullable([
        (
            "transaction_id",
            texts(rows, 15, |row, out| {
                text::transaction(row.number, out);
                true
            }),
            false,
        ),
        ("event_time", times(rows, |row| row.time), false),
        (
            "customer_id",
            texts(rows, 9, |row, out| {
                text::customer(row.customer, out);
                true
            }),
            false,
        ),
        ("card_id", texts(rows, 16, |row, out| optional(row.card, text::card, out)), true),
        ("device_id", texts(rows, 16, |row, out| optional(row.device, text::device, out)), true),
        (
            "merchant_id",
            texts(rows, 8, |row, out| {
                text::merchant(row.merchant, out);
                true
            }),
            true,
        ),
        ("ip_address", texts(rows, 15, |row, out| optional(row.ip, text::ip, out)), true),
        ("amount_minor", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.amount))), false),
        ("currency", names(rows, |_| Some("EUR")), true),
        ("channel", names(rows, |row| Some(Channel::NAMES[row.channel as usize])), true),
        (
            "merchant_category",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| i32::from(row.category)))),
            true,
        ),
        ("country", names(rows, |row| Some(CITIES[usize::from(row.city)].country)), true),
        ("latitude", degrees(rows, |row| row.latitude), true),
        ("longitude", degrees(rows, |row| row.longitude), true),
        ("is_fraud", Arc::new(Int8Array::from_iter_values(rows.iter().map(|row| i8::from(row.label)))), true),
        ("label_known_time", times(rows, |row| row.known), true),
        ("typology", names(rows, typology), true),
    ])
}
