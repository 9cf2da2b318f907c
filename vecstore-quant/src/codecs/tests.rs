//! Tests of what every codec promises. Scores are compared with those of the vectors that the records stand
//! for, decoded from the bytes in `f64`.

use super::rotation::Rotation;
use super::*;
use crate::distance::OriginalScorer;
use crate::random::SplitMix64;
use proptest::collection::vec;
use proptest::prelude::*;

const METHODS: [Quantization; 10] = [
    Quantization::Int8,
    Quantization::Int8Global { quantile: Quantile::DEFAULT },
    Quantization::Int4,
    Quantization::Product { compression: Compression::X4 },
    Quantization::Product { compression: Compression::X16 },
    Quantization::Product { compression: Compression::X64 },
    Quantization::Binary,
    Quantization::Rotated4,
    Quantization::Rotated2,
    Quantization::Rotated1,
];

/// Trains for as many vectors as the sample has.
fn train(method: Quantization, distance: Distance, dim: usize, sample: &[f32], seed: u64) -> Box<dyn Codec> {
    super::train(method, distance, dim, sample, sample.len() / dim, seed)
}

/// Vectors around a mean that is not 0, prepared.
fn vectors(distance: Distance, dim: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed, 0);
    let mut vectors: Vec<f32> =
        (0..count * dim).map(|at| random.normal() + (at % dim % 3) as f32 * 0.3).collect();
    vectors.chunks_exact_mut(dim).for_each(|vector| distance.prepare(vector));
    vectors
}

fn encode(codec: &dyn Codec, vectors: &[f32]) -> Vec<u8> {
    let len = codec.record_bytes();
    // The bytes are not zero, so a byte that encoding leaves out shows.
    let mut records = vec![0xEE; vectors.len() / codec.dim() * len];
    for (vector, record) in vectors.chunks_exact(codec.dim()).zip(records.chunks_exact_mut(len)) {
        codec.encode(vector, record);
    }
    records
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn wide(vector: &[f32]) -> Vec<f64> {
    vector.iter().copied().map(f64::from).collect()
}

fn exact(distance: Distance, query: &[f64], vector: &[f64]) -> f64 {
    match distance {
        Distance::Cosine | Distance::Dot => dot(query, vector),
        Distance::Euclid => -query.iter().zip(vector).map(|(q, x)| (q - x) * (q - x)).sum::<f64>(),
    }
}

/// The floats of a model or of parameters.
fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect()
}

/// The levels of a packed code, bit by bit.
fn levels(code: &[u8], bits: usize, dim: usize) -> Vec<f64> {
    let bit = |at: usize| f64::from(code[at / 8] >> (at % 8) & 1);
    (0..dim).map(|at| (0..bits).map(|b| bit(at * bits + b) * f64::from(1 << b)).sum()).collect()
}

/// The seed of a rotated code's model, the mean, and the further centres.
fn seed_and_means(model: &[u8], dim: usize) -> (u64, Vec<Vec<f64>>) {
    let (mean, further) = model[8..].split_at(4 * dim);
    let further = further.get(8..).unwrap_or_default();
    let means = [mean].into_iter().chain(further.chunks_exact(4 * dim)).map(floats);
    (u64::from_le_bytes(model[..8].try_into().unwrap()), means.collect())
}

/// The number of a rotated code's centre.
fn centre(record: &[u8], means: &[Vec<f64>]) -> usize {
    if means.len() == 1 { 0 } else { usize::from(u16::from_le_bytes(record[8..10].try_into().unwrap())) }
}

/// Rotates a vector, after extending it by zeros to this dimension.
fn rotate(dim: usize, seed: u64, vector: &[f64]) -> Vec<f64> {
    let norm = dot(vector, vector).sqrt();
    let mut unit: Vec<f32> = vector.iter().map(|x| (x / norm) as f32).collect();
    unit.resize(dim, 0.0);
    Rotation::new(dim, seed).apply(&mut unit);
    unit.into_iter().map(|x| f64::from(x) * norm).collect()
}

