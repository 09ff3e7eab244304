//! The byte-wide kernel with AVX-512 F and BW: a vector holds a byte of each of the 64 rows.
//!
//! Values become ranks by two compares of 16 thresholds each; a node is one byte compare and one blend for all rows;
//! leaf values come from register permutes or gathers.
#![allow(unsafe_code, reason = "one of the named files that may: vector loads and stores through pointers")]

use std::arch::x86_64::{
    __m128i, __m512, __m512d, __m512i, _CMP_LE_OQ, _CMP_UNORD_Q, _mm_load_si128, _mm_loadl_epi64,
    _mm256_cvtepu8_epi32, _mm512_add_pd, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cmpgt_epu8_mask,
    _mm512_cvtepu8_epi32, _mm512_cvtepu8_epi64, _mm512_i32gather_pd, _mm512_i32gather_ps, _mm512_load_si512,
    _mm512_loadu_pd, _mm512_loadu_ps, _mm512_mask_blend_epi8, _mm512_mask_blend_pd, _mm512_mask_blend_ps,
    _mm512_mask_mov_epi8, _mm512_permutex2var_pd, _mm512_permutex2var_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_pd, _mm512_set1_ps, _mm512_store_si512,
    _mm512_storeu_pd, _mm512_storeu_ps, _mm512_test_epi32_mask, _mm512_test_epi64_mask,
};

use super::blocks::{Bytes, Kernel, ROWS, Scratch, Values};
use super::ranks::{Plan, Program, Segment};

/// See the module.
pub(super) struct Avx512 {
    plan: Plan,
}

impl Kernel for Avx512 {
    const NAME: &'static str = "avx512";
    const ROWS_MIN: usize = 18;

