//! The kernels for aarch64, which always has NEON. What is not here comes from `scalar.rs`.
//!
//! The `unsafe` here is of two kinds. Loads and stores take an array of exactly the size that is moved. The
//! table calls code that is compiled for NEON.
//!
//! Integer kernels end with a scalar loop over what is left of a vector.

use super::blocks::{BLOCK_CODES, GROUPS_MAX, LANE, LANES, groups};
use super::records::windows;
use super::{Kernels, Records, WINDOW, scalar};
use std::arch::aarch64::*;

pub(super) const KERNELS: Kernels = Kernels {
    name: "neon",
    // SAFETY: aarch64 always has NEON.
    dot_f32: |a, b| unsafe { sum::<false>(a, b) },
    // SAFETY: as above.
    l2_f32: |a, b| unsafe { sum::<true>(a, b) },
    // SAFETY: as above.
    dot_i8_i16: |a, b| unsafe { dot_integers(a, b) },
    // SAFETY: as above.
    dot_i8_i8: |a, b| unsafe { dot_integers(a, b) },
    // SAFETY: as above.
    scan_i8: |records, points, query, sums| unsafe { scan_i8(records, points, query, sums) },
    // SAFETY: as above.
    scan_u4: |records, points, query, sums| unsafe { scan_packed::<4>(records, points, query, sums) },
    // SAFETY: as above.
    scan_u2: |records, points, query, sums| unsafe { scan_packed::<2>(records, points, query, sums) },
    // SAFETY: as above.
    scan_u1: |records, points, query, sums| unsafe { scan_packed::<1>(records, points, query, sums) },
    // SAFETY: as above.
    fast_scan: |block, tables, sums| unsafe { fast_scan(block, tables, sums) },
    ..scalar::KERNELS
};

/// `f32` in one register.
const FLOATS: usize = 4;
/// Registers summed side by side.
const ACCUMULATORS: usize = 8;
/// `i16` in one register.
const SHORTS: usize = 8;
/// Bytes in one register.
const BYTES: usize = 16;

/// The dot product, or the squared distance if `SQUARED_DISTANCE`. The rest is filled up with zeros, which
/// change no sum.
#[target_feature(enable = "neon")]
fn sum<const SQUARED_DISTANCE: bool>(a: &[f32], b: &[f32]) -> f32 {
    const { assert!(ACCUMULATORS * FLOATS == scalar::PARTS) }
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<FLOATS>();
    let (b_blocks, b_rest) = b.as_chunks::<FLOATS>();
    let (a_rounds, a_blocks) = a_blocks.as_chunks::<ACCUMULATORS>();
    let (b_rounds, b_blocks) = b_blocks.as_chunks::<ACCUMULATORS>();
    let mut sums = [vdupq_n_f32(0.0); ACCUMULATORS];
    // The number of blocks in a round is constant, so that the sums stay in registers.
    for (a, b) in a_rounds.iter().zip(b_rounds) {
        for part in 0..ACCUMULATORS {
            sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], &a[part], &b[part]);
        }
    }
    for (part, (a, b)) in a_blocks.iter().zip(b_blocks).enumerate() {
        sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], a, b);
    }
    let (mut a, mut b) = ([0.0; FLOATS], [0.0; FLOATS]);
    a[..a_rest.len()].copy_from_slice(a_rest);
    b[..b_rest.len()].copy_from_slice(b_rest);
    let part = a_blocks.len();
    sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], &a, &b);
    // As the other tables do, with eight numbers in two registers.
    let [a, b, c, d, e, f, g, h] = sums;
    let lower = vaddq_f32(vaddq_f32(a, c), vaddq_f32(e, g));
    let upper = vaddq_f32(vaddq_f32(b, d), vaddq_f32(f, h));
    let four = vaddq_f32(lower, upper);
    let pairs = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(pairs) + vget_lane_f32::<1>(pairs)
}

/// Multiplies and adds one after the other, as the other tables do.
#[inline]
#[target_feature(enable = "neon")]
fn add_term<const SQUARED_DISTANCE: bool>(
    sum: float32x4_t,
    a: &[f32; FLOATS],
    b: &[f32; FLOATS],
) -> float32x4_t {
    // SAFETY: the array has the 16 bytes that are loaded.
    let a = unsafe { vld1q_f32(a.as_ptr()) };
    // SAFETY: as above.
    let b = unsafe { vld1q_f32(b.as_ptr()) };
    let difference = vsubq_f32(a, b);
    let (a, b) = if SQUARED_DISTANCE { (difference, difference) } else { (a, b) };
    vaddq_f32(sum, vmulq_f32(a, b))
}

/// A component that can be widened to `i16`, a register at a time.
trait Shorts: Copy + Into<i32> {
    /// # Safety
    ///
    /// The machine has NEON.
    unsafe fn widen(block: &[Self; SHORTS]) -> int16x8_t;
}

impl Shorts for i8 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn widen(block: &[Self; SHORTS]) -> int16x8_t {
        // SAFETY: the array has the 8 bytes that are loaded.
        vmovl_s8(unsafe { vld1_s8(block.as_ptr()) })
    }
}

impl Shorts for i16 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn widen(block: &[Self; SHORTS]) -> int16x8_t {
        // SAFETY: the array has the 16 bytes that are loaded.
        unsafe { vld1q_s16(block.as_ptr()) }
    }
}

