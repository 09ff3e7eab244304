//! The byte-wide kernel with AVX2, for the many processors without AVX-512: each vector holds a byte of 32 of the 64 rows.
//!
//! Values become ranks by counting thresholds: the pivots for eight rows at a time, then the 16 of its bucket for
//! each row. Trees are run as [`triples`](super::triples) describes. A block of at most 32 rows costs half.
#![allow(unsafe_code, reason = "one of the named files that may: vector loads and stores through pointers")]

use std::arch::x86_64::{
    __m256, __m256d, __m256i, _CMP_LE_OQ, _CMP_UNORD_Q, _mm_load_si128, _mm_storeu_pd, _mm_storeu_ps,
    _mm256_add_pd, _mm256_add_ps, _mm256_adds_epu8, _mm256_blendv_epi8, _mm256_broadcastsi128_si256,
    _mm256_castpd256_pd128, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_castsi256_pd,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cmpeq_epi8, _mm256_extractf128_pd, _mm256_extractf128_ps,
    _mm256_load_ps, _mm256_load_si256, _mm256_max_epu8, _mm256_movemask_ps, _mm256_or_si256,
    _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32, _mm256_set1_epi8, _mm256_set1_pd,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_store_si256,
    _mm256_sub_epi32, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpackhi_epi32,
    _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_unpacklo_epi32, _mm256_xor_si256,
};

use super::blocks::{Bytes, Kernel, ROWS, Scratch, Values};
use super::ranks::{LANES, Plan, Segment};
use super::triples::{Plane, Triple, Walk, Walks};

/// Rows of a vector of bytes.
const HALF: usize = 32;

/// See the module.
pub(super) struct Avx2 {
    plan: Plan,
    walks: Walks,
}

impl Kernel for Avx2 {
    const NAME: &'static str = "avx2";
    const ROWS_MIN: usize = 8;

