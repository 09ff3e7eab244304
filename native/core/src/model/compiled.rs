//! Libraries made by `tl2cgen` as a backend: the portable path of the original design, and a cross-check.
//!
//! A library is machine code from the bundle: opening it runs it, so it must be as trusted as this program.
//! What can be checked (number of features, output type) is checked when it is opened. Margins are added
//! in the library's own order and agree with the reference to rounding.
#![allow(unsafe_code, reason = "one of the named files that may: calls into a shared library")]

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::sync::Arc;

use libloading::Library;

use super::format::Parts;
use super::{ModelError, Scorer, check_shape};
use crate::limits::MODEL_FEATURES_MAX;

/// `union Entry` of a library with f32 thresholds.
#[derive(Clone, Copy)]
#[repr(C)]
union Entry32 {
    missing: c_int,
    value: f32,
}

/// `union Entry` of a library with f64 thresholds.
#[derive(Clone, Copy)]
#[repr(C)]
union Entry64 {
    missing: c_int,
    value: f64,
}

type Predict32 = unsafe extern "C" fn(*mut Entry32, c_int, *mut f32);
type Predict64 = unsafe extern "C" fn(*mut Entry64, c_int, *mut f64);

/// Both libraries of an ensemble.
pub struct Compiled {
    parts: Arc<Parts>,
    booster: Option<Predict32>,
    forest: Option<Predict64>,
    /// Keeps the code that the pointers above lead to.
    libraries: Vec<Library>,
}

impl Compiled {
    /// Opens the libraries of the models that the ensemble has.
    pub(super) fn open(
        parts: Arc<Parts>,
        booster: Option<&Path>,
        forest: Option<&Path>,
    ) -> Result<Self, ModelError> {
        let mut compiled = Self { booster: None, forest: None, libraries: Vec::new(), parts };
        if let Some(model) = &compiled.parts.booster {
            let path = booster.ok_or_else(|| missing("booster"))?;
            let features = compiled.parts.feature_count + usize::from(model.uses_anomaly);
            let library = open(path, features, "float32")?;
            // SAFETY: the type names were checked; this is the signature tl2cgen gives them.
            compiled.booster = Some(unsafe { symbol::<Predict32>(&library, path, "predict")? });
            compiled.libraries.push(library);
        }
        if compiled.parts.forest.is_some() {
            let path = forest.ok_or_else(|| missing("forest"))?;
            let library = open(path, compiled.parts.feature_count, "float64")?;
            // SAFETY: as above.
            compiled.forest = Some(unsafe { symbol::<Predict64>(&library, path, "predict")? });
            compiled.libraries.push(library);
        }
        Ok(compiled)
    }

    fn anomaly(&self, row: &[f32]) -> f32 {
        let (Some(predict), Some(forest)) = (self.forest, &self.parts.forest) else { return f32::NAN };
        let mut entries = [Entry64 { value: 0.0 }; MODEL_FEATURES_MAX];
        for (entry, (&x, &fill)) in entries.iter_mut().zip(row.iter().zip(&forest.fill)) {
            // The low half of a widened f32 is never all ones, the library's sign of a missing value.
            entry.value = f64::from(if x.is_nan() { fill } else { x });
        }
        let mut out = 0.0;
        // The mean path length, not the library's own score: treelite keeps the expected path length of the
        // sample size as f32, which moves one score in ten by one step.
        // SAFETY: the library reads `feature_count` entries and writes one number, as checked at open.
        unsafe { predict(entries.as_mut_ptr(), 1, &raw mut out) };
        forest.anomaly(out * forest.trees.len() as f64)
    }

    fn margin(&self, row: &[f32], anomaly: f32) -> f32 {
        let Some(predict) = self.booster else { return f32::NAN };
        let mut entries = [Entry32 { missing: -1 }; MODEL_FEATURES_MAX + 1];
        for (entry, &x) in entries.iter_mut().zip(row.iter().chain([&anomaly])) {
            if !x.is_nan() {
                entry.value = x;
            }
        }
        let mut out = 0.0;
        // SAFETY: as in `anomaly`; one more entry is there when the booster reads the anomaly.
        unsafe { predict(entries.as_mut_ptr(), 1, &raw mut out) };
        out
    }
}

impl Scorer for Compiled {
    fn name(&self) -> &'static str {
        "compiled"
    }

    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]) {
        let width = self.parts.feature_count;
        check_shape(rows, width, anomaly, margin);
        let outputs = anomaly.iter_mut().zip(margin);
        for (row, (anomaly, margin)) in rows.chunks_exact(width).zip(outputs) {
            *anomaly = self.anomaly(row);
            *margin = self.margin(row, *anomaly);
        }
    }
}

fn missing(model: &str) -> ModelError {
    ModelError::Library { path: String::new(), message: format!("no library given for the {model}") }
}

fn open(path: &Path, features: usize, number: &'static str) -> Result<Library, ModelError> {
    // SAFETY: runs the library's initialisers; it comes from a bundle as trusted as this program.
    let library = unsafe { Library::new(path) };
    let library = library.map_err(|error| failed(path, &error))?;
    // SAFETY: tl2cgen's accessors: no arguments, one result of these types, no side effect.
    let (found, outputs, types) = unsafe {
        let found = symbol::<unsafe extern "C" fn() -> i32>(&library, path, "get_num_feature")?();
        let target = symbol::<unsafe extern "C" fn() -> i32>(&library, path, "get_num_target")?();
        let mut classes = vec![0_i32; target.clamp(1, 16) as usize];
        symbol::<unsafe extern "C" fn(*mut i32)>(&library, path, "get_num_class")?(classes.as_mut_ptr());
        let mut types = Vec::new();
        for name in ["get_threshold_type", "get_leaf_output_type"] {
            let text = symbol::<unsafe extern "C" fn() -> *const c_char>(&library, path, name)?();
            types.push(if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            });
        }
        (found, (target, classes[0]), types)
    };
    // Lossless: feature counts are limited far below.
    check(path, "features", &found.to_string(), &features.to_string())?;
    check(path, "targets and classes", &format!("{outputs:?}"), "(1, 1)")?;
    for found in types {
        check(path, "number type", &found, number)?;
    }
    Ok(library)
}

fn check(path: &Path, property: &'static str, found: &str, expected: &str) -> Result<(), ModelError> {
    if found == expected {
        return Ok(());
    }
    let (path, found, expected) = (path.display().to_string(), found.to_owned(), expected.to_owned());
    Err(ModelError::LibraryMismatch { path, property, found, expected })
}

/// A function of a library.
///
/// # Safety
/// The symbol must have type `T`, and the result must not be used after the library is closed.
unsafe fn symbol<T: Copy>(library: &Library, path: &Path, name: &str) -> Result<T, ModelError> {
    // SAFETY: the caller vouches for the type.
    let symbol = unsafe { library.get::<T>(name.as_bytes()) };
    symbol.map(|symbol| *symbol).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &libloading::Error) -> ModelError {
    ModelError::Library { path: path.display().to_string(), message: error.to_string() }
}
