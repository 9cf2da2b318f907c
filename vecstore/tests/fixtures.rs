//! Collections written by every version of the format there has been, kept for ever: this build reads them all.
//!
//! `cargo test -p vecstore --test fixtures -- --ignored` makes the one of the current version, where there is none yet.

use io_core::StopFlag;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, ScrollRequest, SearchRequest, Selection, With,
};
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::quantization::Method;
use vecstore::schema::Schema;

const CURRENT: &str = "v3";

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

/// What the fixture holds: points in a segment, some of them deleted or replaced, and some in the log.
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
    // A codec that learns something, so that this is kept too.
    let schema = Schema { quantization: Method::Rotated4, ..Schema::new(6) };
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
    // A second segment beside it, and deletions in the first that are written down.
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

#[test]
fn every_version_is_read() {
    let mut versions = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let dir = entry.unwrap().path();
        for kind in BackendKind::all() {
            let backend = kind.backend();
            let read_only = CollectionOptions { read_only: true, ..options() };
            let collection = Collection::open(&backend, &dir, &read_only).unwrap();
            let request = ScrollRequest { limit: 1000, with: With::ALL, ..ScrollRequest::default() };
            let records = collection.scroll(request).wait().unwrap().records;
            let found: BTreeMap<PointId, Point> = records
                .into_iter()
                .map(|record| {
                    let (vector, payload) = (record.vector.unwrap(), record.payload.unwrap());
                    (record.id, Point { id: record.id, vector, payload })
                })
                .collect();
            let expected = expected();
            assert_eq!(found, expected, "{}, {kind}", dir.display());
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
    // What this build writes is what the newest fixture holds, but for the salt of the log: else the version has to go up.
    assert!(fixtures().join(CURRENT).exists());
}