    fn lacks() -> Option<&'static str> {
        let can = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
        (!can).then_some("the processor lacks AVX2")
    }

    fn new(plan: Plan) -> Self {
        let walks = Walks::new(&plan);
        Self { plan, walks }
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn rank(&self, segment: &Segment, values: &Values, columns: &mut [Bytes], rows: usize) {
        let cuts = &self.plan.cuts[segment.cuts..];
        let halves = rows.div_ceil(HALF);
        let mut ranks = Bytes([0; ROWS]);
        let targets = values.0.as_chunks::<HALF>().0.iter().zip(ranks.0.as_chunks_mut::<HALF>().0);
        for (values, ranks) in targets.take(halves) {
            if segment.two_levels {
                let buckets = &cuts[1..=LANES];
                let bucket_of = count_pivots(&cuts[0].0, values);
                for ((&x, &bucket), rank) in values.iter().zip(&bucket_of).zip(ranks) {
                    // At most 15 of the 16 pivots are numbers (255 cuts), so `bucket` is at most 15.
                    *rank = (16 * bucket + count_up_to(&buckets[bucket as usize & 15].0, x)) as u8;
                }
            } else {
                for (&x, rank) in values.iter().zip(ranks) {
                    *rank = count_up_to(&cuts[0].0, x) as u8;
                }
            }
        }
        let columns = &mut columns[segment.first_column..segment.first_column + segment.missing.len()];
        for (half, values) in values.0.as_chunks::<HALF>().0.iter().enumerate().take(halves) {
            let missing = missing(values);
            for (column, &if_missing) in columns.iter_mut().zip(&segment.missing) {
                // SAFETY: both have two halves, aligned to 32 bytes.
                unsafe {
                    let ranks = load(&raw const ranks, half);
                    let values = _mm256_blendv_epi8(ranks, _mm256_set1_epi8(if_missing as i8), missing);
                    _mm256_store_si256((&raw mut *column).cast::<__m256i>().add(half), values);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn path_sums(&self, scratch: &mut Scratch, rows: usize, out: &mut [f64; ROWS]) {
        let mut sums = [[_mm256_set1_pd(0.0); 8]; 2];
        for walk in &self.walks.forest {
            let exit = self.exits(walk, scratch, rows);
            for (half, sums) in sums.iter_mut().enumerate().take(rows.div_ceil(HALF)) {
                // SAFETY: `half` is 0 or 1.
                let numbers = unsafe { load(exit, half) };
                let leaves = doubles(self.bytes_of(walk, numbers));
                for (sum, leaves) in sums.iter_mut().zip(leaves) {
                    *sum = _mm256_add_pd(*sum, leaves);
                }
            }
        }
        for (out, sums) in out.as_chunks_mut::<HALF>().0.iter_mut().zip(sums) {
            for (part, sum) in sums.into_iter().enumerate() {
                // SAFETY: `part` is at most 7, so that both pairs lie inside the 32 doubles.
                unsafe {
                    _mm_storeu_pd(out.as_mut_ptr().add(2 * part), _mm256_castpd256_pd128(sum));
                    _mm_storeu_pd(out.as_mut_ptr().add(16 + 2 * part), _mm256_extractf128_pd::<1>(sum));
                }
            }
        }
    }

    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn margins(&self, scratch: &mut Scratch, base: f32, rows: usize, out: &mut [f32; ROWS]) {
        let mut sums = [[_mm256_set1_ps(base); 4]; 2];
        for walk in &self.walks.booster {
            let exit = self.exits(walk, scratch, rows);
            for (half, sums) in sums.iter_mut().enumerate().take(rows.div_ceil(HALF)) {
                // SAFETY: `half` is 0 or 1.
                let numbers = unsafe { load(exit, half) };
                let leaves = floats(self.bytes_of(walk, numbers));
                for (sum, leaves) in sums.iter_mut().zip(leaves) {
                    *sum = _mm256_add_ps(*sum, leaves);
                }
            }
        }
        for (out, sums) in out.as_chunks_mut::<HALF>().0.iter_mut().zip(sums) {
            for (part, sum) in sums.into_iter().enumerate() {
                // SAFETY: `part` is at most 3, so that both fours lie inside the 32 floats.
                unsafe {
                    _mm_storeu_ps(out.as_mut_ptr().add(4 * part), _mm256_castps256_ps128(sum));
                    _mm_storeu_ps(out.as_mut_ptr().add(16 + 4 * part), _mm256_extractf128_ps::<1>(sum));
                }
            }
        }
    }
}

impl Avx2 {
    /// The number of the value of every row in one tree: below the number of the tree's values.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn exits<'a>(&self, walk: &Walk, scratch: &'a mut Scratch, rows: usize) -> &'a Bytes {
        let triples = &self.walks.triples[walk.triples.clone()];
        if rows > HALF {
            self.run::<2>(triples, scratch);
        } else {
            self.run::<1>(triples, scratch);
        }
        &scratch.slots[walk.root]
    }

    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn run<const HALVES: usize>(&self, triples: &[Triple], scratch: &mut Scratch) {
        let columns = scratch.columns.as_ptr();
        let slots = scratch.slots.as_mut_ptr();
        for (index, triple) in triples.iter().enumerate() {
            let cuts = triple.cuts.map(|cut| _mm256_set1_epi8(cut as i8));
            // SAFETY: `Walks::new` takes columns and slots from the plan, which numbers them below `column_count` and
            // `value_slots + step_slots`, the lengths of the two; a tree has no more triples than steps.
            let (columns, slots, target) = unsafe {
                (
                    triple.columns.map(|offset| columns.byte_add(offset as usize)),
                    triple.slots.map(|offset| slots.byte_add(offset as usize).cast_const()),
                    slots.add(self.plan.value_slots + index).cast::<__m256i>(),
                )
            };
            let mut exits = [_mm256_setzero_si256(); HALVES];
            for (half, exit) in exits.iter_mut().enumerate() {
                // SAFETY: each of them has two halves.
                let (ranks, slots) =
                    unsafe { (columns.map(|column| load(column, half)), slots.map(|slot| load(slot, half))) };
                let left = choose(slots[0], slots[1], ranks[1], cuts[1]);
                let right = choose(slots[2], slots[3], ranks[2], cuts[2]);
                *exit = choose(left, right, ranks[0], cuts[0]);
            }
            // All before the first store: after it the compiler would read the triple again.
            for (half, exit) in exits.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm256_store_si256(target.add(half), exit) };
            }
        }
    }

    /// The bytes of the values with these numbers: first bytes, second bytes and so on.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn bytes_of<const BYTES: usize>(&self, walk: &Walk, numbers: __m256i) -> [__m256i; BYTES] {
        let groups: &[[Plane; BYTES]] = self.walks.planes[walk.planes.clone()].as_chunks().0;
        let mut bytes = [_mm256_setzero_si256(); BYTES];
        for (group, planes) in groups.iter().enumerate() {
            // The number within the group for those of the group, above 127 for others, where a shuffle gives 0.
            let within = _mm256_xor_si256(numbers, _mm256_set1_epi8((LANES * group) as i8));
            let within = _mm256_adds_epu8(within, _mm256_set1_epi8(0x70));
            for (bytes, plane) in bytes.iter_mut().zip(planes) {
                // SAFETY: a plane is 16 aligned bytes.
                let plane = unsafe { _mm_load_si128(plane.0.as_ptr().cast()) };
                let found = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(plane), within);
                *bytes = _mm256_or_si256(*bytes, found);
            }
        }
        bytes
    }
}

