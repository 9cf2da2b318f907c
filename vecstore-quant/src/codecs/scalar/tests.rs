use super::codes::{CodesError, ScalarCodes};
use super::encode::{DIM_MAX, ScalarParams, encode_into};
use super::query::{ScalarQuery, query_step_max};
use super::scores::CodeScores;
use crate::distance::Distance;
use crate::kernels::Kernels;
use proptest::collection::vec;
use proptest::prelude::*;

fn codes_of(vectors: &[f32], dim: usize) -> ScalarCodes {
    let mut codes = ScalarCodes::new(dim).unwrap();
    codes.extend(vectors);
    codes
}

fn decode(codes: &ScalarCodes, point: u32) -> Vec<f32> {
    let mut vector = vec![f32::NAN; codes.dim()];
    codes.decode_into(point, &mut vector);
    vector
}

/// The score in `f64`, term by term, and a magnitude that the errors of rounding are relative to.
fn naive(distance: Distance, a: &[f32], b: &[f32]) -> (f64, f64) {
    let pairs = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let magnitude = pairs.clone().map(|(a, b)| a * a + b * b).sum();
    let score = match distance {
        Distance::Cosine | Distance::Dot => pairs.map(|(a, b)| a * b).sum(),
        Distance::Euclid => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
    };
    (score, magnitude)
}

#[test]
fn a_code_is_what_the_definition_says() {
    let mut code = [0; 4];
    let params = encode_into(&[0.0, 255.0, 1.4, 100.6], &mut code);
    assert_eq!(code, [-128, 127, -127, -27]);
    let mean = (255.0 + 1.0 + 101.0) / 4.0;
    let deviations = [0.0, 255.0, 1.0, 101.0].map(|x: f32| (x - mean) * (x - mean));
    let deviation_sq = deviations.iter().sum();
    assert_eq!(params, ScalarParams { scale: 1.0, offset: 128.0, mean, deviation_sq });
}

#[test]
fn vectors_without_a_range_have_codes() {
    for value in [0.0f32, -3.5, 1e-45, f32::MAX] {
        let codes = codes_of(&[value; 5], 5);
        let params = ScalarParams { scale: 0.0, offset: value, mean: value, deviation_sq: 0.0 };
        assert_eq!((codes.code(0), codes.params()), (&[0; 5][..], &[params][..]));
        assert_eq!(decode(&codes, 0), [value; 5]);
    }
    // The step of the smallest range is zero, so it counts as no range.
    assert_eq!(codes_of(&[0.0, 1e-45], 2).params()[0].scale, 0.0);
    let zero = codes_of(&[0.0; 3], 3);
    for distance in [Distance::Cosine, Distance::Dot] {
        let query = ScalarQuery::new(distance, &[1.0, 2.0, -7.0]);
        assert_eq!(query.score(zero.code(0), &zero.params()[0]), 0.0);
    }
    let query = ScalarQuery::new(Distance::Euclid, &[0.0; 3]);
    assert_eq!(query.score(zero.code(0), &zero.params()[0]), 0.0);
}

#[test]
fn the_widest_range_is_encoded() {
    let codes = codes_of(&[f32::MIN, f32::MAX, 0.0], 3);
    assert_eq!(codes.code(0), [-128, 127, 0]);
    assert!(decode(&codes, 0).iter().all(|x| x.is_finite()));
}

/// Each component of code and query is at the end of its range. So the integer sum is as large as it
/// gets.
#[test]
fn sums_fit_at_every_dimension() {
    for dim in [1, 2, 100, 511, 512, 513, 4096, 65_519, DIM_MAX] {
        let vector: Vec<f32> = (0..dim).map(|i| if i % 2 == 0 { -1.0 } else { 1.0 }).collect();
        let opposite: Vec<f32> = vector.iter().map(|x| -x).collect();
        let codes = codes_of(&vector, dim);
        let decoded = decode(&codes, 0);
        for query in [&vector, &opposite] {
            for distance in Distance::ALL {
                let found = ScalarQuery::new(distance, query).score(codes.code(0), &codes.params()[0]);
                let (expected, magnitude) = naive(distance, query, &decoded);
                let error = (f64::from(found) - expected).abs();
                assert!(error <= 1e-4 * magnitude, "{distance}, dim {dim}: {found}, not {expected}");
            }
        }
    }
    assert_eq!((query_step_max(1), query_step_max(512), query_step_max(DIM_MAX)), (i16::MAX, 32_767, 256));
    assert_eq!(query_step_max(513), 32_704);
}

