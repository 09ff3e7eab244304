//! The byte-wide kernel with AVX2, for the many processors without AVX-512: two vectors hold a byte of each of the 64 rows.
//!
//! A node is, for each half of the rows, a byte compare and a blend; a step is read once for both halves. Values
//! become ranks by two compares of 16 thresholds each, in two vectors; leaf values are gathered.
#![allow(unsafe_code, reason = "one of the named files that may: vector loads and stores through pointers")]

use std::arch::x86_64::{
    __m256, __m256d, __m256i, _CMP_LE_OQ, _mm_cvtepu8_epi32, _mm_loadl_epi64, _mm_loadu_si32, _mm256_add_pd,
    _mm256_add_ps, _mm256_blendv_epi8, _mm256_cmp_ps, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi32,
    _mm256_i32gather_pd, _mm256_i32gather_ps, _mm256_load_ps, _mm256_load_si256, _mm256_max_epu8,
    _mm256_movemask_ps, _mm256_set1_epi8, _mm256_set1_pd, _mm256_set1_ps, _mm256_store_si256,
    _mm256_storeu_pd, _mm256_storeu_ps,
};

use super::blocks::{Bytes, Kernel, ROWS, Scratch, Values};
use super::ranks::{Plan, Program, Segment};

/// See the module.
pub(super) struct Avx2;

impl Kernel for Avx2 {
    const NAME: &'static str = "avx2";
    const ROWS_MIN: usize = 40;

    fn lacks() -> Option<&'static str> {
        let can = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
        (!can).then_some("the processor lacks AVX2")
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn rank(plan: &Plan, segment: &Segment, values: &Values, columns: &mut [Bytes]) {
        let mut ranks = Bytes([0; ROWS]);
        let mut missing = Bytes([0; ROWS]);
        let targets = values.0.iter().zip(ranks.0.iter_mut().zip(&mut missing.0));
        if segment.two_levels {
            let cuts = &plan.cuts[segment.cuts..=segment.cuts + 16];
            for (&x, (rank, missing)) in targets {
                let bucket = count_up_to(&cuts[0].0, x);
                // At most 15 of the 16 pivots are numbers (255 cuts), so `bucket` is at most 15.
                *rank = (16 * bucket + count_up_to(&cuts[1 + (bucket & 15)].0, x)) as u8;
                *missing = if x.is_nan() { u8::MAX } else { 0 };
            }
        } else {
            let cuts = &plan.cuts[segment.cuts].0;
            for (&x, (rank, missing)) in targets {
                *rank = count_up_to(cuts, x) as u8;
                *missing = if x.is_nan() { u8::MAX } else { 0 };
            }
        }
        let targets = &mut columns[segment.first_column..segment.first_column + segment.missing.len()];
        for (column, &if_missing) in targets.iter_mut().zip(&segment.missing) {
            for half in 0..2 {
                // SAFETY: each of the three is two aligned vectors long.
                unsafe {
                    let (ranks, missing) = (load(&raw const ranks, half), load(&raw const missing, half));
                    let values = _mm256_blendv_epi8(ranks, _mm256_set1_epi8(if_missing as i8), missing);
                    _mm256_store_si256((&raw mut *column).cast::<__m256i>().add(half), values);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn path_sums(plan: &Plan, scratch: &mut Scratch, out: &mut [f64; ROWS]) {
        let mut sums: [__m256d; 16] = [_mm256_set1_pd(0.0); 16];
        for program in &plan.forest {
            let exit = exits(plan, program, scratch);
            let values = &plan.path_lengths[program.values.clone()];
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 4 bytes at `4 * lane` lie inside the 64 of `exit`; the gather reads at indices
                // below `values.len()`.
                let leaves = unsafe {
                    let bytes = _mm_loadu_si32(exit.0.as_ptr().add(4 * lane));
                    _mm256_i32gather_pd::<8>(values.as_ptr(), _mm_cvtepu8_epi32(bytes))
                };
                *sum = _mm256_add_pd(*sum, leaves);
            }
        }
        for (out, sum) in out.chunks_exact_mut(4).zip(sums) {
            // SAFETY: the chunk has the 4 doubles that are written.
            unsafe { _mm256_storeu_pd(out.as_mut_ptr(), sum) };
        }
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn margins(plan: &Plan, scratch: &mut Scratch, base: f32, out: &mut [f32; ROWS]) {
        let mut sums: [__m256; 8] = [_mm256_set1_ps(base); 8];
        for program in &plan.booster {
            let exit = exits(plan, program, scratch);
            let values = &plan.margins[program.values.clone()];
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 bytes at `8 * lane` lie inside the 64 of `exit`; the gather reads at indices
                // below `values.len()`.
                let leaves = unsafe {
                    let bytes = _mm_loadl_epi64(exit.0.as_ptr().add(8 * lane).cast());
                    _mm256_i32gather_ps::<4>(values.as_ptr(), _mm256_cvtepu8_epi32(bytes))
                };
                *sum = _mm256_add_ps(*sum, leaves);
            }
        }
        for (out, sum) in out.chunks_exact_mut(8).zip(sums) {
            // SAFETY: the chunk has the 8 floats that are written.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

/// The number of the value of every row in one tree: below the number of the tree's values.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn exits<'a>(plan: &Plan, program: &Program, scratch: &'a mut Scratch) -> &'a Bytes {
    let steps = &plan.steps[program.steps.clone()];
    let columns = scratch.columns.as_ptr();
    let slots = scratch.slots.as_mut_ptr();
    for (index, step) in steps.iter().enumerate() {
        let cut = _mm256_set1_epi8(step.cut as i8);
        // SAFETY: `Plan::new` numbers columns below `column_count`, the length of `columns`, and slots below
        // `value_slots + step_slots`, the length of `slots`.
        let (ranks, left, right, target) = unsafe {
            (
                columns.add(step.column as usize),
                slots.add(usize::from(step.left)),
                slots.add(usize::from(step.right)),
                slots.add(plan.value_slots + index).cast::<__m256i>(),
            )
        };
        let exit = |half| {
            // SAFETY: each of them has two halves, aligned to 32 bytes.
            unsafe {
                // There is no compare of unsigned bytes: `rank <= cut` is `max(rank, cut) == cut`.
                let goes_left = _mm256_cmpeq_epi8(_mm256_max_epu8(load(ranks, half), cut), cut);
                _mm256_blendv_epi8(load(right, half), load(left, half), goes_left)
            }
        };
        // Both before the first store: after it the compiler would read the step again.
        let (first, second) = (exit(0), exit(1));
        // SAFETY: as above.
        unsafe {
            _mm256_store_si256(target, first);
            _mm256_store_si256(target.add(1), second);
        }
    }
    &scratch.slots[program.root]
}

/// Reads one of the two vectors.
///
/// # Safety
/// The pointer must be valid for reads of a `Bytes`; `half` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(bytes: *const Bytes, half: usize) -> __m256i {
    // SAFETY: valid by the caller's promise, aligned by its type.
    unsafe { _mm256_load_si256(bytes.cast::<__m256i>().add(half)) }
}

/// How many of the thresholds are at most `x`: none for NaN.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count_up_to(cuts: &[f32; 16], x: f32) -> usize {
    let x = _mm256_set1_ps(x);
    // SAFETY: reads the 16 floats of the array; `Cuts` aligns them to 64 bytes.
    let (low, high) = unsafe { (_mm256_load_ps(cuts.as_ptr()), _mm256_load_ps(cuts.as_ptr().add(8))) };
    let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(low, x));
    let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(high, x));
    (low | (high << 8)).count_ones() as usize
}
