//! `_native.Engine`: the fold for Python. Frames in, arrays out, the GIL released in between.

use std::collections::{BTreeMap, VecDeque};

use arrow_array::RecordBatch;
use fraudengine_core::engine::{Batch, Counters, Engine, EngineConfig, Output};
use fraudengine_core::event::{
    CurrencyCode, CurrencyTable, EntityKind, Label, Transaction, check, check_label, minor_digits,
};
use fraudengine_core::feature::catalogue;
use fraudengine_core::limits::{BATCH_MAX, ENTITIES_DEFAULT, LATENESS_DEFAULT, LATENESS_MAX};
use fraudengine_core::units::DurationMicros;
use fraudengine_core::workers::{Inline, Workers};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3_arrow::PyTable;

use crate::columns::{LabelColumns, TransactionColumns};
use crate::error::{Kind, snapshot_error, to_py_err};
use crate::workers::Pool;

/// Set in the flags of a row that broke the schema; the core never sees such a row.
const REJECTED: u8 = 1 << 7;
const THREADS_MAX: usize = 64;

/// `(row, field, code, message)` of a refused record.
type Rejection = (u64, &'static str, &'static str, String);

/// Everything a call computes with the GIL released.
#[derive(Default)]
struct Results {
    features: Vec<f32>,
    anomaly: Vec<f32>,
    margin: Vec<f32>,
    score: Vec<f32>,
    action: Vec<u8>,
    flags: Vec<u8>,
    rejected: Vec<Rejection>,
    rejected_labels: Vec<Rejection>,
}

/// See `_native.pyi`.
#[pyclass(name = "Engine", module = "fraudengine._native", frozen)]
pub struct PyEngine {
    inner: std::sync::Mutex<Inner>,
}

struct Inner {
    engine: Engine,
    currencies: CurrencyTable,
    /// Labels that are not due yet, by the time they are known.
    pending: VecDeque<Label>,
    pool: Option<Pool>,
    output: Output,
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (*, lateness_micros=LATENESS_DEFAULT.0, entities_max=ENTITIES_DEFAULT, reference_currency="EUR", rates=None, threads=1))]
    fn new(
        lateness_micros: i64,
        entities_max: usize,
        reference_currency: &str,
        rates: Option<BTreeMap<String, u64>>,
        threads: usize,
    ) -> PyResult<Self> {
        if !(0..=LATENESS_MAX.0).contains(&lateness_micros) {
            let max = LATENESS_MAX.0;
            let message = format!("lateness_micros is {lateness_micros}, must be 0 to {max}");
            return Err(to_py_err(Kind::Config, message));
        }
        if entities_max == 0 {
            return Err(to_py_err(Kind::Config, "entities_max is 0, must be at least 1"));
        }
        let currencies = currency_table(reference_currency, &rates.unwrap_or_default())?;
        let config = EngineConfig {
            lateness: DurationMicros(lateness_micros),
            entities_max,
            minor_digits: minor_digits(currencies.reference()),
        };
        Self::with(Engine::new(config), currencies, threads)
    }

    /// Restores an engine from a snapshot.
    #[staticmethod]
    #[pyo3(signature = (snapshot, *, reference_currency="EUR", rates=None, threads=1))]
    fn restore(
        py: Python<'_>,
        snapshot: &[u8],
        reference_currency: &str,
        rates: Option<BTreeMap<String, u64>>,
        threads: usize,
    ) -> PyResult<Self> {
        let currencies = currency_table(reference_currency, &rates.unwrap_or_default())?;
        let engine = py.detach(|| Engine::restore(snapshot)).map_err(|error| snapshot_error(&error))?;
        Self::with(engine, currencies, threads)
    }

    /// The state as bytes.
    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.lock().engine.snapshot());
        PyBytes::new(py, &bytes)
    }

    /// Decides the rows of a frame in their order; labels become known when they are due.
    #[pyo3(signature = (transactions, labels=None, *, features=false))]
    fn process<'py>(
        &self,
        py: Python<'py>,
        transactions: PyTable,
        labels: Option<PyTable>,
        features: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (batches, _) = transactions.into_inner();
        let label_batches = labels.map_or_else(Vec::new, |table| table.into_inner().0);
        let results = py.detach(|| -> PyResult<Results> {
            let mut results = Results::default();
            let mut inner = self.lock();
            inner.queue_labels(&label_batches, &mut results)?;
            inner.decide(&batches, features, &mut results)?;
            Ok(results)
        })?;
        results.into_dict(py, features)
    }

    /// Counters and sizes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counters, tables, pending) = py.detach(|| {
            let inner = self.lock();
            (inner.engine.counters(), inner.engine.tables(), inner.pending.len())
        });
        let Counters { transactions, labels, duplicates, late, approximate } = counters;
        let all = PyDict::new(py);
        for (name, value) in [
            ("transactions", transactions),
            ("labels", labels),
            ("duplicates", duplicates),
            ("late", late),
            ("approximate", approximate),
            ("pending_labels", pending as u64),
        ] {
            all.set_item(name, value)?;
        }
        let by_entity = PyDict::new(py);
        for (kind, table) in EntityKind::ALL.iter().zip(tables) {
            let one = PyDict::new(py);
            one.set_item("entities", table.entities)?;
            one.set_item("bytes", table.bytes)?;
            one.set_item("evicted", table.slabs.evicted)?;
            one.set_item("expired", table.slabs.expired)?;
            by_entity.set_item(kind.name(), one)?;
        }
        all.set_item("tables", by_entity)?;
        Ok(all)
    }
}