/// `left` where the rank is at most the cut.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(left: __m256i, right: __m256i, ranks: __m256i, cut: __m256i) -> __m256i {
    // There is no compare of unsigned bytes: `rank <= cut` is `max(rank, cut) == cut`.
    let goes_left = _mm256_cmpeq_epi8(_mm256_max_epu8(ranks, cut), cut);
    _mm256_blendv_epi8(right, left, goes_left)
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
fn count_up_to(cuts: &[f32; LANES], x: f32) -> u32 {
    let x = _mm256_set1_ps(x);
    // SAFETY: reads the 16 floats of the array; `Cuts` aligns them to 64 bytes.
    let (low, high) = unsafe { (_mm256_load_ps(cuts.as_ptr()), _mm256_load_ps(cuts.as_ptr().add(8))) };
    // Counted one by one: of both in one word the compiler makes shuffles.
    let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(low, x));
    let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(high, x));
    low.count_ones() + high.count_ones()
}

/// How many of the pivots are at most the value of each row; NaN follows the last pivot.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count_pivots(pivots: &[f32; LANES], values: &[f32; HALF]) -> [u32; HALF] {
    let values = eights(values);
    let mut counts = [_mm256_setzero_si256(); HALF / 8];
    for &pivot in pivots.iter().take_while(|pivot| !pivot.is_nan()) {
        for (count, x) in counts.iter_mut().zip(values) {
            // True is all ones, which is -1.
            let reached = _mm256_cmp_ps::<_CMP_LE_OQ>(_mm256_set1_ps(pivot), x);
            *count = _mm256_sub_epi32(*count, _mm256_castps_si256(reached));
        }
    }
    // SAFETY: plain numbers of the same size.
    unsafe { std::mem::transmute::<[__m256i; HALF / 8], [u32; HALF]>(counts) }
}

/// All ones in the bytes of the rows without a value.
#[inline]
#[target_feature(enable = "avx2")]
fn missing(values: &[f32; HALF]) -> __m256i {
    let [a, b, c, d] = eights(values).map(|x| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)));
    let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    // The packs work on the two lanes of a vector one by one.
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// As vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn eights(values: &[f32; HALF]) -> [__m256; HALF / 8] {
    // SAFETY: plain numbers of the same size.
    unsafe { std::mem::transmute::<[f32; HALF], [__m256; HALF / 8]>(*values) }
}

/// From their bytes. The `k`-th vector has rows `4k..4k + 4` below and the ones 16 further on above.
#[inline]
#[target_feature(enable = "avx2")]
fn floats(bytes: [__m256i; 4]) -> [__m256; 4] {
    let (low, high) = (pairs_8(bytes[0], bytes[1]), pairs_8(bytes[2], bytes[3]));
    let [[a, b], [c, d]] = [pairs_16(low[0], high[0]), pairs_16(low[1], high[1])];
    [a, b, c, d].map(|v| _mm256_castsi256_ps(v))
}

/// From their bytes. The `k`-th vector has rows `2k..2k + 2` below and the ones 16 further on above.
#[inline]
#[target_feature(enable = "avx2")]
fn doubles(bytes: [__m256i; 8]) -> [__m256d; 8] {
    let words = [0, 2, 4, 6].map(|byte| pairs_8(bytes[byte], bytes[byte + 1]));
    let quads = [0, 1]
        .map(|part| [pairs_16(words[0][part], words[1][part]), pairs_16(words[2][part], words[3][part])]);
    [0, 1, 2, 3, 4, 5, 6, 7].map(|k| {
        let [low, high] = quads[k / 4].map(|quads| quads[k / 2 % 2]);
        _mm256_castsi256_pd(pairs_32(low, high)[k % 2])
    })
}

/// Bytes of the first beside those of the second, within each lane: of its lower half, of its upper half.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs_8(first: __m256i, second: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second)]
}

/// [`pairs_8`] of pieces of two bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs_16(first: __m256i, second: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)]
}

/// [`pairs_8`] of pieces of four bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs_32(first: __m256i, second: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi32(first, second), _mm256_unpackhi_epi32(first, second)]
}
