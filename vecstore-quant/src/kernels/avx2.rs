//! The kernels for x86-64 with AVX2, FMA and F16C, as every server and desktop since 2013 has.
//!
//! The `unsafe` here is of two kinds. Loads and stores take an array of exactly the size that is moved. The
//! table calls code compiled for these instructions, and is handed out only after they were detected.
//!
//! If the length of an integer code is no multiple of the block, one more block is read, which overlaps the
//! last one. A mask removes what was summed already. Only codes shorter than a block take a scalar loop.
//! Packed codes need neither (see [`WINDOW`]).

use super::blocks::{BLOCK_CODES, GROUPS_MAX, LANE, LANES, Line, groups};
use super::records::windows;
use super::scan::scan;
use super::{Kernels, Records, WINDOW, scalar};
use half::f16;
use std::arch::x86_64::*;

/// The table, if this machine has the instructions.
pub(super) fn kernels() -> Option<Kernels> {
    let detected = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    detected.then_some(KERNELS)
}

/// Private to this file, since only [`kernels`] may give it out.
const KERNELS: Kernels = Kernels {
    name: "avx2+fma+f16c",
    // SAFETY: the table is given out only where AVX2, FMA and F16C were detected.
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
    scan_tables: |records, points, tables, sums| unsafe { scan_tables(records, points, tables, sums) },
    // SAFETY: as above.
    fast_scan: |block, tables, sums| unsafe { fast_scan(block, tables, sums) },
    // SAFETY: as above.
    weigh: |line, factors, constants, sums, threshold, scores| unsafe {
        weigh(line, factors, constants, sums, threshold, scores)
    },
    // SAFETY: as above.
    hadamard: |vector| unsafe { hadamard(vector) },
};

/// `f32` in one register.
const FLOATS: usize = 8;
/// Registers summed side by side, which hides the latency of an addition.
const ACCUMULATORS: usize = 4;
/// `i16` in one register.
const SHORTS: usize = 16;

/// A component that can be widened to `f32`, a register at a time.
trait Widen: Copy + Default {
    /// # Safety
    ///
    /// The machine has AVX2 and F16C.
    unsafe fn widen(block: &[Self; FLOATS]) -> __m256;
}

impl Widen for f32 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m256 {
        // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
        unsafe { _mm256_loadu_ps(block.as_ptr()) }
    }
}

impl Widen for f16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m256 {
        // SAFETY: the array has the 16 bytes that are loaded, and the load needs no alignment.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
    }
}

impl Widen for u8 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn widen(block: &[Self; FLOATS]) -> __m256 {
        let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(*block));
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
    }
}

/// The dot product, or the squared distance if `SQUARED_DISTANCE`. The rest is filled up with zeros, which
/// change no sum.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum<T: Widen, const SQUARED_DISTANCE: bool>(a: &[T], b: &[f32]) -> f32 {
    const { assert!(ACCUMULATORS * FLOATS == scalar::PARTS) }
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<FLOATS>();
    let (b_blocks, b_rest) = b.as_chunks::<FLOATS>();
    let (a_rounds, a_blocks) = a_blocks.as_chunks::<ACCUMULATORS>();
    let (b_rounds, b_blocks) = b_blocks.as_chunks::<ACCUMULATORS>();
    let mut sums = [_mm256_setzero_ps(); ACCUMULATORS];
    for (a, b) in a_rounds.iter().zip(b_rounds) {
        for part in 0..ACCUMULATORS {
            sums[part] = add_term::<T, SQUARED_DISTANCE>(sums[part], &a[part], &b[part]);
        }
    }
    for (part, (a, b)) in a_blocks.iter().zip(b_blocks).enumerate() {
        sums[part] = add_term::<T, SQUARED_DISTANCE>(sums[part], a, b);
    }
    if !a_rest.is_empty() {
        let part = a_blocks.len();
        sums[part] = add_term::<T, SQUARED_DISTANCE>(sums[part], &filled(a_rest), &filled(b_rest));
    }
    total(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])))
}

/// The sum of eight numbers, in the order of all tables.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn total(sums: __m256) -> f32 {
    let halves = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
    let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
    _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
}

