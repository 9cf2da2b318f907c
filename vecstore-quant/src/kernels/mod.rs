//! The inner loops, chosen once for the machine that the program runs on.
//!
//! [`Kernels`] is a table of functions. [`Kernels::get`] gives the fastest table that this machine can run.
//! It is chosen at run time, so a default build is fast everywhere. [`Kernels::scalar`] is the portable
//! table, against which all others are tested. Kernels only sum. Distances and codecs know what the sums
//! mean.
//!
//! **To add an instruction set:** add a file beside `avx2.rs` with a table, and a line in [`Kernels::get`].
//! The tests must run on a machine that has it.
//!
//! **To add a kernel:** add a field in [`Kernels`], a function in `scalar.rs`, and, if it is faster, one in
//! `avx2.rs`. The tables in these two files do not compile until it is there. Then add a property to the
//! tests below.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
mod records;
mod scalar;

pub use records::{Records, WINDOW};

use half::f16;
use std::sync::OnceLock;

/// Scores some records of a batch. For each point it gives the sum of its code with a query, as `f32`.
///
/// Panics if a point has no record, if a record is too short for the query, or if there are more or fewer
/// sums than points.
pub type Scan<Q> = fn(Records<'_>, points: &[u32], query: &[Q], sums: &mut [f32]);

/// One implementation of every kernel.
///
/// Functions of two slices take slices of one length, and panic if the lengths differ.
///
/// Floating-point kernels may sum in any order. Two tables agree within `2 * n * f32::EPSILON` times the sum
/// of the terms' absolute values. Integer kernels are exact and therefore equal.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// The instructions that this table uses, for reports: `avx2+fma+f16c` or `scalar`.
    pub name: &'static str,
    /// Dot product.
    pub dot_f32: fn(&[f32], &[f32]) -> f32,
    /// Squared Euclidean distance.
    pub l2_f32: fn(&[f32], &[f32]) -> f32,
    /// Dot product of a stored vector of `f16` with a query.
    pub dot_f16: fn(&[f16], &[f32]) -> f32,
    /// Squared Euclidean distance of a stored vector of `f16` to a query.
    pub l2_f16: fn(&[f16], &[f32]) -> f32,
    /// Dot product of a stored vector of `u8` with a query.
    pub dot_u8: fn(&[u8], &[f32]) -> f32,
    /// Squared Euclidean distance of a stored vector of `u8` to a query.
    pub l2_u8: fn(&[u8], &[f32]) -> f32,
    /// Dot product of an int8 code with a query of `i16`, exact if it fits in an `i32`. For that,
    /// [`crate::codecs::ScalarQuery`] keeps the query's components within `±i32::MAX / (128 * n)`.
    pub dot_i8_i16: fn(&[i8], &[i16]) -> i32,
    /// Dot product of two int8 codes, exact up to 131,071 components.
    pub dot_i8_i8: fn(&[i8], &[i8]) -> i32,
    /// `dot_i8_i16` of records. Their codes are as long as the query.
    pub scan_i8: Scan<i16>,
    /// Dot products of codes of 4 bits, in `0..16`, with a query laid out by window (see [`WINDOW`]). They
    /// are exact up to 2^20 components, before the sum becomes an `f32`.
    pub scan_u4: Scan<i8>,
    /// The same for codes of 2 bits, in `0..4`.
    pub scan_u2: Scan<i8>,
    /// The same for codes of 1 bit, 0 or 1.
    pub scan_u1: Scan<i8>,
    /// The sum of one table entry for each byte of a code. Each byte has its own table.
    pub scan_tables: Scan<[f32; 256]>,
    /// The Walsh-Hadamard transform in place, not normalised. The length is a power of two, and others panic.
    /// It only adds and subtracts, in one order. So all tables give equal results, to the last bit.
    pub hadamard: fn(&mut [f32]),
}