/// The score, by definition, of the vector that a record stands for. The query is not rounded.
fn reference(method: Quantization, distance: Distance, model: &[u8], query: &[f64], record: &[u8]) -> f64 {
    let dim = query.len();
    let relative = |mean: &[f64]| -> Vec<f64> { query.iter().zip(mean).map(|(q, c)| q - c).collect() };
    // Adds up the query's own part, the record's own part, and the dot product of the residuals.
    let joined = |mean: &[f64], own: f64, residual_dot: f64| match distance {
        Distance::Cosine | Distance::Dot => dot(query, mean) + own + residual_dot,
        Distance::Euclid => own + 2.0 * residual_dot - dot(&relative(mean), &relative(mean)),
    };
    let rotated = |bits: usize| {
        let (seed, means) = seed_and_means(model, dim);
        let params = floats(&record[..8]);
        let (mean, centre) = (&means[0], &means[centre(record, &means)]);
        let half = f64::from((1 << bits) - 1) / 2.0;
        let dim = (record.len() - 12) * 8 / bits;
        let grid: Vec<f64> =
            levels(&record[12..], bits, dim).iter().map(|level| (level - half) * params[0]).collect();
        // The record's own part is relative to the centre. It already allows for the query's residual, which
        // is relative to the mean.
        joined(centre, params[1], dot(&rotate(dim, seed, &relative(mean)), &grid))
    };
    match method {
        Quantization::Int8 => {
            let (params, code) = (floats(&record[..16]), &record[16..]);
            let decoded: Vec<f64> =
                code.iter().map(|&byte| params[1] + params[0] * f64::from(byte as i8)).collect();
            exact(distance, query, &decoded)
        }
        Quantization::Int8Global { .. } => {
            let (model, code) = (floats(model), &record[record.len() - dim..]);
            let decoded: Vec<f64> =
                code.iter().map(|&byte| model[0] + model[1] * f64::from(byte as i8)).collect();
            exact(distance, query, &decoded)
        }
        Quantization::Int4 => {
            let (mean, params) = (floats(model), floats(&record[..12]));
            let decoded: Vec<f64> =
                levels(&record[12..], 4, dim).iter().map(|level| params[1] + params[0] * level).collect();
            joined(&mean, params[2], dot(&relative(&mean), &decoded))
        }
        Quantization::Product { compression } => {
            let (model, width) = (floats(model), u32::from(compression) as usize / 4);
            let decoded: Vec<f64> =
                (0..dim).map(|at| model[at * 256 + usize::from(record[at / width])]).collect();
            exact(distance, query, &decoded)
        }
        Quantization::Binary => {
            let model = floats(model);
            let size = model[0] / (dim as f64).sqrt();
            let decoded: Vec<f64> =
                levels(record, 1, dim).iter().map(|level| (level * 2.0 - 1.0) * size).collect();
            joined(&model[2..], model[1], dot(&relative(&model[2..]), &decoded))
        }
        Quantization::Rotated4 => rotated(4),
        Quantization::Rotated2 => rotated(2),
        Quantization::Rotated1 => rotated(1),
    }
}

