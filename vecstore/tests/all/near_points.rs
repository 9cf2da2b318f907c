//! Points nearer to each other than a step of their int8 codes. A search tells them apart by their vectors.
//! It reads as many as it needs, up to a limit, and says if it reached the limit.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::collections::BTreeSet;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, Hit, Rescore, SearchParams, SearchRequest, SearchResult,
};
use vecstore::point::{Point, PointId};
use vecstore::schema::Distance;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Placements, Schema};

const DIM: usize = 24;
const CLUSTER_POINTS: usize = 100;
const DEFAULT_MAX: u64 = 1000;

fn created(distance: Distance, codes: Placement, vectors: &[Vec<f32>]) -> Collection {
    let placement = Placements { codes, ..Placements::default() };
    let dim = vectors[0].len() as u32;
    let schema = Schema { distance, placement, ..crate::new_schema(dim) };
    assert_eq!(schema.quantization, Quantization::Int8);
    let options = CollectionOptions { cores: 2, background: false, ..CollectionOptions::default() };
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let collection = Collection::create(&backend, Path::new("/c"), &schema, &options).unwrap();
    let points = (0..).zip(vectors).map(|(id, vector)| Point::new(id, vector.clone()));
    collection.upsert(points.collect(), Durability::Written).wait().unwrap();
    collection
}

fn sealed(distance: Distance, codes: Placement, vectors: &[Vec<f32>]) -> Collection {
    let collection = created(distance, codes, vectors);
    collection.seal(|_| {}).wait().unwrap();
    collection
}

fn normal(random: &mut fastrand::Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * random.f64()).cos()) as f32
}

/// Clusters with standard deviation `sigma`. Components of their centres are about 10, so centres are far
/// apart.
fn clusters(count: usize, sigma: f32) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(17);
    let mut vectors = Vec::new();
    for _ in 0..count {
        let centre: Vec<f32> = (0..DIM).map(|_| 10.0 * normal(&mut random)).collect();
        for _ in 0..CLUSTER_POINTS {
            vectors.push(centre.iter().map(|x| x + sigma * normal(&mut random)).collect());
        }
    }
    vectors
}

/// The score in `f64`. Higher is better.
fn score(distance: Distance, a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match distance {
        Distance::Euclid => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
        Distance::Dot => pairs.map(|(a, b)| a * b).sum(),
        Distance::Cosine => {
            let norm = |vector: &[f32]| score(Distance::Dot, vector, vector).sqrt();
            score(Distance::Dot, a, b) / (norm(a) * norm(b))
        }
    }
}

fn search(
    collection: &Collection,
    queries: &[Vec<f32>],
    limit: usize,
    params: SearchParams,
) -> Vec<SearchResult> {
    let request = |query: &Vec<f32>| SearchRequest { limit, params, ..SearchRequest::new(query.clone()) };
    collection.search_batch(queries.iter().map(request).collect()).wait().unwrap()
}

fn place(hit: &Hit) -> usize {
    match hit.id {
        PointId::Num(id) => id as usize,
        PointId::Uuid(_) => unreachable!("ids are numbers"),
    }
}

/// How many hits are further away than the furthest true one. The searches are for the first vector of every
/// `step`. Scores differ if their difference exceeds the resolution of `f32`.
fn missed(distance: Distance, vectors: &[Vec<f32>], step: usize, found: &[SearchResult]) -> usize {
    let resolution =
        1e-6 * if distance == Distance::Dot { score(distance, &vectors[0], &vectors[0]) } else { 1.0 };
    let misses = |(query, found): (&Vec<f32>, &SearchResult)| {
        let limit = found.hits.len();
        let hits: Vec<f64> =
            found.hits.iter().map(|hit| score(distance, query, &vectors[place(hit)])).collect();
        let mut scores: Vec<f64> = vectors.iter().map(|vector| score(distance, query, vector)).collect();
        let (_, worst, _) = scores.select_nth_unstable_by(limit - 1, |a, b| b.total_cmp(a));
        let resolution = if distance == Distance::Euclid { 0.0 } else { resolution };
        hits.iter().filter(|&&hit| hit < *worst - resolution).count()
    };
    vectors.iter().step_by(step).zip(found).map(misses).sum()
}

