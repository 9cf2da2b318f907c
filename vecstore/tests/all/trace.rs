//! Power cuts during real runs. Threads write to a collection on real files, through each backend of this
//! build, and every write and sync is recorded. From the record, the test makes the disk after a power cut:
//! before and after every sync, and at moments between. Unsynced sectors are lost, kept or torn, and unsynced
//! names are missing.
//!
//! `VECSTORE_TRACE_SEEDS=50` records more runs, each on all backends, and `VECSTORE_TRACE_SEED=7` only one.
//! `VECSTORE_TRACE_FATES=20` tries more fates of the unsynced changes at each moment.

use crate::common::backends::{startable, traced};
use crate::common::collections::{Model, contents, quiet};
use crate::common::steps::{Step, allowed, check_allowed, number, recovered, seeds};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, StopFlag};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, PayloadChange, Selection};
use vecstore::error::{Error, FormatError};
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::Schema;

const DIR: &str = "/c";
/// Runs on each backend.
const SEEDS: u64 = 1;
/// Fates of the unsynced changes, at each moment.
const FATES: u64 = 1;
/// Threads that write, and the writes of each in a session.
const WRITERS: usize = 2;
const WRITES: usize = 16;
/// Times that the collection is opened.
const SESSIONS: usize = 2;

/// A requested change.
#[derive(Clone)]
enum Change {
    Put(Vec<Point>),
    Delete(Vec<PointId>),
    DeleteTenant(String),
    MergeTenant(String),
    /// An operation that makes earlier writes durable.
    Sync,
}

/// An acknowledged change.
struct Done {
    change: Change,
    durable: bool,
    begun: usize,
    acknowledged: usize,
    seq: u64,
    /// Points that it changed.
    points: u64,
}

/// An acknowledged snapshot, and its path on the disk.
struct Snapshot {
    path: PathBuf,
    begun: usize,
    acknowledged: usize,
}

/// A run: the disk that recorded it, and what was acknowledged.
struct Run {
    disk: SimulatedDisk,
    /// In the order of the writes.
    steps: Vec<Step>,
    snapshots: Vec<Snapshot>,
}

fn of_tenant(tenant: &str) -> Filter {
    Filter::must(Condition::matches("t", tenant))
}

fn is_of_tenant(point: &Point, tenant: &str) -> bool {
    point.payload.get("t") == Some(&json!(tenant))
}

fn changed_fields() -> serde_json::Map<String, serde_json::Value> {
    json!({"n": 1, "changed": true}).as_object().unwrap().clone()
}

impl Change {
    fn random(random: &mut fastrand::Rng) -> Self {
        let tenant = format!("t{}", random.u32(..3));
        match random.u32(..10) {
            0..=5 => {
                let ids: BTreeSet<PointId> = (0..random.usize(1..6)).map(|_| id(random)).collect();
                let point = |id| {
                    let mut payload = json!({"t": tenant, "n": random.i64(..)});
                    if random.u32(..4) == 0 {
                        payload["text"] = json!("x".repeat(random.usize(..3000)));
                    }
                    let vector = (0..3).map(|_| random.f32()).collect();
                    Point { id, ..Point::new(0, vector) }.with_payload(payload)
                };
                Self::Put(ids.into_iter().map(point).collect())
            }
            6 | 7 => Self::Delete((0..random.usize(1..5)).map(|_| id(random)).collect()),
            8 => Self::DeleteTenant(tenant),
            _ => Self::MergeTenant(tenant),
        }
    }

    fn apply(&self, model: &mut Model) {
        match self {
            Self::Put(points) => model.extend(points.iter().map(|point| (point.id, point.clone()))),
            Self::Delete(ids) => model.retain(|id, _| !ids.contains(id)),
            Self::DeleteTenant(tenant) => model.retain(|_, point| !is_of_tenant(point, tenant)),
            Self::MergeTenant(tenant) => {
                for point in model.values_mut().filter(|point| is_of_tenant(point, tenant)) {
                    point.payload.extend(changed_fields());
                }
            }
            Self::Sync => {}
        }
    }
}

fn id(random: &mut fastrand::Rng) -> PointId {
    let number = random.u64(..25);
    if number.is_multiple_of(4) { PointId::Uuid(u128::from(number)) } else { PointId::Num(number) }
}

