//! Manifests and logs of an earlier time.

use super::is_log;
use crate::common::collections::open;
use crate::family::{DIR, begun, family, gone_on, on_disk, problems, read, read_tree, with};
use io_core::Directory;
use io_core::testing::SimulatedDisk;
use std::path::Path;

/// Every earlier manifest, when segments hold all writes since.
#[test]
fn an_older_manifest_is_found_and_nothing_is_removed_for_it() {
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 0);
    let mut manifests = vec![read_tree(&disk, Path::new(DIR))];
    let history = gone_on(&disk, DIR, collection, model, 0);
    manifests.extend(history.0.iter().map(|(tree, _)| tree.clone()));
    let collection = open(&disk, DIR).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let (tree, manifest) = (read_tree(&disk, Path::new(DIR)), Path::new("MANIFEST"));
    assert_eq!(tree.keys().filter(|path| is_log(path)).count(), 0);
    let mut found = 0;
    for older in manifests.iter().map(|older| &older[manifest]).filter(|older| **older != tree[manifest]) {
        let mixed = with(&tree, manifest, older);
        let disk = on_disk(&mixed);
        assert!(!problems(&disk).is_empty(), "{}", String::from_utf8_lossy(older));
        assert!(read(&disk).is_err());
        assert_eq!(read_tree(&disk, Path::new(DIR)), mixed, "opening removed something");
        // With the right manifest, the collection is complete again.
        disk.write(&Path::new(DIR).join(manifest), &tree[manifest]).unwrap();
        assert_eq!(read(&disk).unwrap(), history.last().1);
        found += 1;
    }
    assert!(found >= 4, "{found}");
}

/// The one undetectable case: an earlier state of the last log, if nothing else was written since.
#[test]
fn an_older_copy_of_the_last_log_is_the_collection_of_that_time() {
    let family = family();
    let log = Path::new("log-000004.wal");
    let (older, expected) = &family.ours.0[4];
    let disk = on_disk(&with(family.tree(), log, &older[log]));
    assert!(problems(&disk).is_empty());
    assert_eq!(read(&disk).unwrap(), *expected);
}
