//! A store in a sandbox that refuses io_uring, as containers with Docker's default profile do. The test has
//! its own process, because `auto` chooses once for the whole process.
#![cfg(all(target_os = "linux", feature = "mmap", feature = "ring", feature = "auto"))]

use io_core::testing::refuse_io_uring;
use io_core::{BackendInfo, Executor, StartError, with_causes};
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const POINTS: u64 = 500;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 2, ..CollectionOptions::default() }
}

/// Makes a collection, writes, seals, opens it again and searches. Returns what its files were read with.
fn use_store(kind: BackendKind, dir: &Path) -> BackendInfo {
    let backend = kind.backend();
    let collection = Collection::create(&backend, dir, &Schema::new(2), &options()).unwrap();
    let point = |id: u64| Point::new(id, vec![(id as f32).cos(), (id as f32).sin()]);
    collection.upsert((0..POINTS).map(point).collect(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.upsert(vec![point(POINTS)], Durability::Synced).wait().unwrap();
    collection.close().unwrap();
    let collection = Collection::open(&backend, dir, &options()).unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), POINTS + 1);
    for id in [0, 77, POINTS] {
        let hits = collection.search(SearchRequest::new(point(id).vector)).wait().unwrap().hits;
        assert_eq!((hits.len(), hits[0].id), (10, PointId::Num(id)), "{kind}");
    }
    let info = collection.backend_info().wait().unwrap().expect("there is a segment");
    collection.close().unwrap();
    info
}

#[test]
fn auto_takes_the_ring_outside_of_a_sandbox_and_threads_inside_and_says_why() {
    let temp = tempfile::tempdir().unwrap();
    // Whether this machine allows io_uring.
    let here = if BackendKind::Ring.backend().run(async || ()).is_ok() { "ring" } else { "threads" };
    for kind in [BackendKind::Auto, BackendKind::MmapAuto] {
        let info = use_store(kind, &temp.path().join(kind.name()));
        assert_eq!((info.backend, info.choice.unwrap().taken), (kind.name(), here));
    }

    // The threads of the stores are started by this one, and inherit it.
    refuse_io_uring();
    let dir = temp.path().join("refused");
    let refused = Collection::create(&BackendKind::Ring.backend(), &dir, &Schema::new(2), &options());
    let refused = refused.map(drop).unwrap_err();
    assert!(matches!(refused, Error::Start(StartError::IoUringRefused { .. })), "{refused:?}");
    let says = with_causes(&refused).to_string();
    assert!(says.contains("use the threads or the mmap backend"), "{says}");
    for kind in [BackendKind::Auto, BackendKind::MmapAuto] {
        let info = use_store(kind, &temp.path().join(format!("{kind}-refused")));
        let choice = info.choice.unwrap();
        assert_eq!((info.backend, choice.taken), (kind.name(), "threads"));
        assert!(says.contains(&*choice.reason), "{choice}");
        // What was written outside is read inside.
        let collection =
            Collection::open(&kind.backend(), &temp.path().join(kind.name()), &options()).unwrap();
        assert_eq!(collection.count(None).wait().unwrap(), POINTS + 1);
    }
}
