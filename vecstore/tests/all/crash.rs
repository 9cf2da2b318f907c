//! A power cut after every change that random workloads make to a simulated disk. Acknowledged writes
//! survive, no batch is partly there, and no file is left over.
//!
//! A workload runs once. The disk keeps its history, so the test can make the disk after a crash at each
//! point of it. Unsynced changes are kept, lost or torn. `VECSTORE_CRASH_SEEDS=200` runs more workloads, and
//! `VECSTORE_CRASH_SEED=7` only one.

use crate::common::collections::{Model, contents, quiet as options};
use crate::common::steps::{Step, allowed, check_allowed, recovered, seeds};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, StopFlag};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use vecstore::collection::{Collection, CollectionOptions, Durability, PayloadChange, Selection};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::Schema;

const DIR: &str = "/c";
/// Number of workloads in a run.
const SEEDS: u64 = 10;
/// Fates of unsynced changes: none survive, all survive, and two mixtures.
const FATES: u64 = 4;

/// Thresholds so low that background work is always due.
fn in_background() -> CollectionOptions {
    CollectionOptions {
        background: true,
        seal_points: 8,
        seal_log_bytes: 20_000,
        segments_max: 2,
        vacuum_ratio: 0.3,
        ..options()
    }
}

fn schema() -> Schema {
    crate::new_schema(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer)
}

/// Some workloads use a codec with a trained model, which has a file of its own.
fn schema_of(seed: u64) -> Schema {
    let quantization = if seed % 4 == 1 { Quantization::Rotated2 } else { Quantization::Int8 };
    Schema { quantization, ..schema() }
}

fn open(disk: &SimulatedDisk) -> Result<Collection, Error> {
    open_with(disk, DIR, &options())
}

fn open_with(disk: &SimulatedDisk, dir: &str, options: &CollectionOptions) -> Result<Collection, Error> {
    Collection::open(&DynBackend::new(disk.clone()), Path::new(dir), options)
}

struct Workload {
    disk: SimulatedDisk,
    options: CollectionOptions,
    random: fastrand::Rng,
    model: Model,
    steps: Vec<Step>,
}

impl Workload {
    /// Executes random writes, optimizations and reopenings.
    fn run(seed: u64) -> Self {
        let disk = SimulatedDisk::new(seed);
        let random = fastrand::Rng::with_seed(seed);
        let options = if seed % 3 == 2 { in_background() } else { options() };
        let mut workload = Self { disk, options, random, model: Model::new(), steps: Vec::new() };
        let backend = DynBackend::new(workload.disk.clone());
        let collection =
            Collection::create(&backend, Path::new(DIR), &schema_of(seed), &workload.options).unwrap();
        workload.acknowledge(0, true);
        let mut collection = Arc::new(collection);
        for _ in 0..30 {
            let begun = workload.disk.history_len();
            match workload.random.u32(..20) {
                step @ 0..=4 => {
                    workload.optimize(&collection, step < 2, begun);
                    workload.acknowledge(begun, true);
                }
                5 => {
                    Arc::into_inner(collection).unwrap().close().unwrap();
                    workload.acknowledge(begun, true);
                    collection = Arc::new(open_with(&workload.disk, DIR, &workload.options).unwrap());
                }
                6 => {
                    collection.sync().wait().unwrap();
                    workload.acknowledge(begun, true);
                }
                7 => {
                    let path = format!("/snapshot-{begun}");
                    collection.snapshot(Path::new(&path)).wait().unwrap();
                    workload.acknowledge(begun, true);
                }
                _ => workload.write(&collection, begun),
            }
            workload.let_background_finish(&collection);
        }
        assert_eq!(contents(&collection).unwrap(), workload.model, "seed {seed}, before any crash");
        workload
    }

    /// Waits for background work after the last step, so that the history does not depend on the scheduling
    /// of threads.
    fn let_background_finish(&mut self, collection: &Collection) {
        if !self.options.background {
            return;
        }
        let begun = self.disk.history_len();
        // `settle` also syncs.
        collection.settle().wait().unwrap();
        self.acknowledge(begun, true);
    }

