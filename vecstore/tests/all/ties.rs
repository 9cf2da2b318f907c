//! Points of equal scores rank by id, in memory and in segments, and however a search is cut.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, Durability, Hit, SearchParams, SearchRequest};
use vecstore::point::{Point, PointId};
use vecstore::schema::{Distance, Schema};

/// A collection of these points, each part in a segment of its own, and the rest in memory.
fn created(distance: Distance, points: &[(PointId, Vec<f32>)], parts: &[usize]) -> Collection {
    let schema = Schema { distance, ..crate::new_schema(points[0].1.len() as u32) };
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let collection = Collection::create(&backend, Path::new("/c"), &schema, &options).unwrap();
    let put = |points: &[(PointId, Vec<f32>)]| {
        let points = points.iter().map(|(id, vector)| Point::new(*id, vector.clone()));
        collection.upsert(points.collect(), Durability::Written).wait().unwrap();
    };
    let mut rest = points;
    for &count in parts {
        let (part, others) = rest.split_at(count);
        put(part);
        collection.seal(|_| {}).wait().unwrap();
        rest = others;
    }
    put(rest);
    collection
}

/// Numbers and UUIDs, in no order.
fn ids(count: u64, random: &mut fastrand::Rng) -> Vec<PointId> {
    let id = |id| if id % 2 == 0 { PointId::Num(id) } else { PointId::Uuid(u128::from(id) << 64) };
    let mut ids: Vec<PointId> = (0..count).map(id).collect();
    random.shuffle(&mut ids);
    ids
}

fn exact() -> SearchParams {
    SearchParams { exact: true, ..SearchParams::default() }
}

/// The first `count` hits, in pages of `limit`.
fn pages(
    collection: &Collection,
    query: &[f32],
    limit: usize,
    count: usize,
    params: SearchParams,
) -> Vec<Hit> {
    let page = |offset| {
        let request = SearchRequest { limit, offset, params, ..SearchRequest::new(query.to_vec()) };
        collection.search(request).wait().unwrap().hits
    };
    (0..count).step_by(limit).flat_map(page).collect()
}

fn ids_of(hits: &[Hit]) -> Vec<PointId> {
    hits.iter().map(|hit| hit.id).collect()
}

/// Few different vectors of whole numbers, so that scores are exact and most of them tie.
#[test]
fn pages_of_exact_searches_are_parts_of_one_order() {
    let mut random = fastrand::Rng::with_seed(11);
    for distance in [Distance::Dot, Distance::Euclid] {
        let ids = ids(150, &mut random);
        let mut point = |id| (id, vec![random.u8(0..3).into(), random.u8(0..2).into()]);
        let points: Vec<(PointId, Vec<f32>)> = ids.into_iter().map(&mut point).collect();
        let collection = created(distance, &points, &[70, 50]);
        let worse = |vector: &[f32]| match distance {
            Distance::Dot => -(vector[0] + 2.0 * vector[1]) as i32,
            _ => ((vector[0] - 1.0).powi(2) + (vector[1] - 2.0).powi(2)) as i32,
        };
        let mut expected: Vec<(i32, PointId)> =
            points.iter().map(|(id, vector)| (worse(vector), *id)).collect();
        expected.sort_unstable();
        let expected: Vec<PointId> = expected.into_iter().map(|(_, id)| id).collect();
        for limit in [1, 4, 7, 50, 150, 400] {
            let found = pages(&collection, &[1.0, 2.0], limit, 150, exact());
            assert_eq!(ids_of(&found), expected, "{distance}, pages of {limit}");
        }
    }
}

