//! The events of feature `tracing`. The subscriber is the process's, because the store has threads of its
//! own. Each test has a collection of its own name.

use io_core::testing::{Captured, DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend, with_causes};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Waker};
use vecstore::collection::{Collection, CollectionOptions, CutOff, Durability, SearchRequest, Selection};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() }
}

/// All lines so far.
fn lines() -> Vec<String> {
    static CAPTURED: OnceLock<(Captured, Mutex<Vec<String>>)> = OnceLock::new();
    let (captured, lines) = CAPTURED.get_or_init(|| {
        let captured = Captured::new();
        tracing::subscriber::set_global_default(captured.clone()).expect("the only subscriber");
        (captured, Mutex::default())
    });
    let mut lines = lines.lock().unwrap();
    lines.extend(captured.take());
    lines.clone()
}

/// The events so far of the collection in this directory, without what all of them have.
fn events(dir: &str) -> Vec<String> {
    let own = |line: String| {
        let (level, rest) = line.split_once(" vecstore ")?;
        let (name, rest) = rest.split_once(" collection=")?;
        let fields = rest.strip_prefix(dir)?;
        (fields.is_empty() || fields.starts_with(' ')).then(|| format!("{level} {name}{fields}"))
    };
    lines().into_iter().filter_map(own).collect()
}

fn create(disk: &SimulatedDisk, dir: &str, options: &CollectionOptions) -> Collection {
    let before = events(dir);
    assert_eq!(before, [""; 0], "another test uses {dir}");
    Collection::create(&DynBackend::new(disk.clone()), Path::new(dir), &Schema::new(2), options).unwrap()
}

fn put(collection: &Collection, ids: std::ops::Range<u64>, durability: Durability) -> Result<(), Error> {
    let points = ids.map(|id| Point::new(id, vec![id as f32, 1.0])).collect();
    collection.upsert(points, durability).wait().map(drop)
}

/// The bytes of all files of the segments, by what `info` lists.
fn segment_bytes(collection: &Collection) -> u64 {
    let segments = collection.info().unwrap().segments;
    segments.iter().flat_map(|segment| segment.disk_bytes.values()).sum()
}

