//! The one place where several writers share the feature matrix.

use std::marker::PhantomData;

/// A matrix that several workers fill at once, each its own cells.
///
/// # Thread Safety
/// The cells of row `r` that belong to entity kind `k` are written only by the worker that owns the slab
/// of that row's key of kind `k`; a slab has one owner and kinds have disjoint columns. So no cell has
/// two writers, and nobody reads before the workers have joined.
pub struct SharedRows<'a> {
    values: *mut f32,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[allow(unsafe_code, reason = "one of the named files that may; see Thread Safety")]
// SAFETY: the pointer comes from an exclusive borrow that outlives `Self`, and `cells` is only called for
// cells that no other worker touches.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Shares a row-major matrix of the given width.
    pub fn new(values: &'a mut [f32], width: usize) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        Self { values: values.as_mut_ptr(), rows, width, lifetime: PhantomData }
    }

    /// The cells `[first, first + count)` of a row.
    ///
    /// # Safety
    /// No other reference to these cells may exist while the returned one does.
    ///
    /// # Panics
    /// If the cells lie outside the matrix.
    #[allow(unsafe_code, clippy::mut_from_ref, reason = "the caller owns these cells")]
    pub unsafe fn cells(&self, row: usize, first: usize, count: usize) -> &mut [f32] {
        assert!(row < self.rows && first + count <= self.width, "cells inside the matrix");
        // SAFETY: in bounds by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(row * self.width + first), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_fill_disjoint_cells() {
        let mut values = vec![0.0_f32; 12];
        let shared = SharedRows::new(&mut values, 4);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let shared = &shared;
                scope.spawn(move || {
                    for row in 0..3 {
                        // SAFETY: each thread takes its own half of every row.
                        #[allow(unsafe_code)]
                        let cells = unsafe { shared.cells(row, 2 * half, 2) };
                        cells.fill((row * 2 + half) as f32);
                    }
                });
            }
        });
        assert_eq!(values, [0., 0., 1., 1., 2., 2., 3., 3., 4., 4., 5., 5.]);
    }
}
