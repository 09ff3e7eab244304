//! Both models over blocks of 64 rows, on bytes: what the kernels for one processor or another have in common.
//!
//! Runs the plan of [`ranks`](super::ranks). A [`Kernel`] turns the values of a feature into ranks and takes 64 rows
//! through the trees, a node at a time for all of them, without a branch. Leaf values are added in tree order, so that the
//! sums have the bits of the reference. A few rows that do not fill a block go through the portable kernel.
#![allow(
    unsafe_code,
    reason = "one of the named files that may: calls of kernels that need a processor's features"
)]

use std::sync::Arc;

use super::format::Parts;
use super::portable::Portable;
use super::ranks::{Plan, Segment};
use super::{ModelError, Scorer, check_shape};

/// Rows of a block.
pub(super) const ROWS: usize = 64;

/// One byte per row of a block.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bytes(pub(super) [u8; ROWS]);

/// One feature of the rows of a block; anything where there is no row.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Values(pub(super) [f32; ROWS]);

/// Features that are turned from rows to columns at a time: a cache line of a row, so that each is read once.
const TURNED: usize = 16;

/// Memory of one call.
pub(super) struct Scratch {
    /// Ranks, one entry per column.
    pub(super) columns: Vec<Bytes>,
    /// Numbers of values, then what the steps of the tree at hand choose between them (see [`Plan::value_slots`]).
    pub(super) slots: Vec<Bytes>,
    /// The features at hand.
    values: [Values; TURNED],
}

impl Scratch {
    fn new(plan: &Plan) -> Self {
        let mut slots = vec![Bytes([0; ROWS]); plan.value_slots + plan.step_slots];
        for (number, slot) in slots[..plan.value_slots].iter_mut().enumerate() {
            slot.0.fill(number as u8);
        }
        let columns = vec![Bytes([0; ROWS]); plan.column_count];
        Self { columns, slots, values: [Values([0.0; ROWS]); TURNED] }
    }

    /// Reads up to [`TURNED`] features, from `first`, of rows of `width` values.
    fn turn(&mut self, rows: &[f32], width: usize, first: usize) {
        for (number, row) in rows.chunks_exact(width).enumerate() {
            for (values, &value) in self.values.iter_mut().zip(&row[first..]) {
                values.0[number] = value;
            }
        }
    }
}

/// Vector code for some processors.
pub(super) trait Kernel: Send + Sync + Sized {
    /// Name of the backend.
    const NAME: &'static str;
    /// A vector costs the same however many rows it has, about as much as this many one by one
    /// (`cargo bench -p fraudengine-core --bench model`: the backend against `portable`).
    const ROWS_MIN: usize;

    /// What this processor lacks, if anything.
    fn lacks() -> Option<&'static str>;

    /// The kernel for a plan.
    fn new(plan: Plan) -> Self;

    /// The plan that it runs.
    fn plan(&self) -> &Plan;

    /// Ranks the values of the segment's feature and writes the segment's columns, for `rows` rows or more.
    ///
    /// # Safety
    /// The processor lacks nothing.
    unsafe fn rank(&self, segment: &Segment, values: &Values, columns: &mut [Bytes], rows: usize);

    /// Sums of the forest's path lengths, for `rows` rows or more.
    ///
    /// # Safety
    /// The processor lacks nothing; the scratch is of this plan.
    unsafe fn path_sums(&self, scratch: &mut Scratch, rows: usize, out: &mut [f64; ROWS]);

    /// Sums of the booster's leaves, on top of `base`, for `rows` rows or more.
    ///
    /// # Safety
    /// The processor lacks nothing; the scratch is of this plan.
    unsafe fn margins(&self, scratch: &mut Scratch, base: f32, rows: usize, out: &mut [f32; ROWS]);
}

/// See the module.
pub(super) struct Blocks<K> {
    parts: Arc<Parts>,
    few: Portable,
    kernel: K,
}

impl<K: Kernel> Blocks<K> {
    /// The backend, if the processor and the trees allow it.
    pub(super) fn new(parts: &Arc<Parts>) -> Result<Self, ModelError> {
        let unavailable = |reason| ModelError::BackendUnavailable { name: K::NAME, reason };
        if let Some(reason) = K::lacks() {
            return Err(unavailable(reason));
        }
        let plan = Plan::new(parts).ok_or_else(|| unavailable("a tree has too many leaves"))?;
        let few = Portable::new(Arc::clone(parts));
        Ok(Self { parts: Arc::clone(parts), few, kernel: K::new(plan) })
    }

    /// Scores at most [`ROWS`] rows.
    fn block(&self, rows: &[f32], scratch: &mut Scratch, anomaly: &mut [f32], margin: &mut [f32]) {
        let (width, plan, count) = (self.parts.feature_count, self.kernel.plan(), anomaly.len());
        let mut turned = None;
        for segment in &plan.segments {
            let first = segment.feature - segment.feature % TURNED;
            if turned != Some(first) {
                scratch.turn(rows, width, first);
                turned = Some(first);
            }
            let values = &scratch.values[segment.feature - first];
            // SAFETY: `new` made this value only where the processor lacks nothing; so for the calls below.
            unsafe { self.kernel.rank(segment, values, &mut scratch.columns, count) };
        }
        anomaly.fill(f32::NAN);
        margin.fill(f32::NAN);
        if let Some(forest) = &self.parts.forest {
            let mut sums = [0.0; ROWS];
            // SAFETY: as above; `score` made the scratch of this plan.
            unsafe { self.kernel.path_sums(scratch, count, &mut sums) };
            for (anomaly, sum) in anomaly.iter_mut().zip(sums) {
                *anomaly = forest.anomaly(sum);
            }
        }
        if let Some(booster) = &self.parts.booster {
            let values = &mut scratch.values[0];
            values.0[..count].copy_from_slice(anomaly);
            for segment in &plan.anomaly_segments {
                // SAFETY: as above.
                unsafe { self.kernel.rank(segment, values, &mut scratch.columns, count) };
            }
            let mut sums = [0.0; ROWS];
            // SAFETY: as above.
            unsafe { self.kernel.margins(scratch, booster.base_margin, count, &mut sums) };
            for (margin, sum) in margin.iter_mut().zip(sums) {
                *margin = sum;
            }
        }
    }
}

impl<K: Kernel> Scorer for Blocks<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]) {
        let width = self.parts.feature_count;
        check_shape(rows, width, anomaly, margin);
        let (mut rows, mut anomaly, mut margin) = (rows, anomaly, margin);
        if anomaly.len() >= K::ROWS_MIN {
            let mut scratch = Scratch::new(self.kernel.plan());
            while anomaly.len() >= K::ROWS_MIN {
                let count = anomaly.len().min(ROWS);
                let (block, later) = rows.split_at(count * width);
                let (block_anomaly, later_anomaly) = anomaly.split_at_mut(count);
                let (block_margin, later_margin) = margin.split_at_mut(count);
                self.block(block, &mut scratch, block_anomaly, block_margin);
                (rows, anomaly, margin) = (later, later_anomaly, later_margin);
            }
        }
        for (row, (anomaly, margin)) in rows.chunks_exact(width).zip(anomaly.iter_mut().zip(margin)) {
            (*anomaly, *margin) = self.few.score_row(row);
        }
    }
}