/// Scores differ from the definition only by the rounding of the query. Each component is off by half a 127th
/// of the largest one at most. These errors have either sign, so they add up like a random walk.
#[test]
fn scores_are_those_of_what_records_stand_for() {
    for distance in Distance::ALL {
        for dim in [1, 3, 31, 100, 384] {
            let (sample, queries) = (vectors(distance, dim, 300, 1), vectors(distance, dim, 5, 2));
            for method in METHODS {
                let codec = train(method, distance, dim, &sample, 7);
                let (records, model) = (encode(codec.as_ref(), &sample), codec.model());
                assert_eq!(codec.model_bytes(), model.len());
                for query in queries.chunks_exact(dim) {
                    let scorer = codec.query(query);
                    let points: Vec<u32> = (0..300).rev().collect();
                    let mut scores = vec![f32::NAN; 301];
                    scorer.score_many(&records, &points, &mut scores);
                    assert!(scores[300].is_nan(), "only the scores of points are written");
                    let query = wide(query);
                    for (&point, &score) in points.iter().zip(&scores) {
                        let record =
                            &records[point as usize * codec.record_bytes()..][..codec.record_bytes()];
                        assert_eq!(scorer.score(record), score);
                        let expected = reference(method, distance, &model, &query, record);
                        let vector = wide(&sample[point as usize * dim..][..dim]);
                        let size = (dot(&query, &query) + dot(&vector, &vector)).max(1e-3);
                        let tolerance = match method {
                            Quantization::Int8
                            | Quantization::Int8Global { .. }
                            | Quantization::Product { .. } => 2e-4,
                            _ => 0.02,
                        };
                        assert!(
                            (f64::from(score) - expected).abs() <= tolerance * size,
                            "{method:?}, {distance}, dimension {dim}: {score}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// In the codecs with a correction, the dot product of the decoded residual with the residual itself is
/// exact.
#[test]
fn corrected_codes_are_exact_along_the_vector() {
    let dim = 100;
    let sample = vectors(Distance::Euclid, dim, 200, 3);
    for method in [Quantization::Int4, Quantization::Rotated4, Quantization::Rotated2, Quantization::Rotated1]
    {
        let codec = train(method, Distance::Euclid, dim, &sample, 7);
        let (model, records) = (codec.model(), encode(codec.as_ref(), &sample));
        let means =
            if method == Quantization::Int4 { vec![floats(&model)] } else { seed_and_means(&model, dim).1 };
        for (vector, record) in sample.chunks_exact(dim).zip(records.chunks_exact(codec.record_bytes())) {
            let vector = wide(vector);
            let centre = &means[centre(record, &means)];
            let residual = vector.iter().zip(centre).map(|(x, c)| (x - c) * (x - c));
            let residual_sq: f64 = residual.sum();
            let found = reference(method, Distance::Euclid, &model, &vector, record);
            assert!(found.abs() <= 1e-5 * residual_sq, "{method:?}: a distance of {found} to itself");
        }
    }
}

/// Compares the errors of scores with those that the papers or the definitions give.
#[test]
fn errors_are_as_small_as_the_codes_allow() {
    let dim = 128;
    let (sample, queries) = (vectors(Distance::Cosine, dim, 2000, 1), vectors(Distance::Cosine, dim, 50, 2));
    // Standard deviations relative to the norms of the residuals. A rounding error is uniform over a step.
    // Codes of a normal variable have mean squared errors of 0.0115 with 16 levels, 0.1188 with 4, and 0.3634
    // with 2 (Max 1960). That is the squared sine. Scores are off by the tangent over the root of the
    // dimension that fills the record.
    let deviation = |distortion: f64, dim: f64| (distortion / (1.0 - distortion) / dim).sqrt();
    for (method, expected) in [
        // The range of 128 normal numbers is 5.2 standard deviations on average.
        // One standard deviation is 1 / sqrt(128).
        (Quantization::Int8, 5.2 / 255.0 / 12f64.sqrt() / (dim as f64).sqrt()),
        (Quantization::Int4, 5.2 / 15.0 / 12f64.sqrt() / (dim as f64).sqrt()),
        (Quantization::Rotated4, deviation(0.0115, 136.0)),
        (Quantization::Rotated2, deviation(0.1188, 144.0)),
        (Quantization::Rotated1, deviation(0.3634, 160.0)),
    ] {
        let codec = train(method, Distance::Cosine, dim, &sample, 7);
        let (records, len) = (encode(codec.as_ref(), &sample), codec.record_bytes());
        let (mut sum, mut sum_sq, mut count) = (0.0, 0.0, 0.0);
        for query in queries.chunks_exact(dim) {
            let scorer = codec.query(query);
            for (vector, record) in sample.chunks_exact(dim).zip(records.chunks_exact(len)) {
                let error = f64::from(scorer.score(record)) - dot(&wide(query), &wide(vector));
                sum += error;
                sum_sq += error * error;
                count += 1.0;
            }
        }
        let (bias, found) = (sum / count, (sum_sq / count).sqrt());
        assert!(found <= expected * 1.1, "{method:?}: {found}, more than {expected}");
        assert!(bias.abs() < 0.1 * expected, "{method:?}: biased by {bias} of {expected}");
    }
}

/// The vectors are normal, sparse, or have one large component.
#[test]
fn bounds_are_kept_by_as_many_as_they_say() {
    for dim in [5, 48, 100, 256] {
        let normal = vectors(Distance::Euclid, dim, 1500, 1);
        let sparse: Vec<f32> =
            normal.iter().enumerate().map(|(at, &x)| if at % 7 == 0 { x } else { 0.0 }).collect();
        let uneven: Vec<f32> =
            normal.iter().enumerate().map(|(at, &x)| if at % dim == 2 { x * 30.0 } else { x }).collect();
        for (name, all) in [("normal", normal), ("sparse", sparse), ("uneven", uneven)] {
            if name == "sparse" && dim < 20 {
                continue; // Copies of a few vectors, which share their errors.
            }
            for distance in Distance::ALL {
                let mut all = all.clone();
                all.chunks_exact_mut(dim).for_each(|vector| distance.prepare(vector));
                let (queries, sample) = all.split_at(100 * dim);
                for method in [
                    Quantization::Int8,
                    Quantization::Rotated4,
                    Quantization::Rotated2,
                    Quantization::Rotated1,
                ] {
                    let (mut beyond, mut count, mut sum) = (0, 0, 0.0);
                    // With one seed, vectors of few directions share their errors.
                    for seed in 0..if dim < 20 { 5 } else { 1 } {
                        let codec = train(method, distance, dim, sample, seed);
                        let (records, len) = (encode(codec.as_ref(), sample), codec.record_bytes());
                        for query in queries.chunks_exact(dim) {
                            let (scorer, query) = (codec.query(query), wide(query));
                            for (vector, record) in sample.chunks_exact(dim).zip(records.chunks_exact(len)) {
                                let score = scorer.score(record);
                                let bound = f64::from(scorer.bound(record, score).unwrap());
                                let error = (f64::from(score) - exact(distance, &query, &wide(vector))).abs();
                                assert!(bound.is_finite());
                                beyond += usize::from(error > bound);
                                // Both are 0 if the vector is its centre and orthogonal to the query.
                                sum += if bound > 0.0 { error / bound } else { 0.0 };
                                count += 1;
                            }
                        }
                    }
                    let what = format!("{name}, {distance}, {method:?}, dimension {dim}");
                    let allowed = if method == Quantization::Int8 { 0.0 } else { 1.0 - CONFIDENCE };
                    let part = beyond as f64 / f64::from(count);
                    assert!(part <= allowed, "{what}: {} % are beyond the bound", part * 100.0);
                    // A bound that is far too large would hold too. A normal error is 0.8 deviations on
                    // average.
                    let used = sum / f64::from(count);
                    assert!(
                        method == Quantization::Int8 || dim < 20 || used > 0.15,
                        "{what}: {used} of the bound"
                    );
                }
            }
        }
    }
    for method in
        [Quantization::Int4, Quantization::Binary, Quantization::Product { compression: Compression::X4 }]
    {
        let codec = train(method, Distance::Dot, 4, &[1.0; 8], 7);
        let record = encode(codec.as_ref(), &[1.0; 4]);
        assert_eq!(codec.query(&[1.0; 4]).bound(&record, 4.0), None);
    }
}

/// The bound proves the order of scores that [`OriginalScorer`] gives, with all that it rounds.
#[test]
fn the_bound_of_int8_allows_for_the_rounding_of_scores_of_vectors() {
    let mut random = SplitMix64::new(21, 0);
    let mut smallest = f32::INFINITY;
    for dim in [1, 3, 40, 4096, 65_520] {
        for (offset, spread) in [(0.0, 1.0), (0.37, 0.0), (100.0, 1e-3), (1.0, 0.2)] {
            for size in [3e-15f32, 1.0, 1e13] {
                let mut vector = || -> Vec<f32> {
                    let length = size / (dim as f32).sqrt();
                    (0..dim).map(|_| length * (offset + spread * random.normal())).collect()
                };
                let (query, vector) = (vector(), vector());
                for distance in Distance::ALL {
                    let prepared = |vector: &[f32]| {
                        let mut vector = vector.to_vec();
                        distance.prepare(&mut vector);
                        vector
                    };
                    let codec = train(Quantization::Int8, distance, dim, &[], 0);
                    let mut record = vec![0; codec.record_bytes()];
                    codec.encode(&prepared(&vector), &mut record);
                    let scorer = codec.query(&prepared(&query));
                    let score = scorer.score(&record);
                    let bound = scorer.bound(&record, score).unwrap();
                    let of_vector = OriginalScorer::new(distance, &query).score_f32(&vector);
                    let error = (f64::from(score) - f64::from(of_vector)).abs();
                    let what = format!("{distance}, {dim} x ({offset} + {spread}) x {size}");
                    assert!(error <= f64::from(bound), "{what}: {error} is beyond {bound}");
                    smallest = smallest.min(bound / score.abs());
                }
            }
        }
    }
    // Bounds that are far too large would hold too.
    assert!(smallest < 1e-4, "{smallest}");
}

/// From vectors whose squares vanish to vectors whose squares overflow.
#[test]
fn the_bound_of_int8_holds_for_vectors_of_any_length() {
    let mut random = SplitMix64::new(9, 0);
    let mut finite = 0;
    for dim in [1, 3, 40] {
        let mut vector = |exponent: i32| -> Vec<f32> {
            let size = 10f64.powi(exponent);
            (0..dim).map(|_| (size * f64::from(random.normal())) as f32).collect()
        };
        for (of_query, of_vector) in
            (-42..20).flat_map(|one| [(one, one), (one, one - 2), (one, 0), (0, one)])
        {
            for distance in Distance::ALL {
                let codec = train(Quantization::Int8, distance, dim, &[], 0);
                for _ in 0..20 {
                    let (mut query, mut vector) = (vector(of_query), vector(of_vector));
                    distance.prepare(&mut query);
                    distance.prepare(&mut vector);
                    let (scorer, record) = (codec.query(&query), encode(codec.as_ref(), &vector));
                    let score = scorer.score(&record);
                    let bound = f64::from(scorer.bound(&record, score).unwrap());
                    let error = (f64::from(score) - exact(distance, &wide(&query), &wide(&vector))).abs();
                    let what = format!("{distance}, 1e{of_query} and 1e{of_vector}, {dim} components");
                    assert!(bound.is_infinite() || error <= bound, "{what}: {error:e} beyond {bound:e}");
                    finite += usize::from(bound.is_finite());
                }
            }
        }
    }
    assert!(finite > 20_000, "{finite} finite bounds");
}

/// Vectors in clusters are coded relative to the middle of their cluster. A score is then off by a part of
/// the residuals of vector and query, not of their lengths. Centres take no more memory than the codes
/// justify.
#[test]
fn codes_are_relative_to_the_nearest_centre() {
    let (dim, clusters, each, spread) = (96, 20, 200, 0.2);
    let mut random = SplitMix64::new(5, 0);
    let middles: Vec<f32> = (0..clusters * dim).map(|_| random.normal()).collect();
    let mut around = |count: usize| -> Vec<f32> {
        let all = middles.chunks_exact(dim).flat_map(|middle| middle.iter().cycle().take(count * dim));
        all.map(|x| x + spread * random.normal()).collect()
    };
    let (sample, queries) = (around(each), around(2));
    for distance in [Distance::Dot, Distance::Euclid] {
        for (method, bits, distortion) in [
            (Quantization::Rotated4, 4, 0.0115),
            (Quantization::Rotated2, 2, 0.1188),
            (Quantization::Rotated1, 1, 0.3634),
        ] {
            let errors = |codec: &dyn Codec| {
                let (records, len) = (encode(codec, &sample), codec.record_bytes());
                let (mut sum_sq, mut count) = (0.0, 0.0);
                for (index, query) in queries.chunks_exact(dim).enumerate() {
                    let own = index / 2 * each..(index / 2 + 1) * each;
                    let scorer = codec.query(query);
                    for point in own {
                        let vector = &sample[point * dim..][..dim];
                        let found = scorer.score(&records[point * len..][..len]);
                        sum_sq += (f64::from(found) - exact(distance, &wide(query), &wide(vector))).powi(2);
                        count += 1.0;
                    }
                }
                f64::sqrt(sum_sq / count)
            };
            let vectors = 5 * clusters * each;
            let codec = super::train(method, distance, dim, &sample, vectors, 7);
            let len = codec.record_bytes();
            assert!(codec.model_bytes() <= 16 + 4 * dim + vectors * len / 16);
            // Vector and query each differ from the middle by the spread.
            let weight = if distance == Distance::Euclid { 2.0 } else { 1.0 };
            let filled = ((len - 12) * 8 / bits) as f64;
            let expected =
                f64::from(spread * spread) * dim as f64 * (distortion / (1.0 - distortion) / filled).sqrt();
            let found = errors(codec.as_ref());
            assert!(found <= 1.25 * weight * expected, "{method:?}, {distance}: {found}, not {expected}");
            let alone = super::train(method, distance, dim, &sample, 0, 7);
            assert_eq!(alone.model_bytes(), 8 + 4 * dim, "few vectors have the mean alone");
            assert!(errors(alone.as_ref()) > 5.0 * found);
        }
    }
}

/// Each of these vectors is a grid point. Only the rounding of the query is left, and the bound allows for
/// it.
#[test]
fn vectors_on_the_grid_are_off_by_the_query_alone() {
    let (dim, seed) = (160, 7);
    let codec = train(Quantization::Rotated1, Distance::Dot, dim, &[], seed);
    let rotation = Rotation::new(dim, seed);
    let images: Vec<Vec<f32>> = (0..dim)
        .map(|axis| {
            let mut image = vec![0.0; dim];
            image[axis] = 1.0;
            rotation.apply(&mut image);
            image
        })
        .collect();
    let mut random = SplitMix64::new(1, 0);
    let (mut beyond, mut count) = (0, 0);
    for _ in 0..40 {
        let signs: Vec<f64> = (0..dim).map(|_| if random.below(2) == 0 { 1.0 } else { -1.0 }).collect();
        let vector: Vec<f32> = images.iter().map(|image| dot(&wide(image), &signs) as f32).collect();
        let record = encode(codec.as_ref(), &vector);
        for query in vectors(Distance::Cosine, dim, 50, random.next_u64()).chunks_exact(dim) {
            let scorer = codec.query(query);
            let score = scorer.score(&record);
            let bound = scorer.bound(&record, score).unwrap();
            let error = (f64::from(score) - dot(&wide(query), &wide(&vector))).abs();
            // The bound is three standard deviations of half a 127th of a component, which is at most 4.
            assert!(bound < 3.0 * 4.0 / 127.0, "a bound of {bound}");
            beyond += usize::from(error > f64::from(bound));
            count += 1;
        }
    }
    assert!(f64::from(beyond as u32) <= (1.0 - CONFIDENCE) * f64::from(count), "{beyond} of {count}");
}

/// A search by codes that scores the best candidates again finds about as much as the definition of the codes
/// would.
#[test]
fn recall_is_that_of_the_definition() {
    let (dim, count, limit) = (64, 1500, 10);
    let (sample, queries) = (vectors(Distance::Cosine, dim, count, 1), vectors(Distance::Cosine, dim, 40, 2));
    let best = |scores: &[f64], wanted: usize| {
        let mut points: Vec<usize> = (0..count).collect();
        points.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        points.truncate(wanted);
        points
    };
    for method in METHODS {
        let codec = train(method, Distance::Cosine, dim, &sample, 7);
        let (model, records, len) = (codec.model(), encode(codec.as_ref(), &sample), codec.record_bytes());
        let (mut found, mut expected) = (0, 0);
        for query in queries.chunks_exact(dim) {
            let (scorer, query) = (codec.query(query), wide(query));
            let exact: Vec<f64> = sample.chunks_exact(dim).map(|vector| dot(&query, &wide(vector))).collect();
            let truth = best(&exact, limit);
            let hits = |score: &dyn Fn(&[u8]) -> f64| {
                let scores: Vec<f64> = records.chunks_exact(len).map(score).collect();
                best(&scores, 2 * limit).iter().filter(|point| truth.contains(point)).count()
            };
            found += hits(&|record| f64::from(scorer.score(record)));
            expected += hits(&|record| reference(method, Distance::Cosine, &model, &query, record));
        }
        let total = (40 * limit) as f64;
        let (found, expected) = (f64::from(found as u32) / total, f64::from(expected as u32) / total);
        assert!(found >= expected - 0.02, "{method:?}: {found}, by definition {expected}");
    }
}

#[test]
fn product_codes_are_the_nearest_centroids() {
    let dim = 10;
    let sample = vectors(Distance::Euclid, dim, 3000, 1);
    for (compression, parts) in [(Compression::X8, 5), (Compression::X16, 3), (Compression::X64, 1)] {
        let codec = train(Quantization::Product { compression }, Distance::Euclid, dim, &sample, 7);
        assert_eq!(codec.record_bytes(), parts);
        let (centroids, width) = (floats(&codec.model()), u32::from(compression) as usize / 4);
        let (mut error, mut spread) = (0.0, 0.0);
        for vector in sample.chunks_exact(dim) {
            let mut record = vec![0; parts];
            codec.encode(vector, &mut record);
            for (part, &byte) in record.iter().enumerate() {
                let components = part * width..dim.min((part + 1) * width);
                let to = |centroid: usize| -> f64 {
                    components
                        .clone()
                        .map(|at| (f64::from(vector[at]) - centroids[at * 256 + centroid]).powi(2))
                        .sum()
                };
                let nearest = (0..256).map(to).fold(f64::MAX, f64::min);
                assert!(to(usize::from(byte)) <= nearest + 1e-5);
                error += nearest;
                spread += components.map(|at| f64::from(vector[at]).powi(2)).sum::<f64>();
            }
        }
        // No code beats the rate-distortion bound. For a normal source with `8 / width` bits a component, it
        // is 4^-bits of the variance. A trained code comes within a few times of it.
        let bits = 8.0 / width.min(dim) as f64;
        let ratio = error / spread * 4f64.powf(bits);
        assert!(ratio < 2.5, "{compression:?}: {ratio} times the least error there could be");
    }
}

#[test]
fn models_come_back_from_bytes() {
    for distance in Distance::ALL {
        for method in METHODS {
            let dim = 37;
            let sample = vectors(distance, dim, 300, 5);
            let codec = train(method, distance, dim, &sample, 11);
            let model = codec.model();
            let again = from_model(method, distance, dim, &model).unwrap();
            assert_eq!((again.model(), again.dim(), again.model_bytes()), (model.clone(), dim, model.len()));
            let records = encode(codec.as_ref(), &sample);
            assert_eq!(encode(again.as_ref(), &sample), records);
            let record = &records[..codec.record_bytes()];
            let score = codec.query(&sample[..dim]).score(record);
            assert_eq!(again.query(&sample[..dim]).score(record), score);
            assert_eq!(train(method, distance, dim, &sample, 11).model(), model, "training is deterministic");

            let longer = [&model[..], &[0]].concat();
            let refused = |bytes: &[u8]| from_model(method, distance, dim, bytes).unwrap_err();
            assert_eq!(
                refused(&longer),
                ModelError::Length { dim, expected: model.len(), bytes: model.len() + 1 }
            );
            if let Some((_, shorter)) = model.split_last() {
                assert!(
                    matches!(refused(shorter), ModelError::Length { expected, .. } if expected > shorter.len())
                );
                let mut bad = model.clone();
                let offset = model.len() - 4;
                bad[offset..].copy_from_slice(&f32::INFINITY.to_le_bytes());
                assert_eq!(refused(&bad), ModelError::NotFinite { dim, offset });
            }
            for dim in [0, DIM_MAX + 1] {
                let error = from_model(method, distance, dim, &model).unwrap_err();
                assert_eq!(error, ModelError::Dimension { dim });
            }
        }
    }
    let error = from_model(Quantization::Int4, Distance::Dot, 2, &[0; 7]).unwrap_err();
    assert_eq!(error.to_string(), "a model of dimension 2 has 7 bytes; it must have at least 8");
    let error = from_model(Quantization::Int8, Distance::Dot, 2, &[0; 7]).unwrap_err();
    assert_eq!(error.to_string(), "a model of dimension 2 has 7 bytes; it must have exactly 0");
}

/// Samples of equal vectors, of no vector, and of vectors at the ends of the range of `f32`.
#[test]
fn every_finite_vector_has_a_record_and_a_score() {
    let dim = 40;
    let mut wild = vec![vec![0.0; dim], vec![f32::MAX; dim], vec![1e-45; dim], vec![-1.0; dim]];
    wild.push((0..dim).map(|at| if at % 2 == 0 { f32::MAX } else { f32::MIN }).collect());
    wild.extend((0..60).map(|at| (0..dim).map(|i| ((at + i) as f32 - 50.0) * 1e36).collect()));
    let wild = wild.concat();
    for distance in Distance::ALL {
        for sample in [&[][..], &wild, &vec![0.5; dim * 3]] {
            for method in METHODS {
                let codec = super::train(method, distance, dim, sample, 10_000, 1);
                assert!(from_model(method, distance, dim, &codec.model()).is_ok());
                let records = encode(codec.as_ref(), &wild);
                if let Quantization::Rotated4 | Quantization::Rotated2 | Quantization::Rotated1 = method {
                    for record in records.chunks_exact(codec.record_bytes()) {
                        assert!(floats(&record[..12]).iter().all(|param| param.is_finite()), "{method:?}");
                    }
                }
                for query in wild.chunks_exact(dim) {
                    let scorer = codec.query(query);
                    for record in records.chunks_exact(codec.record_bytes()) {
                        let _ = scorer.bound(record, scorer.score(record));
                    }
                }
            }
        }
    }
    // The vector is the centre, and so is the first query. Nothing is left to estimate.
    for method in [Quantization::Int4, Quantization::Rotated4, Quantization::Rotated1] {
        let codec = train(method, Distance::Euclid, dim, &vec![0.5; dim], 1);
        let record = encode(codec.as_ref(), &vec![0.5; dim]);
        assert_eq!(codec.query(&vec![0.5; dim]).score(&record), 0.0);
        assert_eq!(codec.query(&vec![1.5; dim]).score(&record), -(dim as f32));
    }
}

#[test]
fn outliers_do_not_widen_the_global_range() {
    let mut sample: Vec<f32> = (0..1000).map(|at| (at % 201) as f32 / 100.0 - 1.0).collect();
    sample[17] = 1e6;
    let codec = train(Quantization::Int8Global { quantile: Quantile::DEFAULT }, Distance::Dot, 1, &sample, 1);
    let model = floats(&codec.model());
    // 0.5 % of the components lie beyond 0.99 on either side.
    assert!((model[1] * 255.0 - 1.98).abs() < 0.03, "a range of {}", model[1] * 255.0);
    let all = Quantization::Int8Global { quantile: Quantile::try_from(1.0).unwrap() };
    let model = floats(&train(all, Distance::Dot, 1, &sample, 1).model());
    assert!((model[1] * 255.0 - 1e6).abs() < 10.0);
}

#[test]
fn large_samples_are_thinned_evenly() {
    let count = SAMPLE_MAX * 3;
    let sample: Vec<f32> = (0..count).map(|at| at as f32).collect();
    let mean = floats(&train(Quantization::Int4, Distance::Dot, 1, &sample, 1).model())[0];
    assert!((mean / (count as f64 / 2.0) - 1.0).abs() < 1e-3, "{mean}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_model_or_an_error(
        bytes in vec(any::<u8>(), 0..3000),
        dim in prop_oneof![0usize..12, Just(usize::MAX), Just(DIM_MAX)],
        seed in any::<u64>(),
    ) {
        for distance in Distance::ALL {
            for method in METHODS {
                let _ = from_model(method, distance, dim, &bytes);
                // Bytes of the right length are a model only if their numbers are right.
                if (1..12).contains(&dim) {
                    let len = train(method, distance, dim, &[], seed).model_bytes();
                    let model: Vec<u8> = bytes.iter().copied().cycle().take(len).collect();
                    if let Ok(codec) = from_model(method, distance, dim, &model) {
                        prop_assert_eq!(codec.model(), model);
                        let vector: Vec<f32> = (0..dim).map(|at| at as f32 - 2.0).collect();
                        let record = encode(codec.as_ref(), &vector);
                        let scorer = codec.query(&vector);
                        let _ = scorer.bound(&record, scorer.score(&record));
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_have_a_score(bytes in vec(any::<u8>(), 1..2000), dim in 1usize..150) {
        for distance in Distance::ALL {
            let sample = vectors(distance, dim, 64, 3);
            for method in METHODS {
                // Rotated codes get centres, and bytes may name one that does not exist.
                let codec = super::train(method, distance, dim, &sample, 10_000, 1);
                let record: Vec<u8> = bytes.iter().copied().cycle().take(codec.record_bytes()).collect();
                let scorer = codec.query(&sample[..dim]);
                let _ = scorer.bound(&record, scorer.score(&record));
            }
        }
    }

    /// The record form of int8 codes scores as [`ScalarCodes`] do, to the last bit.
    #[test]
    fn int8_records_score_as_codes_in_memory(rows in vec((-10f32..10.0, -10f32..10.0), 1..200)) {
        let vector: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let query: Vec<f32> = rows.iter().map(|row| row.1).collect();
        let dim = rows.len();
        let mut codes = ScalarCodes::new(dim).unwrap();
        codes.extend(&vector);
        for distance in Distance::ALL {
            let codec = train(Quantization::Int8, distance, dim, &[], 1);
            let record = encode(codec.as_ref(), &vector);
            let scorer = codec.query(&query);
            let score = scorer.score(&record);
            let expected = ScalarQuery::new(distance, &query).score(codes.code(0), &codes.params()[0]);
            prop_assert_eq!(score, expected);
            let error = (f64::from(score) - exact(distance, &wide(&query), &wide(&vector))).abs();
            prop_assert!(error <= f64::from(scorer.bound(&record, score).unwrap()));
        }
    }
}