/// A big offset common to all components must not drown the distances.
#[test]
fn euclid_survives_an_offset() {
    let near: Vec<f32> = (0..64).map(|i| 1000.0 + (i % 7) as f32 * 0.01).collect();
    let far: Vec<f32> = (0..64).map(|i| 1000.0 + (i % 5) as f32 * 0.01).collect();
    let query = ScalarQuery::new(Distance::Euclid, &near);
    let codes = codes_of(&[near.clone(), far.clone()].concat(), 64);
    let mut scores = [0.0; 2];
    query.score_many(&codes, &[0, 1], &mut scores);
    let (expected, _) = naive(Distance::Euclid, &near, &far);
    assert!(scores[0] > -1e-4, "{scores:?}");
    assert!((f64::from(scores[1]) / expected - 1.0).abs() < 0.05, "{scores:?}, {expected}");
}

#[test]
fn wrong_parts_are_refused() {
    let params = vec![ScalarParams::default(); 2];
    let from = |dim, bytes| ScalarCodes::from_parts(dim, vec![0; bytes], params.clone());
    assert_eq!(from(0, 0), Err(CodesError::Dimension { dim: 0 }));
    assert_eq!(from(DIM_MAX + 1, 0), Err(CodesError::Dimension { dim: DIM_MAX + 1 }));
    assert_eq!(from(3, 5), Err(CodesError::Length { dim: 3, points: 2, bytes: 5 }));
    let codes = from(3, 6).unwrap();
    assert_eq!((codes.len(), codes.dim(), codes.is_empty()), (2, 3, false));
    let again = ScalarCodes::from_parts(3, codes.codes().to_vec(), codes.params().to_vec());
    assert_eq!(again, Ok(codes));
    assert!(ScalarCodes::new(1).unwrap().is_empty());
}

#[test]
fn encoding_in_pieces_is_encoding_at_once() {
    let vectors: Vec<f32> = (0..7 * 300).map(|i| ((i * 7919) % 1009) as f32 - 500.0).collect();
    let whole = codes_of(&vectors, 7);
    let mut pieces = ScalarCodes::new(7).unwrap();
    pieces.reserve_exact(300);
    for piece in vectors.chunks(7 * 11) {
        pieces.extend(piece);
    }
    assert_eq!(pieces, whole);
}

proptest! {
    #[test]
    fn no_component_is_off_by_more_than_half_a_step(
        vector in vec(-100f32..100.0, 1..200),
    ) {
        let codes = codes_of(&vector, vector.len());
        let half_step = codes.params()[0].scale * 0.5;
        for (x, decoded) in vector.iter().zip(decode(&codes, 0)) {
            prop_assert!((x - decoded).abs() <= half_step + 1e-4, "{x} became {decoded}");
        }
    }

    /// The three terms give the score of the decoded vector.
    #[test]
    fn scores_are_those_of_the_decoded_vectors(
        rows in vec((-1f32..1.0, -1f32..1.0, -1f32..1.0), 1..200),
        shift in -3f32..3.0,
    ) {
        let dim = rows.len();
        let query: Vec<f32> = rows.iter().map(|row| row.0 - shift).collect();
        let a: Vec<f32> = rows.iter().map(|row| row.1 + shift).collect();
        let b: Vec<f32> = rows.iter().map(|row| row.2).collect();
        let codes = codes_of(&[a, b].concat(), dim);
        let (a, b) = (decode(&codes, 0), decode(&codes, 1));
        for distance in Distance::ALL {
            let mut scores = [0.0; 3];
            ScalarQuery::new(distance, &query).score_many(&codes, &[1, 0], &mut scores);
            let mut portable = [0.0; 2];
            ScalarQuery::with_kernels(Kernels::scalar(), distance, &query)
                .score_many(&codes, &[1, 0], &mut portable);
            prop_assert_eq!(&scores[..2], &portable[..]);
            scores[2] = CodeScores::new(distance, &codes).score(0, 1);
            prop_assert_eq!(scores[2], CodeScores::new(distance, &codes).score(1, 0));
            for (found, (x, y)) in scores.into_iter().zip([(&query, &b), (&query, &a), (&a, &b)]) {
                let (expected, magnitude) = naive(distance, x, y);
                let error = (f64::from(found) - expected).abs();
                prop_assert!(error <= 2e-4 * magnitude + 1e-6, "{}: {} not {}", distance, found, expected);
            }
        }
    }
}

#[test]
fn points_of_other_codes_score_as_those_of_the_same() {
    let vectors: Vec<f32> = (0..70).map(|at| (at * 37 % 71) as f32 - 30.0).collect();
    let all = codes_of(&vectors, 7);
    let (some, others) = (codes_of(&vectors[..28], 7), codes_of(&vectors[28..], 7));
    for distance in Distance::ALL {
        let mut scores = [0.0; 6];
        CodeScores::new(distance, &some).score_others(2, &others, &[0, 1, 2, 3, 4, 5], &mut scores);
        let expected = [4, 5, 6, 7, 8, 9].map(|other| CodeScores::new(distance, &all).score(2, other));
        assert_eq!(scores, expected, "{distance}");
    }
}
