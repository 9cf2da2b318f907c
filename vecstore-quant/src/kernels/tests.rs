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
    for kernels in Kernels::all() {
        near((kernels.dot_f32)(floats, query), naive_dot(floats, query));
        near((kernels.l2_f32)(floats, query), naive_l2(floats, query));
        near((kernels.dot_f16)(halves, query), naive_dot(halves, query));
        near((kernels.l2_f16)(halves, query), naive_l2(halves, query));
        near((kernels.dot_u8)(bytes, query), naive_dot(bytes, query));
        near((kernels.l2_u8)(bytes, query), naive_l2(bytes, query));
        let expected = float_results(Kernels::scalar(), floats, halves, bytes, query);
        assert_eq!(float_results(&kernels, floats, halves, bytes, query), expected, "{}", kernels.name);
    }
}

/// What floating-point kernels give, as bits.
fn float_results(kernels: &Kernels, floats: &[f32], halves: &[f16], bytes: &[u8], query: &[f32]) -> [u32; 6] {
    [
        (kernels.dot_f32)(floats, query),
        (kernels.l2_f32)(floats, query),
        (kernels.dot_f16)(halves, query),
        (kernels.l2_f16)(halves, query),
        (kernels.dot_u8)(bytes, query),
        (kernels.l2_u8)(bytes, query),
    ]
    .map(f32::to_bits)
}

fn naive_integer<A: Copy + Into<i64>, B: Copy + Into<i64>>(a: &[A], b: &[B]) -> i32 {
    let sum: i64 = a.iter().zip(b).map(|(&a, &b)| a.into() * b.into()).sum();
    sum.try_into().expect("the case stays within the promise")
}

