//! Going through records that lie anywhere in memory, for the tables of x86-64. The `unsafe` here is
//! prefetching.

use super::Records;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Records that are fetched from memory while one is summed.
const PREFETCHED: usize = 8;

/// Sums records while the next ones are fetched.
///
/// It is always inlined, since a function for fewer instructions cannot inline `sum`.
#[inline(always)]
pub(super) fn scan(records: Records<'_>, points: &[u32], sums: &mut [f32], sum: impl Fn(u32) -> f32) {
    assert_eq!(points.len(), sums.len(), "a sum for each point");
    for &point in &points[..points.len().min(PREFETCHED)] {
        prefetch(records, point);
    }
    for (index, (slot, &point)) in sums.iter_mut().zip(points).enumerate() {
        if let Some(&coming) = points.get(index + PREFETCHED) {
            prefetch(records, coming);
        }
        *slot = sum(point);
    }
}

#[inline(always)]
fn prefetch(records: Records<'_>, point: u32) {
    fetch_all(records.bytes.as_ptr().wrapping_add(point as usize * records.stride), records.stride);
}

/// Fetches the lines of some bytes.
#[inline(always)]
pub(super) fn fetch_all(start: *const u8, len: usize) {
    for at in (0..len).step_by(64) {
        fetch(start.wrapping_add(at));
    }
    // Bytes that begin inside a cache line end in one more.
    fetch(start.wrapping_add(len.saturating_sub(1)));
}

#[inline(always)]
fn fetch(line: *const u8) {
    // SAFETY: x86-64 always has SSE, and prefetching does nothing at an address that is not mapped.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}
