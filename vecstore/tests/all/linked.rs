//! Collections whose graphs keep codes of each point's neighbours.

use crate::common::collections::quiet as options;
use io_core::testing::SimulatedDisk;
use io_core::{DynBackend, StopFlag};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use vecstore::collection::{
    Collection, Durability, Hit, RecordParts, Rescore, SearchParams, SearchRequest, SearchResult,
    SearchStats, Selection,
};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};
use vecstore::schema::{Distance, GraphLayout, HnswParams, Placement, Placements, Schema};

const DIM: usize = 48;
const POINTS: usize = 3000;
const DIR: &str = "/linked";
const KINDS: u64 = 3;
/// 32 links of 4 bytes, and a block of 32 times two numbers and 64 bits.
const RECORD_BYTES: u64 = 32 * (4 + 8 + 8);
const CODE_BYTES: u64 = DIM as u64 + 16;
/// A record on disk also has the point's own code and id. A UUID takes 8 bytes more.
const STRIDE: u64 = RECORD_BYTES + CODE_BYTES + 8;

/// A search that walks the graph wherever possible.
fn walk() -> SearchParams {
    SearchParams { scan_max: 0, scan_ratio: 0.0, ..SearchParams::default() }
}

fn schema(graph: GraphLayout, distance: Distance, place: Placement) -> Schema {
    let placement = Placements { graph: place, codes: place, ..Placements::default() };
    let schema = Schema { graph, distance, placement, ..Schema::new(DIM as u32) };
    schema.index("kind", FieldKind::Integer)
}

/// A collection with one segment, and queries.
fn create(disk: &SimulatedDisk, schema: &Schema) -> (Collection, Vec<Vec<f32>>) {
    let mut source = Clustered::new(POINTS, DIM, 21);
    let queries = source.queries(50);
    let Rows::F32(rows) = source.next_rows(POINTS).unwrap() else { panic!("clusters are of f32") };
    let points = (0..).zip(rows.chunks_exact(DIM)).map(|(id, row)| {
        // Dot products differ from cosines only if lengths differ.
        let row = row.iter().map(|x| x * (1.0 + (id % 4) as f32 / 4.0)).collect();
        Point::new(id, row).with_payload(json!({"kind": id % KINDS}))
    });
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), schema, &options()).unwrap();
    collection.upsert(points.collect(), Durability::Written).wait().unwrap();
    collection.seal(|_| {}).wait().unwrap();
    (collection, queries)
}

fn search(
    collection: &Collection,
    queries: &[Vec<f32>],
    params: SearchParams,
    filter: Option<&Filter>,
) -> Vec<SearchResult> {
    let request = |query: &Vec<f32>| {
        let filter = filter.cloned();
        SearchRequest { params, filter, ..SearchRequest::new(query.clone()) }
    };
    collection.search_batch(queries.iter().map(request).collect()).wait().unwrap()
}

/// The part of the ten best hits that a search finds.
fn recall(
    collection: &Collection,
    queries: &[Vec<f32>],
    params: SearchParams,
    filter: Option<&Filter>,
) -> f64 {
    let ids = |found: Vec<SearchResult>| -> Vec<BTreeSet<PointId>> {
        found.iter().map(|found| found.hits.iter().map(|hit| hit.id).collect()).collect()
    };
    let exact = SearchParams { exact: true, ..params };
    let truth = ids(search(collection, queries, exact, filter));
    let found = ids(search(collection, queries, params, filter));
    let hits: usize = found.iter().zip(&truth).map(|(a, b)| a.intersection(b).count()).sum();
    assert!(truth.iter().all(|truth| truth.len() == 10), "ten exist");
    hits as f64 / (10 * truth.len()) as f64
}