impl Kernels {
    /// The fastest table this machine can run. Decided at the first call.
    #[must_use]
    pub fn get() -> &'static Self {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            if let Some(kernels) = avx2::kernels() {
                return kernels;
            }
            scalar::KERNELS
        })
    }

    /// The portable table, which runs on every machine. It is the reference in tests.
    #[must_use]
    pub fn scalar() -> &'static Self {
        &scalar::KERNELS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The largest length in these tests. It crosses every block size of the kernels many times.
    const LEN_MAX: usize = 300;

    /// A sum in `f64`, and the tolerance that [`Kernels`] promises.
    fn sum(terms: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut value, mut magnitude, mut count) = (0.0, 0.0, 0);
        for term in terms {
            value += term;
            magnitude += term.abs();
            count += 1;
        }
        (value, f64::from(f32::EPSILON) * magnitude * (f64::from(count) + 2.0))
    }

    fn naive_dot<A: Copy + Into<f64>>(a: &[A], b: &[f32]) -> (f64, f64) {
        sum(a.iter().zip(b).map(|(&a, &b)| a.into() * f64::from(b)))
    }

    /// The difference is rounded to `f32` before it is squared. So the tolerance has more than one epsilon a
    /// term.
    fn naive_l2<A: Copy + Into<f64>>(a: &[A], b: &[f32]) -> (f64, f64) {
        sum(a.iter().zip(b).map(|(&a, &b)| (a.into() - f64::from(b)).powi(2)))
    }

    #[track_caller]
    fn near(found: f32, (expected, tolerance): (f64, f64)) {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= tolerance + 1e-30, "{found} is not within {tolerance:e} of {expected}");
    }

    fn check_floats(floats: &[f32], halves: &[f16], bytes: &[u8], query: &[f32]) {
        for kernels in [Kernels::get(), Kernels::scalar()] {
            near((kernels.dot_f32)(floats, query), naive_dot(floats, query));
            near((kernels.l2_f32)(floats, query), naive_l2(floats, query));
            near((kernels.dot_f16)(halves, query), naive_dot(halves, query));
            near((kernels.l2_f16)(halves, query), naive_l2(halves, query));
            near((kernels.dot_u8)(bytes, query), naive_dot(bytes, query));
            near((kernels.l2_u8)(bytes, query), naive_l2(bytes, query));
        }
    }

    fn naive_integer<A: Copy + Into<i64>, B: Copy + Into<i64>>(a: &[A], b: &[B]) -> i32 {
        let sum: i64 = a.iter().zip(b).map(|(&a, &b)| a.into() * b.into()).sum();
        sum.try_into().expect("the case stays within the promise")
    }

    fn check_integers(codes: &[i8], other: &[i8], query: &[i16]) {
        for kernels in [Kernels::get(), Kernels::scalar()] {
            assert_eq!((kernels.dot_i8_i16)(codes, query), naive_integer(codes, query));
            assert_eq!((kernels.dot_i8_i8)(codes, other), naive_integer(codes, other));
        }
    }

    /// A number from -1 to 1 that depends on the index. Every length is tried with the same numbers.
    fn wave(index: usize) -> f32 {
        ((index * 7919) % 2003) as f32 / 1001.0 - 1.0
    }

    #[test]
    fn every_length_agrees_with_the_naive_sum() {
        for len in 0..=LEN_MAX {
            let floats: Vec<f32> = (0..len).map(wave).collect();
            let halves: Vec<f16> = (0..len).map(|i| f16::from_f32(wave(i + 5))).collect();
            let bytes: Vec<u8> = (0..len).map(|i| (i * 37 % 256) as u8).collect();
            let query: Vec<f32> = (0..len).map(|i| wave(i * 3 + 1)).collect();
            check_floats(&floats, &halves, &bytes, &query);
            let codes: Vec<i8> = (0..len).map(|i| (i * 91 % 256) as u8 as i8).collect();
            let other: Vec<i8> = (0..len).map(|i| (i * 53 % 256) as u8 as i8).collect();
            let query: Vec<i16> = (0..len).map(|i| (i * 40_503 % 65_536) as u16 as i16).collect();
            check_integers(&codes, &other, &query);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn floats_agree_with_the_naive_sum(
            rows in vec((-1e3f32..1e3, -1e3f32..1e3, any::<u8>(), -1e3f32..1e3), 0..=LEN_MAX)
        ) {
            let floats: Vec<f32> = rows.iter().map(|row| row.0).collect();
            let halves: Vec<f16> = rows.iter().map(|row| f16::from_f32(row.1)).collect();
            let bytes: Vec<u8> = rows.iter().map(|row| row.2).collect();
            let query: Vec<f32> = rows.iter().map(|row| row.3).collect();
            check_floats(&floats, &halves, &bytes, &query);
        }

        #[test]
        fn integers_are_exact(
            rows in vec((any::<i8>(), any::<i8>(), any::<i16>()), 0..=LEN_MAX)
        ) {
            let codes: Vec<i8> = rows.iter().map(|row| row.0).collect();
            let other: Vec<i8> = rows.iter().map(|row| row.1).collect();
            let query: Vec<i16> = rows.iter().map(|row| row.2).collect();
            check_integers(&codes, &other, &query);
        }
    }

    /// The sum as [`WINDOW`] defines it, one window after the other.
    fn naive_packed(record: &[u8], skip: usize, query: &[i8], bits: usize) -> i64 {
        let mut sum = 0;
        for (index, planes) in query.chunks(WINDOW * 8 / bits).enumerate() {
            let start = (skip + index * WINDOW).min(record.len() - WINDOW);
            for (at, &factor) in planes.iter().enumerate() {
                let byte = record[start + at % WINDOW];
                let component = (byte >> (at / WINDOW * bits)) % (1 << bits);
                sum += i64::from(component) * i64::from(factor);
            }
        }
        sum
    }

    /// Scans records of random or extreme bytes, in an order that is not theirs.
    fn check_scans(seed: u64, skip: usize, code_len: usize, extreme: bool) {
        let mut random = crate::random::SplitMix64::new(seed, code_len as u64);
        let mut byte = move || if extreme { 0xFF } else { random.next_u64() as u8 };
        let (stride, count) = ((skip + code_len).max(WINDOW), 20);
        let bytes: Vec<u8> = (0..count * stride).map(|_| byte()).collect();
        let records = Records { bytes: &bytes, stride, skip };
        let points: Vec<u32> =
            (0..count as u32).map(|point| point * 7 % count as u32).chain([3, 3]).collect();
        let record = |point: u32| &bytes[point as usize * stride..][..stride];
        let code = |point: u32| &record(point)[skip..][..code_len];
        let mut sums = vec![f32::NAN; points.len()];
        for kernels in [Kernels::get(), Kernels::scalar()] {
            for (bits, scan) in [(4, kernels.scan_u4), (2, kernels.scan_u2), (1, kernels.scan_u1)] {
                let len = code_len.div_ceil(WINDOW) * WINDOW * 8 / bits;
                let query: Vec<i8> = (0..len).map(|_| if extreme { i8::MIN } else { byte() as i8 }).collect();
                scan(records, &points, &query, &mut sums);
                for (&point, &sum) in points.iter().zip(&sums) {
                    assert_eq!(sum, naive_packed(record(point), skip, &query, bits) as f32, "{bits} bits");
                }
            }
            let query: Vec<i16> = (0..code_len).map(|_| i16::from(byte() as i8) * 200).collect();
            (kernels.scan_i8)(records, &points, &query, &mut sums);
            for (&point, &sum) in points.iter().zip(&sums) {
                let code: Vec<i8> = code(point).iter().map(|&byte| byte as i8).collect();
                assert_eq!(sum, naive_integer(&code, &query) as f32);
            }
            let tables: Vec<[f32; 256]> =
                (0..code_len).map(|at| std::array::from_fn(|i| wave(at * 256 + i))).collect();
            (kernels.scan_tables)(records, &points, &tables, &mut sums);
            for (&point, &found) in points.iter().zip(&sums) {
                let entries = code(point).iter().zip(&tables);
                near(found, sum(entries.map(|(&byte, table)| f64::from(table[usize::from(byte)]))));
            }
        }
    }

    #[test]
    fn scans_of_every_length_agree_with_the_naive_sum() {
        for code_len in 1..=LEN_MAX {
            check_scans(1, code_len % 13, code_len, false);
            check_scans(2, 12, code_len, true);
        }
        check_scans(3, 12, 32_768, true);
    }

    #[test]
    fn scans_refuse_what_does_not_fit() {
        let bytes = [0; 3 * 40];
        let records = Records { bytes: &bytes, stride: 40, skip: 12 };
        for kernels in [Kernels::get(), Kernels::scalar()] {
            let refused = |points: &[u32], query: &[i8], sums: usize| {
                let scan = || (kernels.scan_u2)(records, points, query, &mut vec![0.0; sums]);
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(scan)).is_err()
            };
            assert!(!refused(&[2, 0], &[0; 128], 2));
            assert!(refused(&[3], &[0; 128], 1), "no such record");
            assert!(refused(&[0, 1], &[0; 128], 3), "more sums than points");
            assert!(refused(&[0], &[0; 96], 1), "planes of no whole window");
            assert!(refused(&[0], &[0; 384], 1), "a query for longer records");
        }
    }

    #[test]
    fn hadamard_is_the_matrix_product_and_equal_everywhere() {
        for len in (0..12).map(|log| 1usize << log) {
            let vector: Vec<f32> = (0..len).map(wave).collect();
            let [mut fast, mut portable] = [vector.clone(), vector.clone()];
            (Kernels::get().hadamard)(&mut fast);
            (Kernels::scalar().hadamard)(&mut portable);
            assert_eq!(fast, portable);
            // Sylvester's matrix: the sign is the parity of the bits that row and column share.
            for (row, &found) in fast.iter().enumerate().step_by(1 + len / 64) {
                let signed = |(column, &x): (usize, &f32)| {
                    if (row & column).count_ones() % 2 == 0 { f64::from(x) } else { -f64::from(x) }
                };
                near(found, sum(vector.iter().enumerate().map(signed)));
            }
        }
        for kernels in [Kernels::get(), Kernels::scalar()] {
            for len in [0, 3, 12, 24, 100] {
                let transform = || (kernels.hadamard)(&mut vec![0.0; len]);
                assert!(std::panic::catch_unwind(transform).is_err(), "{len} components");
            }
        }
    }

    #[test]
    fn the_extremes_of_the_integers_do_not_saturate() {
        for len in [1, 16, 17, 31, 300, 500] {
            let query = vec![i16::MIN; len];
            check_integers(&vec![i8::MIN; len], &vec![i8::MIN; len], &query);
            check_integers(&vec![i8::MAX; len], &vec![i8::MIN; len], &query);
        }
        let longest = 131_071;
        for kernels in [Kernels::get(), Kernels::scalar()] {
            let code = vec![i8::MIN; longest];
            assert_eq!((kernels.dot_i8_i8)(&code, &code), 131_071 * 16_384);
        }
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        for kernels in [Kernels::get(), Kernels::scalar()] {
            for (a, b) in [(3, 4), (64, 32), (40, 41)] {
                let refused =
                    |call: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err();
                assert!(refused(&|| assert!((kernels.dot_f32)(&vec![0.0; a], &vec![0.0; b]) > 0 as _)));
                assert!(refused(&|| assert!((kernels.l2_u8)(&vec![0; a], &vec![0.0; b]) > 0 as _)));
                assert!(refused(&|| assert!((kernels.dot_i8_i16)(&vec![0; a], &vec![0; b]) > 0 as _)));
            }
        }
    }
}
