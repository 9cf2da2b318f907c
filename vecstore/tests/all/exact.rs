//! Exact search, beside all points in order. It reads few vectors if the codes have certain bounds.

use crate::common::collections::quiet as options;
use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::collection::{
    Collection, Durability, Hit, SearchParams, SearchRequest, SearchResult, Selection,
};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};
use vecstore::schema::{Distance, Placement, Placements, Quantization, Schema};
use vecstore_quant::OriginalScorer;

const DIM: usize = 5;
const KINDS: u64 = 3;

fn create(distance: Distance, quantization: Quantization, codes: Placement, dim: usize) -> Collection {
    let placement = Placements { codes, ..Placements::default() };
    let schema = Schema { distance, quantization, placement, ..crate::new_schema(dim as u32) };
    let schema = schema.index("kind", FieldKind::Integer);
    let backend = DynBackend::new(SimulatedDisk::new(1));
    Collection::create(&backend, Path::new("/exact"), &schema, &options()).unwrap()
}

fn put(collection: &Collection, points: &BTreeMap<u64, Vec<i32>>) {
    let point = |(id, vector): (&u64, &Vec<i32>)| {
        let vector = vector.iter().map(|&x| x as f32).collect();
        Point::new(*id, vector).with_payload(json!({"kind": id % KINDS}))
    };
    collection.upsert(points.iter().map(point).collect(), Durability::Written).wait().unwrap();
}

fn exact(collection: &Collection, query: &[f32], limit: usize, kind: Option<u64>) -> SearchResult {
    let params = SearchParams { exact: true, ..SearchParams::default() };
    let filter = kind.map(|kind| Filter::must(Condition::matches("kind", kind)));
    let request = SearchRequest { params, limit, filter, ..SearchRequest::new(query.to_vec()) };
    collection.search(request).wait().unwrap()
}

/// Whole numbers: dot products and squared distances are exact, and often equal.
fn score(distance: Distance, vector: &[i32], query: &[i32]) -> f64 {
    let dot = |a: &[i32], b: &[i32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x * y)).sum::<f64>();
    match distance {
        Distance::Dot => dot(vector, query),
        Distance::Euclid => -(dot(vector, vector) + dot(query, query) - 2.0 * dot(vector, query)),
        Distance::Cosine => dot(vector, query) / (dot(vector, vector) * dot(query, query)).sqrt().max(1e-30),
    }
}

