//! Collections written by every version of the format. They are kept for ever, and every build reads all of
//! them.
//!
//! `cargo test -p vecstore --test all fixtures:: -- --ignored` makes the fixture of the current version, if
//! it is missing.

use io_core::StopFlag;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, SearchRequest, Selection,
};
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::{IndexKind, Quantization, Schema};

const CURRENT: &str = "v7";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() }
}

fn point(number: u64) -> Point {
    let id = if number.is_multiple_of(3) {
        PointId::Uuid(u128::from(number) << 100)
    } else {
        PointId::Num(number)
    };
    let mut payload = json!({
        "keyword": ["all", format!("k{}", number % 5)],
        "integer": number as i64 - 50,
        "float": number as f64 / 4.0,
        "bool": number.is_multiple_of(2),
        "datetime": format!("2024-02-{:02}T00:00:00Z", number % 28 + 1),
        "uuid": "67e55044-10b1-426f-9247-bb680e5fe0c8",
    });
    if number.is_multiple_of(10) {
        payload = json!({});
    }
    let vector = (0..6).map(|i| ((number * 7 + i * 13) % 31) as f32).collect();
    Point { id, ..Point::new(0, vector) }.with_payload(payload)
}

/// The content of the fixture: points in a segment, some of them deleted or replaced, and points in the log.
fn expected() -> BTreeMap<PointId, Point> {
    let mut points: BTreeMap<PointId, Point> = (0..136).map(point).map(|point| (point.id, point)).collect();
    points.remove(&point(1).id);
    points.remove(&point(121).id);
    points.get_mut(&point(2).id).unwrap().vector = vec![1.0; 6];
    points
}

#[test]
#[ignore = "makes the fixture of the current version"]
fn make() {
    let dir = fixtures().join(CURRENT);
    assert!(!dir.exists(), "fixtures are kept as they are");
    std::fs::create_dir_all(fixtures()).unwrap();
    // The codec is trained, so that the fixture contains its file.
    let schema = Schema { quantization: Quantization::Rotated4, index: IndexKind::Cells, ..Schema::new(6) };
    let mut schema = schema.tenant("keyword", FieldKind::Keyword);
    for (field, kind) in [
        ("integer", FieldKind::Integer),
        ("float", FieldKind::Float),
        ("bool", FieldKind::Bool),
        ("datetime", FieldKind::Datetime),
        ("uuid", FieldKind::Uuid),
    ] {
        schema = schema.index(field, kind);
    }
    let backend = BackendKind::all()[0].backend();
    let sealing = CollectionOptions { background: true, seal_points: 10, vacuum_ratio: 0.9, ..options() };
    let collection = Collection::create(&backend, &dir, &schema, &sealing).unwrap();
    let put = |points: Vec<Point>| {
        collection.upsert(points, Durability::Synced).wait().unwrap();
    };
    let delete = |number| {
        let ids = Selection::Ids(vec![point(number).id]);
        collection.delete(ids, Durability::Synced).wait().unwrap();
    };
    put((0..120).map(point).collect());
    collection.optimize(|_| {}).wait().unwrap();
    // A second segment, and stored deletions in the first one.
    delete(1);
    put((120..131).map(point).collect());
    while collection.info().unwrap().segments.len() < 2 {
        std::thread::yield_now();
    }
    put((131..136).map(point).collect());
    put(vec![Point { vector: vec![1.0; 6], ..point(2) }]);
    delete(121);
    collection.close().unwrap();
}