    /// Seals or merges. Half of the time, an unsynced write runs at the same time.
    fn optimize(&mut self, collection: &Arc<Collection>, merge: bool, begun: usize) {
        let meanwhile = self.random.bool().then(|| self.batch());
        let written = Arc::new(Mutex::new(None));
        let (disk, done, inner) = (self.disk.clone(), Arc::clone(&written), Arc::clone(collection));
        let batch = meanwhile.clone();
        let progress = move |_| {
            let mut done = done.lock().unwrap();
            if let (None, Some((points, deletes))) = (&*done, &batch) {
                let begun = disk.history_len();
                inner.upsert(points.clone(), Durability::Written).wait().unwrap();
                let between = disk.history_len();
                inner.delete(Selection::Ids(deletes.clone()), Durability::Written).wait().unwrap();
                *done = Some((begun, between, disk.history_len()));
            }
        };
        let optimizing = if merge { collection.optimize(progress) } else { collection.seal(progress) };
        optimizing.wait().unwrap();
        if let (Some((points, deletes)), Some((begun_inside, between, end))) =
            (meanwhile, *written.lock().unwrap())
        {
            assert!(begun_inside >= begun);
            self.model.extend(points.into_iter().map(|point| (point.id, point)));
            self.step(begun_inside, between, false);
            self.model.retain(|id, _| !deletes.contains(id));
            self.step(between, end, false);
        }
        // The progress callback holds the collection until it is dropped.
        while Arc::strong_count(collection) > 1 {
            std::thread::yield_now();
        }
    }

    /// Some points, and the ids of others.
    fn batch(&mut self) -> (Vec<Point>, Vec<PointId>) {
        let ids: BTreeSet<PointId> = (0..3).map(|_| self.id()).collect();
        let point = |id: &PointId| {
            let point = Point::new(0, vec![0.5; 3]).with_payload(json!({"t": "inside"}));
            Point { id: *id, ..point }
        };
        let points = ids.iter().map(point).collect();
        let others = (0..3).map(|_| self.id()).filter(|id| !ids.contains(id)).collect();
        (points, others)
    }

    fn id(&mut self) -> PointId {
        let number = self.random.u64(..25);
        if number.is_multiple_of(4) { PointId::Uuid(u128::from(number)) } else { PointId::Num(number) }
    }

    fn write(&mut self, collection: &Collection, begun: usize) {
        let durability = if self.random.u32(..4) == 0 { Durability::Written } else { Durability::Synced };
        let tenant = format!("t{}", self.random.u32(..3));
        let of_tenant = || Filter::must(Condition::matches("t", tenant.clone()));
        let is_of_tenant = |point: &Point| point.payload.get("t") == Some(&json!(tenant));
        let pending = match self.random.u32(..10) {
            0..=5 => {
                let mut points: BTreeMap<PointId, Point> = BTreeMap::new();
                for _ in 0..self.random.usize(1..6) {
                    let id = self.id();
                    let vector = (0..3).map(|_| self.random.f32()).collect();
                    let mut payload = json!({"t": tenant, "n": self.random.i64(..)});
                    if self.random.bool() {
                        payload["text"] = json!("x".repeat(self.random.usize(..3000)));
                    }
                    points.insert(id, Point::new(0, vector).with_payload(payload));
                }
                for (id, point) in &mut points {
                    point.id = *id;
                }
                self.model.extend(points.clone());
                collection.upsert(points.into_values().collect(), durability)
            }
            6 | 7 => {
                let ids: Vec<PointId> = (0..self.random.usize(1..5)).map(|_| self.id()).collect();
                self.model.retain(|id, _| !ids.contains(id));
                collection.delete(Selection::Ids(ids), durability)
            }
            8 => {
                self.model.retain(|_, point| !is_of_tenant(point));
                collection.delete(Selection::Filter(of_tenant()), durability)
            }
            _ => {
                let fields = json!({"n": 1, "changed": true}).as_object().unwrap().clone();
                for point in self.model.values_mut().filter(|point| is_of_tenant(point)) {
                    point.payload.extend(fields.clone());
                }
                let selection = Selection::Filter(of_tenant());
                collection.change_payload(selection, PayloadChange::Merge(fields), durability)
            }
        };
        pending.wait().unwrap();
        self.acknowledge(begun, durability == Durability::Synced);
    }

    fn acknowledge(&mut self, begun: usize, durable: bool) {
        self.step(begun, self.disk.history_len(), durable);
    }

    fn step(&mut self, begun: usize, acknowledged: usize, durable: bool) {
        self.steps.push(Step { begun, acknowledged, durable, after: self.model.clone() });
    }
}

/// Checks that the disk has no files except those of the closed and optimized collection.
fn check_no_leftovers(disk: &SimulatedDisk, empty: bool) {
    let names = |path: &Path| -> Vec<String> {
        let entries = disk.list(path).unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    };
    let found = names(Path::new(DIR));
    let segments: Vec<&String> = found.iter().filter(|name| name.starts_with("segment-")).collect();
    assert_eq!(segments.len(), usize::from(!empty), "{found:?}");
    assert_eq!(found.len(), 2 + segments.len(), "{found:?}");
    for segment in segments {
        let mut files = names(&Path::new(DIR).join(segment));
        files.retain(|name| name != "codec.pages");
        let before = files.len();
        files.retain(|name| !crate::index_files().contains(&&**name));
        assert_eq!(files.len(), before - crate::index_files().len(), "{files:?}");
        let expected =
            ["codes.vec", "fields.pages", "ids.pages", "payload.pages", "segment.json", "vectors.vec"];
        assert_eq!(files, expected);
    }
}

