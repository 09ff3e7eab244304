//! What a call to the engine hands back: arrays, row by row.

use fraudengine_core::decision::Action;
use fraudengine_core::engine::Output;
use fraudengine_core::feature::catalogue;
use fraudengine_core::workers::{self, Workers};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Set in the flags of a row that broke the schema; the core never sees such a row.
const REJECTED: u8 = 1 << 7;

/// `(row, field, code, message)` of a refused record.
pub type Rejection = (u64, &'static str, &'static str, String);

/// Everything a call computes with the GIL released.
#[derive(Default)]
pub struct Results {
    pub features: Vec<f32>,
    pub anomaly: Vec<f32>,
    pub margin: Vec<f32>,
    pub score: Vec<f32>,
    pub action: Vec<u8>,
    pub flags: Vec<u8>,
    pub reasons: Reasons,
    pub rejected: Vec<Rejection>,
    pub rejected_labels: Vec<Rejection>,
}

/// Reasons of flagged rows, one entry each, by row and then by size.
#[derive(Default)]
pub struct Reasons {
    pub row: Vec<u64>,
    pub feature: Vec<u16>,
    pub contribution: Vec<f32>,
}

impl Results {
    /// Makes room for the features of this many rows. Without it, none are handed back.
    pub fn expect_features(&mut self, rows: usize) {
        // Zeroed by the system page by page, when each is written: no pass over memory of its own.
        self.features = vec![0.0; rows * catalogue::WIDTH];
    }

    /// Appends a batch's output; refused rows get missing values and their flag.
    pub fn append(&mut self, output: &Output, accepted: &[bool], workers: &dyn Workers) {
        self.append_reasons(output, accepted);
        let mut decided = 0..output.flags.len();
        let rows: Vec<Option<usize>> =
            accepted.iter().map(|&accepted| if accepted { decided.next() } else { None }).collect();
        if !self.features.is_empty() {
            let first = self.flags.len() * catalogue::WIDTH;
            let cells = &mut self.features[first..first + rows.len() * catalogue::WIDTH];
            copy_features(output, &rows, cells, workers);
        }
        let values = |of: &[f32], row: &Option<usize>| row.map_or(f32::NAN, |row| of[row]);
        self.anomaly.extend(rows.iter().map(|row| values(&output.anomaly, row)));
        self.margin.extend(rows.iter().map(|row| values(&output.margin, row)));
        self.score.extend(rows.iter().map(|row| values(&output.score, row)));
        let action = |row: &Option<usize>| row.map_or(Action::Review, |row| output.action[row]).code();
        self.action.extend(rows.iter().map(action));
        self.flags.extend(rows.iter().map(|row| row.map_or(REJECTED, |row| output.flags[row])));
    }

    /// Appends the reasons of flagged rows, numbered like the rows that were handed in.
    fn append_reasons(&mut self, output: &Output, accepted: &[bool]) {
        let first_row = self.flags.len();
        let mut rows = accepted.iter().enumerate().filter(|(_, accepted)| **accepted).map(|(row, _)| row);
        let mut next = 0;
        for flagged in &output.reasons {
            let Some(row) = rows.nth(flagged.row as usize - next) else { return };
            next = flagged.row as usize + 1;
            for reason in &flagged.reasons {
                self.reasons.row.push((first_row + row) as u64);
                self.reasons.feature.push(reason.feature);
                self.reasons.contribution.push(reason.contribution);
            }
        }
    }

    pub fn into_dict(self, py: Python<'_>, features: bool) -> PyResult<Bound<'_, PyDict>> {
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
        all.set_item("reason_row", self.reasons.row.into_pyarray(py))?;
        all.set_item("reason_feature", self.reasons.feature.into_pyarray(py))?;
        all.set_item("reason_contribution", self.reasons.contribution.into_pyarray(py))?;
        all.set_item("rejected", self.rejected)?;
        all.set_item("rejected_labels", self.rejected_labels)?;
        Ok(all)
    }
}

/// Copies feature rows to where they go; each worker takes a part. A row of none is missing.
fn copy_features(output: &Output, rows: &[Option<usize>], cells: &mut [f32], workers: &dyn Workers) {
    let share = rows.len().div_ceil(workers.count()).max(1);
    let parts = rows.chunks(share).zip(cells.chunks_mut(share * catalogue::WIDTH)).collect();
    workers::each(workers, parts, |(rows, cells)| {
        for (row, cells) in rows.iter().zip(cells.chunks_exact_mut(catalogue::WIDTH)) {
            match row {
                Some(row) => {
                    cells.copy_from_slice(&output.features[row * catalogue::WIDTH..][..catalogue::WIDTH]);
                }
                None => cells.fill(f32::NAN),
            }
        }
    });
}