/// The state that the threads of a run share.
struct Recording {
    disk: SimulatedDisk,
    done: Mutex<Vec<Done>>,
    /// The greatest acknowledged sequence number.
    seq: AtomicU64,
}

impl Recording {
    /// Executes a change and records its times. `act` returns the acknowledged sequence number and the number
    /// of points.
    fn record(&self, change: Change, durable: bool, act: impl FnOnce() -> (u64, u64)) {
        let begun = self.disk.history_len();
        let (seq, points) = act();
        let acknowledged = self.disk.history_len();
        self.seq.fetch_max(seq, Ordering::SeqCst);
        self.done.lock().unwrap().push(Done { change, durable, begun, acknowledged, seq, points });
    }

    /// Records an operation that makes all writes durable that were acknowledged before it began.
    fn record_sync(&self, act: impl FnOnce()) {
        let seq = self.seq.load(Ordering::SeqCst);
        self.record(Change::Sync, true, || {
            act();
            (seq, 0)
        });
    }

    fn write(&self, collection: &Collection, random: &mut fastrand::Rng) {
        let change = Change::random(random);
        let durable = random.u32(..3) > 0;
        let durability = if durable { Durability::Synced } else { Durability::Written };
        self.record(change.clone(), durable, || {
            let pending = match change {
                Change::Put(points) => collection.upsert(points, durability),
                Change::Delete(ids) => collection.delete(Selection::Ids(ids), durability),
                Change::DeleteTenant(tenant) => {
                    collection.delete(Selection::Filter(of_tenant(&tenant)), durability)
                }
                Change::MergeTenant(tenant) => {
                    let selection = Selection::Filter(of_tenant(&tenant));
                    collection.change_payload(selection, PayloadChange::Merge(changed_fields()), durability)
                }
                Change::Sync => unreachable!("no random change"),
            };
            let written = pending.wait().unwrap();
            (written.seq, written.points)
        });
    }

    /// The changes as steps, in the order in which the collection made them.
    fn into_steps(self) -> Vec<Step> {
        let mut done = self.done.into_inner().unwrap();
        // A write without effect has the number of the write before it.
        done.sort_by_key(|done| (done.seq, done.points == 0));
        let mut model = Model::new();
        let step = |Done { change, durable, begun, acknowledged, .. }: Done| {
            change.apply(&mut model);
            Step { begun, acknowledged, durable, after: model.clone() }
        };
        done.into_iter().map(step).collect()
    }
}

fn run(kind: BackendKind, seed: u64) -> Run {
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = temp.path();
    let (backend, disk) = traced(kind, root);
    let mut random = fastrand::Rng::with_seed(seed);
    // Thresholds so low that background work is always due.
    let options = CollectionOptions {
        background: random.u32(..4) > 0,
        seal_points: 8,
        seal_log_bytes: 20_000,
        segments_max: 2,
        vacuum_ratio: 0.3,
        ..quiet()
    };
    let quantization = if random.bool() { Quantization::Rotated2 } else { Quantization::Int8 };
    let schema = Schema { quantization, ..crate::new_schema(3) };
    let schema = schema.tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let (dir, mut snapshots) = (root.join("c"), Vec::new());
    let recording = Recording { disk: disk.clone(), done: Mutex::default(), seq: AtomicU64::new(0) };
    recording.record_sync(|| {
        Collection::create(&backend, &dir, &schema, &options).unwrap().close().unwrap();
    });
    for session in 0..SESSIONS {
        let collection = Collection::open(&backend, &dir, &options).unwrap();
        let writing = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|_| {
                    let mut random = fastrand::Rng::with_seed(random.u64(..));
                    let (recording, collection) = (&recording, &collection);
                    scope.spawn(move || (0..WRITES).for_each(|_| recording.write(collection, &mut random)))
                })
                .collect();
            let upkeep = scope.spawn(|| {
                let mut taken = Vec::new();
                while writing.load(Ordering::SeqCst) {
                    match random.u32(..6) {
                        0 => recording.record_sync(|| {
                            collection.optimize(|_| {}).wait().unwrap();
                        }),
                        1 | 2 => recording.record_sync(|| {
                            collection.seal(|_| {}).wait().unwrap();
                        }),
                        3 => recording.record_sync(|| collection.settle().wait().unwrap()),
                        4 => recording.record_sync(|| collection.sync().wait().unwrap()),
                        _ => {
                            let name = format!("snapshot-{session}-{}", taken.len());
                            let begun = disk.history_len();
                            recording.record_sync(|| {
                                collection.snapshot(&root.join(&name)).wait().unwrap();
                            });
                            let acknowledged = disk.history_len();
                            taken.push(Snapshot { path: Path::new("/").join(name), begun, acknowledged });
                        }
                    }
                }
                // Writers may have finished before any of this began.
                recording.record_sync(|| {
                    collection.seal(|_| {}).wait().unwrap();
                });
                taken
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            writing.store(false, Ordering::SeqCst);
            snapshots.extend(upkeep.join().unwrap());
        });
        recording.record_sync(|| collection.close().unwrap());
    }
    let steps = recording.into_steps();
    check_whole(&disk, root);
    Run { disk, steps, snapshots }
}

