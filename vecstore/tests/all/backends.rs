//! Collections on real files, through every backend of this build.

use io_core::{DeviceBudget, OpenOptions};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, SearchParams, SearchRequest,
    SearchResult, Selection,
};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};
use vecstore::schema::{GraphLayout, IndexKind, Placement, Placements, Schema};

const DIM: usize = 24;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 2, background: false, ..CollectionOptions::default() }
}

fn schema(placement: Placements) -> Schema {
    Schema { placement, ..crate::new_schema(DIM as u32).tenant("tenant", FieldKind::Keyword) }
}

fn points(count: u64) -> (Vec<Point>, Vec<Vec<f32>>) {
    let mut data = Clustered::new(count as usize, DIM, 3);
    let queries = data.queries(20);
    let Rows::F32(rows) = data.next_rows(count as usize).unwrap() else { panic!("clusters are of f32") };
    let point = |(id, row): (u64, &[f32])| {
        Point::new(id, row.to_vec()).with_payload(json!({"tenant": format!("t{}", id % 7), "id": id}))
    };
    ((0..).zip(rows.chunks_exact(DIM)).map(point).collect(), queries)
}

/// All readable content of a collection, in one value.
fn everything(collection: &Collection, queries: &[Vec<f32>]) -> (Vec<SearchResult>, Vec<Point>, u64) {
    let of_tenant = Filter::must(Condition::matches("tenant", "t3"));
    let request = |query: &Vec<f32>| SearchRequest {
        filter: Some(of_tenant.clone()),
        with_payload: true,
        ..SearchRequest::new(query.clone())
    };
    let filtered = queries.iter().map(request);
    let requests = queries.iter().map(|query| SearchRequest::new(query.clone())).chain(filtered).collect();
    let mut found = collection.search_batch(requests).wait().unwrap();
    // The cost of reads depends on the backend.
    found.iter_mut().for_each(|result| result.stats = Default::default());
    let request = ScrollRequest { limit: 10_000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let page = collection.scroll(request).wait().unwrap();
    let point = |record: vecstore::collection::Record| Point {
        id: record.id,
        vector: record.vector.unwrap(),
        payload: record.payload.unwrap(),
    };
    (found, page.records.into_iter().map(point).collect(), collection.count(Some(of_tenant)).wait().unwrap())
}

fn write(kind: BackendKind, dir: &Path, points: &[Point], placement: Placements) -> Collection {
    let collection = Collection::create(&kind.backend(), dir, &schema(placement), &options()).unwrap();
    let (segment, memory) = points.split_at(points.len() - 50);
    for batch in segment.chunks(500) {
        collection.upsert(batch.to_vec(), Durability::Written).wait().unwrap();
    }
    collection.optimize(|_| {}).wait().unwrap();
    collection.upsert(memory.to_vec(), Durability::Synced).wait().unwrap();
    let ids = (0..40).map(PointId::Num).collect();
    collection.delete(Selection::Ids(ids), Durability::Synced).wait().unwrap();
    collection
}

/// The content of a segment's file, without the segment's id and the checksums.
fn content(path: &Path) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = std::fs::read(path).unwrap();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("pages") => {
            // The identity and the checksum of checksums, then the checksum of each page.
            bytes[24..52].fill(0);
            bytes.chunks_mut(PAGE).for_each(|page| page[PAGE - 4..].fill(0));
        }
        Some("vec") => {
            bytes[44..48].fill(0);
            bytes[56..PAGE].fill(0);
            let records = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) as usize;
            bytes.truncate(bytes.len() - 4 * records);
        }
        _ => {
            let text = String::from_utf8(bytes).unwrap();
            let json = text.rsplit_once("crc32 ").unwrap().0;
            let mut info: serde_json::Value = serde_json::from_str(json).unwrap();
            let files: Vec<String> = info["files"].as_object().unwrap().keys().cloned().collect();
            info["files"] = files.into();
            info.as_object_mut().unwrap().remove("id").unwrap();
            bytes = info.to_string().into_bytes();
        }
    }
    bytes
}

