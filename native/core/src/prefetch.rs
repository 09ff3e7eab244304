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
