//! Background work: sealing and vacuum by their thresholds, and an optimizer that fails.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use vecstore::collection::{Collection, CollectionInfo, CollectionOptions, Durability, Selection};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

const DIR: &str = "/c";

fn create(disk: &SimulatedDisk, options: &CollectionOptions) -> Collection {
    let backend = DynBackend::new(disk.clone());
    Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), options).unwrap()
}

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 1, ..CollectionOptions::default() }
}

fn points(ids: impl IntoIterator<Item = u64>) -> Vec<Point> {
    let point = |id| Point::new(id, vec![id as f32, 1.0]).with_payload(json!({"text": "x".repeat(100)}));
    ids.into_iter().map(point).collect()
}

fn put(collection: &Collection, ids: impl IntoIterator<Item = u64>) -> Result<(), Error> {
    collection.upsert(points(ids), Durability::Synced).wait().map(drop)
}

fn delete(collection: &Collection, ids: std::ops::Range<u64>) -> Result<u64, Error> {
    let ids = Selection::Ids(ids.map(PointId::Num).collect());
    collection.delete(ids, Durability::Synced).wait().map(|written| written.points)
}

/// Waits for background work. If it never happens, the test hangs.
fn wait_until(collection: &Collection, happened: impl Fn(&CollectionInfo) -> bool) -> CollectionInfo {
    loop {
        let info = collection.info();
        // A segment's directory may be removed during the look.
        if let Ok(info) = info
            && happened(&info)
        {
            return info;
        }
        std::thread::yield_now();
    }
}

fn log_bytes(disk: &SimulatedDisk) -> u64 {
    let logs = disk.list(Path::new(DIR)).unwrap().into_iter();
    logs.filter(|entry| entry.name.to_str().unwrap().ends_with(".wal")).map(|entry| entry.len).sum()
}

#[test]
fn a_log_of_the_same_points_over_and_over_is_sealed_away() {
    let disk = SimulatedDisk::new(1);
    let collection = create(&disk, &CollectionOptions { seal_log_bytes: 8000, ..options() });
    for _ in 0..300 {
        put(&collection, 0..2).unwrap();
    }
    // 300 records of about 300 bytes would take 90,000.
    wait_until(&collection, |_| log_bytes(&disk) < 3 * 8000);
    assert_eq!(collection.count(None).wait().unwrap(), 2);
    collection.close().unwrap();
    let opened = Collection::open(&DynBackend::new(disk), Path::new(DIR), &options()).unwrap();
    assert!(opened.open_report().writes_replayed < 100, "{:?}", opened.open_report());
}

/// The points are all new, so no vacuum is ever due, and each write fills memory.
#[test]
fn segments_keep_their_bound_while_writes_go_on() {
    for segments_max in [1, 3] {
        let disk = SimulatedDisk::new(9);
        let collection = create(&disk, &CollectionOptions { seal_points: 5, segments_max, ..options() });
        for first in (0..300).step_by(10) {
            put(&collection, first..first + 10).unwrap();
        }
        collection.settle().wait().unwrap();
        let info = collection.info().unwrap();
        assert!(info.segments_peak <= segments_max + 1 && info.segments.len() <= segments_max, "{info:?}");
        assert_eq!((info.points, info.points_in_memory), (300, 0));
    }
}

/// Replaced points take no room in memory. But their records fill the log while frozen points wait.
#[test]
fn the_log_is_bounded_while_sealing_is_held_up() {
    let disk = SimulatedDisk::new(8);
    let collection = create(&disk, &CollectionOptions { seal_log_bytes: 8000, ..options() });
    put(&collection, 0..2).unwrap();
    let (reached, at_it) = std::sync::mpsc::sync_channel(1);
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let mut optimizing = collection.optimize(move |_| {
        let _ = reached.try_send(());
        let _ = held.lock().unwrap().recv();
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut optimizing).poll(&mut context).is_pending());
    at_it.recv().unwrap();
    let (mut writing, mut written) = (Vec::new(), 0);
    for _ in 0..3000 {
        // A few writes wait at a time, so that a group has a few.
        if writing.len() < 10 {
            writing.push(collection.upsert(points(0..2), Durability::Written));
        }
        let waiting = writing.len();
        writing.retain_mut(|write| match Pin::new(write).poll(&mut context) {
            Poll::Ready(answer) => answer.is_err(),
            Poll::Pending => true,
        });
        written += waiting - writing.len();
        // Between any two of these, the writer has time for a write.
        collection.sync().wait().unwrap();
    }
    // Each record has more than 200 bytes.
    assert!(written * 200 <= 4 * 8000 + 10 * 400, "{written} writes");
    drop(go_on);
    for write in writing {
        write.wait().unwrap();
    }
    optimizing.wait().unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), 2);
}