#[test]
fn what_one_backend_writes_all_read() {
    let (points, queries) = points(2000);
    let mut first = None;
    for writer in BackendKind::plain() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("c");
        let collection = write(*writer, &dir, &points, Placements::default());
        let written = everything(&collection, &queries);
        assert_eq!(written.1, points[40..], "{writer}");
        collection.close().unwrap();
        for reader in BackendKind::all() {
            let collection = Collection::open(&reader.backend(), &dir, &options()).unwrap();
            assert_eq!(everything(&collection, &queries), written, "written by {writer}, read by {reader}");
        }
        // The files also equal those of the other backends byte by byte. Only the segment's random id
        // differs, with it all checksums, and the places of ids, since their hash is salted by it.
        let segment = dir.join("segment-000001");
        let mut files: Vec<(std::ffi::OsString, Vec<u8>)> = std::fs::read_dir(segment)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.file_name() != "ids.pages")
            .map(|entry| (entry.file_name(), content(&entry.path())))
            .collect();
        files.sort_unstable();
        assert!(*first.get_or_insert_with(|| files.clone()) == files, "{writer}");
    }
}

/// A search of cells reads more cells while pages of codes are on their way. On a device that takes few reads
/// at once they wait for each other, and none waits for ever.
#[test]
fn searches_end_with_a_device_of_any_depth() {
    let (points, queries) = points(9000);
    let cold = Placement::Cold;
    let placement =
        Placements { vectors: cold, codes: cold, graph: cold, ids: cold, ..Placements::default() };
    let indexes = [(IndexKind::Cells, GraphLayout::Compact), (IndexKind::Graph, GraphLayout::Linked)];
    // Most of the points, so of more cells than a search scans before it reads the first code.
    let request = |query: &Vec<f32>| SearchRequest {
        params: SearchParams { ef: 6000, ..SearchParams::default() },
        ..SearchRequest::new(query.clone())
    };
    let requests: Vec<SearchRequest> = queries[..4].iter().map(request).collect();
    let hits = |collection: &Collection| {
        let found = collection.search_batch(requests.clone()).wait().unwrap();
        found.into_iter().map(|result| result.hits).collect::<Vec<_>>()
    };
    for (index, graph) in indexes {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("c");
        let schema = Schema { index, graph, ..schema(placement) };
        let collection = Collection::create(&BackendKind::Mmap.backend(), &dir, &schema, &options()).unwrap();
        collection.upsert(points.clone(), Durability::Written).wait().unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        let expected = hits(&collection);
        collection.close().unwrap();
        for kind in BackendKind::plain() {
            for depth in [1, 3] {
                let device = DeviceBudget::new(depth, 1 << 20);
                let open = OpenOptions::default().on_device(&device);
                let options = CollectionOptions { open, ..options() };
                let collection = Collection::open(&kind.backend(), &dir, &options).unwrap();
                assert_eq!(hits(&collection), expected, "{kind}, {index}, {graph}, depth {depth}");
            }
        }
    }
}

/// All parts pinned, all cached, or all on disk with direct IO: the answers are the same.
#[test]
fn placement_changes_no_answer() {
    let (points, queries) = points(1500);
    let everywhere = |place| Placements {
        vectors: place,
        codes: place,
        graph: place,
        payload: place,
        ids: place,
        indexes: place,
    };
    for kind in BackendKind::all() {
        // A search of cells reads whole pages of codes from disk. So it may find more than in memory.
        let mut first = [None, None];
        for place in [Placement::Pinned, Placement::Cached, Placement::Cold] {
            let first = &mut first[usize::from(crate::has_cells() && place == Placement::Pinned)];
            let temp = tempfile::tempdir_in(".").unwrap();
            let dir = temp.path().join("c");
            let collection = write(*kind, &dir, &points, everywhere(place));
            let found = everything(&collection, &queries);
            collection.close().unwrap();
            assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "{kind}, {place:?}");
            if place == Placement::Cold && !kind.maps() {
                let direct = CollectionOptions { open: OpenOptions::direct(), ..options() };
                let collection = Collection::open(&kind.backend(), &dir, &direct).unwrap();
                assert_eq!(everything(&collection, &queries), found, "{kind}, O_DIRECT");
            }
        }
    }
}

