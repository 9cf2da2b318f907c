//! Collections whose graphs keep codes of each point's neighbours.

use crate::common::collections::quiet as options;
use io_core::testing::SimulatedDisk;
use io_core::{DynBackend, StopFlag};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use vecstore::collection::{Collection, Durability, SearchParams, SearchRequest, SearchResult, Selection};
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

/// A search scores only the points that it expands.
#[test]
fn fewer_codes_are_scored() {
    let scored = |graph| {
        let (collection, queries) =
            create(&SimulatedDisk::new(2), &schema(graph, Distance::Cosine, Placement::Pinned));
        let found = search(&collection, &queries, walk(), None);
        found.iter().map(|found| found.stats.codes_scored).sum::<u64>() as f64 / queries.len() as f64
    };
    let (compact, linked) = (scored(GraphLayout::Compact), scored(GraphLayout::Linked));
    // It expands as many as it keeps, a few more while it begins, and finds the way to level 0.
    assert!((128.0..230.0).contains(&linked), "{linked} codes a search");
    assert!(compact > 2.0 * linked, "{compact} against {linked}");
}

/// A search reads the records of the nodes that it expands, and no links besides.
#[test]
fn records_on_disk_are_read() {
    let read = |place| {
        let schema = schema(GraphLayout::Linked, Distance::Cosine, place);
        let (collection, queries) = create(&SimulatedDisk::new(3), &schema);
        let found = search(&collection, &queries, walk(), None);
        found.iter().map(|found| found.stats.read.bytes_wanted).sum::<u64>() as f64 / queries.len() as f64
    };
    // Vectors and ids are on disk in both cases. Each node has a record and a code. Some are read in vain.
    let nodes = (read(Placement::Cold) - read(Placement::Pinned)) / (RECORD_BYTES + CODE_BYTES) as f64;
    assert!((128.0..256.0).contains(&nodes), "{nodes} nodes a search");
}

#[test]
fn memory_and_files_are_those_of_the_layout() {
    for (graph, is_there) in [(GraphLayout::Compact, false), (GraphLayout::Linked, true)] {
        for place in [Placement::Pinned, Placement::Cold] {
            let disk = SimulatedDisk::new(4);
            let (collection, _) = create(&disk, &schema(graph, Distance::Cosine, place));
            let info = collection.info().unwrap();
            let segment = &info.segments[0];
            assert_eq!(segment.disk_bytes.contains_key("linked.vec"), is_there);
            let expected = match (is_there, place) {
                (false, _) => None,
                (true, Placement::Pinned) => Some(POINTS as u64 * RECORD_BYTES),
                // Checksums.
                (true, _) => Some(4 * POINTS as u64),
            };
            assert_eq!(segment.memory_bytes.get("linked.vec").copied(), expected);
            collection.close().unwrap();
            let (backend, stop) = (DynBackend::new(disk), StopFlag::new());
            let report = Collection::verify(&backend, Path::new(DIR), &stop).unwrap();
            assert!(report.problems.is_empty() && report.notes.is_empty(), "{report:?}");
        }
    }
}

/// More links than a block holds, and few dimensions.
#[test]
fn many_links_take_several_blocks() {
    let hnsw = HnswParams { m: 40, ..HnswParams::default() };
    let schema = Schema { hnsw, ..schema(GraphLayout::Linked, Distance::Euclid, Placement::Pinned) };
    let (collection, queries) = create(&SimulatedDisk::new(5), &schema);
    let found = recall(&collection, &queries, walk(), None);
    assert!(found >= 0.95, "recall {found}");
}
