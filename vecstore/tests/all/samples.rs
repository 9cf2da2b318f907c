//! Collections with files of every kind, for tests that damage, repair or copy them.

use crate::common::collections::{self, Model, backend, open, quiet};
use io_core::Directory;
use io_core::testing::SimulatedDisk;
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, Durability, PayloadChange, Selection};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};

pub(crate) const DIR: &str = "/c";

pub(crate) fn point(id: u64) -> Point {
    let payload = json!({"t": format!("t{}", id % 4), "n": id, "text": "x".repeat(id as usize % 50)});
    let id = if id.is_multiple_of(5) { PointId::Uuid(u128::from(id)) } else { PointId::Num(id) };
    Point { id, ..Point::new(0, vec![1.0, id_number(id), 3.0]) }.with_payload(payload)
}

fn id_number(id: PointId) -> f32 {
    match id {
        PointId::Num(id) => id as f32,
        PointId::Uuid(id) => id as f32,
    }
}

pub(crate) fn contents(collection: &Collection) -> Model {
    collections::contents(collection).unwrap()
}

/// A collection with a segment, stored deletions and a log. Returns its content.
pub(crate) fn sample(disk: &SimulatedDisk) -> Model {
    let schema = crate::new_schema(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let collection = Collection::create(&backend(disk), Path::new(DIR), &schema, &quiet()).unwrap();
    let put = |ids: Range<u64>| {
        collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
    };
    put(0..200);
    collection.optimize(|_| {}).wait().unwrap();
    // Replaced points. A snapshot must include the deletions in the segment.
    collection
        .delete(Selection::Ids((0..20).map(PointId::Num).collect()), Durability::Synced)
        .wait()
        .unwrap();
    put(200..230);
    let fields = json!({"changed": true}).as_object().unwrap().clone();
    let some = Selection::Ids(vec![PointId::Num(31), PointId::Num(202)]);
    collection.change_payload(some, PayloadChange::Merge(fields), Durability::Synced).wait().unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

/// As [`sample`], with two segments, a file of deleted points and three logs.
pub(crate) fn large_sample(disk: &SimulatedDisk) -> Model {
    sample(disk);
    let collection = open(disk, DIR).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let mut all = opened_contents(disk, DIR);
    for points in later_writes().chunks(10) {
        let collection = open(disk, DIR).unwrap();
        for point in points {
            collection.upsert(vec![point.clone()], Durability::Synced).wait().unwrap();
            all.insert(point.id, point.clone());
        }
        collection.close().unwrap();
    }
    all
}

/// The last writes of [`large_sample`], one point each and ten to a log. They replace ten points and add
/// twenty.
pub(crate) fn later_writes() -> Vec<Point> {
    let again =
        |id| Point { payload: json!({"n": id, "again": true}).as_object().unwrap().clone(), ..point(id) };
    (20..30).map(again).chain((300..320).map(point)).collect()
}

pub(crate) fn opened_contents(disk: &SimulatedDisk, dir: &str) -> Model {
    let collection = open(disk, dir).unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

pub(crate) fn files(disk: &SimulatedDisk, dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(entry.name);
        if entry.is_dir { all.extend(files(disk, &path)) } else { all.push(path) }
    }
    all.sort();
    all
}