/// Components, and zeros behind them.
#[inline]
fn filled<T: Copy + Default>(rest: &[T]) -> [T; FLOATS] {
    let mut block = [T::default(); FLOATS];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Multiplies and adds one after the other. An instruction that does both would round once, and differ from
/// other tables.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_term<T: Widen, const SQUARED_DISTANCE: bool>(
    sum: __m256,
    a: &[T; FLOATS],
    b: &[f32; FLOATS],
) -> __m256 {
    // SAFETY: this function has AVX2 and F16C.
    let a = unsafe { T::widen(a) };
    // SAFETY: this function has AVX2.
    let b = unsafe { f32::widen(b) };
    let (a, b) = if SQUARED_DISTANCE {
        let difference = _mm256_sub_ps(a, b);
        (difference, difference)
    } else {
        (a, b)
    };
    _mm256_add_ps(sum, _mm256_mul_ps(a, b))
}

/// All bits set in the last `count` of `COMPONENTS` components, each of `BITS` bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn last_components<const COMPONENTS: usize, const BITS: usize>(count: usize) -> __m256i {
    /// A register of zeros, then a register of ones: a window into it is the mask.
    const WINDOW: [u8; 64] = {
        let mut bytes = [0; 64];
        let mut index = 32;
        while index < 64 {
            bytes[index] = u8::MAX;
            index += 1;
        }
        bytes
    };
    const { assert!(COMPONENTS * BITS == 256) }
    let window: &[u8; 32] = WINDOW[count * BITS / 8..].first_chunk().expect("at most all components");
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

/// A component that can be widened to `i16`, a register at a time.
trait Shorts: Copy + Into<i32> {
    /// # Safety
    ///
    /// The machine has AVX2.
    unsafe fn widen(block: &[Self; SHORTS]) -> __m256i;
}

impl Shorts for i8 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn widen(block: &[Self; SHORTS]) -> __m256i {
        // SAFETY: the array has the 16 bytes that are loaded, and the load needs no alignment.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
    }
}

impl Shorts for i16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn widen(block: &[Self; SHORTS]) -> __m256i {
        // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
    }
}

/// The exact dot product. `madd` multiplies `i16` and adds neighbours into `i32`, so nothing saturates.
/// `maddubs` is twice as wide, but would saturate for codes of more than 7 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_integers<B: Shorts>(a: &[i8], b: &[B]) -> i32 {
    assert_eq!(a.len(), b.len(), "vectors of one dimension");
    let (a_blocks, a_rest) = a.as_chunks::<SHORTS>();
    let (b_blocks, b_rest) = b.as_chunks::<SHORTS>();
    let (a_pairs, a_blocks) = a_blocks.as_chunks::<2>();
    let (b_pairs, b_blocks) = b_blocks.as_chunks::<2>();
    let mut sums = [_mm256_setzero_si256(); 2];
    for (a, b) in a_pairs.iter().zip(b_pairs) {
        for part in 0..2 {
            // SAFETY: this function has AVX2.
            let a = unsafe { i8::widen(&a[part]) };
            // SAFETY: this function has AVX2.
            let b = unsafe { B::widen(&b[part]) };
            sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(a, b));
        }
    }
    if let ([a], [b]) = (a_blocks, b_blocks) {
        // SAFETY: this function has AVX2.
        let a = unsafe { i8::widen(a) };
        // SAFETY: this function has AVX2.
        let b = unsafe { B::widen(b) };
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, b));
    }
    let mut rest = 0i32;
    if let (false, Some(a), Some(b)) = (a_rest.is_empty(), a.last_chunk(), b.last_chunk()) {
        // SAFETY: this function has AVX2.
        let a = unsafe { i8::widen(a) };
        // SAFETY: this function has AVX2.
        let b = unsafe { B::widen(b) };
        let a = _mm256_and_si256(a, last_components::<SHORTS, 16>(a_rest.len()));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(a, b));
    } else {
        for (&a, &b) in a_rest.iter().zip(b_rest) {
            rest = rest.wrapping_add(i32::from(a) * b.into());
        }
    }
    horizontal_sum(_mm256_add_epi32(sums[0], sums[1])).wrapping_add(rest)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn horizontal_sum(sums: __m256i) -> i32 {
    let halves = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b_01_00_11_10>(halves));
    let total = _mm_add_epi32(pairs, _mm_shuffle_epi32::<0b_00_00_00_01>(pairs));
    _mm_cvtsi128_si32(total)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scan_i8(records: Records<'_>, points: &[u32], query: &[i16], sums: &mut [f32]) {
    scan(records, points, sums, |point| {
        dot_integers(bytemuck::cast_slice(records.code(point, query.len())), query) as f32
    });
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scan_tables(records: Records<'_>, points: &[u32], tables: &[[f32; 256]], sums: &mut [f32]) {
    scan(records, points, sums, |point| scalar::sum_tables(records.code(point, tables.len()), tables));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scan_packed<const BITS: usize>(records: Records<'_>, points: &[u32], query: &[i8], sums: &mut [f32]) {
    let (planes, rest) = query.as_chunks::<WINDOW>();
    let per_window = 8 / BITS;
    assert!(rest.is_empty() && planes.len().is_multiple_of(per_window), "a query of whole windows");
    scan(records, points, sums, |point| {
        let (whole, last) = windows(records.get(point), records.skip, planes.len() / per_window);
        let mut planes = planes.chunks_exact(per_window);
        let mut sum = _mm256_setzero_si256();
        // A term of `maddubs` is at most 2 * 15 * 128, and a window of such codes has 2 planes. So four
        // windows fit in an `i16`.
        for windows in whole.chunks(4) {
            let mut shorts = _mm256_setzero_si256();
            for (window, planes) in windows.iter().zip(&mut planes) {
                shorts = add_window::<BITS>(shorts, window, planes);
            }
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(shorts, _mm256_set1_epi16(1)));
        }
        if let (Some(window), Some(planes)) = (last, planes.next()) {
            let shorts = add_window::<BITS>(_mm256_setzero_si256(), window, planes);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(shorts, _mm256_set1_epi16(1)));
        }
        horizontal_sum(sum) as f32
    });
}

