//! The kernels in plain Rust. They are the reference for every other table, and run where there is no other.
//!
//! Floats are summed in many partial sums, so that a compiler can use the vector registers of the target.

use super::blocks::{BLOCK_CODES, LANE, LANES, Line, groups};
use super::records::windows;
use super::{Kernels, Records, WINDOW};
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
    scan_i8: |records, points, query, sums| {
        scan(points, sums, |point| {
            sum_i32(bytemuck::cast_slice::<u8, i8>(records.code(point, query.len())), query) as f32
        });
    },
    scan_u4: scan_packed::<4>,
    scan_u2: scan_packed::<2>,
    scan_u1: scan_packed::<1>,
    scan_tables: |records, points, tables, sums| {
        scan(points, sums, |point| sum_tables(records.code(point, tables.len()), tables));
    },
    fast_scan,
    weigh,
    hadamard,
};

/// Component `i` is added to partial sum `i % PARTS`. [`total`] adds these up. All tables do it in this
/// order.
pub(super) const PARTS: usize = 32;

#[inline]
fn sum<T: Copy>(a: &[T], b: &[f32], term: impl Fn(T, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<PARTS>();
    let (b_blocks, b_rest) = b.as_chunks::<PARTS>();
    let mut sums = [0.0f32; PARTS];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for part in 0..PARTS {
            sums[part] += term(a[part], b[part]);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += term(a, b);
    }
    total(&sums)
}

fn total(sums: &[f32; PARTS]) -> f32 {
    let eight: [f32; 8] =
        std::array::from_fn(|at| (sums[at] + sums[8 + at]) + (sums[16 + at] + sums[24 + at]));
    let four: [f32; 4] = std::array::from_fn(|at| eight[at] + eight[4 + at]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[inline]
fn sum_i32<A: Copy + Into<i32>, B: Copy + Into<i32>>(a: &[A], b: &[B]) -> i32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    a.iter().zip(b).fold(0, |sum: i32, (&a, &b)| sum.wrapping_add(a.into() * b.into()))
}

#[inline]
fn scan(points: &[u32], sums: &mut [f32], sum: impl Fn(u32) -> f32) {
    assert_eq!(points.len(), sums.len(), "a sum for each point");
    for (slot, &point) in sums.iter_mut().zip(points) {
        *slot = sum(point);
    }
}

fn scan_packed<const BITS: usize>(records: Records<'_>, points: &[u32], query: &[i8], sums: &mut [f32]) {
    let (planes, rest) = query.as_chunks::<WINDOW>();
    assert!(rest.is_empty() && planes.len().is_multiple_of(8 / BITS), "a query of whole windows");
    scan(points, sums, |point| {
        let (whole, last) = windows(records.get(point), records.skip, planes.len() / (8 / BITS));
        let mut sum = 0i32;
        for (window, planes) in whole.iter().chain(last).zip(planes.chunks_exact(8 / BITS)) {
            for (plane, query) in planes.iter().enumerate() {
                for (byte, &query) in window.iter().zip(query) {
                    let component = (byte >> (plane * BITS)) & ((1 << BITS) - 1);
                    sum += i32::from(component) * i32::from(query);
                }
            }
        }
        sum as f32
    });
}

/// All tables of kernels use this. The loads for each byte take the time, and a gather does them one by one
/// too.
#[inline]
pub(super) fn sum_tables(code: &[u8], tables: &[[f32; 256]]) -> f32 {
    let (code, code_rest) = code.as_chunks::<4>();
    let (tables, tables_rest) = tables.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (code, tables) in code.iter().zip(tables) {
        for part in 0..4 {
            sums[part] += tables[part][usize::from(code[part])];
        }
    }
    let rest: f32 = code_rest.iter().zip(tables_rest).map(|(&byte, table)| table[usize::from(byte)]).sum();
    sums.iter().sum::<f32>() + rest
}

fn fast_scan(block: &[u8], tables: &[[u8; 16]], sums: &mut [u32; BLOCK_CODES]) {
    let (groups, tables) = groups(block, tables);
    sums.fill(0);
    for (group, tables) in groups.iter().zip(tables) {
        let (low, high) = tables.split_at(LANES);
        for (half, sums) in group.chunks_exact(LANES * LANE).zip(sums.chunks_exact_mut(LANE)) {
            for ((lane, low), high) in half.chunks_exact(LANE).zip(low).zip(high) {
                for (byte, sum) in lane.iter().zip(&mut *sums) {
                    *sum += u32::from(low[usize::from(byte & 15)]) + u32::from(high[usize::from(byte >> 4)]);
                }
            }
        }
    }
}

/// All tables compute a score in these steps, so that it is the same everywhere.
#[inline]
fn weigh(
    line: &Line,
    factors: &[[u8; 4]; BLOCK_CODES],
    constants: &[[u8; 4]; BLOCK_CODES],
    sums: &[u32; BLOCK_CODES],
    threshold: f32,
    scores: &mut [f32; BLOCK_CODES],
) -> u32 {
    let mut above = 0;
    for code in 0..BLOCK_CODES {
        let (factor, constant) = (f32::from_le_bytes(factors[code]), f32::from_le_bytes(constants[code]));
        // Sums are far below the end of `i32`, from which more machines can convert.
        let of_query = line.step * (sums[code] as i32 as f32) + line.base;
        let score = line.start + (line.along * constant + factor * of_query);
        scores[code] = score;
        above |= u32::from(score > threshold) << code;
    }
    above
}

fn hadamard(vector: &mut [f32]) {
    assert!(vector.len().is_power_of_two(), "a power of two of components");
    let mut half = 1;
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}