/// A search for each point, at the default settings.
#[test]
fn points_of_far_away_tight_clusters_find_themselves() {
    let vectors = clusters(50, 0.01);
    let collection = sealed(Distance::Euclid, Placement::Pinned, &vectors);
    let found = search(&collection, &vectors, 1, SearchParams::default());
    let other = |(index, found): (usize, &SearchResult)| place(&found.hits[0]) != index;
    assert_eq!(found.iter().enumerate().filter(|found| other(*found)).count(), 0, "of 5,000");
    assert!(found.iter().all(|found| found.hits[0].score == 0.0 && !found.stats.undecided));
}

#[test]
fn neighbours_in_tight_clusters_are_found_by_every_distance() {
    for (distance, codes, sigma) in [
        (Distance::Euclid, Placement::Pinned, 0.01),
        (Distance::Euclid, Placement::Cold, 0.001),
        (Distance::Euclid, Placement::Pinned, 1e-5),
        (Distance::Dot, Placement::Pinned, 0.01),
        (Distance::Dot, Placement::Pinned, 0.001),
        (Distance::Cosine, Placement::Pinned, 0.1),
        (Distance::Cosine, Placement::Pinned, 0.01),
    ] {
        let vectors = clusters(12, sigma);
        let queries: Vec<Vec<f32>> = vectors.iter().step_by(4).cloned().collect();
        // Points in memory also have codes with bounds.
        let in_memory = created(distance, codes, &vectors);
        let on_disk = sealed(distance, codes, &vectors);
        for limit in [1, 10] {
            for collection in [&in_memory, &on_disk] {
                let found = search(collection, &queries, limit, SearchParams::default());
                assert!(found.iter().all(|found| found.hits.len() == limit));
                let missed = missed(distance, &vectors, 4, &found);
                assert_eq!(missed, 0, "{distance}, sigma {sigma}, limit {limit}");
                assert!(found.iter().all(|found| !found.stats.undecided));
            }
        }
    }
}

/// More points than a search ranks, all with the same code.
#[test]
fn a_search_that_reaches_its_limit_says_so() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut vector = |sigma: f32| -> Vec<f32> {
        (0..DIM).map(|i| 10.0 * i as f32 + sigma * normal(&mut random)).collect()
    };
    let vectors: Vec<Vec<f32>> = (0..1500).map(|_| vector(1e-3)).collect();
    let query = [vector(1e-2)];
    let collection = sealed(Distance::Euclid, Placement::Pinned, &vectors);
    let exact = search(&collection, &query, 10, SearchParams { exact: true, ..SearchParams::default() });
    let with = |candidates_max| {
        let params = SearchParams { candidates_max, ..SearchParams::default() };
        let found = search(&collection, &query, 10, params).remove(0);
        (found.hits == exact[0].hits, found.stats.undecided, found.stats.vectors_scored)
    };
    assert_eq!(with(None), (false, true, DEFAULT_MAX));
    assert_eq!(with(Some(DEFAULT_MAX as usize)), (false, true, DEFAULT_MAX));
    assert_eq!(with(Some(0)), (false, true, 20));
    assert_eq!(with(Some(21)), (false, true, 21));
    assert_eq!(with(Some(2000)), (true, false, 1500));
    // The value is above the parameter's range.
    let params = SearchParams { candidates_max: Some((1 << 20) + 1), ..SearchParams::default() };
    let request = SearchRequest { params, ..SearchRequest::new(query[0].clone()) };
    let error = collection.search(request).wait().unwrap_err().to_string();
    assert!(error.contains("candidates_max") && error.contains("1048577"), "{error}");
}