/// The exact dot product: products of `i16` are added as `i32`.
#[target_feature(enable = "neon")]
fn dot_integers<B: Shorts>(a: &[i8], b: &[B]) -> i32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<SHORTS>();
    let (b_blocks, b_rest) = b.as_chunks::<SHORTS>();
    let mut sums = [vdupq_n_s32(0); 2];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        // SAFETY: this function has NEON.
        let a = unsafe { i8::widen(a) };
        // SAFETY: as above.
        let b = unsafe { B::widen(b) };
        sums[0] = vmlal_s16(sums[0], vget_low_s16(a), vget_low_s16(b));
        sums[1] = vmlal_high_s16(sums[1], a, b);
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest = rest.fold(0i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a) * b.into()));
    vaddvq_s32(vaddq_s32(sums[0], sums[1])).wrapping_add(rest)
}

#[inline]
#[target_feature(enable = "neon")]
fn scan(points: &[u32], sums: &mut [f32], sum: impl Fn(u32) -> f32) {
    assert_eq!(points.len(), sums.len(), "a sum for each point");
    for (slot, &point) in sums.iter_mut().zip(points) {
        *slot = sum(point);
    }
}

#[target_feature(enable = "neon")]
fn scan_i8(records: Records<'_>, points: &[u32], query: &[i16], sums: &mut [f32]) {
    scan(points, sums, |point| {
        dot_integers(bytemuck::cast_slice(records.code(point, query.len())), query) as f32
    });
}

#[target_feature(enable = "neon")]
fn scan_packed<const BITS: usize>(records: Records<'_>, points: &[u32], query: &[i8], sums: &mut [f32]) {
    let (planes, rest) = query.as_chunks::<WINDOW>();
    let per_window = 8 / BITS;
    assert!(rest.is_empty() && planes.len().is_multiple_of(per_window), "a query of whole windows");
    let (mask, shift) = (vdupq_n_u8((1 << BITS) - 1), vdupq_n_s8(-(BITS as i8)));
    scan(points, sums, |point| {
        let (whole, last) = windows(records.get(point), records.skip, planes.len() / per_window);
        let mut sum = vdupq_n_s32(0);
        for (window, planes) in whole.iter().chain(last).zip(planes.chunks_exact(per_window)) {
            for (half, bytes) in window.as_chunks::<BYTES>().0.iter().enumerate() {
                // SAFETY: the array has the 16 bytes that are loaded.
                let mut bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
                for plane in planes {
                    let plane: &[i8; BYTES] = &plane.as_chunks().0[half];
                    // SAFETY: the array has the 16 bytes that are loaded.
                    let query = unsafe { vld1q_s8(plane.as_ptr()) };
                    let component = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
                    let products = vmull_s8(vget_low_s8(component), vget_low_s8(query));
                    // Two products of at most 15 * 128 fit in an `i16`.
                    let products = vmlal_high_s8(products, component, query);
                    sum = vpadalq_s16(sum, products);
                    bytes = vshlq_u8(bytes, shift);
                }
            }
        }
        vaddvq_s32(sum) as f32
    });
}

/// Looks up 16 bytes of nibbles at a time. Sums of four entries fit in a byte.
#[target_feature(enable = "neon")]
fn fast_scan(block: &[u8], tables: &[[u8; 16]], sums: &mut [u32; BLOCK_CODES]) {
    let (groups, tables) = groups(block, tables);
    sums.fill(0);
    for (groups, tables) in groups.chunks(GROUPS_MAX).zip(tables.chunks(GROUPS_MAX)) {
        for (half, sums) in sums.chunks_exact_mut(LANE).enumerate() {
            let (mut low, mut high) = (vdupq_n_u16(0), vdupq_n_u16(0));
            for (group, tables) in groups.iter().zip(tables) {
                let lanes = group[half * LANES * LANE..].as_chunks::<LANE>().0;
                for pair in [0, 2] {
                    let found = |lane: usize| look_up(&lanes[lane], &tables[lane], &tables[LANES + lane]);
                    let entries = vaddq_u8(found(pair), found(pair + 1));
                    low = vaddw_u8(low, vget_low_u8(entries));
                    high = vaddw_high_u8(high, entries);
                }
            }
            let quarters = [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)];
            for (quarter, sums) in quarters.into_iter().zip(sums.as_chunks_mut::<FLOATS>().0) {
                // SAFETY: the array has the 16 bytes that are loaded.
                let before = unsafe { vld1q_u32(sums.as_ptr()) };
                // SAFETY: the array has the 16 bytes that are stored.
                unsafe { vst1q_u32(sums.as_mut_ptr(), vaddw_u16(before, quarter)) }
            }
        }
    }
}

/// The sums of the entries that the low and the high nibbles of some bytes choose.
#[inline]
#[target_feature(enable = "neon")]
fn look_up(bytes: &[u8; LANE], low: &[u8; 16], high: &[u8; 16]) -> uint8x16_t {
    let load = |bytes: &[u8; LANE]| {
        // SAFETY: the array has the 16 bytes that are loaded.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    };
    let bytes = load(bytes);
    let lows = vqtbl1q_u8(load(low), vandq_u8(bytes, vdupq_n_u8(15)));
    vaddq_u8(lows, vqtbl1q_u8(load(high), vshrq_n_u8::<4>(bytes)))
}
