//! `_native.Engine`: the fold for Python. Frames in, arrays out, the GIL released in between.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow_array::RecordBatch;
use fraudengine_core::engine::{Batch, Counters, Engine, EngineConfig, Model, Output};
use fraudengine_core::event::{
    CurrencyCode, CurrencyTable, EntityKind, Transaction, Violation, check, check_label, minor_digits,
};
use fraudengine_core::limits::{
    BATCH_MAX, ENTITIES_DEFAULT, LATENESS_DEFAULT, LATENESS_MAX, MEMORY_DEFAULT, MEMORY_MIN,
};
use fraudengine_core::units::{DurationMicros, EntityKey};
use fraudengine_core::workers::{self, Workers};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3_arrow::PyTable;

use crate::columns::{LabelColumns, TransactionColumns};
use crate::error::{Kind, snapshot_error, to_py_err};
use crate::model::Activation;
use crate::results::{Rejection, Results};
use fraudengine_runtime::metrics::now_micros;
use fraudengine_runtime::scoring::{Answer, Answers, Decider};
use fraudengine_runtime::workers::of as workers_of;

const THREADS_MAX: usize = 64;

// Written out in the signature, where the stub's test can read them.
const _: () = assert!(
    LATENESS_DEFAULT.0 == 3_600_000_000 && ENTITIES_DEFAULT == 8_388_608 && MEMORY_DEFAULT == 8_589_934_592
);

/// See `_native.pyi`.
#[pyclass(name = "Engine", module = "fraudengine._native", frozen)]
pub struct PyEngine {
    inner: std::sync::Mutex<Inner>,
}

struct Inner {
    engine: Engine,
    currencies: CurrencyTable,
    workers: Box<dyn Workers + Send>,
    model: Option<Model>,
    output: Output,
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (*, lateness_micros=3_600_000_000, entities_max=8_388_608, memory_max_bytes=8_589_934_592, reference_currency="EUR", rates=None, threads=1))]
    fn new(
        lateness_micros: i64,
        entities_max: usize,
        memory_max_bytes: usize,
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
        check_memory(memory_max_bytes)?;
        let currencies = currency_table(reference_currency, &rates.unwrap_or_default())?;
        let config = EngineConfig {
            lateness: DurationMicros(lateness_micros),
            entities_max,
            memory_max: memory_max_bytes,
            minor_digits: minor_digits(currencies.reference()),
        };
        Self::with(Engine::new(config), currencies, threads)
    }

    /// Restores an engine from a snapshot.
    #[staticmethod]
    #[pyo3(signature = (snapshot, *, memory_max_bytes=None, reference_currency="EUR", rates=None, threads=1))]
    fn restore(
        py: Python<'_>,
        snapshot: &[u8],
        memory_max_bytes: Option<usize>,
        reference_currency: &str,
        rates: Option<BTreeMap<String, u64>>,
        threads: usize,
    ) -> PyResult<Self> {
        memory_max_bytes.map_or(Ok(()), check_memory)?;
        let currencies = currency_table(reference_currency, &rates.unwrap_or_default())?;
        let engine = py
            .detach(|| Engine::restore_within(snapshot, memory_max_bytes))
            .map_err(|error| snapshot_error(&error))?;
        Self::with(engine, currencies, threads)
    }

    /// The state as bytes.
    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.lock().engine.snapshot());
        PyBytes::new(py, &bytes)
    }

    /// Decides with this ensemble from the next row on; returns the name of the backend.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn activate(&self, py: Python<'_>, model: Activation) -> PyResult<&'static str> {
        py.detach(|| {
            let model = model.build()?;
            let name = model.scorer.name();
            self.exchange(model);
            Ok(name)
        })
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

    /// What a customer's windows hold now, by feature name; none: the customer is not known.
    fn customer_windows(&self, py: Python<'_>, customer_id: &str) -> Option<HashMap<&'static str, f32>> {
        let key = EntityKey::of(customer_id.as_bytes());
        py.detach(|| self.lock().engine.customer_windows(key)).map(HashMap::from)
    }

    /// Counters and sizes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counters, tables, pending) = py.detach(|| {
            let inner = self.lock();
            (inner.engine.counters(), inner.engine.tables(), inner.engine.labels_pending())
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
        let workers = workers_of(threads).map_err(|error| to_py_err(Kind::Config, error.to_string()))?;
        let inner = Inner { engine, currencies, workers, model: None, output: Output::default() };
        Ok(Self { inner: std::sync::Mutex::new(inner) })
    }

    /// Decides with another model from the next row on.
    pub fn exchange(&self, model: Model) {
        self.lock().model = Some(model);
    }

    /// Decides requests of the scoring service; none: that would have to wait, and must not.
    pub fn score(
        &self,
        answers: &mut Answers,
        messages: &[&[u8]],
        model_hash: u64,
        may_wait: bool,
    ) -> Option<Vec<Answer>> {
        let mut held = if may_wait { self.lock() } else { self.inner.try_lock().ok()? };
        let Inner { engine, currencies, workers, model, output } = &mut *held;
        let mut decider =
            Decider { engine, model: model.as_ref(), model_hash, workers: &**workers, output, currencies };
        Some(answers.decide(&mut decider, messages, now_micros()))
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
                    Ok(label) => self.engine.expect(label),
                    Err(why) => results.rejected_labels.push(rejection((first_row + row) as u64, &why)),
                }
            }
            first_row += batch.num_rows();
        }
        Ok(())
    }

    fn decide(&mut self, batches: &[RecordBatch], features: bool, results: &mut Results) -> PyResult<()> {
        if features {
            results.expect_features(batches.iter().map(RecordBatch::num_rows).sum());
        }
        let mut first_row = 0;
        for batch in batches {
            let columns = TransactionColumns::new(batch)?;
            for from in (0..batch.num_rows()).step_by(BATCH_MAX) {
                let to = (from + BATCH_MAX).min(batch.num_rows());
                self.decide_chunk(&columns, from..to, first_row, results);
            }
            first_row += batch.num_rows();
        }
        Ok(())
    }

    fn decide_chunk(
        &mut self,
        columns: &TransactionColumns,
        range: Range<usize>,
        first_row: usize,
        results: &mut Results,
    ) {
        let Self { engine, currencies, workers, model, output } = self;
        let share = range.len().div_ceil(workers.count());
        let starts = range.clone().step_by(share);
        let parts = starts.map(|from| Decoded::of(from..(from + share).min(range.end))).collect();
        let parts = workers::each(&**workers, parts, |part| part.fill(columns, currencies));
        let mut transactions = Vec::with_capacity(range.len());
        let mut accepted = Vec::with_capacity(range.len());
        for part in parts {
            let numbered =
                part.refused.into_iter().map(|(row, why)| rejection((first_row + row) as u64, &why));
            results.rejected.extend(numbered);
            transactions.extend(part.transactions);
            accepted.extend(part.accepted);
        }
        let labels = engine.due_labels(&transactions);
        let batch = Batch { transactions: &transactions, labels: &labels };
        engine.process_batch(batch, model.as_ref(), &**workers, output);
        results.append(output, &accepted, &**workers);
    }
}

