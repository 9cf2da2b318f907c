//! The kernels for x86-64 with AVX-512 (F, BW, VL and VNNI), as servers since 2019 and desktops with Zen 4
//! have. What it does not have comes from `avx2.rs`.
//!
//! The `unsafe` is of the same two kinds as there. Where a length is no multiple of a register, a masked load
//! gives zeros for the rest.

use super::blocks::{BLOCK_CODES, GROUP_BYTES, GROUPS_MAX, LANE, groups};
use super::records::windows;
use super::scan::scan;
use super::{Kernels, Records, WINDOW, avx2, scalar};
use half::f16;
use std::arch::x86_64::*;

/// The table, if this machine has the instructions.
pub(super) fn kernels() -> Option<Kernels> {
    let detected = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    let avx2 = avx2::kernels()?;
    detected.then_some(Kernels {
        name: "avx512",
        // SAFETY: AVX-512 F, BW, VL and VNNI were detected, and with `avx2` all that it needs.
        dot_f32: |a, b| unsafe { sum::<f32, false>(a, b) },
        // SAFETY: as above.
        l2_f32: |a, b| unsafe { sum::<f32, true>(a, b) },
        // SAFETY: as above.
        dot_f16: |a, b| unsafe { sum::<f16, false>(a, b) },
        // SAFETY: as above.
        l2_f16: |a, b| unsafe { sum::<f16, true>(a, b) },
        // SAFETY: as above.
        dot_u8: |a, b| unsafe { sum::<u8, false>(a, b) },
        // SAFETY: as above.
        l2_u8: |a, b| unsafe { sum::<u8, true>(a, b) },
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
        ..avx2
    })
}

/// `f32` in one register.
const FLOATS: usize = 16;
/// Registers summed side by side.
const ACCUMULATORS: usize = 2;
/// `i16` in one register.
const SHORTS: usize = 32;

/// A component that can be widened to `f32`, a register at a time.
trait Widen: Copy {
    /// # Safety
    ///
    /// The machine has AVX-512 F, BW and VL.
    unsafe fn widen(block: &[Self; FLOATS]) -> __m512;

    /// The first components, and zeros. There are at most [`FLOATS`].
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn widen_some(components: &[Self]) -> __m512;
}

/// A bit for each of the first `count` components, of at most 64.
#[inline]
fn first(count: usize) -> u64 {
    debug_assert!(count < 64, "fewer components than a register of bytes has");
    (1 << count) - 1
}

impl Widen for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m512 {
        // SAFETY: the array has the 64 bytes that are loaded, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(block.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_some(components: &[Self]) -> __m512 {
        // SAFETY: only as many components are loaded as there are, and the load needs no alignment.
        unsafe { _mm512_maskz_loadu_ps(first(components.len()) as __mmask16, components.as_ptr()) }
    }
}

impl Widen for f16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m512 {
        // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(block.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_some(components: &[Self]) -> __m512 {
        let mask = first(components.len()) as __mmask16;
        // SAFETY: only as many components are loaded as there are, and the load needs no alignment.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask, components.as_ptr().cast()) })
    }
}

impl Widen for u8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m512 {
        // SAFETY: the array has the 16 bytes that are loaded, and the load needs no alignment.
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(block.as_ptr().cast()) }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_some(components: &[Self]) -> __m512 {
        let mask = first(components.len()) as __mmask16;
        // SAFETY: only as many components are loaded as there are, and the load needs no alignment.
        let bytes = unsafe { _mm_maskz_loadu_epi8(mask, components.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
    }
}

/// The dot product, or the squared distance if `SQUARED_DISTANCE`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sum<T: Widen, const SQUARED_DISTANCE: bool>(a: &[T], b: &[f32]) -> f32 {
    const { assert!(ACCUMULATORS * FLOATS == scalar::PARTS) }
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<FLOATS>();
    let (b_blocks, b_rest) = b.as_chunks::<FLOATS>();
    let (a_rounds, a_blocks) = a_blocks.as_chunks::<ACCUMULATORS>();
    let (b_rounds, b_blocks) = b_blocks.as_chunks::<ACCUMULATORS>();
    let mut sums = [_mm512_setzero_ps(); ACCUMULATORS];
    // The number of blocks in a round is constant, so that the sums stay in registers.
    for (a, b) in a_rounds.iter().zip(b_rounds) {
        for part in 0..ACCUMULATORS {
            // SAFETY: this function has AVX-512 F, BW and VL.
            let a = unsafe { T::widen(&a[part]) };
            // SAFETY: as above.
            let b = unsafe { f32::widen(&b[part]) };
            sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], a, b);
        }
    }
    for (part, (a, b)) in a_blocks.iter().zip(b_blocks).enumerate() {
        // SAFETY: this function has AVX-512 F, BW and VL.
        let a = unsafe { T::widen(a) };
        // SAFETY: as above.
        let b = unsafe { f32::widen(b) };
        sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], a, b);
    }
    if !a_rest.is_empty() {
        // SAFETY: this function has AVX-512 F, BW and VL.
        let a = unsafe { T::widen_some(a_rest) };
        // SAFETY: as above.
        let b = unsafe { f32::widen_some(b_rest) };
        let part = a_blocks.len();
        sums[part] = add_term::<SQUARED_DISTANCE>(sums[part], a, b);
    }
    let [first, second] = sums.map(|sum| {
        let upper = _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b_11_10_11_10>(sum, sum));
        _mm256_add_ps(_mm512_castps512_ps256(sum), upper)
    });
    avx2::total(_mm256_add_ps(first, second))
}

