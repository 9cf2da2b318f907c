//! A search finds as many live points as it wants, if there are as many. That holds even if most of a segment
//! is deleted, or if a filter or the graph leaves points unreachable.

use crate::common::collections::quiet as options;
use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::collection::{
    Collection, Durability, Rescore, ScrollRequest, SearchParams, SearchRequest, Selection,
};
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::Distance;
use vecstore::schema::{Placement, Placements, Schema};

const DIM: usize = 6;
/// Number of values of the filtered field.
const KINDS: u64 = 3;
/// Parameters that walk the graph wherever possible.
const WALK: SearchParams = SearchParams {
    ef: 16,
    oversampling: Some(1.0),
    candidates_max: Some(0),
    rescore: Rescore::All,
    exact: false,
    scan_max: 0,
    scan_ratio: 0.0,
};

type Model = BTreeMap<u64, Vec<i32>>;

fn create(placement: Placement) -> Collection {
    let placement = Placements { codes: placement, graph: placement, ..Placements::default() };
    let schema = Schema { distance: Distance::Euclid, placement, ..crate::new_schema(DIM as u32) };
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let schema = schema.index("kind", FieldKind::Integer);
    Collection::create(&backend, Path::new("/c"), &schema, &options()).unwrap()
}

/// The components are whole numbers, so distances are exact and often equal.
fn vector(random: &mut fastrand::Rng) -> Vec<i32> {
    (0..DIM).map(|_| random.i32(-20..=20)).collect()
}

fn floats(vector: &[i32]) -> Vec<f32> {
    vector.iter().map(|&x| x as f32).collect()
}

fn put(collection: &Collection, points: &Model) {
    let point = |(id, vector): (&u64, &Vec<i32>)| {
        Point::new(*id, floats(vector)).with_payload(json!({"kind": id % KINDS}))
    };
    collection.upsert(points.iter().map(point).collect(), Durability::Written).wait().unwrap();
}

fn delete(collection: &Collection, ids: impl IntoIterator<Item = u64>) {
    let ids: Vec<PointId> = ids.into_iter().map(PointId::Num).collect();
    collection.delete(Selection::Ids(ids), Durability::Written).wait().unwrap();
}

fn of_kind(kind: u64) -> Filter {
    Filter::must(Condition::matches("kind", kind))
}

/// All points of a kind, or of all kinds: nearest first, ties by id.
fn in_order(live: &Model, query: &[i32], kind: Option<u64>) -> Vec<(i32, u64)> {
    let live = live.iter().filter(|(id, _)| kind.is_none_or(|kind| *id % KINDS == kind));
    let distance = |vector: &[i32]| -> i32 { vector.iter().zip(query).map(|(x, y)| (x - y) * (x - y)).sum() };
    let mut all: Vec<(i32, u64)> = live.map(|(id, vector)| (distance(vector), *id)).collect();
    all.sort_unstable();
    all
}

/// The hits of a search, as squared distances and ids.
fn found(collection: &Collection, request: SearchRequest) -> Vec<(i32, u64)> {
    let found = collection.search(request).wait().unwrap();
    let hit = |hit: vecstore::collection::Hit| match hit.id {
        PointId::Num(id) => ((hit.score * hit.score).round() as i32, id),
        PointId::Uuid(_) => unreachable!("ids are numbers"),
    };
    found.hits.into_iter().map(hit).collect()
}

/// A collection with some segments and points in memory. About the same part of each is deleted.
fn with_deletions(
    placement: Placement,
    segments: u64,
    points_each: u64,
    deleted: f64,
    random: &mut fastrand::Rng,
) -> (Collection, Model) {
    let collection = create(placement);
    let mut live = Model::new();
    for segment in 0..=segments {
        let ids = segment * points_each..(segment + 1) * points_each;
        let points: Model = ids.map(|id| (id, vector(random))).collect();
        put(&collection, &points);
        if segment < segments {
            collection.seal(|_| {}).wait().unwrap();
        }
        live.extend(points);
    }
    let gone: Vec<u64> = live.keys().copied().filter(|_| random.f64() < deleted).collect();
    delete(&collection, gone.iter().copied());
    gone.iter().for_each(|id| drop(live.remove(id)));
    (collection, live)
}

#[test]
fn a_search_for_as_many_as_there_are_finds_them_all() {
    let mut random = fastrand::Rng::with_seed(1);
    for placement in [Placement::Pinned, Placement::Cold] {
        for (segments, deleted) in
            [(1, 0.0), (1, 0.3), (1, 0.5), (2, 0.7), (1, 0.9), (3, 0.99), (1, 0.995), (2, 0.999), (1, 1.0)]
        {
            let (collection, live) = with_deletions(placement, segments, 400, deleted, &mut random);
            for params in [SearchParams::default(), WALK] {
                for kind in [None, Some(0), Some(1)] {
                    let query = vector(&mut random);
                    let expected = in_order(&live, &query, kind);
                    for limit in [expected.len(), expected.len() + 1, 1500] {
                        for offset in [0, 1, expected.len() / 2] {
                            let request = SearchRequest {
                                limit: limit.max(1),
                                offset,
                                filter: kind.map(of_kind),
                                params,
                                ..SearchRequest::new(floats(&query))
                            };
                            assert_eq!(
                                found(&collection, request),
                                expected[offset.min(expected.len())..],
                                "{segments} segments, {deleted} deleted, limit {limit}, offset {offset}"
                            );
                        }
                    }
                }
            }
            collection.close().unwrap();
        }
    }
}