#[test]
fn deletions_alone_bring_on_a_vacuum() {
    let disk = SimulatedDisk::new(2);
    let collection = create(&disk, &options());
    put(&collection, 0..100).unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(delete(&collection, 0..20).unwrap(), 20);
    // The threshold is more than a fifth.
    assert_eq!(collection.info().unwrap().segments[0].deleted, 20);
    assert_eq!(delete(&collection, 20..21).unwrap(), 1);
    let info = wait_until(&collection, |info| info.segments.iter().all(|segment| segment.deleted == 0));
    assert_eq!((info.segments.len(), info.segments[0].points), (1, 79));
    assert_eq!(collection.count(None).wait().unwrap(), 79);
}

#[test]
fn points_are_refused_when_memory_is_full_and_sealing_fails() {
    let disk = SimulatedDisk::new(3);
    let collection = create(&disk, &CollectionOptions { seal_points: 5, ..options() });
    // Files in their places prevent building segments.
    let blocked: Vec<PathBuf> =
        (1..20).map(|number| PathBuf::from(format!("{DIR}/segment-{number:06}"))).collect();
    blocked.iter().for_each(|path| disk.write(path, b"").unwrap());
    let mut ids = 0..;
    let refused = loop {
        let id = ids.next().unwrap();
        assert!(id < 100, "memory has a bound");
        if let Err(error) = put(&collection, [id]) {
            break (id, error);
        }
    };
    let (id, Error::Full { points, .. }) = &refused else { panic!("{refused:?}") };
    // 5 frozen points, and four times as many.
    assert_eq!((*id, *points), (25, 20));
    let message = io_core::with_causes(&refused.1).to_string();
    assert!(message.contains("20 points wait") && message.contains("segment-0000"), "{message}");
    // Deletions, which make room, still work, and so do reads.
    assert_eq!(delete(&collection, 0..2).unwrap(), 2);
    assert_eq!(collection.count(None).wait().unwrap(), 23);
    blocked.iter().for_each(|path| disk.remove_file(path).unwrap());
    collection.optimize(|_| {}).wait().unwrap();
    put(&collection, [25]).unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), 24);
}

#[test]
fn a_progress_callback_that_panics_takes_nothing_along() {
    let disk = SimulatedDisk::new(4);
    let collection = create(&disk, &CollectionOptions { background: false, ..options() });
    put(&collection, 0..50).unwrap();
    let panicked = collection.optimize(|_| panic!("a test of a panic")).wait();
    assert!(matches!(panicked, Err(Error::Panicked { .. })), "{panicked:?}");
    let names: Vec<_> = disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["LOCK", "MANIFEST", "log-000001.wal"]);
    put(&collection, 50..60).unwrap();
    assert_eq!(collection.optimize(|_| {}).wait().unwrap().sealed, 60);
}

/// The records of a failed write may be whole. If the closing mark cannot overwrite them, they must not count
/// when the next log begins.
#[test]
fn a_failed_write_that_landed_is_not_what_the_next_log_follows() {
    let disk = SimulatedDisk::new(5);
    let collection = create(&disk, &CollectionOptions { background: false, ..options() });
    put(&collection, [1]).unwrap();
    // The writer looks at the lock first.
    disk.set_fault(Some(DiskFault::new(disk.operations() + 1, FaultKind::Landed)));
    put(&collection, [2]).unwrap_err();
    disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::NoSpace)));
    collection.seal(|_| {}).wait().unwrap_err();
    disk.set_fault(None);
    put(&collection, [3]).unwrap();
    collection.close().unwrap();
    let opened = Collection::open(&DynBackend::new(disk), Path::new(DIR), &options()).unwrap();
    let found =
        opened.retrieve((1..4).map(PointId::Num).collect(), vecstore::collection::RecordParts::NOTHING);
    assert_eq!(found.wait().unwrap().missing, [PointId::Num(2)]);
}

/// `settle` also works without background work. A cancelled settle leaves nothing that writers would wait
/// for.
#[test]
fn settling_seals_and_may_be_given_up() {
    let disk = SimulatedDisk::new(6);
    let collection =
        create(&disk, &CollectionOptions { background: false, seal_points: 5, segments_max: 2, ..options() });
    put(&collection, 0..50).unwrap();
    assert!(collection.info().unwrap().optimization_due);
    collection.settle().wait().unwrap();
    let info = collection.info().unwrap();
    assert_eq!((info.segments.len(), info.points_in_memory, info.optimization_due), (1, 0, false));
    drop(collection);

    let disk = SimulatedDisk::new(7);
    let collection = create(&disk, &CollectionOptions { seal_points: 5, ..options() });
    for round in 0..40 {
        let settles: Vec<_> = (0..6).map(|_| collection.settle()).collect();
        put(&collection, round * 30..round * 30 + 30).unwrap();
        for settle in &settles {
            settle.stop_flag().stop();
        }
        drop(settles);
    }
    assert_eq!(collection.count(None).wait().unwrap(), 1200);
}