/// Multiplies and adds one after the other, as the other tables do.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_term<const SQUARED_DISTANCE: bool>(sum: __m512, a: __m512, b: __m512) -> __m512 {
    let (a, b) = if SQUARED_DISTANCE {
        let difference = _mm512_sub_ps(a, b);
        (difference, difference)
    } else {
        (a, b)
    };
    _mm512_add_ps(sum, _mm512_mul_ps(a, b))
}

/// A component that can be widened to `i16`, a register at a time.
trait Shorts: Copy {
    /// # Safety
    ///
    /// The machine has AVX-512 F, BW and VL.
    unsafe fn widen(block: &[Self; SHORTS]) -> __m512i;

    /// The first components, and zeros. There are at most [`SHORTS`].
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn widen_some(components: &[Self]) -> __m512i;
}

impl Shorts for i8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(block: &[Self; SHORTS]) -> __m512i {
        // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
        _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(block.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_some(components: &[Self]) -> __m512i {
        let mask = first(components.len()) as __mmask32;
        // SAFETY: only as many components are loaded as there are, and the load needs no alignment.
        _mm512_cvtepi8_epi16(unsafe { _mm256_maskz_loadu_epi8(mask, components.as_ptr()) })
    }
}

impl Shorts for i16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(block: &[Self; SHORTS]) -> __m512i {
        // SAFETY: the array has the 64 bytes that are loaded, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen_some(components: &[Self]) -> __m512i {
        // SAFETY: only as many components are loaded as there are, and the load needs no alignment.
        unsafe { _mm512_maskz_loadu_epi16(first(components.len()) as __mmask32, components.as_ptr()) }
    }
}

