//! What a call to the engine hands back: arrays, row by row.

use fraudengine_core::engine::Output;
use fraudengine_core::feature::catalogue;
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
    /// Appends a batch's output; refused rows get missing values and their flag.
    pub fn append(&mut self, output: &Output, accepted: &[bool], features: bool) {
        self.append_reasons(output, accepted);
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