#[test]
fn the_optimizer_says_what_it_does() {
    let (disk, dir) = (SimulatedDisk::new(1), "/optimizer");
    let collection = create(&disk, dir, &options());
    put(&collection, 0..50, Durability::Synced).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    let sealed = segment_bytes(&collection);
    put(&collection, 50..80, Durability::Synced).unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let merged = segment_bytes(&collection);
    let ids = (0..10).map(PointId::Num).collect();
    collection.delete(Selection::Ids(ids), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let vacuumed = segment_bytes(&collection);
    assert_eq!(
        events(dir),
        [
            "INFO opened segments=0 writes_replayed=0".to_owned(),
            "INFO work_begun work=seal segments=0".to_owned(),
            format!("INFO work_ended work=seal points=50 bytes={sealed}"),
            "INFO work_begun work=merge segments=1".to_owned(),
            format!("INFO work_ended work=merge points=80 bytes={merged}"),
            // The deletions were in a mutable segment without points.
            "INFO work_begun work=merge segments=1".to_owned(),
            format!("INFO work_ended work=merge points=70 bytes={vacuumed}"),
        ]
    );
}

#[test]
fn opening_says_what_it_recovered() {
    let (disk, dir, log) = (SimulatedDisk::new(2), "/recovery", Path::new("/recovery/log-000001.wal"));
    let collection = create(&disk, dir, &options());
    put(&collection, 0..3, Durability::Synced).unwrap();
    put(&collection, 3..6, Durability::Written).unwrap();
    // The process is killed amid the second write.
    let killed = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    drop(collection);
    let mut bytes = killed.read(log).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[end - 20..].fill(0);
    killed.write(log, &bytes).unwrap();

    let before = events(dir).len();
    let opened = Collection::open(&DynBackend::new(killed), Path::new(dir), &options()).unwrap();
    let [CutOff { log, offset, bytes, copy }] = &opened.open_report().cut_off[..] else { panic!("one end") };
    let copy = copy.as_ref().map_or(String::new(), |copy| format!(" copy={}", copy.display()));
    assert_eq!(
        events(dir)[before..],
        [
            "INFO opened segments=0 writes_replayed=1".to_owned(),
            format!("WARN log_cut_off log={} offset={offset} bytes={bytes}{copy}", log.display()),
        ]
    );
}

#[test]
fn a_stall_is_two_events() {
    let (disk, dir) = (SimulatedDisk::new(3), "/stall");
    let options = CollectionOptions { background: true, seal_points: 5, ..options() };
    let collection = create(&disk, dir, &options);
    put(&collection, 0..2, Durability::Written).unwrap();
    let (go_on, held) = mpsc::channel::<()>();
    let (reached, at_it) = mpsc::sync_channel(1);
    let held = Mutex::new(held);
    // Holds up the optimizer with two points frozen.
    let mut optimizing = collection.optimize(move |_| {
        let _ = reached.try_send(());
        let _ = held.lock().unwrap().recv();
    });
    let _ = Pin::new(&mut optimizing).poll(&mut Context::from_waker(Waker::noop()));
    at_it.recv().unwrap();
    // Four times `seal_points` fill memory.
    put(&collection, 2..22, Durability::Written).unwrap();
    // The writer looks whether it is full before it takes the next job.
    collection.sync().wait().unwrap();
    let counters = collection.counters();
    assert_eq!((counters.stalls, counters.stalled_us), (1, 0));
    let waiting = collection.upsert(vec![Point::new(22, vec![1.0, 1.0])], Durability::Written);
    drop(go_on);
    waiting.wait().unwrap();
    optimizing.wait().unwrap();

    let lines = events(dir);
    let stalls: Vec<&String> = lines.iter().filter(|line| line.contains("stall")).collect();
    let [begun, ended] = &stalls[..] else { panic!("{lines:#?}") };
    assert!(begun.starts_with("WARN stall_begun points=20 log_bytes="), "{begun}");
    let counters = collection.counters();
    assert_eq!(
        (counters.stalls, ended.as_str()),
        (1, &*format!("INFO stall_ended stalled_us={}", counters.stalled_us))
    );
}

#[test]
fn a_background_error_is_an_event_with_its_causes() {
    let (disk, dir) = (SimulatedDisk::new(4), "/background");
    let collection = create(&disk, dir, &CollectionOptions { background: true, seal_points: 5, ..options() });
    // Files in their places prevent building a segment, also when the optimizer tries again.
    for number in 1..100 {
        disk.write(&PathBuf::from(format!("{dir}/segment-{number:06}")), b"").unwrap();
    }
    let error = (0..100).find_map(|id| put(&collection, id..id + 1, Durability::Synced).err());
    let Some(Error::Full { source, .. }) = error else { panic!("{error:?}") };
    let expected = format!("ERROR work_failed work=seal error={}", with_causes(&*source));
    let lines = events(dir);
    assert!(lines.contains(&expected), "{expected} is not in {lines:#?}");
    assert_eq!(collection.counters().writes_refused, 1);
    // The optimizer may be between an event and its counter, so the two become equal in the end.
    let counts = || {
        let lines = events(dir);
        let failed = lines.iter().filter(|line| line.starts_with("ERROR work_failed")).count() as u64;
        (failed, collection.counters().background_errors)
    };
    let become_equal = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        let (events, counted) = counts();
        events == counted
    });
    assert!(become_equal, "{:?}", counts());
}

#[test]
fn the_end_of_all_writing_is_an_event() {
    for operation in 0.. {
        let (disk, dir) = (SimulatedDisk::new(5), format!("/end-{operation}"));
        let collection = create(&disk, &dir, &options());
        put(&collection, 0..1, Durability::Synced).unwrap();
        let number = disk.operations() + operation;
        disk.set_fault(Some(DiskFault::new(number, FaultKind::Io)));
        let failed = put(&collection, 1..2, Durability::Synced).is_err();
        assert!(failed, "no operation of a synced write ends all writing");
        disk.set_fault(None);
        let Some(reason) = collection.info().unwrap().read_only else { continue };
        assert_eq!(events(&dir)[1..], [format!("ERROR writing_ended reason={reason}")]);
        return;
    }
}

#[test]
fn reads_of_a_search_are_spans() {
    let (disk, dir) = (SimulatedDisk::new(6), "/reads");
    let collection = create(&disk, dir, &options());
    put(&collection, 0..500, Durability::Synced).unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let search = || collection.search(SearchRequest::new(vec![3.0, 1.0])).wait().unwrap().stats.read;
    // The first one opens the new segment.
    search();
    let before = lines().len();
    let wanted = search().bytes_wanted;
    let after = lines();
    let batches = after[before..]
        .iter()
        .filter(|line| line.starts_with("DEBUG io_core::read batch file=/reads/segment-000001/"))
        .map(|line| line.rsplit_once("bytes_wanted=").unwrap().1.parse::<u64>().unwrap());
    assert!(wanted > 0);
    assert_eq!(batches.sum::<u64>(), wanted);
}