fn check_integers(codes: &[i8], other: &[i8], query: &[i16]) {
    for kernels in Kernels::all() {
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
    let points: Vec<u32> = (0..count as u32).map(|point| point * 7 % count as u32).chain([3, 3]).collect();
    let record = |point: u32| &bytes[point as usize * stride..][..stride];
    let code = |point: u32| &record(point)[skip..][..code_len];
    let mut sums = vec![f32::NAN; points.len()];
    for kernels in Kernels::all() {
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
        let mut portable = vec![f32::NAN; points.len()];
        (Kernels::scalar().scan_tables)(records, &points, &tables, &mut portable);
        (kernels.scan_tables)(records, &points, &tables, &mut sums);
        assert_eq!(sums, portable, "{}", kernels.name);
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
    for kernels in Kernels::all() {
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
    for kernels in Kernels::all() {
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
    for kernels in Kernels::all() {
        let code = vec![i8::MIN; longest];
        assert_eq!((kernels.dot_i8_i8)(&code, &code), 131_071 * 16_384);
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    for kernels in Kernels::all() {
        for (a, b) in [(3, 4), (64, 32), (40, 41)] {
            let refused =
                |call: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err();
            assert!(refused(&|| assert!((kernels.dot_f32)(&vec![0.0; a], &vec![0.0; b]) > 0 as _)));
            assert!(refused(&|| assert!((kernels.l2_u8)(&vec![0; a], &vec![0.0; b]) > 0 as _)));
            assert!(refused(&|| assert!((kernels.dot_i8_i16)(&vec![0; a], &vec![0; b]) > 0 as _)));
        }
    }
}

/// A block of random codes, the tables of a query, and the sums that the definition gives.
fn block_of(nibbles: usize, mut random: impl FnMut() -> u8) -> (Vec<u8>, Vec<[u8; 16]>, [u32; BLOCK_CODES]) {
    let table = |random: &mut dyn FnMut() -> u8| std::array::from_fn(|_| random() % (TABLE_MAX + 1));
    let tables: Vec<[u8; 16]> =
        (0..nibbles.next_multiple_of(GROUP_NIBBLES)).map(|_| table(&mut random)).collect();
    let (mut block, mut sums) = (vec![0; block_bytes(nibbles)], [0; BLOCK_CODES]);
    for (code, sum) in sums.iter_mut().enumerate() {
        for (nibble, table) in tables.iter().enumerate() {
            let value = random() % 16;
            put_nibble(&mut block, code, nibble, value);
            *sum += u32::from(table[usize::from(value)]);
        }
    }
    (block, tables, sums)
}

#[test]
fn blocks_of_every_length_have_the_sums_of_their_entries() {
    let mut random = crate::random::SplitMix64::new(4, 0);
    for nibbles in (0..=LEN_MAX).chain([2048]) {
        let (block, tables, expected) = block_of(nibbles, || random.next_u64() as u8);
        for kernels in Kernels::all() {
            let mut sums = [u32::MAX; BLOCK_CODES];
            (kernels.fast_scan)(&block, &tables, &mut sums);
            assert_eq!(sums, expected, "{nibbles} nibbles, {}", kernels.name);
        }
    }
}

/// More entries, all of the largest, than a kernel can add to a `u16`.
#[test]
fn sums_of_blocks_do_not_overflow() {
    let nibbles = 3 * usize::from(u16::MAX) / usize::from(TABLE_MAX);
    let (block, tables, expected) = block_of(nibbles, || u8::MAX);
    let largest = nibbles.next_multiple_of(GROUP_NIBBLES) as u32 * u32::from(TABLE_MAX);
    assert_eq!(expected, [largest; BLOCK_CODES]);
    for kernels in Kernels::all() {
        let mut sums = [0; BLOCK_CODES];
        (kernels.fast_scan)(&block, &tables, &mut sums);
        assert_eq!(sums, expected, "{}", kernels.name);
    }
}

#[test]
fn scores_of_blocks_are_the_same_everywhere() {
    let mut random = crate::random::SplitMix64::new(9, 0);
    for round in 0..50 {
        let mut numbers = || std::array::from_fn(|_| (random.normal() * 3.0).to_le_bytes());
        let (mut factors, constants): ([[u8; 4]; BLOCK_CODES], [[u8; 4]; BLOCK_CODES]) =
            (numbers(), numbers());
        if round % 5 == 0 {
            factors[7] = f32::NAN.to_le_bytes();
            factors[31] = f32::INFINITY.to_le_bytes();
        }
        let sums: [u32; BLOCK_CODES] = std::array::from_fn(|code| (code * 977 % 65_536) as u32 * 40);
        let line = Line { start: 0.5, along: 0.75, step: 1e-4, base: -1.5 };
        for threshold in [f32::NEG_INFINITY, -0.5, 0.25, f32::INFINITY] {
            for kernels in Kernels::all() {
                let mut scores = [0.0; BLOCK_CODES];
                let above = (kernels.weigh)(&line, &factors, &constants, &sums, threshold, &mut scores);
                for code in 0..BLOCK_CODES {
                    let number = |bytes: [u8; 4]| f64::from(f32::from_le_bytes(bytes));
                    let of_query = f64::from(line.step) * f64::from(sums[code]) - 1.5;
                    let expected = 0.5 + 0.75 * number(constants[code]) + number(factors[code]) * of_query;
                    let score = f64::from(scores[code]);
                    assert!(
                        (score - expected).abs() <= 1e-5 * (1.0 + expected.abs())
                            || score == expected
                            || score.is_nan() && expected.is_nan(),
                        "{score} for {expected}"
                    );
                    assert_eq!(above >> code & 1 == 1, scores[code] > threshold, "{}", kernels.name);
                }
                let mut portable = [0.0; BLOCK_CODES];
                (Kernels::scalar().weigh)(&line, &factors, &constants, &sums, threshold, &mut portable);
                let same = scores.iter().zip(&portable).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same, "{}", kernels.name);
            }
        }
    }
}

#[test]
fn blocks_refuse_what_does_not_fit() {
    for kernels in Kernels::all() {
        let refused = |bytes: usize, tables: usize| {
            let scan = || (kernels.fast_scan)(&vec![0; bytes], &vec![[0; 16]; tables], &mut [0; BLOCK_CODES]);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(scan)).is_err()
        };
        assert!(!refused(2 * GROUP_BYTES, 16));
        assert!(refused(2 * GROUP_BYTES, 8), "fewer tables");
        assert!(refused(2 * GROUP_BYTES, 15), "no whole group of tables");
        assert!(refused(2 * GROUP_BYTES + 1, 16), "no whole group of bytes");
    }
}
