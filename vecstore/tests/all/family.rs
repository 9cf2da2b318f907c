//! Related collections, as files that a test may exchange and change: a collection, a sister made by the same
//! calls, and a copy that has gone on by itself.

use crate::common::collections::{self, Model, backend, open, quiet};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, StopFlag};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use vecstore::collection::{
    Collection, Durability, RecordParts, RepairReport, ScrollRequest, SearchParams, SearchRequest, Selection,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::{Quantization, Schema};

pub(crate) const DIR: &str = "/c";
/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// The files of a collection, by their relative paths.
pub(crate) type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A trained codec, so that the segment has its file.
pub(crate) fn schema() -> Schema {
    let schema = Schema { quantization: Quantization::Rotated2, ..crate::new_schema(3) };
    schema.tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer)
}

/// Points of different collections with one id have equal lengths, and different vectors and payloads.
pub(crate) fn point(id: u64, shift: u64) -> Point {
    let text = char::from(b'a' + shift as u8).to_string().repeat(200);
    let payload = json!({"t": format!("t{}", (id + shift) % 4), "n": id * 10 + shift, "text": text});
    let vector = vec![1.0, id as f32, 3.0 + shift as f32];
    let own = if id.is_multiple_of(5) { PointId::Uuid(u128::from(id)) } else { PointId::Num(id) };
    Point { id: own, ..Point::new(0, vector) }.with_payload(payload)
}

pub(crate) fn read_tree(disk: &SimulatedDisk, dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in disk.list(&dir.join(&below)).unwrap() {
            let path = below.join(entry.name);
            if entry.is_dir {
                waiting.push(path);
            } else if !path.ends_with("LOCK") {
                tree.insert(path.clone(), disk.read(&dir.join(path)).unwrap());
            }
        }
    }
    tree
}

pub(crate) fn on_disk(tree: &Tree) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let dir = Path::new(DIR);
    disk.create_dir(dir).unwrap();
    let dirs: BTreeSet<&Path> = tree.keys().filter_map(|path| path.parent()).collect();
    for below in dirs.into_iter().filter(|below| *below != Path::new("")) {
        disk.create_dir(&dir.join(below)).unwrap();
    }
    for (path, bytes) in tree {
        disk.write(&dir.join(path), bytes).unwrap();
    }
    disk
}

/// The content of a collection, read in several ways that must agree.
pub(crate) fn contents(collection: &Collection) -> Result<Model, Error> {
    let model = collections::contents(collection)?;
    assert_eq!(collection.count(None).wait()?, model.len() as u64);
    let by_field =
        ScrollRequest { limit: 10_000, order_by: Some("n".to_owned()), ..ScrollRequest::default() };
    let in_order: Vec<PointId> =
        collection.scroll(by_field).wait()?.records.into_iter().map(|record| record.id).collect();
    let mut expected: Vec<&Point> = model.values().filter(|point| point.payload.contains_key("n")).collect();
    expected.sort_by_key(|point| (point.payload["n"].as_u64(), point.id));
    assert_eq!(in_order, expected.into_iter().map(|point| point.id).collect::<Vec<_>>());
    let retrieved = collection.retrieve(model.keys().copied().collect(), RecordParts::NOTHING).wait()?;
    assert_eq!(retrieved.records.len(), model.len());
    let params = SearchParams { exact: true, ..SearchParams::default() };
    for point in model.values().step_by(29) {
        let request = SearchRequest { limit: 1, params, ..SearchRequest::new(point.vector.clone()) };
        collection.search(request).wait()?;
    }
    Ok(model)
}

pub(crate) fn read(disk: &SimulatedDisk) -> Result<Model, Error> {
    contents(&open(disk, DIR)?)
}

pub(crate) fn problems(disk: &SimulatedDisk) -> Vec<Error> {
    Collection::verify(&backend(disk), Path::new(DIR), &StopFlag::new()).unwrap().problems
}

/// The states of a collection, each as files and points.
#[derive(Default)]
pub(crate) struct History(pub(crate) Vec<(Tree, Model)>);

impl History {
    pub(crate) fn push(&mut self, disk: &SimulatedDisk, dir: &str, model: &Model) {
        self.0.push((read_tree(disk, Path::new(dir)), model.clone()));
    }