/// Fails unless the simulated disk holds the same as the real one.
fn check_whole(disk: &SimulatedDisk, root: &Path) {
    let all = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    let mut dirs = vec![PathBuf::from("/")];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        let real = root.join(dir.strip_prefix("/").unwrap());
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(&real).unwrap() {
            let entry = entry.unwrap();
            names.insert(entry.file_name(), entry.path());
        }
        let recorded = all.list(&dir).unwrap();
        assert!(recorded.iter().map(|entry| &entry.name).eq(names.keys()), "{dir:?}: {recorded:?}");
        for entry in recorded {
            let (path, real) = (dir.join(&entry.name), &names[&entry.name]);
            if entry.is_dir {
                dirs.push(path);
            } else if entry.name != "LOCK" {
                // The name of the lock's holder, which is for messages, is not recorded.
                assert!(all.read(&path).unwrap() == std::fs::read(real).unwrap(), "{path:?} differs");
                files += 1;
            }
        }
    }
    assert!(files > 5, "{files} files");
}

/// The faults of a collection. `None` if there is no collection.
fn problems(disk: &SimulatedDisk, dir: &Path) -> Option<Vec<Error>> {
    match Collection::verify(&DynBackend::new(disk.clone()), dir, &StopFlag::new()) {
        Ok(report) => Some(report.problems),
        Err(Error::NotACollection { .. }) => None,
        Err(Error::Format(FormatError::Directory(error))) if error.is_not_found() => None,
        Err(error) => panic!("{}: {error}", dir.display()),
    }
}

/// Fails unless a collection exists and has no fault.
fn check_sound(disk: &SimulatedDisk, dir: &Path) {
    let problems = problems(disk, dir).unwrap_or_else(|| panic!("{} is no collection", dir.display()));
    assert!(problems.is_empty(), "{}: {problems:?}", dir.display());
}

/// Whether the fault is the end of a log. A power cut may tear it, and only opening repairs that.
fn is_end_of_log(problem: &Error) -> bool {
    let Error::Format(FormatError::Damaged { path, .. }) = problem else { return false };
    path.extension().is_some_and(|extension| extension == "wal")
}

/// Cuts the power of a run at a moment, and checks the remains.
fn check_crash(run: &Run, changes: usize, fate: u64) {
    let disk = run.disk.crash(changes, fate);
    let dir = Path::new(DIR);
    let torn = problems(&disk, dir);
    assert!(torn.iter().flatten().all(is_end_of_log), "{torn:?}");
    let found = recovered(&disk, dir).unwrap_or_else(|error| panic!("it does not open: {error}"));
    assert_eq!(found.is_some(), torn.is_some(), "verifying and opening agree whether there is a collection");
    check_allowed(found.as_ref().map(|(_, model)| model), &allowed(&run.steps, changes));
    check_snapshots(run, &disk, changes);
    let Some((collection, mut model)) = found else { return };
    // The rest is expensive, so it runs at some moments only.
    let goes_on = (changes as u64 + fate).is_multiple_of(5);
    if goes_on {
        let new = Point::new(1000, vec![1.0, 2.0, 3.0]).with_payload(json!({"t": "new"}));
        collection.upsert(vec![new.clone()], Durability::Synced).wait().unwrap();
        model.insert(new.id, new);
        collection.optimize(|_| {}).wait().unwrap();
    }
    collection.close().unwrap();
    // A missing sector that had one bit leaves the end of the log in doubt.
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(entry.name);
        if path.extension().is_some_and(|extension| extension == "torn") {
            disk.remove_file(&path).unwrap();
        }
    }
    check_sound(&disk, dir);
    if goes_on {
        let (_, found) = recovered(&disk, dir).unwrap().expect("it was there before");
        assert_eq!(found, model);
    }
}