/// Multiplies a window's components with their planes, and adds neighbouring products to `i16` sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_window<const BITS: usize>(
    mut sum: __m256i,
    window: &[u8; WINDOW],
    planes: &[[i8; WINDOW]],
) -> __m256i {
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    let mut bytes = unsafe { _mm256_loadu_si256(window.as_ptr().cast()) };
    let mask = _mm256_set1_epi8((1 << BITS) - 1);
    for plane in planes {
        // SAFETY: as above.
        let query = unsafe { _mm256_loadu_si256(plane.as_ptr().cast()) };
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_and_si256(bytes, mask), query));
        // Bits that come from the neighbouring byte are masked away.
        bytes = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(BITS as i32));
    }
    sum
}

/// Looks up 32 bytes of nibbles at a time: two lanes of 16 codes. Sums of four entries fit in a byte.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fast_scan(block: &[u8], tables: &[[u8; 16]], sums: &mut [u32; BLOCK_CODES]) {
    let (groups, tables) = groups(block, tables);
    sums.fill(0);
    for (groups, tables) in groups.chunks(GROUPS_MAX).zip(tables.chunks(GROUPS_MAX)) {
        // For each half of the codes: sums of both bytes of a `u16`, and of the upper byte.
        let mut both = [_mm256_setzero_si256(); 2];
        let mut upper = both;
        for (group, tables) in groups.iter().zip(tables) {
            let tables = tables.as_flattened();
            let table = |at: usize| load(&tables[at * 32..]);
            let tables = [table(0), table(1), table(2), table(3)];
            for half in 0..2 {
                let lanes = &group[half * LANES * LANE..];
                let entries = _mm256_add_epi8(
                    look_up(load(lanes), tables[0], tables[2]),
                    look_up(load(&lanes[32..]), tables[1], tables[3]),
                );
                both[half] = _mm256_add_epi16(both[half], entries);
                upper[half] = _mm256_add_epi16(upper[half], _mm256_srli_epi16::<8>(entries));
            }
        }
        for (half, sums) in sums.chunks_exact_mut(LANE).enumerate() {
            // Sums of upper bytes are those of the odd codes. Without them, the others remain.
            let odd = upper[half];
            let even = _mm256_sub_epi16(both[half], _mm256_slli_epi16::<8>(odd));
            let even = add_halves_epi16(even);
            let odd = add_halves_epi16(odd);
            let codes = [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)];
            for (codes, sums) in codes.into_iter().zip(sums.as_chunks_mut::<8>().0) {
                add_wide(sums, _mm256_cvtepu16_epi32(codes));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn weigh(
    line: &Line,
    factors: &[[u8; 4]; BLOCK_CODES],
    constants: &[[u8; 4]; BLOCK_CODES],
    sums: &[u32; BLOCK_CODES],
    threshold: f32,
    scores: &mut [f32; BLOCK_CODES],
) -> u32 {
    let (start, along) = (_mm256_set1_ps(line.start), _mm256_set1_ps(line.along));
    let (step, base) = (_mm256_set1_ps(line.step), _mm256_set1_ps(line.base));
    let threshold = _mm256_set1_ps(threshold);
    let floats = |numbers: &[[u8; 4]]| _mm256_castsi256_ps(load(numbers.as_flattened()));
    let mut above = 0;
    for (part, scores) in scores.as_chunks_mut::<FLOATS>().0.iter_mut().enumerate() {
        let at = part * FLOATS;
        let sums = load(bytemuck::cast_slice(&sums[at..at + FLOATS]));
        let of_query = _mm256_add_ps(_mm256_mul_ps(step, _mm256_cvtepi32_ps(sums)), base);
        let of_query = _mm256_mul_ps(floats(&factors[at..at + FLOATS]), of_query);
        let of_node = _mm256_mul_ps(along, floats(&constants[at..at + FLOATS]));
        let score = _mm256_add_ps(start, _mm256_add_ps(of_node, of_query));
        let is_above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(score, threshold));
        above |= (is_above as u32) << at;
        store(scores, score);
    }
    above
}

/// The sums of the entries that the low and the high nibbles of some bytes choose.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn look_up(bytes: __m256i, low: __m256i, high: __m256i) -> __m256i {
    let mask = _mm256_set1_epi8(15);
    let (lows, highs) =
        (_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask));
    _mm256_add_epi8(_mm256_shuffle_epi8(low, lows), _mm256_shuffle_epi8(high, highs))
}

