//! Recall of the codes on real vectors, compared with plain implementations of their definitions. These have
//! a dense random rotation, and find the best grid point by trying many scales, all in `f64`.
//!
//! `data/words.i8` holds 1,000 word vectors of GloVe (public domain, PDDL), and 40 more as queries. Each has
//! 100 components, times 256.

use vecstore_quant::Distance;
use vecstore_quant::{Quantization, train};

const DIM: usize = 100;
const POINTS: usize = 1000;
const LIMIT: usize = 10;
/// Recall that chance may take away: two standard deviations of a recall of 0.8 over 400 neighbours.
const CHANCE: f64 = 0.04;

fn words() -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let bytes = include_bytes!("data/words.i8");
    let vector = |bytes: &[u8]| {
        let mut vector: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte as i8)).collect();
        Distance::Cosine.prepare(&mut vector);
        vector
    };
    let mut points: Vec<Vec<f32>> = bytes.chunks_exact(DIM).map(vector).collect();
    let queries = points.split_off(POINTS);
    (points, queries)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn wide(vector: &[f32]) -> Vec<f64> {
    vector.iter().copied().map(f64::from).collect()
}

/// The scores of all points with a query.
type Reference<'a> = dyn Fn(&[f32]) -> Vec<f64> + 'a;

/// A random orthonormal basis, by Gram and Schmidt.
fn random_rotation(seed: u64) -> Vec<Vec<f64>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while basis.len() < DIM {
        // The components are nearly normally distributed.
        let mut axis: Vec<f64> = (0..DIM).map(|_| (0..12).map(|_| random.f64()).sum::<f64>() - 6.0).collect();
        for other in &basis {
            let along = dot(&axis, other);
            axis.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
        }
        let norm = dot(&axis, &axis).sqrt();
        axis.iter_mut().for_each(|x| *x /= norm);
        basis.push(axis);
    }
    basis
}

/// The grid point nearest in direction, among those that scaling and rounding give.
fn best_grid_point(vector: &[f64], bits: u32) -> Vec<f64> {
    let outermost = f64::from((1u32 << bits) - 1) / 2.0;
    let largest = vector.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let candidates = (1..=400).map(|step| {
        let scale = outermost * 3.0 / largest * f64::from(step) / 400.0;
        let level = |x: &f64| ((x * scale - 0.5).round() + 0.5).clamp(-outermost, outermost);
        vector.iter().map(level).collect::<Vec<f64>>()
    });
    let cosine = |grid: &[f64]| dot(grid, vector) / dot(grid, grid).sqrt();
    candidates.max_by(|a, b| cosine(a).total_cmp(&cosine(b))).unwrap()
}

/// RaBitQ by its definition. Gives the scores of all points with a query that is not rounded.
fn reference_rotated(points: &[Vec<f32>], bits: u32) -> impl Fn(&[f32]) -> Vec<f64> {
    let points: Vec<Vec<f64>> = points.iter().map(|point| wide(point)).collect();
    let mean: Vec<f64> =
        (0..DIM).map(|i| points.iter().map(|point| point[i]).sum::<f64>() / POINTS as f64).collect();
    let rotation = random_rotation(9);
    let residual = |vector: &[f64]| -> Vec<f64> {
        let centred: Vec<f64> = vector.iter().zip(&mean).map(|(x, c)| x - c).collect();
        rotation.iter().map(|axis| dot(axis, &centred)).collect()
    };
    let codes: Vec<(Vec<f64>, f64, f64)> = points
        .iter()
        .map(|point| {
            let rotated = residual(point);
            let grid = best_grid_point(&rotated, bits);
            let factor = dot(&rotated, &rotated) / dot(&grid, &rotated);
            let own = dot(&mean, point) - dot(&mean, &mean);
            (grid, factor, own)
        })
        .collect();
    move |query| {
        let query = wide(query);
        let centred: Vec<f64> = query.iter().zip(&mean).map(|(x, c)| x - c).collect();
        let rotated: Vec<f64> = rotation.iter().map(|axis| dot(axis, &centred)).collect();
        let constant = dot(&query, &mean);
        codes.iter().map(|(grid, factor, own)| dot(&rotated, grid) * factor + own + constant).collect()
    }
}

/// A byte a component, between the smallest and the largest of a vector.
fn reference_int8(points: &[Vec<f32>]) -> impl Fn(&[f32]) -> Vec<f64> {
    let decoded: Vec<Vec<f64>> = points
        .iter()
        .map(|point| {
            let point = wide(point);
            let (min, max) = point.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
            let step = (max - min) / 255.0;
            point.iter().map(|x| min + ((x - min) / step).round() * step).collect()
        })
        .collect();
    move |query| {
        let query = wide(query);
        decoded.iter().map(|point| dot(&query, point)).collect()
    }
}

fn best(scores: impl IntoIterator<Item = f64>, count: usize) -> Vec<usize> {
    let mut order: Vec<(f64, usize)> = scores.into_iter().zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    order.truncate(count);
    order.into_iter().map(|(_, point)| point).collect()
}

/// The part of the true neighbours that is among the candidates. Rescoring finds these.
fn recall(truth: &[Vec<usize>], candidates: impl Fn(usize) -> Vec<usize>) -> f64 {
    let found = truth.iter().enumerate().map(|(query, truth)| {
        let candidates = candidates(query);
        truth.iter().filter(|point| candidates.contains(point)).count()
    });
    found.sum::<usize>() as f64 / (truth.len() * LIMIT) as f64
}

#[test]
fn codes_find_what_their_definitions_find() {
    let (points, queries) = words();
    let all: Vec<f32> = points.concat();
    let exact = |query: &[f32]| {
        let query = wide(query);
        best(points.iter().map(|point| dot(&query, &wide(point))), LIMIT)
    };
    let truth: Vec<Vec<usize>> = queries.iter().map(|query| exact(query)).collect();
    // Each method has the oversampling that it is judged by.
    for (method, oversampling, least) in [
        (Quantization::Int8, 2, 0.995),
        (Quantization::Int4, 2, 0.9),
        (Quantization::Rotated4, 2, 0.985),
        (Quantization::Rotated2, 4, 0.87),
        (Quantization::Rotated1, 8, 0.62),
    ] {
        let reference: Box<Reference> = match method {
            Quantization::Int8 => Box::new(reference_int8(&points)),
            Quantization::Rotated2 => Box::new(reference_rotated(&points, 2)),
            Quantization::Rotated1 => Box::new(reference_rotated(&points, 1)),
            _ => Box::new(reference_rotated(&points, 4)),
        };
        let wanted = LIMIT * oversampling;
        let expected = recall(&truth, |query| best(reference(&queries[query]), wanted));
        let codec = train(method, Distance::Cosine, DIM, &all, POINTS, 5);
        let mut records = vec![0; POINTS * codec.record_bytes()];
        for (point, record) in points.iter().zip(records.chunks_exact_mut(codec.record_bytes())) {
            codec.encode(point, record);
        }
        let everyone: Vec<u32> = (0..POINTS as u32).collect();
        let found = recall(&truth, |query| {
            let mut scores = vec![0.0; POINTS];
            codec.query(&queries[query]).score_many(&records, &everyone, &mut scores);
            best(scores.into_iter().map(f64::from), wanted)
        });
        assert!(found >= expected - CHANCE, "{method}: recall {found}, by definition {expected}");
        assert!(found >= least, "{method}: recall {found}, at least {least} is wanted");
    }
}