/// All points, best first, ties by id.
fn in_order(distance: Distance, points: &BTreeMap<u64, Vec<i32>>, query: &[i32]) -> Vec<(f64, u64)> {
    let mut all: Vec<(f64, u64)> =
        points.iter().map(|(&id, vector)| (score(distance, vector, query), id)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all
}

fn check(distance: Distance, hits: &[Hit], expected: &[(f64, u64)]) {
    assert_eq!(hits.len(), expected.len());
    for (hit, &(score, id)) in hits.iter().zip(expected) {
        let reported = if distance == Distance::Euclid { (-score).sqrt() } else { score };
        assert!((f64::from(hit.score) - reported).abs() <= 1e-6 * reported.abs().max(1.0), "{hit:?} {score}");
        // Cosines that are equal may differ by rounding. The test below compares them.
        assert!(distance == Distance::Cosine || hit.id == PointId::Num(id), "{hit:?} instead of {id}");
    }
}

/// Real numbers round. The order is that of the scores that each vector has by itself, to the last bit.
#[test]
fn the_order_is_that_of_rounded_scores() {
    const COUNT: usize = 3000;
    let mut source = Clustered::new(COUNT, 33, 8);
    let queries = source.queries(20);
    let Rows::F32(rows) = source.next_rows(COUNT).unwrap() else { panic!("clusters are of f32") };
    for distance in Distance::ALL {
        let collection = create(distance, Quantization::Int8, Placement::Pinned, 33);
        let points = (0..).zip(rows.chunks_exact(33)).map(|(id, row)| Point::new(id, row.to_vec()));
        collection.upsert(points.collect(), Durability::Written).wait().unwrap();
        collection.seal(|_| {}).wait().unwrap();
        for query in &queries {
            let scorer = OriginalScorer::new(distance, query);
            let mut all: Vec<(f32, u64)> =
                (0..).zip(rows.chunks_exact(33)).map(|(id, row)| (scorer.score_f32(row), id)).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for limit in [1, 10, 100] {
                let found = exact(&collection, query, limit, None).hits;
                let found: Vec<(f32, PointId)> = found.iter().map(|hit| (hit.score, hit.id)).collect();
                let expected = all.iter().take(limit);
                let expected: Vec<(f32, PointId)> =
                    expected.map(|&(score, id)| (distance.reported(score), PointId::Num(id))).collect();
                assert_eq!(found, expected, "{distance}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Points in two segments and in memory, some deleted, with and without a filter, any limit.
    #[test]
    fn the_answer_is_the_beginning_of_all_points_in_order(
        rows in prop::collection::vec(prop::collection::vec(-6i32..=6, DIM), 30..160),
        query in prop::collection::vec(-6i32..=6, DIM),
        deleted in prop::collection::btree_set(0u64..150, 0..60),
        limit in 1usize..50,
        codes in prop::sample::select(vec![Placement::Pinned, Placement::Cold]),
        quantization in prop::sample::select(vec![Quantization::Int8, Quantization::Rotated2]),
    ) {
        for distance in Distance::ALL {
            let collection = create(distance, quantization, codes, DIM);
            let mut points: BTreeMap<u64, Vec<i32>> = (0..).zip(rows.iter().cloned()).collect();
            let third = rows.len() as u64 / 3;
            for part in 0..3 {
                let end = if part == 2 { u64::MAX } else { (part + 1) * third };
                put(&collection, &points.range(part * third..end).map(|(id, row)| (*id, row.clone())).collect());
                if part < 2 {
                    collection.seal(|_| {}).wait().unwrap();
                }
            }
            let ids = deleted.iter().map(|&id| PointId::Num(id)).collect();
            collection.delete(Selection::Ids(ids), Durability::Written).wait().unwrap();
            points.retain(|id, _| !deleted.contains(id));
            let floats: Vec<f32> = query.iter().map(|&x| x as f32).collect();
            for kind in [None, Some(1)] {
                let allowed: BTreeMap<u64, Vec<i32>> = points
                    .iter()
                    .filter(|(id, _)| kind.is_none_or(|kind| *id % KINDS == kind))
                    .map(|(id, vector)| (*id, vector.clone()))
                    .collect();
                let mut expected = in_order(distance, &allowed, &query);
                expected.truncate(limit);
                let found = exact(&collection, &floats, limit, kind);
                prop_assert!(found.stats.proven);
                check(distance, &found.hits, &expected);
            }
        }
    }
}

/// Of thousands of points, a proof needs to read hardly more vectors than there are hits.
#[test]
fn a_proof_reads_few_vectors() {
    const COUNT: usize = 4000;
    // One in forty.
    const FEW: u64 = 100;
    let mut source = Clustered::new(COUNT, 96, 3);
    let queries = source.queries(30);
    let Rows::F32(rows) = source.next_rows(COUNT).unwrap() else { panic!("clusters are of f32") };
    for (quantization, most) in [(Quantization::Int8, FEW), (Quantization::Rotated4, COUNT as u64)] {
        let collection = create(Distance::Cosine, quantization, Placement::Pinned, 96);
        let points = (0..).zip(rows.chunks_exact(96)).map(|(id, row)| Point::new(id, row.to_vec()));
        collection.upsert(points.collect(), Durability::Written).wait().unwrap();
        collection.seal(|_| {}).wait().unwrap();
        let read = queries.iter().map(|query| exact(&collection, query, 10, None).stats.vectors_scored);
        let read: Vec<u64> = read.collect();
        assert!(read.iter().all(|read| (10..=most).contains(read)), "{quantization}: {read:?}");
        // Bounds of other codes are not certain, so they prove nothing.
        let few = read.iter().all(|&read| read <= FEW);
        assert_eq!(few, quantization == Quantization::Int8, "{quantization}: {read:?}");
    }
}

/// Only an exact search is proven.
#[test]
fn other_searches_prove_nothing() {
    let collection = create(Distance::Dot, Quantization::Int8, Placement::Pinned, DIM);
    put(&collection, &(0..100).map(|id| (id, vec![id as i32; DIM])).collect());
    let found = collection.search(SearchRequest::new(vec![1.0; DIM])).wait().unwrap();
    assert!(!found.stats.proven && found.hits.len() == 10);
}