/// More equal vectors in a segment than an exact search reads at once.
#[test]
fn of_many_equal_vectors_an_exact_search_finds_the_lowest_ids() {
    const COPIES: usize = 4_300;
    let mut random = fastrand::Rng::with_seed(3);
    let mut expected = ids(COPIES as u64, &mut random);
    let mut points: Vec<(PointId, Vec<f32>)> = expected.iter().map(|id| (*id, vec![1.0])).collect();
    let better = PointId::Uuid(u128::MAX);
    points.push((better, vec![1.5]));
    expected.sort_unstable();
    expected.insert(0, better);
    let collection = created(Distance::Euclid, &points, &[COPIES]);
    for (limit, count) in [(10, 50), (1000, 2000), (5000, 5000)] {
        let found = pages(&collection, &[2.0], limit, count, exact());
        assert_eq!(ids_of(&found), expected[..count.min(expected.len())], "pages of {limit}");
    }
}

/// Fewer copies than a search finds by their codes, so that all are candidates.
#[test]
fn pages_of_ordinary_searches_over_copies_neither_repeat_nor_skip() {
    let mut random = fastrand::Rng::with_seed(5);
    for distance in Distance::ALL {
        let mut expected = ids(120, &mut random);
        let points: Vec<(PointId, Vec<f32>)> =
            expected.iter().map(|id| (*id, vec![1.0, 2.0, 3.0, 4.0])).collect();
        expected.sort_unstable();
        for parts in [&[][..], &[120], &[60, 60], &[60, 40]] {
            let collection = created(distance, &points, parts);
            for query in [[1.0, 2.0, 3.0, 4.0], [4.0, -1.0, 0.5, 7.0]] {
                for limit in [5, 30] {
                    let found = pages(&collection, &query, limit, 120, SearchParams::default());
                    assert_eq!(ids_of(&found), expected, "{distance} {parts:?} {query:?} {limit}");
                }
            }
        }
    }
}

#[test]
fn scores_that_are_reported_as_equal_rank_by_id() {
    let cases = [
        // Squares of 1 and of the next number above it.
        (Distance::Euclid, [[1.0, 3.4527e-4], [1.0, 0.0]], [0.0, 0.0], 1.0),
        // A product that is lost leaves a zero below zero.
        (Distance::Dot, [[-1e-30, 0.0], [0.0, 0.0]], [1e-30, 0.0], 0.0),
    ];
    for (distance, vectors, query, score) in cases {
        let expected = [PointId::Num(1), PointId::Num(2)];
        let points: Vec<(PointId, Vec<f32>)> = expected.into_iter().zip(vectors.map(Vec::from)).collect();
        for parts in [&[][..], &[2], &[1, 1], &[1]] {
            let collection = created(distance, &points, parts);
            for params in [exact(), SearchParams::default()] {
                for limit in [1, 2] {
                    let found = pages(&collection, &query, limit, 2, params);
                    assert!(found.iter().all(|hit| hit.score == score), "{found:?}");
                    assert_eq!(ids_of(&found), expected, "{distance} {parts:?} {params:?} {limit}");
                }
            }
        }
    }
}

/// Products beyond the range of `f32` may add up to no number, which is the worst score there is.
#[test]
fn points_whose_products_overflow_are_found_too() {
    let vectors = [[3e38, 3e38], [3e38, -3e38], [1.0, 1.0], [-3e38, 3e38], [-3e38, -3e38]].map(Vec::from);
    let points: Vec<(PointId, Vec<f32>)> = (1..).map(PointId::Num).zip(vectors).collect();
    for parts in [&[][..], &[5], &[2, 1]] {
        let collection = created(Distance::Dot, &points, parts);
        for params in [exact(), SearchParams::default()] {
            for limit in [1, 2, 5, 10] {
                let found = pages(&collection, &[3e38, 3e38], limit, 5, params);
                // Infinity less infinity is as bad as minus infinity.
                assert_eq!(ids_of(&found), [1, 3, 2, 4, 5].map(PointId::Num), "{parts:?} {params:?} {limit}");
                assert_eq!((found[0].score, found[4].score), (f32::INFINITY, f32::NEG_INFINITY));
            }
        }
    }
}