/// Nothing can be nearer than the copies already found.
#[test]
fn of_copies_no_more_are_read_than_are_wanted() {
    let mut vectors = clusters(4, 1.0);
    let copy = vectors[7].clone();
    vectors.extend(std::iter::repeat_n(copy.clone(), 1000));
    for distance in [Distance::Euclid, Distance::Cosine] {
        let collection = sealed(distance, Placement::Pinned, &vectors);
        for (limit, read_max) in [(1, 2), (10, 20), (100, 200)] {
            let found = search(&collection, std::slice::from_ref(&copy), limit, SearchParams::default());
            let SearchResult { hits, stats } = &found[0];
            assert!(hits.len() == limit && hits.iter().all(|hit| vectors[place(hit)] == copy), "{distance}");
            assert!(stats.vectors_scored <= read_max && !stats.undecided, "{distance}: {stats:?}");
        }
    }
}

/// Without crowded points, the cost hardly changes. The vectors vary in few directions, as real data do.
#[test]
fn ordinary_searches_read_hardly_more() {
    const WIDE: usize = 64;
    let mut random = fastrand::Rng::with_seed(3);
    let mut vectors: Vec<Vec<f32>> =
        (0..3200).map(|_| (0..WIDE as i32).map(|i| 0.8f32.powi(i) * normal(&mut random)).collect()).collect();
    let queries = vectors.split_off(3000);
    for distance in Distance::ALL {
        let collection = sealed(distance, Placement::Pinned, &vectors);
        let cost = |candidates_max| {
            let params = SearchParams { candidates_max, ..SearchParams::default() };
            let found = search(&collection, &queries, 10, params);
            assert!(candidates_max.is_some() || found.iter().all(|found| !found.stats.undecided));
            let sum = |of: fn(&SearchResult) -> u64| found.iter().map(of).sum::<u64>();
            (sum(|found| found.stats.codes_scored), sum(|found| found.stats.vectors_scored))
        };
        let ((codes, vectors), (codes_fixed, vectors_fixed)) = (cost(None), cost(Some(0)));
        assert_eq!(codes, codes_fixed, "{distance}");
        assert!(vectors <= vectors_fixed + vectors_fixed / 20, "{distance}: {vectors}, not {vectors_fixed}");
    }
}

/// Codes do not tell on which side of a threshold a nearby vector is.
#[test]
fn a_threshold_holds_for_vectors_also_where_codes_decide() {
    let vectors = clusters(3, 0.3);
    let collection = sealed(Distance::Euclid, Placement::Pinned, &vectors);
    let mut left_out = 0;
    for (query, vector) in vectors.iter().enumerate().step_by(3) {
        let mut near: Vec<f64> =
            vectors.iter().map(|other| (-score(Distance::Euclid, vector, other)).sqrt()).collect();
        near.sort_by(f64::total_cmp);
        // Between the 20th and the next.
        let threshold = f64::midpoint(near[19], near[20]) as f32;
        let request = SearchRequest {
            limit: 100,
            score_threshold: Some(threshold),
            params: SearchParams { rescore: Rescore::Undecided { part: 1.0 }, ..SearchParams::default() },
            ..SearchRequest::new(vector.clone())
        };
        let found = collection.search(request).wait().unwrap();
        let within = |hit: &Hit| {
            -score(Distance::Euclid, vector, &vectors[place(hit)]) <= f64::from(threshold).powi(2)
        };
        assert!(
            found.hits.len() == 20 && found.hits.iter().all(within),
            "{query}: {} hits",
            found.hits.len()
        );
        left_out += found.stats.vectors_spared;
    }
    assert!(left_out > 0, "some are decided by their codes");
}