/// Writers, readers and the optimizer run at once. A reader must always see each batch whole, and no point
/// twice.
#[test]
fn reads_are_consistent_while_everything_moves() {
    const BATCH: u64 = 20;
    for kind in BackendKind::all() {
        let temp = tempfile::tempdir().unwrap();
        let options = CollectionOptions {
            background: true,
            seal_points: 150,
            segments_max: 3,
            vacuum_ratio: 0.1,
            ..options()
        };
        let dir = temp.path().join("c");
        let schema = crate::new_schema(2).index("round", FieldKind::Integer);
        let collection = Arc::new(Collection::create(&kind.backend(), &dir, &schema, &options).unwrap());
        let (done, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..120u64 {
                    // Each batch is written again with other values some rounds later.
                    let batch = round % 30;
                    let point =
                        |id| Point::new(id, vec![1.0, round as f32]).with_payload(json!({"round": round}));
                    let points = (batch * BATCH..(batch + 1) * BATCH).map(point).collect();
                    collection.upsert(points, Durability::Written).wait().unwrap();
                    batches.store((round + 1).min(30), Ordering::SeqCst);
                }
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                let at_least = batches.load(Ordering::SeqCst);
                let request = ScrollRequest {
                    limit: 10_000,
                    with: RecordParts { payload: true, vector: true },
                    ..ScrollRequest::default()
                };
                let page = collection.scroll(request).wait().unwrap();
                assert_eq!(page.records.len() as u64 % BATCH, 0, "{kind}: a batch is half there");
                assert!(
                    page.records.len() as u64 >= at_least * BATCH,
                    "{kind}: an acknowledged batch is missing"
                );
                for batch in page.records.chunks(BATCH as usize) {
                    let rounds: Vec<_> =
                        batch.iter().map(|record| &record.payload.as_ref().unwrap()["round"]).collect();
                    assert!(rounds.iter().all(|round| *round == rounds[0]), "{kind}: {rounds:?}");
                    let vector = batch[0].vector.as_ref().unwrap();
                    assert_eq!(json!(vector[1] as u64), *rounds[0], "{kind}");
                }
                let found = collection
                    .search(SearchRequest { limit: 50, ..SearchRequest::new(vec![1.0, 50.0]) })
                    .wait()
                    .unwrap();
                let mut ids: Vec<PointId> = found.hits.iter().map(|hit| hit.id).collect();
                let hits = ids.len();
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids.len(), hits, "{kind}: a point was found twice");
            }
            writer.join().unwrap();
        });
        let collection = Arc::into_inner(collection).unwrap();
        assert_eq!(collection.count(None).wait().unwrap(), 600);
        collection.close().unwrap();
        let collection = Collection::open(&kind.backend(), &dir, &options).unwrap();
        assert_eq!(collection.count(None).wait().unwrap(), 600, "{kind}");
    }
}

/// A stopped optimization leaves nothing that writers would wait for.
#[test]
fn writers_go_on_after_an_optimization_was_stopped() {
    let temp = tempfile::tempdir().unwrap();
    let options = CollectionOptions { background: true, seal_points: 50, ..options() };
    let backend = BackendKind::all()[0].backend();
    let collection =
        Collection::create(&backend, &temp.path().join("c"), &crate::new_schema(2), &options).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        let points = ids.map(|id| Point::new(id, vec![id as f32, 1.0])).collect();
        collection.upsert(points, Durability::Written).wait().unwrap();
    };
    put(0..40);
    let optimizing = collection.optimize(|_| {});
    optimizing.stop_flag().stop();
    assert!(matches!(optimizing.wait().unwrap_err(), vecstore::error::Error::Stopped));
    // Far more points than writers may write while frozen points wait.
    for batch in 1..40 {
        put(batch * 40..(batch + 1) * 40);
    }
    assert_eq!(collection.count(None).wait().unwrap(), 1600);
    collection.close().unwrap();
}

/// A process with its own runtime reads without threads of the store.
#[test]
fn a_reader_on_a_runtime_of_its_own_needs_no_threads() {
    use io_core::{Executor, StopFlag};
    let (points, queries) = points(600);
    for kind in BackendKind::all() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("c");
        write(*kind, &dir, &points, Placements::default()).close().unwrap();
        let options = CollectionOptions { cores: 0, read_only: true, ..options() };
        let backend = kind.backend();
        let collection = Collection::open(&backend, &dir, &options).unwrap();
        let found = backend
            .run(|| async {
                let reader = collection.reader();
                let request = SearchRequest::new(queries[0].clone());
                let found = reader.search(&request, &StopFlag::new()).await.unwrap();
                let stopped = StopFlag::new();
                stopped.stop();
                let error = reader.search(&request, &stopped).await.unwrap_err();
                assert!(matches!(error, vecstore::error::Error::Stopped), "{kind}: {error}");
                reader.close().await.unwrap();
                found
            })
            .unwrap();
        assert_eq!(found.hits.len(), 10, "{kind}");
        let error = collection.search(SearchRequest::new(queries[0].clone())).wait().unwrap_err();
        assert!(matches!(error, vecstore::error::Error::NoCores), "{kind}: {error}");
    }
}