impl PyEngine {
    fn with(engine: Engine, currencies: CurrencyTable, threads: usize) -> PyResult<Self> {
        if !(1..=THREADS_MAX).contains(&threads) {
            let message = format!("threads is {threads}, must be 1 to {THREADS_MAX}");
            return Err(to_py_err(Kind::Config, message));
        }
        let pool = if threads == 1 {
            None
        } else {
            Some(Pool::new(threads).map_err(|error| to_py_err(Kind::Config, error.to_string()))?)
        };
        let inner = Inner { engine, currencies, pending: VecDeque::new(), pool, output: Output::default() };
        Ok(Self { inner: std::sync::Mutex::new(inner) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// Decodes labels and merges them, by the time they are known, with those that wait.
    fn queue_labels(&mut self, batches: &[RecordBatch], results: &mut Results) -> PyResult<()> {
        let mut first_row = 0;
        for batch in batches {
            let columns = LabelColumns::new(batch)?;
            for row in 0..batch.num_rows() {
                let Some(raw) = columns.row(row) else { continue };
                match check_label(&raw, &self.currencies) {
                    Ok(label) => self.pending.push_back(label),
                    Err(why) => results.rejected_labels.push((
                        (first_row + row) as u64,
                        why.field().name(),
                        why.code(),
                        why.to_string(),
                    )),
                }
            }
            first_row += batch.num_rows();
        }
        // Stable: labels known at the same time keep the order in which they came.
        self.pending.make_contiguous().sort_by_key(|label| label.known_time);
        Ok(())
    }

    fn decide(&mut self, batches: &[RecordBatch], features: bool, results: &mut Results) -> PyResult<()> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        if features {
            results.features.reserve_exact(rows * catalogue::WIDTH);
        }
        let mut first_row = 0;
        for batch in batches {
            let columns = TransactionColumns::new(batch)?;
            for from in (0..batch.num_rows()).step_by(BATCH_MAX) {
                let to = (from + BATCH_MAX).min(batch.num_rows());
                self.decide_chunk(&columns, from..to, first_row, features, results);
            }
            first_row += batch.num_rows();
        }
        Ok(())
    }

    fn decide_chunk(
        &mut self,
        columns: &TransactionColumns,
        range: std::ops::Range<usize>,
        first_row: usize,
        features: bool,
        results: &mut Results,
    ) {
        let mut transactions: Vec<Transaction> = Vec::with_capacity(range.len());
        let mut accepted = Vec::with_capacity(range.len());
        for row in range {
            match check(&columns.row(row), &self.currencies) {
                Ok(transaction) => {
                    transactions.push(transaction);
                    accepted.push(true);
                }
                Err(why) => {
                    let number = (first_row + row) as u64;
                    results.rejected.push((number, why.field().name(), why.code(), why.to_string()));
                    accepted.push(false);
                }
            }
        }
        let labels = self.due_labels(&transactions);
        let workers: &dyn Workers = match &self.pool {
            Some(pool) => pool,
            None => &Inline,
        };
        let batch = Batch { transactions: &transactions, labels: &labels };
        self.engine.process_batch(batch, None, workers, &mut self.output);
        results.append(&self.output, &accepted, features);
    }

    /// Takes the waiting labels that arrive no later than each transaction, with the row they precede.
    fn due_labels(&mut self, transactions: &[Transaction]) -> Vec<(u32, Label)> {
        let mut due = Vec::new();
        let mut now = self.engine.watermark().map_or(i64::MIN, |time| time.0);
        for (row, transaction) in transactions.iter().enumerate() {
            now = now.max(transaction.time.0);
            while self.pending.front().is_some_and(|label| label.known_time.0 <= now) {
                due.extend(self.pending.pop_front().map(|label| (row as u32, label)));
            }
        }
        due
    }
}

impl Results {
    /// Appends a batch's output; refused rows get missing values and their flag.
    fn append(&mut self, output: &Output, accepted: &[bool], features: bool) {
        let mut row = 0;
        for &accepted in accepted {
            if !accepted {
                if features {
                    self.features.extend([f32::NAN; catalogue::WIDTH]);
                }
                self.anomaly.push(f32::NAN);
                self.margin.push(f32::NAN);
                self.score.push(f32::NAN);
                self.action.push(fraudengine_core::decision::Action::Review.code());
                self.flags.push(REJECTED);
                continue;
            }
            if features {
                let at = row * catalogue::WIDTH;
                self.features.extend_from_slice(&output.features[at..at + catalogue::WIDTH]);
            }
            self.anomaly.push(output.anomaly[row]);
            self.margin.push(output.margin[row]);
            self.score.push(output.score[row]);
            self.action.push(output.action[row].code());
            self.flags.push(output.flags[row]);
            row += 1;
        }
    }

    fn into_dict(self, py: Python<'_>, features: bool) -> PyResult<Bound<'_, PyDict>> {
        let all = PyDict::new(py);
        let rows = self.flags.len();
        if features {
            let matrix: Bound<'_, PyArray2<f32>> =
                self.features.into_pyarray(py).reshape([rows, catalogue::WIDTH])?;
            all.set_item("features", matrix)?;
        }
        for (name, values) in [("anomaly", self.anomaly), ("margin", self.margin), ("score", self.score)] {
            let values: Bound<'_, PyArray1<f32>> = values.into_pyarray(py);
            all.set_item(name, values)?;
        }
        for (name, values) in [("action", self.action), ("flags", self.flags)] {
            let values: Bound<'_, PyArray1<u8>> = values.into_pyarray(py);
            all.set_item(name, values)?;
        }
        all.set_item("rejected", self.rejected)?;
        all.set_item("rejected_labels", self.rejected_labels)?;
        Ok(all)
    }
}

fn currency_table(reference: &str, rates: &BTreeMap<String, u64>) -> PyResult<CurrencyTable> {
    let parse = |text: &str| {
        let message = || format!("currency {text:?} is not an ISO 4217 code");
        CurrencyCode::parse(text).ok_or_else(|| to_py_err(Kind::Config, message()))
    };
    let rates = rates.iter().map(|(code, rate)| Ok((parse(code)?, *rate))).collect::<PyResult<_>>()?;
    Ok(CurrencyTable::new(parse(reference)?, rates))
}
