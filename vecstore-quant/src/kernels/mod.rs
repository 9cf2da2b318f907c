//! The inner loops, chosen once for the machine that the program runs on.
//!
//! [`Kernels`] is a table of functions. [`Kernels::get`] gives the fastest table that this machine can run.
//! It is chosen at run time, so a default build is fast everywhere. [`Kernels::scalar`] is the portable
//! table, against which all others are tested. Kernels only sum. Distances and codecs know what the sums
//! mean.
//!
//! **To add an instruction set:** add a file beside `avx2.rs` with a table, and a line in [`Kernels::all`].
//! The tests must run on a machine that has it. A table may take functions from another one.
//!
//! **To add a kernel:** add a field in [`Kernels`], a function in `scalar.rs`, and, if it is faster, one in
//! `avx2.rs`. The tables in these two files do not compile until it is there. Then add a property to
//! `tests.rs`.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod blocks;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod records;
mod scalar;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod scan;
#[cfg(test)]
mod tests;

pub use blocks::{
    BLOCK_CODES, FastScan, GROUP_BYTES, GROUP_NIBBLES, Line, TABLE_MAX, Weigh, block_bytes, put_nibble,
};
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
/// All tables give equal results, to the last bit. Floating-point kernels sum in one order, and round after
/// each step. Integer kernels are exact.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// The instructions that this table uses, for reports: `avx512`, `avx2+fma+f16c`, `neon` or `scalar`.
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
    /// The sums of a block of codes, by the tables of a query.
    pub fast_scan: FastScan,
    /// Turns the sums of a block into scores, and compares them with a threshold.
    pub weigh: Weigh,
    /// The Walsh-Hadamard transform in place, not normalised. The length is a power of two, and others panic.
    /// It only adds and subtracts, in one order. So all tables give equal results, to the last bit.
    pub hadamard: fn(&mut [f32]),
}

/// Asks the processor to fetch bytes that will be read soon, from front to back. Does nothing where there is
/// no way to ask.
///
/// It asks for the first lines only. The processor sees how bytes are read, and fetches the rest by itself.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    const FIRST_BYTES: usize = 2048;
    #[cfg(target_arch = "x86_64")]
    scan::fetch_all(bytes.as_ptr(), bytes.len().min(FIRST_BYTES));
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, FIRST_BYTES);
}

impl Kernels {
    /// The fastest table this machine can run. Decided at the first call.
    #[must_use]
    pub fn get() -> &'static Self {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        BEST.get_or_init(|| *Self::all().last().expect("the portable table"))
    }

    /// Every table this machine can run, the fastest last.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        all.extend([avx2::kernels(), avx512::kernels()].into_iter().flatten());
        #[cfg(target_arch = "aarch64")]
        all.push(neon::KERNELS);
        all
    }

    /// The portable table, which runs on every machine. It is the reference in tests.
    #[must_use]
    pub fn scalar() -> &'static Self {
        &scalar::KERNELS
    }
}