    pub(crate) fn last(&self) -> &(Tree, Model) {
        self.0.last().unwrap()
    }
}

pub(crate) fn put(collection: &Collection, model: &mut Model, ids: impl Iterator<Item = u64>, shift: u64) {
    let points: Vec<Point> = ids.map(|id| point(id, shift)).collect();
    model.extend(points.iter().map(|point| (point.id, point.clone())));
    collection.upsert(points, Durability::Synced).wait().unwrap();
}

/// Creates a collection with one segment.
pub(crate) fn begun(disk: &SimulatedDisk, shift: u64) -> (Collection, Model) {
    let collection = Collection::create(&backend(disk), Path::new(DIR), &schema(), &quiet()).unwrap();
    let mut model = Model::new();
    put(&collection, &mut model, 0..60, shift);
    collection.optimize(|_| {}).wait().unwrap();
    (collection, model)
}

/// Continues with deleted points, a second segment, and two logs.
pub(crate) fn gone_on(
    disk: &SimulatedDisk,
    dir: &str,
    collection: Collection,
    mut model: Model,
    shift: u64,
) -> History {
    let mut history = History::default();
    history.push(disk, dir, &model);
    let gone: Vec<PointId> = (0..6).map(|id| point(id, shift).id).collect();
    model.retain(|id, _| !gone.contains(id));
    collection.delete(Selection::Ids(gone), Durability::Synced).wait().unwrap();
    put(&collection, &mut model, 50..90, shift);
    collection.close().unwrap();
    history.push(disk, dir, &model);
    let collection = open(disk, dir).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    history.push(disk, dir, &model);
    put(&collection, &mut model, 100..101, shift);
    for id in 80..95 {
        put(&collection, &mut model, id..id + 1, shift + 1);
    }
    collection.close().unwrap();
    history.push(disk, dir, &model);
    let collection = open(disk, dir).unwrap();
    for id in 40..55 {
        put(&collection, &mut model, id..id + 1, shift + 1);
        if id == 47 {
            history.push(disk, dir, &model);
        }
    }
    collection.close().unwrap();
    history.push(disk, dir, &model);
    history
}

/// A collection, and others whose parts are put into its place.
pub(crate) struct Family {
    pub(crate) ours: History,
    pub(crate) sister: History,
    /// A snapshot from the time of the first segment, restored and then changed.
    pub(crate) copy: History,
}

pub(crate) fn family() -> Family {
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 0);
    collection.snapshot(Path::new("/snapshot")).wait().unwrap();
    Collection::restore(&backend(&disk), Path::new("/snapshot"), Path::new("/copy"), &StopFlag::new())
        .unwrap();
    let ours = gone_on(&disk, DIR, collection, model.clone(), 0);
    let copy = gone_on(&disk, "/copy", open(&disk, "/copy").unwrap(), model, 7);
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 3);
    let sister = gone_on(&disk, DIR, collection, model, 3);
    let names = |history: &History| history.last().0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&sister));
    assert_eq!(names(&ours), names(&copy));
    assert_eq!(ours.last().0.len(), 18 + 2 * crate::index_files().len(), "{:?}", names(&ours));
    assert!(problems(&on_disk(&ours.last().0)).is_empty());
    assert_eq!(read(&on_disk(&ours.last().0)).unwrap(), ours.last().1);
    Family { ours, sister, copy }
}

impl Family {
    pub(crate) fn tree(&self) -> &Tree {
        &self.ours.last().0
    }
}

pub(crate) fn with(tree: &Tree, path: &Path, bytes: &[u8]) -> Tree {
    let mut tree = tree.clone();
    tree.insert(path.to_owned(), bytes.to_vec());
    tree
}

pub(crate) fn repaired(disk: &SimulatedDisk) -> (RepairReport, Model) {
    let target = Path::new("/repaired");
    let report =
        Collection::repair(&backend(disk), Path::new(DIR), target, Some(&schema()), &StopFlag::new())
            .unwrap();
    let verified = Collection::verify(&backend(disk), target, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    (report, contents(&open(disk, "/repaired").unwrap()).unwrap())
}
