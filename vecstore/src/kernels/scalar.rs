//! The kernels in plain Rust: the reference for every other table, and what runs where there is no other.
//!
//! Floats are summed in eight lanes, which a compiler may turn into whatever vectors the target has.

use super::Kernels;
use half::f16;

pub(super) const KERNELS: Kernels = Kernels {
    name: "scalar",
    dot_f32: |a, b| sum(a, b, |a, b| a * b),
    l2_f32: |a, b| sum(a, b, |a, b| (a - b) * (a - b)),
    dot_f16: |a, b| sum(a, b, |a: f16, b| a.to_f32() * b),
    l2_f16: |a, b| sum(a, b, |a: f16, b| (a.to_f32() - b) * (a.to_f32() - b)),
    dot_u8: |a, b| sum(a, b, |a: u8, b| f32::from(a) * b),
    l2_u8: |a, b| sum(a, b, |a: u8, b| (f32::from(a) - b) * (f32::from(a) - b)),
    dot_i8_i16: |a, b| sum_i32(a, b),
    dot_i8_i8: |a, b| sum_i32(a, b),
};

const LANES: usize = 8;

#[inline]
fn sum<T: Copy>(a: &[T], b: &[f32], term: impl Fn(T, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[inline]
fn sum_i32<A: Copy + Into<i32>, B: Copy + Into<i32>>(a: &[A], b: &[B]) -> i32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    a.iter().zip(b).fold(0, |sum: i32, (&a, &b)| sum.wrapping_add(a.into() * b.into()))
}