    fn lacks() -> Option<&'static str> {
        let can = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        (!can).then_some("the processor lacks AVX-512BW")
    }

    fn new(plan: Plan) -> Self {
        Self { plan }
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,popcnt")]
    unsafe fn rank(&self, segment: &Segment, values: &Values, columns: &mut [Bytes], _: usize) {
        let mut ranks = Bytes([0; ROWS]);
        let targets = values.0.iter().zip(&mut ranks.0);
        if segment.two_levels {
            let cuts = &self.plan.cuts[segment.cuts..=segment.cuts + 16];
            let pivots = vector(&cuts[0].0);
            for (&x, rank) in targets {
                let x = _mm512_set1_ps(x);
                let bucket = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(pivots, x).count_ones() as usize;
                // At most 15 of the 16 pivots are numbers (255 cuts), so `bucket` is at most 15.
                let lanes = vector(&cuts[1 + (bucket & 15)].0);
                let within = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(lanes, x).count_ones() as usize;
                *rank = (16 * bucket + within) as u8;
            }
        } else {
            let cuts = vector(&self.plan.cuts[segment.cuts].0);
            for (&x, rank) in targets {
                *rank = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(cuts, _mm512_set1_ps(x)).count_ones() as u8;
            }
        }
        let mut missing = 0;
        for (part, values) in values.0.as_chunks().0.iter().enumerate() {
            let x = vector(values);
            missing |= u64::from(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)) << (16 * part);
        }
        let targets = &mut columns[segment.first_column..segment.first_column + segment.missing.len()];
        for (column, &if_missing) in targets.iter_mut().zip(&segment.missing) {
            // SAFETY: both are one aligned vector long.
            unsafe {
                let values =
                    _mm512_mask_mov_epi8(load(&raw const ranks), missing, _mm512_set1_epi8(if_missing as i8));
                _mm512_store_si512((&raw mut *column).cast(), values);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,popcnt")]
    unsafe fn path_sums(&self, scratch: &mut Scratch, _: usize, out: &mut [f64; ROWS]) {
        let plan = &self.plan;
        let mut sums: [__m512d; 8] = [_mm512_set1_pd(0.0); 8];
        for program in &plan.forest {
            let exit = exits(plan, program, scratch);
            let values = &plan.path_lengths[program.values.clone()];
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 bytes at `8 * lane` lie inside the 64 of `exit`.
                let bytes = unsafe { _mm_loadl_epi64(exit.0.as_ptr().add(8 * lane).cast()) };
                *sum = _mm512_add_pd(*sum, look_up_doubles(values, bytes));
            }
        }
        for (out, sum) in out.chunks_exact_mut(8).zip(sums) {
            // SAFETY: the chunk has the 8 doubles that are written.
            unsafe { _mm512_storeu_pd(out.as_mut_ptr(), sum) };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,popcnt")]
    unsafe fn margins(&self, scratch: &mut Scratch, base: f32, _: usize, out: &mut [f32; ROWS]) {
        let plan = &self.plan;
        let mut sums: [__m512; 4] = [_mm512_set1_ps(base); 4];
        for program in &plan.booster {
            let exit = exits(plan, program, scratch);
            let values = &plan.margins[program.values.clone()];
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 16 bytes at `16 * lane` lie inside the 64 of `exit`, which is aligned to 64.
                let bytes = unsafe { _mm_load_si128(exit.0.as_ptr().add(16 * lane).cast()) };
                *sum = _mm512_add_ps(*sum, look_up(values, _mm512_cvtepu8_epi32(bytes)));
            }
        }
        for (out, sum) in out.chunks_exact_mut(16).zip(sums) {
            // SAFETY: the chunk has the 16 floats that are written.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

/// The number of the value of every row in one tree.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,popcnt")]
fn exits<'a>(plan: &Plan, program: &Program, scratch: &'a mut Scratch) -> &'a Bytes {
    let steps = &plan.steps[program.steps.clone()];
    let columns = scratch.columns.as_ptr();
    let slots = scratch.slots.as_mut_ptr();
    for (index, step) in steps.iter().enumerate() {
        // SAFETY: `Plan::new` numbers columns below `column_count`, the length of `columns`, and slots below
        // `value_slots + step_slots`, the length of `slots`; `Bytes` aligns all of them to 64 bytes.
        unsafe {
            let ranks = load(columns.add(step.column as usize));
            let goes_right = _mm512_cmpgt_epu8_mask(ranks, _mm512_set1_epi8(step.cut as i8));
            let left = load(slots.add(usize::from(step.left)));
            let right = load(slots.add(usize::from(step.right)));
            let exit = _mm512_mask_blend_epi8(goes_right, left, right);
            _mm512_store_si512(slots.add(plan.value_slots + index).cast(), exit);
        }
    }
    &scratch.slots[program.root]
}

/// Reads one vector.
///
/// # Safety
/// The pointer must be valid for reads of a `Bytes`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(bytes: *const Bytes) -> __m512i {
    // SAFETY: valid by the caller's promise, aligned by its type.
    unsafe { _mm512_load_si512(bytes.cast()) }
}

/// `values[index]` in every lane; indices are below `values.len()`, a multiple of 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn look_up(values: &[f32], index: __m512i) -> __m512 {
    let at = values.as_ptr();
    // SAFETY: each arm reads whole vectors below `values.len()`; indices are below it too.
    unsafe {
        match values.len() {
            16 => {
                let table = _mm512_loadu_ps(at);
                _mm512_permutex2var_ps(table, index, table)
            }
            32 => _mm512_permutex2var_ps(_mm512_loadu_ps(at), index, _mm512_loadu_ps(at.add(16))),
            48 | 64 => {
                let low = _mm512_permutex2var_ps(_mm512_loadu_ps(at), index, _mm512_loadu_ps(at.add(16)));
                let third = _mm512_loadu_ps(at.add(32));
                let fourth = if values.len() == 64 { _mm512_loadu_ps(at.add(48)) } else { third };
                let high = _mm512_permutex2var_ps(third, index, fourth);
                _mm512_mask_blend_ps(_mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), low, high)
            }
            _ => _mm512_i32gather_ps::<4>(index, at),
        }
    }
}

/// `values[index]` in every lane for the low eight bytes of `index`, which are below `values.len()`, a multiple of 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn look_up_doubles(values: &[f64], index: __m128i) -> __m512d {
    let at = values.as_ptr();
    // SAFETY: each arm reads whole vectors below `values.len()`; indices are below it too.
    unsafe {
        match values.len() {
            16 => {
                let index = _mm512_cvtepu8_epi64(index);
                _mm512_permutex2var_pd(_mm512_loadu_pd(at), index, _mm512_loadu_pd(at.add(8)))
            }
            32 => {
                let index = _mm512_cvtepu8_epi64(index);
                let low = _mm512_permutex2var_pd(_mm512_loadu_pd(at), index, _mm512_loadu_pd(at.add(8)));
                let (third, fourth) = (_mm512_loadu_pd(at.add(16)), _mm512_loadu_pd(at.add(24)));
                let high = _mm512_permutex2var_pd(third, index, fourth);
                _mm512_mask_blend_pd(_mm512_test_epi64_mask(index, _mm512_set1_epi64(16)), low, high)
            }
            _ => _mm512_i32gather_pd::<8>(_mm256_cvtepu8_epi32(index), at),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(lanes: &[f32; 16]) -> __m512 {
    // SAFETY: reads the 16 floats of the array.
    unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
}