/// Acknowledged snapshots exist, and every entry with a snapshot's name is whole.
fn check_snapshots(run: &Run, disk: &SimulatedDisk, changes: usize) {
    for Snapshot { path, begun, acknowledged } in &run.snapshots {
        // Only snapshots near this moment are checked, because old ones do not change.
        if changes < *begun || changes > acknowledged + 20 {
            continue;
        }
        if disk.list(path).is_err() {
            assert!(changes < *acknowledged, "{} was acknowledged", path.display());
            continue;
        }
        check_sound(disk, path);
        let options = CollectionOptions { read_only: true, ..quiet() };
        let snapshot = Collection::open(&DynBackend::new(disk.clone()), path, &options).unwrap();
        let found = contents(&snapshot).unwrap();
        // It contains all writes acknowledged before its request, durable or not, and no later ones.
        let before = run.steps.iter().rposition(|step| step.acknowledged <= *begun).unwrap_or(0);
        let after = run.steps.iter().rposition(|step| step.begun < *acknowledged).map_or(0, |last| last + 1);
        let models: Vec<_> = run.steps[before..after].iter().map(|step| Some(&step.after)).collect();
        check_allowed(Some(&found), &models);
    }
}

/// The moments of power cuts: around every sync, and some between.
fn moments(disk: &SimulatedDisk, random: &mut fastrand::Rng) -> BTreeSet<usize> {
    let len = disk.history_len();
    let syncs = (0..len).filter(|&change| disk.is_sync(change));
    let mut moments: BTreeSet<usize> = syncs.flat_map(|sync| [sync, sync + 1]).collect();
    moments.extend((0..len / 4).map(|_| random.usize(..=len)));
    moments.extend([0, len]);
    moments
}

/// Copies a disk into a real directory, because another run of the same seed would differ.
fn keep(disk: &SimulatedDisk) -> PathBuf {
    let kept =
        tempfile::Builder::new().prefix("trace-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    let mut dirs = vec![PathBuf::from("/")];
    while let Some(dir) = dirs.pop() {
        for entry in disk.list(&dir).unwrap() {
            let path = dir.join(entry.name);
            let real = kept.join(path.strip_prefix("/").unwrap());
            if entry.is_dir {
                std::fs::create_dir(real).unwrap();
                dirs.push(path);
            } else {
                std::fs::write(real, disk.read(&path).unwrap()).unwrap();
            }
        }
    }
    kept
}

#[test]
fn nothing_acknowledged_is_lost_at_any_moment_of_a_real_run() {
    let seeds = seeds("VECSTORE_TRACE_SEED", "VECSTORE_TRACE_SEEDS", SEEDS);
    let fates = number("VECSTORE_TRACE_FATES").unwrap_or(FATES);
    let kinds = startable();
    let mut crashes = 0;
    for seed in seeds.clone() {
        for &kind in &kinds {
            let run = run(kind, seed);
            let mut random = fastrand::Rng::with_seed(seed);
            for changes in moments(&run.disk, &mut random) {
                // All changes are lost, all are kept, or, more often, some are kept.
                let some =
                    (0..fates).map(|_| if random.u32(..4) == 0 { random.u64(..2) } else { random.u64(2..) });
                for fate in some.collect::<Vec<_>>() {
                    let checked = std::panic::catch_unwind(|| check_crash(&run, changes, fate));
                    if checked.is_err() {
                        let last = run.disk.describe(changes.saturating_sub(1));
                        let kept = keep(&run.disk.crash(changes, fate));
                        panic!(
                            "VECSTORE_TRACE_SEED={seed}, {kind}: crash after change {changes} of {} ({last}), fate {fate}; what was left is in {}",
                            run.disk.history_len(),
                            kept.display()
                        );
                    }
                    crashes += 1;
                }
            }
        }
    }
    // The short form makes more than 1,000 with five backends.
    assert!(crashes >= 200 * kinds.len() as u64 * seeds.count() as u64, "{crashes} crashes");
}