/// The exact dot product: `dpwssd` multiplies `i16`, and adds two products to an `i32`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_integers<B: Shorts>(a: &[i8], b: &[B]) -> i32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<SHORTS>();
    let (b_blocks, b_rest) = b.as_chunks::<SHORTS>();
    let (a_pairs, a_blocks) = a_blocks.as_chunks::<2>();
    let (b_pairs, b_blocks) = b_blocks.as_chunks::<2>();
    let mut sums = [_mm512_setzero_si512(); 2];
    for (a, b) in a_pairs.iter().zip(b_pairs) {
        for part in 0..2 {
            sums[part] = add_products(sums[part], &a[part], &b[part]);
        }
    }
    if let ([a], [b]) = (a_blocks, b_blocks) {
        sums[0] = add_products(sums[0], a, b);
    }
    if !a_rest.is_empty() {
        // SAFETY: this function has AVX-512 F, BW and VL.
        let a = unsafe { i8::widen_some(a_rest) };
        // SAFETY: as above.
        let b = unsafe { B::widen_some(b_rest) };
        sums[1] = _mm512_dpwssd_epi32(sums[1], a, b);
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_products<B: Shorts>(sum: __m512i, a: &[i8; SHORTS], b: &[B; SHORTS]) -> __m512i {
    // SAFETY: this function has AVX-512 F, BW and VL.
    let a = unsafe { i8::widen(a) };
    // SAFETY: as above.
    let b = unsafe { B::widen(b) };
    _mm512_dpwssd_epi32(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scan_i8(records: Records<'_>, points: &[u32], query: &[i16], sums: &mut [f32]) {
    scan(records, points, sums, |point| {
        dot_integers(bytemuck::cast_slice(records.code(point, query.len())), query) as f32
    });
}

/// Takes two windows at a time. `dpbusd` adds four products to an `i32`, so nothing saturates.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scan_packed<const BITS: usize>(records: Records<'_>, points: &[u32], query: &[i8], sums: &mut [f32]) {
    let (planes, rest) = query.as_chunks::<WINDOW>();
    let per_window = 8 / BITS;
    assert!(rest.is_empty() && planes.len().is_multiple_of(per_window), "a query of whole windows");
    scan(records, points, sums, |point| {
        let (whole, last) = windows(records.get(point), records.skip, planes.len() / per_window);
        let (pairs, left) = whole.as_chunks::<2>();
        let mut sum = _mm512_setzero_si512();
        for (pair, planes) in pairs.iter().zip(planes.chunks_exact(2 * per_window)) {
            let (first, second) = planes.split_at(per_window);
            let mut bytes = join(load(&pair[0]), load(&pair[1]));
            for (first, second) in first.iter().zip(second) {
                let component = _mm512_and_si512(bytes, _mm512_set1_epi8((1 << BITS) - 1));
                sum = _mm512_dpbusd_epi32(sum, component, join(load(first), load(second)));
                // Bits that come from the neighbouring byte are masked away.
                bytes = _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(BITS as i32));
            }
        }
        let mut single = _mm256_setzero_si256();
        let planes_left = planes[pairs.len() * 2 * per_window..].chunks_exact(per_window);
        for (window, planes) in left.iter().chain(last).zip(planes_left) {
            let mut bytes = load(window);
            for plane in planes {
                let component = _mm256_and_si256(bytes, _mm256_set1_epi8((1 << BITS) - 1));
                single = _mm256_dpbusd_epi32(single, component, load(plane));
                bytes = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(BITS as i32));
            }
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(sum, _mm512_zextsi256_si512(single))) as f32
    });
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn load<T: bytemuck::NoUninit>(window: &[T; WINDOW]) -> __m256i {
    const { assert!(size_of::<T>() == 1) }
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn join(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Looks up 64 bytes of nibbles at a time: four lanes of 16 codes. Sums of two groups, four entries, fit in a
/// byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn fast_scan(block: &[u8], tables: &[[u8; 16]], sums: &mut [u32; BLOCK_CODES]) {
    let (groups, tables) = groups(block, tables);
    sums.fill(0);
    for (groups, tables) in groups.chunks(GROUPS_MAX).zip(tables.chunks(GROUPS_MAX)) {
        // For each half of the codes: sums of both bytes of a `u16`, and of the upper byte.
        let mut both = [_mm512_setzero_si512(); 2];
        let mut upper = both;
        for (groups, tables) in groups.chunks(2).zip(tables.chunks(2)) {
            let mut entries = [_mm512_setzero_si512(); 2];
            for (group, tables) in groups.iter().zip(tables) {
                let tables = tables.as_flattened();
                let (low, high) = (line(tables), line(&tables[64..]));
                for half in 0..2 {
                    let found = look_up(line(&group[half * GROUP_BYTES / 2..]), low, high);
                    entries[half] = _mm512_add_epi8(entries[half], found);
                }
            }
            for half in 0..2 {
                both[half] = _mm512_add_epi16(both[half], entries[half]);
                upper[half] = _mm512_add_epi16(upper[half], _mm512_srli_epi16::<8>(entries[half]));
            }
        }
        for (half, sums) in sums.as_chunks_mut::<LANE>().0.iter_mut().enumerate() {
            // Sums of upper bytes are those of the odd codes. Without them, the others remain.
            let odd = upper[half];
            let even = _mm512_sub_epi16(both[half], _mm512_slli_epi16::<8>(odd));
            let (even, odd) = (add_lanes_epi16(even), add_lanes_epi16(odd));
            let (low, high) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
            let codes =
                _mm512_cvtepu16_epi32(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high));
            // SAFETY: the array has the 64 bytes that are loaded, and the load needs no alignment.
            let before = unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) };
            let sum = _mm512_add_epi32(before, codes);
            // SAFETY: the array has the 64 bytes that are stored, and the store needs no alignment.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum) }
        }
    }
}

/// The sums of the entries that the low and the high nibbles of some bytes choose.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn look_up(bytes: __m512i, low: __m512i, high: __m512i) -> __m512i {
    let mask = _mm512_set1_epi8(15);
    let (lows, highs) =
        (_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask));
    _mm512_add_epi8(_mm512_shuffle_epi8(low, lows), _mm512_shuffle_epi8(high, highs))
}

/// The first 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn line(bytes: &[u8]) -> __m512i {
    let bytes: &[u8; 64] = bytes.first_chunk().expect("64 bytes");
    // SAFETY: the array has the 64 bytes that are loaded, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_lanes_epi16(sums: __m512i) -> __m128i {
    let sums = _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}