/// The cosine of a vector with itself is 1 but for rounding: a threshold may lie between two such scores.
#[test]
fn a_threshold_near_one_leaves_out_what_an_exact_search_leaves_out() {
    let vectors = clusters(1, 6e-3);
    let collection = sealed(Distance::Cosine, Placement::Pinned, &vectors);
    let mut counts = BTreeSet::new();
    for query in vectors.iter().step_by(9) {
        for above in -5i8..=2 {
            let score_threshold = Some(1.0 + f32::from(above) * f32::EPSILON / 2.0);
            let with = |exact, rescore| {
                let params = SearchParams { exact, rescore, ..SearchParams::default() };
                let limit = CLUSTER_POINTS / 4;
                let request =
                    SearchRequest { limit, score_threshold, params, ..SearchRequest::new(query.clone()) };
                collection.search(request).wait().unwrap()
            };
            let expected = with(true, Rescore::All).hits;
            for rescore in [Rescore::All, Rescore::Undecided { part: 1.0 }] {
                let found = with(false, rescore);
                assert_eq!(found.hits, expected, "{score_threshold:?} {rescore:?}");
                assert!(!found.stats.undecided);
            }
            counts.insert(expected.len());
        }
    }
    assert!(counts.len() > 2, "the thresholds lie between the scores: {counts:?}");
}

/// As below, but one short vector is much better than all others, and its code seems to decide.
#[test]
fn a_long_vector_is_found_behind_one_that_seems_sure() {
    // Linked graphs and cells estimate scores first. They may miss a point that is much longer than others.
    if crate::is_linked() || crate::has_cells() {
        return;
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..12 {
        let axis = |x: f32| [vec![x], vec![0.0; DIM - 1]].concat();
        let mut vectors = vec![axis(0.1); 400];
        vectors[0] = axis(1.0);
        let mut long = axis(1.01);
        long[1..].iter_mut().for_each(|x| *x = 1000.0 * normal(&mut random));
        vectors.push(long);
        let collection = sealed(Distance::Dot, Placement::Pinned, &vectors);
        for rescore in [Rescore::Undecided { part: 1.0 }, Rescore::All] {
            let params = SearchParams { rescore, ..SearchParams::default() };
            let found = &search(&collection, &[axis(1.0)], 1, params)[0];
            assert_eq!((place(&found.hits[0]), found.stats.undecided), (400, false), "{rescore:?}");
        }
    }
}

/// Bounds grow with the length of a vector. A long vector with a worse score than all candidates may be the
/// best of all.
#[test]
fn a_long_vector_behind_many_short_ones_is_found() {
    // Linked graphs and cells estimate scores first. They may miss a point that is much longer than others.
    if crate::is_linked() || crate::has_cells() {
        return;
    }
    const SHORT: usize = 400;
    let mut random = fastrand::Rng::with_seed(5);
    for (distance, codes) in [
        (Distance::Dot, Placement::Pinned),
        (Distance::Dot, Placement::Cold),
        (Distance::Euclid, Placement::Pinned),
    ] {
        for scale in [3.0, 10.0, 100.0, 1000.0] {
            if distance == Distance::Euclid && scale > 100.0 {
                // `f32` cannot represent the difference.
                continue;
            }
            for _ in 0..6 {
                let axis = |x: f32| [vec![x], vec![0.0; DIM - 1]].concat();
                let mut vectors: Vec<Vec<f32>> = (0..SHORT).map(|i| axis(1.0 - i as f32 * 1e-4)).collect();
                let mut long = axis(1.01);
                long[1..].iter_mut().for_each(|x| *x = scale * normal(&mut random));
                let query = match distance {
                    Distance::Dot => axis(1.0),
                    // Nearly as far from the short vectors as from the long one.
                    _ => {
                        let squares = long[1..].iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
                        let mut query = long.clone();
                        query[1..].iter_mut().for_each(|x| *x *= 0.5);
                        query[0] = 1.0 + 1e-3 * squares.sqrt() as f32;
                        query
                    }
                };
                vectors.push(long);
                let best = |a: &usize, b: &usize| {
                    let of = |point: usize| score(distance, &vectors[point], &query);
                    of(*a).total_cmp(&of(*b))
                };
                let expected = (0..vectors.len()).max_by(best).unwrap();
                let collection = sealed(distance, codes, &vectors);
                let params = SearchParams::default();
                let found = &search(&collection, std::slice::from_ref(&query), 1, params)[0];
                assert_eq!(
                    (place(&found.hits[0]), found.stats.undecided),
                    (expected, false),
                    "{distance} {scale}"
                );
            }
        }
    }
}
