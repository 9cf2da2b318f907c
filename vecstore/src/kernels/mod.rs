//! The inner loops, chosen once for the machine the program runs on.
//!
//! [`Kernels`] is a table of functions. [`Kernels::get`] gives the fastest one this machine can run and is decided at
//! run time, so a default build is fast everywhere; [`Kernels::scalar`] is the portable one every other is tested
//! against. Kernels only sum: what the sums mean is left to [`crate::distance`] and [`crate::quantization`].
//!
//! **To add a kernel:** a field in [`Kernels`], a function in `scalar.rs`, and, where it pays, one in `avx2.rs`; the
//! tables in these two files do not compile until it is there. Then a property in the tests below.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
mod scalar;

use half::f16;
use std::sync::OnceLock;

/// One implementation of every kernel.
///
/// Every function takes two slices of one length and panics when the lengths differ.
///
/// Floating-point kernels may sum in any order: two tables agree within `2 * n * f32::EPSILON` times the sum of the
/// terms' absolute values. Integer kernels are exact and therefore equal.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Which instructions this table uses, for reports: `avx2+fma+f16c` or `scalar`.
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
    /// Dot product of an int8 code with a query of `i16`, exact as long as it fits an `i32`: the query's components stay
    /// within `±i32::MAX / (128 * n)`, which [`crate::quantization::ScalarQuery`] sees to.
    pub dot_i8_i16: fn(&[i8], &[i16]) -> i32,
    /// Dot product of two int8 codes, exact up to 131,071 components.
    pub dot_i8_i8: fn(&[i8], &[i8]) -> i32,
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

    /// The portable table, which runs on every machine: the reference in tests.
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

    /// Largest vector in these tests: crosses every block size of the kernels many times.
    const LEN_MAX: usize = 300;

    /// The value and the tolerance the table of kernels promises, from a sum in f64.
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

    /// The difference itself is rounded to f32 before it is squared: hence the epsilons beyond one a term.
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

    /// A number from -1 to 1 that changes with the index: every length is tried with the same ones.
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
