//! The counters of a collection are the sums of what its callers were told.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{DynBackend, ReadStats};
use serde_json::json;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, PayloadChange, RecordParts, ScrollRequest, SearchRequest,
    Selection,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::Placement;

fn points(ids: std::ops::Range<u64>) -> Vec<Point> {
    ids.map(|id| Point::new(id, vec![id as f32, 1.0]).with_payload(json!({"kind": id % 3}))).collect()
}

#[test]
fn counters_are_sums_of_answers() {
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let options =
        CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() };
    let mut schema = crate::new_schema(2).index("kind", FieldKind::Integer);
    // Otherwise counts and facets would read nothing.
    schema.placement.indexes = Placement::Cold;
    let collection = Collection::create(&backend, Path::new("/c"), &schema, &options).unwrap();
    let mut expected = collection.counters();
    let named = serde_json::to_value(expected).unwrap();
    assert!(named.as_object().unwrap().values().all(|value| value == 0), "{named}");

    // Ten of these replace earlier ones.
    for ids in [0..100, 90..200] {
        collection.upsert(points(ids), Durability::Written).wait().unwrap();
    }
    // Two of these are not there.
    let ids = [1, 2, 3, 1000, 1001].map(PointId::Num).to_vec();
    collection.delete(Selection::Ids(ids), Durability::Synced).wait().unwrap();
    (expected.writes, expected.points_upserted, expected.points_deleted) = (3, 210, 3);
    // A change by a filter is a write of whole points.
    let kind = Filter::must(Condition::matches("kind", 0));
    let new = PayloadChange::Merge(json!({"new": true}).as_object().unwrap().clone());
    let changed = collection.change_payload(Selection::Filter(kind.clone()), new, Durability::Synced);
    let changed = changed.wait().unwrap().points;
    assert_eq!(changed, 66);
    (expected.writes, expected.points_upserted) = (4, 210 + changed);
    let now = collection.counters();
    // Each put has a vector of two components, each of four bytes.
    assert!(now.log_bytes > (210 + changed) * 8, "{now:?}");
    expected.log_bytes = now.log_bytes;
    assert_eq!(now, expected);

    assert_eq!(collection.count(Some(kind.clone())).wait().unwrap(), 66);
    collection.facet("kind".into(), None, 10).wait().unwrap();
    (expected.counts, expected.facets) = (1, 1);
    assert_eq!(collection.counters(), expected, "what is in memory needs no read");

    collection.seal(|_| {}).wait().unwrap();
    collection.upsert(points(200..220), Durability::Synced).wait().unwrap();
    let bytes_on_disk = || {
        let segments = collection.info().unwrap().segments;
        segments.iter().flat_map(|segment| segment.disk_bytes.values()).sum::<u64>()
    };
    (expected.seals, expected.points_sealed, expected.segment_bytes) = (1, 197, bytes_on_disk());
    collection.optimize(|_| {}).wait().unwrap();
    (expected.merges, expected.points_sealed, expected.points_rewritten) = (1, 197 + 20, 197);
    expected.segment_bytes += bytes_on_disk();
    (expected.writes, expected.points_upserted) = (5, 210 + changed + 20);
    expected.log_bytes = collection.counters().log_bytes;
    assert_eq!(collection.counters(), expected);

    let mut read = ReadStats::default();
    let search = || SearchRequest::new(vec![7.0, 1.0]);
    read.add(&collection.search(search()).wait().unwrap().stats.read);
    for found in collection.search_batch(vec![search(), search()]).wait().unwrap() {
        read.add(&found.stats.read);
    }
    let ids = (50..60).map(PointId::Num).collect();
    read.add(&collection.retrieve(ids, RecordParts::ALL).wait().unwrap().read);
    let request = ScrollRequest { with: RecordParts::ALL, ..ScrollRequest::default() };
    read.add(&collection.scroll(request).wait().unwrap().read);
    assert!(read.reads >= 5, "{read:?}");
    (expected.searches, expected.retrieves, expected.scrolls) = (3, 1, 1);
    (expected.physical_reads, expected.bytes_wanted) = (read.reads, read.bytes_wanted);
    expected.bytes_read = read.bytes_read;
    assert_eq!(collection.counters(), expected);

    // These read what they do not return.
    collection.count(Some(kind)).wait().unwrap();
    collection.facet("kind".into(), None, 10).wait().unwrap();
    let now = collection.counters();
    assert!(now.physical_reads > read.reads && now.bytes_read > read.bytes_read, "{now:?}");
    assert_eq!((now.counts, now.facets), (2, 2));

    let wrong = collection.search(SearchRequest::new(vec![1.0; 3])).wait();
    assert!(matches!(wrong, Err(Error::Input(_))), "{wrong:?}");
    assert_eq!((collection.counters().read_errors, collection.counters().searches), (1, 3));
    #[cfg(feature = "histograms")]
    assert_eq!(collection.latencies().count(), now.physical_reads);
}

#[test]
fn failed_writes_are_counted() {
    let disk = SimulatedDisk::new(2);
    let backend = DynBackend::new(disk.clone());
    let options = CollectionOptions { cores: 1, reads_per_core: 1, ..CollectionOptions::default() };
    let collection = Collection::create(&backend, Path::new("/c"), &crate::new_schema(2), &options).unwrap();
    disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::NoSpace)));
    collection.upsert(points(0..1), Durability::Synced).wait().unwrap_err();
    disk.set_fault(None);
    let counters = collection.counters();
    assert_eq!((counters.writes, counters.points_upserted, counters.write_errors), (0, 0, 1));
}