/// Crashes a workload at a point of its history, and checks the remains.
fn check_crash(workload: &Workload, changes: usize, fate: u64) {
    let disk = workload.disk.crash(changes, fate);
    let first = recovered(&disk, Path::new(DIR)).unwrap_or_else(|error| panic!("it does not open: {error}"));
    check_allowed(first.as_ref().map(|(_, model)| model), &allowed(&workload.steps, changes));
    let Some((collection, model)) = first else { return };
    // The rest is expensive, so it runs at some points only.
    if !(changes as u64 + fate).is_multiple_of(5) {
        return;
    }
    let new = Point::new(1000, vec![1.0, 2.0, 3.0]).with_payload(json!({"t": "new"}));
    let written = disk.history_len();
    collection.upsert(vec![new.clone()], Durability::Synced).wait().unwrap();
    let with_new: Model =
        model.iter().map(|(id, point)| (*id, point.clone())).chain([(new.id, new)]).collect();
    let acknowledged = disk.history_len();
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    // A second crash, during the recovery or the write after it.
    let mut random = fastrand::Rng::with_seed(fate ^ changes as u64);
    let second = random.usize(..=disk.history_len());
    let again =
        recovered(&disk.crash(second, random.u64(..)), Path::new(DIR)).unwrap().expect("it was there before");
    let expected: &[&Model] = match second {
        _ if second <= written => &[&model],
        _ if second < acknowledged => &[&model, &with_new],
        _ => &[&with_new],
    };
    assert!(expected.contains(&&again.1), "after a second crash at {second}");
    drop(again);
    check_no_leftovers(&disk, with_new.is_empty());
    let collection = open(&disk).unwrap();
    assert_eq!(contents(&collection).unwrap(), with_new);
}

/// A snapshot is restored whole or not at all. After a crash, it can be restored again.
#[test]
fn a_crash_while_restoring_leaves_nothing_half_there() {
    const SNAPSHOT: &str = "/snapshot";
    const TARGET: &str = "/restored";
    let disk = SimulatedDisk::new(4);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), &schema(), &options()).unwrap();
    let points = |ids: std::ops::Range<u64>| {
        let point =
            |id: u64| Point::new(id, vec![id as f32, 1.0, 2.0]).with_payload(json!({"t": "t", "n": id}));
        ids.map(point).collect::<Vec<_>>()
    };
    collection.upsert(points(0..20), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.upsert(points(15..25), Durability::Synced).wait().unwrap();
    collection.snapshot(Path::new(SNAPSHOT)).wait().unwrap();
    let expected = contents(&collection).unwrap();
    collection.close().unwrap();
    let begun = disk.history_len();
    let restore = |disk: &SimulatedDisk| {
        Collection::restore(
            &DynBackend::new(disk.clone()),
            Path::new(SNAPSHOT),
            Path::new(TARGET),
            &StopFlag::new(),
        )
    };
    restore(&disk).unwrap();
    assert!(disk.history_len() > begun + 10);
    for changes in begun..=disk.history_len() {
        for fate in 0..8 {
            let crashed = disk.crash(changes, fate);
            if crashed.list(Path::new(TARGET)).is_err() {
                assert!(changes < disk.history_len(), "what was acknowledged is there");
                restore(&crashed).unwrap_or_else(|error| panic!("after {changes}, fate {fate}: {error}"));
            }
            let restored = open_with(&crashed, TARGET, &options()).unwrap();
            assert_eq!(contents(&restored).unwrap(), expected, "after {changes}, fate {fate}");
            restored.close().unwrap();
            let names: Vec<_> =
                crashed.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, ["c", "restored", "snapshot"]);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_point() {
    let seeds = seeds("VECSTORE_CRASH_SEED", "VECSTORE_CRASH_SEEDS", SEEDS);
    let is_default = seeds == (0..SEEDS);
    let (mut points, mut deletions) = (0, 0);
    for seed in seeds {
        let workload = Workload::run(seed);
        let history = 0..workload.disk.history_len();
        deletions +=
            history.filter(|&change| workload.disk.describe(change).contains("file deleted-")).count();
        for changes in 0..=workload.disk.history_len() {
            for fate in 0..FATES {
                let fate = if fate < 2 { fate } else { seed << 32 | (changes as u64) << 2 | fate };
                let checked = std::panic::catch_unwind(|| check_crash(&workload, changes, fate));
                if checked.is_err() {
                    let last = workload.disk.describe(changes.saturating_sub(1));
                    panic!("VECSTORE_CRASH_SEED={seed}: crash after change {changes} ({last}), fate {fate}");
                }
                points += 1;
            }
        }
    }
    assert!(
        !is_default || points >= 10_000 && deletions >= 10,
        "{points} crash points, {deletions} deletions written"
    );
}
