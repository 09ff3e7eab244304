//! Asking the memory for a line before it is needed: the cost of a transaction is its cache misses.

/// Starts loading the cache line at `pointer`; any address is allowed and nothing is read.
#[inline]
#[allow(unsafe_code, reason = "one of the named files that may; a prefetch has no effect on memory")]
pub fn prefetch<T>(pointer: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 never faults, reads nothing architecturally and is part of the x86-64 baseline.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}

/// The same of all cache lines of so many bytes.
#[inline]
pub fn prefetch_bytes<T>(pointer: *const T, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        prefetch(pointer.cast::<u8>().wrapping_add(64 * line));
    }
}
