//! Files far longer than memory in a collection: each is refused, by a message that says why, and little of it is read.

// Elsewhere such a file takes as much of the disk.
#![cfg(unix)]

use io_core::with_causes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability};
use vecstore::point::Point;
use vecstore::schema::Schema;

/// Counts what is allocated, and the most there was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller keeps the rules of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than a sparse file would have to be to fill memory.
const LONG: u64 = 20 << 30;

/// The most that was allocated while something ran, and what it returned.
fn most<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let done = act();
    (MOST.load(Ordering::Relaxed) - before, done)
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn a_file_longer_than_memory_is_refused_and_not_read() {
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let backend = BackendKind::all()[0].backend();
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let dir = temp.path().join("c");
    let collection = Collection::create(&backend, &dir, &Schema::new(2), &options).unwrap();
    let put = |id: u64| {
        collection.upsert(vec![Point::new(id, vec![1.0, 2.0])], Durability::Synced).wait().unwrap();
    };
    put(1);
    collection.optimize(|_| {}).wait().unwrap();
    put(2);
    collection.close().unwrap();
    let open = || Collection::open(&backend, &dir, &options).map(drop);
    let (usual, opened) = most(open);
    opened.unwrap();
    let verify = || Collection::verify(&backend, &dir, &Default::default());
    for (name, said, allowed) in [
        ("log-000002.wal", "more zeros", 4 << 20),
        ("MANIFEST", "longer than 67108864 bytes", 65 << 20),
        ("segment-000001/segment.json", "longer than 67108864 bytes", 65 << 20),
    ] {
        let path = dir.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(LONG).unwrap();
        let (bytes, opened) = most(open);
        let error = with_causes(&opened.unwrap_err()).to_string();
        assert!(error.contains(said) && error.contains(name), "{error}");
        assert!(bytes < usual + allowed, "{bytes} bytes to refuse {name}, {usual} to open it");
        let (bytes, verified) = most(verify);
        let told = match verified {
            Ok(report) => report.problems.iter().map(|error| with_causes(error).to_string()).collect(),
            Err(error) => with_causes(&error).to_string(),
        };
        assert!(told.contains(said), "{told}");
        assert!(bytes < usual + allowed + (8 << 20), "{bytes} bytes to verify {name}");
        let repaired = temp.path().join("repaired");
        let (bytes, report) = most(|| {
            Collection::repair(&backend, &dir, &repaired, Some(&Schema::new(2)), &Default::default())
        });
        assert_eq!(report.unwrap().points, 2, "{name}");
        assert!(bytes < 2 * (usual + allowed + (8 << 20)), "{bytes} bytes to repair {name}");
        std::fs::remove_dir_all(repaired).unwrap();
        restore(&path, &whole);
    }
    open().unwrap();
}

fn restore(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