/// A segment with deletions has the recall of one that never held the deleted points, with defaults and with
/// a walk.
#[test]
fn points_find_themselves_as_often_as_in_a_segment_of_their_own() {
    let mut random = fastrand::Rng::with_seed(2);
    for deleted in [0.0, 0.45, 0.55, 0.9, 0.99, 0.999] {
        let (collection, live) = with_deletions(Placement::Pinned, 1, 2000, deleted, &mut random);
        let fresh = create(Placement::Pinned);
        put(&fresh, &live);
        fresh.seal(|_| {}).wait().unwrap();
        for params in [SearchParams::default(), SearchParams { ef: 64, ..WALK }] {
            let missed = |collection: &Collection| {
                let misses = |(id, vector): (&u64, &Vec<i32>)| {
                    let request = SearchRequest { limit: 10, params, ..SearchRequest::new(floats(vector)) };
                    !found(collection, request).contains(&(0, *id))
                };
                live.iter().take(200).filter(|point| misses(*point)).count()
            };
            let (missed, missed_fresh) = (missed(&collection), missed(&fresh));
            assert!(missed <= missed_fresh + 1, "{deleted} deleted: {missed} missed, fresh {missed_fresh}");
        }
        collection.close().unwrap();
        fresh.close().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any deletions, replacements and filters, and for few candidates: a search finds as many points as
    /// it wants. Each occurs once, is live, has its distance, and is in order.
    #[test]
    fn no_search_comes_back_with_less_than_there_is(
        seed: u64,
        segments in 1u64..4,
        deleted in prop_oneof![0f64..1.0, 0.9f64..1.0],
        replaced in 0usize..50,
        cold: bool,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let placement = if cold { Placement::Cold } else { Placement::Pinned };
        let (collection, mut live) = with_deletions(placement, segments, 250, deleted, &mut random);
        let again: Model = (0..replaced).map(|_| (random.u64(..1000), vector(&mut random))).collect();
        put(&collection, &again);
        live.extend(again);
        for _ in 0..40 {
            let query = vector(&mut random);
            let kind = random.bool().then(|| random.u64(..KINDS));
            let (limit, offset) = (random.usize(1..40), random.usize(..3) * random.usize(..20));
            let params = SearchParams { ef: random.usize(1..40), ..WALK };
            let request =
                SearchRequest { limit, offset, filter: kind.map(of_kind), params, ..SearchRequest::new(floats(&query)) };
            let hits = found(&collection, request);
            let all = in_order(&live, &query, kind);
            prop_assert_eq!(hits.len(), limit.min(all.len().saturating_sub(offset)));
            prop_assert!(hits.is_sorted_by(|a, b| a < b), "{:?}", hits);
            prop_assert!(hits.iter().all(|hit| all.binary_search(hit).is_ok()));
        }
        collection.close().unwrap();
    }
}

/// A page of the few remaining points costs as much as they do, without the deleted ones.
#[test]
fn scrolling_through_what_is_left_looks_at_little_else() {
    let mut random = fastrand::Rng::with_seed(3);
    let collection = create(Placement::Pinned);
    put(&collection, &(0..12_000).map(|id| (id, vector(&mut random))).collect());
    collection.seal(|_| {}).wait().unwrap();
    delete(&collection, (0..12_000).filter(|id| id % 1000 > 0));
    let page = collection.scroll(ScrollRequest { limit: 100, ..ScrollRequest::default() }).wait().unwrap();
    let ids: Vec<PointId> = page.records.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, (0..12).map(|id| PointId::Num(id * 1000)).collect::<Vec<_>>());
    // One read for an id and one for a payload. The ids in order take 36 pages.
    assert!(page.read.reads <= 24, "{} reads", page.read.reads);
}

/// A scroll passes over a run of deleted points in few batches of many ids.
#[test]
fn scrolling_past_what_was_deleted_takes_few_batches() {
    let mut random = fastrand::Rng::with_seed(4);
    let collection = create(Placement::Pinned);
    put(&collection, &(0..12_000).map(|id| (id, vector(&mut random))).collect());
    collection.seal(|_| {}).wait().unwrap();
    delete(&collection, 0..11_800);
    let page = collection.scroll(ScrollRequest { limit: 1, ..ScrollRequest::default() }).wait().unwrap();
    let ids: Vec<PointId> = page.records.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, [PointId::Num(11_800)]);
    // A batch of 4096 of the 11,800 ids is one read, because its pages are adjacent. The payload is one more.
    assert!(page.read.reads <= 3 + 1, "{} reads", page.read.reads);
}
