//! Every call stops soon after its flag is raised. The test raises the flag at operations of the disk along
//! the whole way, and few more may follow. A loop that never checks the flag would go on through all
//! segments, logs or batches.

use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, StopFlag};
use serde_json::json;
use std::path::Path;
use std::sync::mpsc;
use vecstore::collection::{Collection, CollectionOptions, Durability, Pending};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::point::Point;
use vecstore::schema::{Placement, Placements, Schema};

const DIR: &str = "/c";
const TARGET: &str = "/target";
const SEGMENTS: u64 = 12;
const LOGS: u64 = 180;
/// The most operations that may follow, without removals. Opening the files of all segments takes about as
/// many. There are more logs than this, and reading all segments takes more.
const MORE_MAX: u64 = 130;
/// Number of points at which each call is stopped.
const PLACES: u64 = 16;

fn options() -> CollectionOptions {
    CollectionOptions {
        cores: 1,
        reads_per_core: 1,
        background: false,
        segments_max: 2 * SEGMENTS as usize,
        ..CollectionOptions::default()
    }
}

fn backend(disk: &SimulatedDisk) -> DynBackend {
    DynBackend::new(disk.clone())
}

fn open(disk: &SimulatedDisk) -> Collection {
    Collection::open(&backend(disk), Path::new(DIR), &options()).unwrap()
}

fn put(collection: &Collection, ids: std::ops::Range<u64>) {
    let point = |id: u64| {
        let payload = json!({"n": id, "t": format!("t{}", id % 7), "text": "x".repeat(500)});
        Point::new(id, vec![id as f32, 1.0]).with_payload(payload)
    };
    collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
}

/// Many segments, and many logs.
fn sample() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let cold = Placements {
        vectors: Placement::Cold,
        codes: Placement::Cold,
        graph: Placement::Cold,
        payload: Placement::Cold,
        ids: Placement::Cold,
        indexes: Placement::Cold,
    };
    let schema = Schema { placement: cold, ..crate::new_schema(2) }.index("n", FieldKind::Integer);
    let schema = schema.tenant("t", FieldKind::Keyword);
    let collection = Collection::create(&backend(&disk), Path::new(DIR), &schema, &options()).unwrap();
    for segment in 0..SEGMENTS {
        put(&collection, segment * 50..segment * 50 + 50);
        collection.seal(|_| {}).wait().unwrap();
    }
    collection.close().unwrap();
    for log in 0..LOGS {
        let collection = open(&disk);
        put(&collection, 10_000 + log..10_001 + log);
        collection.close().unwrap();
    }
    disk
}

/// The operation at which to stop, counted from now on.
#[derive(Clone, Copy)]
struct At(u64);

impl At {
    fn flag(self, disk: &SimulatedDisk) -> StopFlag {
        let flag = StopFlag::new();
        let raised = flag.clone();
        disk.at_operation(disk.operations() + self.0, move || raised.stop());
        flag
    }

    /// For a call that creates its own flag. The operation waits until the flag is known.
    fn wait<T>(self, disk: &SimulatedDisk, begin: impl FnOnce() -> Pending<T>) -> Result<T, Error> {
        let (tell, told) = mpsc::channel::<StopFlag>();
        disk.at_operation(disk.operations() + self.0, move || {
            if let Ok(flag) = told.recv() {
                flag.stop();
            }
        });
        let pending = begin();
        // The receiver is gone if the call ended before.
        let _ = tell.send(pending.stop_flag());
        pending.wait()
    }
}

/// A call on an already opened collection. Opening is not counted.
type Call = fn(&SimulatedDisk, Option<&Collection>, At) -> Result<(), Error>;

const CALLS: [(&str, bool, Call); 6] = [
    ("verify", false, |disk, _, at| {
        let report = Collection::verify(&backend(disk), Path::new(DIR), &at.flag(disk))?;
        assert!(report.problems.is_empty() && report.unread.is_empty(), "{report:?}");
        Ok(())
    }),
    ("repair", false, |disk, _, at| {
        let (dir, target) = (Path::new(DIR), Path::new(TARGET));
        let report = Collection::repair(&backend(disk), dir, target, None, &at.flag(disk))?;
        assert_eq!((report.points, report.more_lost), (SEGMENTS * 50 + LOGS, false), "{report:?}");
        Ok(())
    }),
    ("repair without a manifest", false, |disk, _, at| {
        let (dir, target) = (Path::new(DIR), Path::new(TARGET));
        let flag = at.flag(disk);
        disk.write(&dir.join("MANIFEST"), b"{}").unwrap();
        Collection::repair(&backend(disk), dir, target, None, &flag).map(drop)
    }),
    ("restore", false, |disk, _, at| {
        Collection::restore(&backend(disk), Path::new(DIR), Path::new(TARGET), &at.flag(disk))
    }),
    ("snapshot", true, |disk, open, at| at.wait(disk, || open.unwrap().snapshot(Path::new(TARGET)))),
    ("optimize", true, |disk, open, at| at.wait(disk, || open.unwrap().optimize(|_| {})).map(drop)),
];

#[test]
fn what_is_asked_to_stop_stops_soon_wherever_it_is() {
    let sample = sample();
    for (name, is_open, call) in CALLS {
        // The result, the number of operations, and how many of them were removals.
        let run = |at: At| {
            let disk = sample.crash(sample.history_len(), SimulatedDisk::KEEP_ALL);
            let collection = is_open.then(|| open(&disk));
            let (begun, changes) = (disk.operations(), disk.history_len());
            let done = call(&disk, collection.as_ref(), at);
            let operations = disk.operations() - begun;
            let removals =
                (changes..disk.history_len()).filter(|&at| disk.describe(at).starts_with("remove "));
            (done, operations, removals.count() as u64)
        };
        let (done, all, _) = run(At(u64::MAX >> 1));
        done.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(all > MORE_MAX, "{name}: {all} operations tell nothing");
        let mut stopped = 0;
        for at in (0..all).step_by((all / PLACES).max(1) as usize) {
            let (done, operations, removals) = run(At(at));
            let more = operations.saturating_sub(at + removals);
            assert!(more <= MORE_MAX, "{name}: {more} operations follow after {at} of {all}: {done:?}");
            match done {
                Ok(()) => {}
                Err(Error::Stopped) => stopped += 1,
                Err(error) => panic!("{name}, stopped at {at} of {all}: {error}"),
            }
        }
        assert!(stopped > 0, "{name}: it never stopped");
    }
}
