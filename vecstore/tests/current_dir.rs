//! A collection stays where it was opened when the process changes its current directory. The current
//! directory belongs to the whole process, so this test has one of its own.

use std::env::set_current_dir;
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability};
use vecstore::point::Point;
use vecstore::schema::Schema;

#[test]
fn a_collection_stays_where_it_was_opened() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    let backend = BackendKind::all()[0].backend();
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let create = |within: &Path| {
        std::fs::create_dir(within).unwrap();
        set_current_dir(within).unwrap();
        Collection::create(&backend, Path::new("c"), &Schema::new(2), &options).unwrap()
    };
    let put = |collection: &Collection, ids: std::ops::Range<u64>| {
        let points = ids.map(|id| Point::new(id, vec![1.0, id as f32])).collect();
        collection.upsert(points, Durability::Synced).wait().unwrap();
    };
    let other = create(&b);
    put(&other, 0..50);
    other.optimize(|_| {}).wait().unwrap();
    other.close().unwrap();

    let collection = create(&a);
    put(&collection, 0..20);
    set_current_dir(&b).unwrap();
    put(&collection, 20..30);
    collection.optimize(|_| {}).wait().unwrap();
    put(&collection, 30..40);
    // A path is found from where the caller is.
    collection.snapshot(Path::new("snapshot")).wait().unwrap();
    collection.close().unwrap();

    for (path, points) in [(a.join("c"), 40), (b.join("c"), 50), (b.join("snapshot"), 40)] {
        let collection = Collection::open(&backend, &path, &options).unwrap();
        assert_eq!(collection.count(None).wait().unwrap(), points, "{}", path.display());
    }
    set_current_dir("/").unwrap();
}
