//! Tests that need internals.

use super::*;
use crate::collection::request::Durability;
use crate::point::Point;
use io_core::testing::SimulatedDisk;
use io_core::{Executor, FileSystem};

/// Repair holds the lock from its first file until the collection has its name. No other process can take the
/// files over.
#[test]
fn a_repair_keeps_others_away_until_it_has_its_target() {
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let (dir, target) = (Path::new("/c"), Path::new("/repaired"));
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let collection = Collection::create(&backend, dir, &Schema::new(1), &options).unwrap();
    collection.upsert(vec![Point::new(1, vec![1.0])], Durability::Synced).wait().unwrap();
    collection.close().unwrap();
    let directory = backend.directory();
    let manifest = Manifest::read(&*directory, dir).unwrap();
    let stop = StopFlag::new();
    let staging = Staging::begin(&*directory, target, "repair").unwrap();
    let is_kept = || matches!(Staging::begin(&*directory, target, "repair"), Err(Error::InUse(_)));
    assert!(is_kept());
    let (due, report) = (Some(manifest.seq_first), RepairReport::default());
    let saved = backend.run(|| save(&backend, dir, &staging, &manifest, due, &stop, report)).unwrap();
    // The new collection is closed, and does not have its name yet.
    assert!(is_kept());
    assert_eq!(staging.end(saved).unwrap().points, 1);
    let repaired = Collection::open(&backend, target, &options).unwrap();
    assert_eq!(repaired.count(None).wait().unwrap(), 1);
    drop(Staging::begin(&*directory, Path::new("/other"), "repair").unwrap());
}
