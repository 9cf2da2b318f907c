//! Tests that need internals.

use super::handle::Collection;
use super::manifest::{Manifest, ManifestSegment};
use super::options::CollectionOptions;
use super::pending::Pending;
use super::request::{Durability, SearchRequest, WriteSummary};
use crate::error::Error;
use crate::field::FieldKind;
use crate::immutable::segment::SegmentReader;
use crate::point::{Point, PointId};
use crate::schema::Schema;
use io_core::testing::SimulatedDisk;
use io_core::{DynBackend, Executor, FileSystem, ReadControl, ReadStats};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

/// A write that is already submitted. A future does nothing before it is polled.
fn sent(mut write: Pending<WriteSummary>) -> Pending<WriteSummary> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(Pin::new(&mut write).poll(&mut context).is_pending());
    write
}

/// Writes that arrive during a sync share the next sync.
#[test]
fn many_writers_share_one_sync() {
    let disk = SimulatedDisk::new(1);
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let schema = Schema::new(1);
    let collection =
        Collection::create(&DynBackend::new(disk.clone()), Path::new("/c"), &schema, &options).unwrap();
    let put = |id| collection.upsert(vec![Point::new(id, vec![0.0])], Durability::Synced);
    put(0).wait().unwrap();
    let before = disk.history_len();
    let writes: Vec<Pending<WriteSummary>> = {
        // The writer cannot apply the first write while the state is read-locked, so the others arrive
        // together.
        let _reading = collection.shared.state.read();
        (1..65).map(put).map(sent).collect()
    };
    let mut seqs: Vec<u64> = writes.into_iter().map(|write| write.wait().unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (2..66).collect::<Vec<u64>>());
    let history = before..disk.history_len();
    let syncs = history.filter(|&change| disk.describe(change).starts_with("sync file")).count();
    assert!(syncs <= 2, "{syncs} syncs for 64 writes");
}

/// Points of one tenant are contiguous. Within it, so are those of the second key. Within that, points follow
/// the graph rather than the order of insertion.
#[test]
fn points_are_ordered_by_the_keys_one_after_the_other() {
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let schema = Schema::new(4).tenant("tenant", FieldKind::Keyword).tenant("day", FieldKind::Integer);
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let dir = Path::new("/c");
    let collection = Collection::create(&backend, dir, &schema, &options).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut keys = BTreeMap::new();
    for batch in 0..3u64 {
        let point = |id| {
            // Few values, so that some points share them, and hashes of keys collide.
            let (tenant, day) = (format!("t{}", random.u32(..12)), random.i64(-2..3));
            let vector = (0..4).map(|_| random.f32()).collect();
            keys.insert(PointId::Num(id), (tenant.clone(), day));
            Point::new(id, vector).with_payload(json!({"tenant": tenant, "day": day}))
        };
        // Each batch replaces half of the one before.
        let points = (batch * 400..batch * 400 + 800).map(point).collect();
        collection.upsert(points, Durability::Written).wait().unwrap();
        collection.optimize(|_| {}).wait().unwrap();
    }
    let entry = collection.shared.state.read().version.segments[0].clone();
    let order = backend
        .run(|| async {
            let reader = SegmentReader::open(&backend, entry.data, &options.open).await.unwrap();
            let points: Vec<u32> = (0..reader.data.points).collect();
            let mut stats = ReadStats::default();
            reader.ids_of(&points, &ReadControl::default(), &mut stats).await.unwrap()
        })
        .unwrap();
    assert_eq!(order.len(), keys.len());
    let ordered: Vec<&(String, i64)> = order.iter().map(|id| &keys[id]).collect();
    assert!(ordered.is_sorted());
    assert_eq!(ordered.chunk_by(|a, b| a == b).count(), keys.values().collect::<BTreeSet<_>>().len());
    let as_they_came = order.chunk_by(|a, b| keys[a] == keys[b]).all(|group| group.is_sorted());
    assert!(!as_they_came);
}

/// All threads release a merged segment, even cores without reads.
#[test]
fn replaced_segments_are_let_go() {
    let backend = DynBackend::new(SimulatedDisk::new(2));
    let options = CollectionOptions { cores: 3, background: false, ..CollectionOptions::default() };
    let collection = Collection::create(&backend, Path::new("/c"), &Schema::new(1), &options).unwrap();
    let put = |id| collection.upsert(vec![Point::new(id, vec![0.0])], Durability::Synced).wait().unwrap();
    put(1);
    collection.optimize(|_| {}).wait().unwrap();
    let segment = Arc::downgrade(&collection.shared.state.read().version.segments[0].data);
    // All cores have it open.
    for _ in 0..30 {
        collection.search(SearchRequest::new(vec![1.0])).wait().unwrap();
    }
    put(2);
    collection.optimize(|_| {}).wait().unwrap();
    // If a thread keeps the segment, the test hangs.
    while segment.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_manifest_of_too_many_segments_is_not_written() {
    let backend = DynBackend::new(SimulatedDisk::new(3));
    let (directory, dir) = (backend.directory(), Path::new("/c"));
    directory.create_dir(dir).unwrap();
    let with = |count: u64| {
        let segment = |number| ManifestSegment { number, id: None, deleted: None, deleted_salt: None };
        let mut manifest = Manifest::new(Schema::new(1));
        (manifest.segments, manifest.number_next) = ((1..=count).map(segment).collect(), count + 1);
        manifest
    };
    let error = with(4097).prepare(&*directory, dir).unwrap_err();
    assert!(matches!(error, Error::TooManySegments { segments: 4097, segments_max: 4096, .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("/c would have 4097 segments") && said.contains("segment_points_max"), "{said}");
    assert!(directory.list(dir).unwrap().is_empty());
    with(4096).prepare(&*directory, dir).unwrap();
}
