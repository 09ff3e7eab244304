//! `_native.Keyed`: the fold one kind of entity at a time, for runners that keep the state themselves.

use std::sync::{Mutex, PoisonError};

use fraudengine_core::decision::Action;
use fraudengine_core::event::EntityKind;
use fraudengine_core::keyed::{self, CellState, Step};
use fraudengine_core::units::EventTimeMicros;
use fraudengine_core::{Batch, EngineConfig};
use fraudengine_runtime::kafka::Message;
use fraudengine_runtime::keyed::{Checked, Records, transactions};
use fraudengine_runtime::metrics::now_micros;
use fraudengine_runtime::settings::Settings;
use fraudengine_runtime::stream::ActiveModel;
use fraudengine_runtime::stream::chunk::Origin;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{Kind, snapshot_error, to_py_err};
use crate::model::Activation;

/// More cells of a kind than this are refused: they would not fit their numbers.
const CELLS_MAX: u32 = 1 << 30;

/// See `_native.pyi`.
#[pyclass(name = "Keyed", module = "fraudengine._native", frozen)]
pub struct PyKeyed {
    inner: Mutex<Inner>,
    config: EngineConfig,
    cells: u32,
}

struct Inner {
    records: Records,
    /// The model that decides.
    model: Option<ActiveModel>,
}

type Numbers<'py> = PyReadonlyArray1<'py, i64>;
type Accepted<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i32>>,
    Vec<Bound<'py, PyBytes>>,
);
type Refused<'py> = Vec<(u32, Bound<'py, PyBytes>)>;

fn slice<'a>(values: &'a Numbers<'_>, name: &str, rows: usize) -> PyResult<&'a [i64]> {
    let values = values.as_slice().map_err(|error| to_py_err(Kind::Schema, format!("{name}: {error}")))?;
    if values.len() == rows {
        return Ok(values);
    }
    Err(to_py_err(Kind::Schema, format!("{name} has {} values, must have {rows}", values.len())))
}

fn kind_of(kind: usize) -> PyResult<EntityKind> {
    let message = || format!("kind is {kind}, must be 0 to {}", EntityKind::ALL.len() - 1);
    EntityKind::ALL.get(kind).copied().ok_or_else(|| to_py_err(Kind::Config, message()))
}

fn views(all: &[PyBackedBytes]) -> Vec<&[u8]> {
    all.iter().map(|each| &**each).collect()
}

#[pymethods]
#[allow(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "arguments of Python methods, converted to owned values"
)]
impl PyKeyed {
    #[new]
    #[pyo3(signature = (settings, *, cells))]
    fn new(settings: &str, cells: u32) -> PyResult<Self> {
        let config = |error: String| to_py_err(Kind::Config, error);
        if !(1..=CELLS_MAX).contains(&cells) {
            return Err(config(format!("cells is {cells}, must be 1 to {CELLS_MAX}")));
        }
        let settings = Settings::parse(settings).map_err(|error| config(error.to_string()))?;
        let fold = settings.engine.config().map_err(|error| config(error.to_string()))?;
        let records = Records::new(settings, cells).map_err(|error| config(error.to_string()))?;
        Ok(Self { inner: Mutex::new(Inner { records, model: None }), config: fold, cells })
    }

    /// Decides with this ensemble; returns the name of the backend.
    fn activate(&self, py: Python<'_>, model: Activation) -> PyResult<&'static str> {
        let active = py.detach(|| model.named())?;
        let name = active.model.scorer.name();
        self.lock().model = Some(active);
        Ok(name)
    }

    /// Decodes and checks records of `transactions` or of `labels`.
    fn read<'py>(
        &self,
        py: Python<'py>,
        values: Vec<PyBackedBytes>,
        partitions: Numbers<'py>,
        offsets: Numbers<'py>,
        times_ms: Numbers<'py>,
        labels: bool,
    ) -> PyResult<(Accepted<'py>, Refused<'py>)> {
        let rows = values.len();
        let partitions = slice(&partitions, "partitions", rows)?;
        let (offsets, times) = (slice(&offsets, "offsets", rows)?, slice(&times_ms, "times_ms", rows)?);
        let message = |row: usize| Message {
            partition: partitions[row] as i32,
            offset: offsets[row],
            timestamp_ms: times[row],
            value: &values[row],
        };
        let messages: Vec<Message<'_>> = (0..rows).map(message).collect();
        let Checked { accepted, refused } = py.detach(|| {
            let records = &mut self.lock().records;
            if labels { records.labels(&messages) } else { records.transactions(&messages) }
        });
        let at: Vec<i64> = accepted.iter().map(|each| i64::from(each.at)).collect();
        let known: Vec<i64> = accepted.iter().map(|each| each.time_micros).collect();
        let cells: Vec<i32> = accepted.iter().flat_map(|each| each.cells).collect();
        let bodies = accepted.iter().map(|each| PyBytes::new(py, &each.body)).collect();
        let accepted = (at.into_pyarray(py), known.into_pyarray(py), cells.into_pyarray(py), bodies);
        Ok((accepted, refused.iter().map(|(at, letter)| (*at, PyBytes::new(py, letter))).collect()))
    }