#[test]
fn searches_find_what_vectors_find() {
    for distance in Distance::ALL {
        for place in [Placement::Pinned, Placement::Cold] {
            let (collection, queries) =
                create(&SimulatedDisk::new(1), &schema(GraphLayout::Linked, distance, place));
            let found = recall(&collection, &queries, walk(), None);
            assert!(found >= 0.95, "{distance}, {place:?}: recall {found}");
            let kind = Filter::must(Condition::matches("kind", 1));
            // Both layouts take the same walk.
            let found = recall(&collection, &queries, walk(), Some(&kind));
            let (compact, _) = create(&SimulatedDisk::new(1), &schema(GraphLayout::Compact, distance, place));
            let expected = recall(&compact, &queries, walk(), Some(&kind));
            assert!(
                found >= expected - 0.03,
                "{distance}, {place:?}, filtered: recall {found} of {expected}"
            );
            // Deleted points still lead to others.
            let deleted = (0..POINTS as u64).filter(|id| id % 5 < 2).map(PointId::Num).collect();
            collection.delete(Selection::Ids(deleted), Durability::Written).wait().unwrap();
            let found = recall(&collection, &queries, walk(), None);
            assert!(found >= 0.95, "{distance}, {place:?}, two of five deleted: recall {found}");
            collection.close().unwrap();
        }
    }
}

/// The sum of a figure of all searches.
fn sum(found: &[SearchResult], figure: impl Fn(&SearchStats) -> u64) -> u64 {
    found.iter().map(|found| figure(&found.stats)).sum()
}

/// A search scores only the points that it expands.
#[test]
fn fewer_codes_are_scored() {
    let scored = |graph, ef| {
        let (collection, queries) =
            create(&SimulatedDisk::new(2), &schema(graph, Distance::Cosine, Placement::Pinned));
        let params = SearchParams { ef, ..walk() };
        let found = recall(&collection, &queries, params, None);
        (found, sum(&search(&collection, &queries, params, None), |stats| stats.codes_scored))
    };
    let ((recall, compact), (linked_recall, linked)) =
        (scored(GraphLayout::Compact, 64), scored(GraphLayout::Linked, 64));
    assert!(recall >= 0.99 && linked_recall >= 0.99, "recall {linked_recall} against {recall}");
    assert!(compact as f64 > 1.8 * linked as f64, "{compact} against {linked}");
}

/// A search reads one record of each node that it expands, and nothing else of the graph or the codes.
#[test]
fn a_node_on_disk_takes_one_read() {
    let on = |graph, codes| {
        let mut schema = schema(GraphLayout::Linked, Distance::Cosine, graph);
        schema.placement.codes = codes;
        let (collection, queries) = create(&SimulatedDisk::new(3), &schema);
        search(&collection, &queries, walk(), None)
    };
    let [pinned, cold, beside] = [
        (Placement::Pinned, Placement::Pinned),
        (Placement::Cold, Placement::Cold),
        (Placement::Pinned, Placement::Cold),
    ]
    .map(|(graph, codes)| on(graph, codes));
    // Vectors are on disk in all cases, and nearly the same ones are read.
    let hits = |found: &[SearchResult]| -> Vec<Vec<PointId>> {
        found.iter().map(|found| found.hits.iter().map(|hit| hit.id).collect()).collect()
    };
    assert_eq!(hits(&beside), hits(&pinned));
    let bytes = |found: &[SearchResult]| sum(found, |stats| stats.read.bytes_wanted);
    assert_eq!(bytes(&beside), bytes(&pinned));
    let scored = sum(&cold, |stats| stats.codes_scored);
    let ids = 8 * hits(&pinned).concat().len() as u64;
    let nodes = (bytes(&cold) - (bytes(&pinned) - ids)) / STRIDE;
    // Scores on level 1 come from memory, about 50 a search.
    assert!(nodes < scored && scored < nodes + 100 * cold.len() as u64, "{nodes} nodes for {scored} codes");
}