/// Writing to a collection of an old version adds files with ids. Old files stay until they are merged.
#[test]
fn a_collection_of_an_old_version_goes_on() {
    for version in ["v1", "v2", "v3"] {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(version);
        copy(&fixtures().join(version), &dir);
        let backend = BackendKind::all()[0].backend();
        let mut expected = expected();
        let check = |expected: &BTreeMap<PointId, Point>| {
            let verified = Collection::verify(&backend, &dir, &StopFlag::new()).unwrap();
            assert!(verified.problems.is_empty(), "{version}: {:?}", verified.problems);
            let collection = Collection::open(&backend, &dir, &options()).unwrap();
            assert_eq!(contents(&collection), *expected, "{version}");
            collection
        };
        let new = point(200);
        let collection = check(&expected);
        collection.upsert(vec![new.clone()], Durability::Synced).wait().unwrap();
        let gone = point(5).id;
        collection.delete(Selection::Ids(vec![gone]), Durability::Synced).wait().unwrap();
        expected.remove(&gone);
        expected.insert(new.id, new);
        collection.close().unwrap();
        let manifest = json_of(&dir.join("MANIFEST"));
        let numbers = |list: &str| {
            manifest[list].as_array().unwrap().iter().map(|one| &one["number"]).collect::<Vec<_>>()
        };
        assert_eq!((&manifest["version"], numbers("logs")), (&json!(3), vec![&json!(3), &json!(4)]));
        assert_eq!(manifest["id"].as_str().map(str::len), Some(32));
        // The old log is listed with its salt.
        let salt = u64::from_le_bytes(
            std::fs::read(dir.join("log-000003.wal")).unwrap()[16..24].try_into().unwrap(),
        );
        assert_eq!(manifest["logs"][0]["salt"], json!(salt));

        let collection = check(&expected);
        collection.seal(|_| {}).wait().unwrap();
        collection.close().unwrap();
        let manifest = json_of(&dir.join("MANIFEST"));
        let segments = manifest["segments"].as_array().unwrap();
        let has = |name: &str| segments.iter().map(|segment| segment.get(name).is_some()).collect::<Vec<_>>();
        assert_eq!(has("id"), [false, false, true], "{version}");
        // Both segments have lost points since, one each by a replacement or deletion.
        assert_eq!((has("deleted"), has("deleted_salt")), (vec![true, true, false], vec![true, true, false]));

        let collection = check(&expected);
        collection.optimize(|_| {}).wait().unwrap();
        collection.close().unwrap();
        let segments = json_of(&dir.join("MANIFEST"))["segments"].as_array().unwrap().clone();
        assert!(segments.len() == 1 && segments[0].get("id").is_some(), "{segments:?}");
        let segment = json_of(
            &dir.join(format!("segment-{:06}/segment.json", segments[0]["number"].as_u64().unwrap())),
        );
        assert_eq!((&segment["version"], &segment["id"]), (&json!(5), &segments[0]["id"]));
        check(&expected).close().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

fn json_of(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(text.rsplit_once("\ncrc32 ").unwrap().0).unwrap()
}

fn contents(collection: &Collection) -> BTreeMap<PointId, Point> {
    let request = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let records = collection.scroll(request).wait().unwrap().records;
    let point = |record: vecstore::collection::Record| {
        let (vector, payload) = (record.vector.unwrap(), record.payload.unwrap());
        (record.id, Point { id: record.id, vector, payload })
    };
    records.into_iter().map(point).collect()
}

#[test]
fn every_version_is_read() {
    let mut versions = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let dir = entry.unwrap().path();
        for kind in BackendKind::all() {
            let backend = kind.backend();
            let read_only = CollectionOptions { read_only: true, ..options() };
            let collection = Collection::open(&backend, &dir, &read_only).unwrap();
            let expected = expected();
            assert_eq!(contents(&collection), expected, "{}, {kind}", dir.display());
            let even = Filter::must(Condition::matches("bool", true));
            let evens =
                expected.values().filter(|point| point.payload.get("bool") == Some(&json!(true))).count();
            assert_eq!(collection.count(Some(even)).wait().unwrap(), evens as u64);
            for point in expected.values().take(20) {
                let hits = collection.search(SearchRequest::new(point.vector.clone())).wait().unwrap().hits;
                assert!(hits.iter().any(|hit| hit.id == point.id), "{} is not among its nearest", point.id);
            }
            drop(collection);
            let verified = Collection::verify(&backend, &dir, &StopFlag::new()).unwrap();
            assert!(verified.problems.is_empty() && verified.notes.is_empty(), "{verified:?}");
        }
        versions += 1;
    }
    assert!(versions >= 1);
    // This build writes the content of the newest fixture, except for ids and salts. If not, the version must
    // increase.
    assert!(fixtures().join(CURRENT).exists());
}