/// The first 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(bytes: &[u8]) -> __m256i {
    let bytes: &[u8; 32] = bytes.first_chunk().expect("32 bytes");
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_halves_epi16(sums: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_wide(sums: &mut [u32; FLOATS], more: __m256i) {
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    let sum = _mm256_add_epi32(unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }, more);
    // SAFETY: the array has the 32 bytes that are stored, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn hadamard(vector: &mut [f32]) {
    let (blocks, rest) = vector.as_chunks_mut::<FLOATS>();
    if !rest.is_empty() || !blocks.len().is_power_of_two() {
        return (scalar::KERNELS.hadamard)(vector);
    }
    for block in &mut *blocks {
        // SAFETY: this function has AVX2.
        let x = unsafe { f32::widen(block) };
        // Combines each component with its neighbour at distance 1, 2 and 4. The blend takes the second
        // argument for the later component of a pair.
        let other = _mm256_permute_ps::<0b_10_11_00_01>(x);
        let x = _mm256_blend_ps::<0b_1010_1010>(_mm256_add_ps(x, other), _mm256_sub_ps(other, x));
        let other = _mm256_permute_ps::<0b_01_00_11_10>(x);
        let x = _mm256_blend_ps::<0b_1100_1100>(_mm256_add_ps(x, other), _mm256_sub_ps(other, x));
        let other = _mm256_permute2f128_ps::<1>(x, x);
        let x = _mm256_blend_ps::<0b_1111_0000>(_mm256_add_ps(x, other), _mm256_sub_ps(other, x));
        store(block, x);
    }
    let mut half = 1;
    while half < blocks.len() {
        for pair in blocks.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                // SAFETY: this function has AVX2.
                let x = unsafe { f32::widen(a) };
                // SAFETY: this function has AVX2.
                let y = unsafe { f32::widen(b) };
                store(a, _mm256_add_ps(x, y));
                store(b, _mm256_sub_ps(x, y));
            }
        }
        half *= 2;
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(block: &mut [f32; FLOATS], x: __m256) {
    // SAFETY: the array has the 32 bytes that are stored, and the store needs no alignment.
    unsafe { _mm256_storeu_ps(block.as_mut_ptr(), x) }
}