/// A search that needs no vectors reads records only. Their ids lead to the right points.
#[test]
fn ids_of_hits_come_from_records() {
    let schema = schema(GraphLayout::Linked, Distance::Cosine, Placement::Cold);
    let (collection, queries) = create(&SimulatedDisk::new(3), &schema);
    // The others become UUIDs, so that there are both kinds.
    let some: Vec<PointId> = (0..POINTS as u64).filter(|id| id % 3 == 0).map(PointId::Num).collect();
    let old = collection.retrieve(some.clone(), RecordParts::ALL).wait().unwrap().records;
    let new = old.into_iter().map(|record| {
        let PointId::Num(number) = record.id else { panic!("all are numbers") };
        Point::new(PointId::Uuid(u128::from(number) << 70), record.vector.unwrap())
    });
    collection.upsert(new.collect(), Durability::Written).wait().unwrap();
    collection.delete(Selection::Ids(some), Durability::Written).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let params = SearchParams { rescore: Rescore::Never, ..walk() };
    let found = search(&collection, &queries, params, None);
    for SearchResult { hits, stats } in &found {
        assert_eq!(hits.len(), 10);
        let bytes = stats.read.bytes_wanted;
        assert!(bytes > 0 && bytes.is_multiple_of(STRIDE + 8), "{bytes} bytes");
    }
    let is_uuid = |hit: &Hit| matches!(hit.id, PointId::Uuid(_));
    let uuids = found.iter().flat_map(|found| &found.hits).filter(|hit| is_uuid(hit)).count();
    assert!((100..250).contains(&uuids), "{uuids} of 500 hits");
    let recall = recall(&collection, &queries, params, None);
    assert!(recall >= 0.95, "recall {recall}");
}

#[test]
fn memory_and_files_are_those_of_the_layout() {
    let (pinned, cold) = (Placement::Pinned, Placement::Cold);
    let points = POINTS as u64;
    for (layout, graph, codes, expected) in [
        (GraphLayout::Compact, pinned, pinned, None),
        (GraphLayout::Compact, cold, cold, None),
        (GraphLayout::Linked, pinned, pinned, Some(points * RECORD_BYTES)),
        (GraphLayout::Linked, pinned, cold, Some(points * (RECORD_BYTES + CODE_BYTES))),
        // Checksums.
        (GraphLayout::Linked, cold, pinned, Some(points * 4)),
        // And the codes of level 1, which has a 16th of the points.
        (GraphLayout::Linked, cold, cold, Some(points * 4 + points / 16 * CODE_BYTES)),
    ] {
        let disk = SimulatedDisk::new(4);
        let mut schema = schema(layout, Distance::Cosine, graph);
        schema.placement.codes = codes;
        let (collection, _) = create(&disk, &schema);
        let info = collection.info().unwrap();
        let segment = &info.segments[0];
        let pages = points.div_ceil(4096 / STRIDE);
        let bytes = segment.disk_bytes.get("linked.vec").copied();
        assert_eq!(bytes, expected.map(|_| 4096 * (1 + pages) + 4 * points), "{layout:?}");
        let found = segment.memory_bytes.get("linked.vec").copied();
        match (found, expected) {
            // How many points are on level 1 is a matter of chance.
            (Some(found), Some(expected)) if (graph, codes) == (cold, cold) => {
                let part = found as f64 / expected as f64;
                assert!((0.8..1.2).contains(&part), "{found} for {expected}");
            }
            _ => assert_eq!(found, expected, "{layout:?} {graph:?} {codes:?}"),
        }
        collection.close().unwrap();
        let (backend, stop) = (DynBackend::new(disk), StopFlag::new());
        let report = Collection::verify(&backend, Path::new(DIR), &stop).unwrap();
        assert!(report.problems.is_empty() && report.notes.is_empty(), "{report:?}");
    }
}

/// More links than a block holds, and few dimensions.
#[test]
fn many_links_take_several_blocks() {
    let hnsw = HnswParams { m: 40, ..HnswParams::default() };
    for place in [Placement::Pinned, Placement::Cold] {
        let schema = Schema { hnsw, ..schema(GraphLayout::Linked, Distance::Euclid, place) };
        let (collection, queries) = create(&SimulatedDisk::new(5), &schema);
        // Few enough that each link matters.
        let found = recall(&collection, &queries, SearchParams { ef: 16, ..walk() }, None);
        assert!(found >= 0.95, "{place:?}: recall {found}");
    }
}