/// A part of a chunk on its way from columns to transactions.
struct Decoded {
    rows: Range<usize>,
    transactions: Vec<Transaction>,
    /// Of each row.
    accepted: Vec<bool>,
    refused: Vec<(usize, Violation)>,
}

impl Decoded {
    fn of(rows: Range<usize>) -> Self {
        let transactions = Vec::with_capacity(rows.len());
        let accepted = Vec::with_capacity(rows.len());
        Self { rows, transactions, accepted, refused: Vec::new() }
    }

    fn fill(&mut self, columns: &TransactionColumns, currencies: &CurrencyTable) {
        for row in self.rows.clone() {
            let checked = check(&columns.row(row), currencies);
            self.accepted.push(checked.is_ok());
            match checked {
                Ok(transaction) => self.transactions.push(transaction),
                Err(why) => self.refused.push((row, why)),
            }
        }
    }
}

fn rejection(row: u64, why: &Violation) -> Rejection {
    (row, why.field().name(), why.code(), why.to_string())
}

fn check_memory(bytes: usize) -> PyResult<()> {
    if bytes == 0 || bytes >= MEMORY_MIN {
        return Ok(());
    }
    let message = format!("memory_max_bytes is {bytes}, must be 0 (no bound) or at least {MEMORY_MIN}");
    Err(to_py_err(Kind::Config, message))
}

fn currency_table(reference: &str, rates: &BTreeMap<String, u64>) -> PyResult<CurrencyTable> {
    let parse = |text: &str| {
        let message = || format!("currency {text:?} is not an ISO 4217 code");
        CurrencyCode::parse(text).ok_or_else(|| to_py_err(Kind::Config, message()))
    };
    let rates = rates.iter().map(|(code, rate)| Ok((parse(code)?, *rate))).collect::<PyResult<_>>()?;
    Ok(CurrencyTable::new(parse(reference)?, rates))
}