    /// Lets the entities of one kind in one bucket take in their part of a batch.
    fn step<'py>(
        &self,
        py: Python<'py>,
        kind: usize,
        rows: Vec<PyBackedBytes>,
        flags: Option<Vec<u8>>,
        labels: Vec<PyBackedBytes>,
        waiting: Option<PyBackedBytes>,
        before: i64,
        after: i64,
        fetch: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let kind = kind_of(kind)?;
        let refused = |error| snapshot_error(&error);
        let own = transactions(&views(&rows)).map_err(refused)?;
        let arrived = keyed::read_labels(&views(&labels).concat()).map_err(refused)?;
        let (before, after) = (EventTimeMicros(before), EventTimeMicros(after));
        let flags = flags.unwrap_or_else(|| keyed::late_flags(&own, self.config.lateness, before));
        if flags.len() != own.len() {
            let message = format!("flags has {} values, must have {}", flags.len(), own.len());
            return Err(to_py_err(Kind::Schema, message));
        }
        let waiting = waiting.as_deref();
        let (due, left) = keyed::due_labels(waiting, &arrived, &own, before, after).map_err(refused)?;
        let batch = Batch { transactions: &own, labels: &due };
        let touched = keyed::cells_touched(kind, self.cells, batch);
        let found: Vec<Option<PyBackedBytes>> = fetch.call1((touched.clone(),))?.extract()?;
        let states = states_of(&touched, &found)?;
        let step = Step {
            kind,
            cells: self.cells,
            lateness: self.config.lateness,
            minor_digits: self.config.minor_digits,
            batch,
            flags: &flags,
            now: before.max(after),
        };
        let stepped = py.detach(|| keyed::step(&step, &states)).map_err(refused)?;
        let told = PyDict::new(py);
        told.set_item("features", stepped.features.into_pyarray(py))?;
        told.set_item("flags", stepped.flags.into_pyarray(py))?;
        told.set_item("states", with_cells(py, &touched, &stepped.states))?;
        told.set_item("waiting", PyBytes::new(py, &left))?;
        Ok(told)
    }

    /// Scores and decides whole rows of one bucket of customers.
    fn settle<'py>(
        &self,
        py: Python<'py>,
        rows: Vec<PyBackedBytes>,
        features: PyReadonlyArray2<'py, f32>,
        flags: Vec<u8>,
        partitions: Numbers<'py>,
        offsets: Numbers<'py>,
        times_micros: Numbers<'py>,
        fetch: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let bodies = views(&rows);
        let own = transactions(&bodies).map_err(|error| snapshot_error(&error))?;
        let width = fraudengine_core::feature::catalogue::WIDTH;
        if features.shape() != [own.len(), width] || flags.len() != own.len() {
            let message =
                format!("features and flags must have {} rows, features {width} columns", own.len());
            return Err(to_py_err(Kind::Schema, message));
        }
        let values =
            features.as_slice().map_err(|error| to_py_err(Kind::Schema, format!("features: {error}")))?;
        let partitions = slice(&partitions, "partitions", own.len())?;
        let offsets = slice(&offsets, "offsets", own.len())?;
        let times = slice(&times_micros, "times_micros", own.len())?;
        let origin = |row: usize| Origin {
            partition: partitions[row] as i32,
            offset: offsets[row],
            time_micros: times[row],
        };
        let origins: Vec<Origin> = (0..own.len()).map(origin).collect();
        let batch = Batch { transactions: &own, labels: &[] };
        let touched = keyed::cells_touched(EntityKind::Customer, self.cells, batch);
        let found: Vec<Option<PyBackedBytes>> = fetch.call1((touched.clone(),))?.extract()?;
        let states = states_of(&touched, &found)?;
        let decided = py.detach(|| {
            let Inner { records, model } = &*self.lock();
            let (model, hash) =
                model.as_ref().map_or((None, 0), |active| (Some(&active.model), active.short_hash));
            keyed::settle(&own, values, &flags, self.cells, &states, model).map(|settled| {
                let told = records.decisions(&bodies, &origins, &settled.output, hash, now_micros());
                (settled, told)
            })
        });
        let (settled, records) = decided.map_err(|error| snapshot_error(&error))?;
        let told = PyDict::new(py);
        let bytes = |all: &[u8]| PyBytes::new(py, all);
        told.set_item("keys", records.iter().map(|(key, _)| bytes(key)).collect::<Vec<_>>())?;
        told.set_item("records", records.iter().map(|(_, record)| bytes(record)).collect::<Vec<_>>())?;
        told.set_item("states", with_cells(py, &touched, &settled.states))?;
        let output = settled.output;
        let actions: Vec<u8> = output.action.into_iter().map(Action::code).collect();
        told.set_item("action", actions.into_pyarray(py))?;
        for (name, values) in
            [("score", output.score), ("margin", output.margin), ("anomaly", output.anomaly)]
        {
            told.set_item(name, values.into_pyarray(py))?;
        }
        Ok(told)
    }
}

fn states_of<'a>(touched: &[u32], found: &'a [Option<PyBackedBytes>]) -> PyResult<Vec<CellState<'a>>> {
    if found.len() != touched.len() {
        let message = format!("fetch returned {} states, must return {}", found.len(), touched.len());
        return Err(to_py_err(Kind::Schema, message));
    }
    Ok(touched.iter().zip(found).map(|(cell, bytes)| (*cell, bytes.as_deref())).collect())
}

fn with_cells<'py>(py: Python<'py>, touched: &[u32], states: &[Vec<u8>]) -> Vec<(u32, Bound<'py, PyBytes>)> {
    touched.iter().zip(states).map(|(cell, state)| (*cell, PyBytes::new(py, state))).collect()
}

impl PyKeyed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
