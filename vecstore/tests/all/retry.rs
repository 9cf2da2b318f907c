//! A read begins again if a merge removed a segment meanwhile. It counts only the last attempt.

use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, SearchRequest, SearchResult,
};
use vecstore::point::{Point, PointId};

/// A disk on which files are missing for a number of openings.
#[derive(Clone)]
struct Missing {
    disk: SimulatedDisk,
    openings: Arc<AtomicU32>,
    /// Runs before the next listing of a directory.
    before_listing: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl FileSystem for Missing {
    type Reader = <SimulatedDisk as FileSystem>::Reader;

    type Writer = <SimulatedDisk as FileSystem>::Writer;

    fn name(&self) -> &'static str {
        self.disk.name()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        let meanwhile = self.before_listing.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.disk.directory()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        let misses = |openings: u32| openings.checked_sub(1);
        if self.openings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, misses).is_ok() {
            return Err(OpenError::Io { path: path.to_owned(), source: io::ErrorKind::NotFound.into() });
        }
        self.disk.open(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.disk.create(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.disk.open_for_writing(path, options).await
    }
}

impl Executor for Missing {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.disk.run(main)
    }
}

/// Points on a line, in two segments and in memory. Files are missing for some openings of the reads.
fn opened(openings: u32) -> (Collection, Missing) {
    let missing =
        Missing { disk: SimulatedDisk::new(1), openings: Arc::default(), before_listing: Arc::default() };
    let backend = DynBackend::new(missing.clone());
    let options =
        CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() };
    let dir = Path::new("/c");
    let collection = Collection::create(&backend, dir, &crate::new_schema(2), &options).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        let points = ids.map(|id| Point::new(id, vec![id as f32, 1.0])).collect();
        collection.upsert(points, Durability::Synced).wait().unwrap();
    };
    for ids in [0..100, 100..200] {
        put(ids);
        collection.seal(|_| {}).wait().unwrap();
    }
    put(200..250);
    // Nothing was read so far, so the next read opens the segments.
    missing.openings.store(openings, Ordering::Relaxed);
    (collection, missing)
}

fn search(collection: &Collection) -> SearchResult {
    collection.search(SearchRequest::new(vec![120.0, 1.0])).wait().unwrap()
}

#[test]
fn statistics_count_once_however_often_a_read_begins_again() {
    let (collection, missing) = opened(0);
    let expected = search(&collection);
    assert!(expected.stats.codes_scored >= 250);
    collection.close().unwrap();
    assert_eq!(missing.openings.load(Ordering::Relaxed), 0);
    for openings in [1, 2, 9] {
        let (collection, missing) = opened(openings);
        assert_eq!(search(&collection), expected, "{openings} attempts failed");
        assert_eq!(missing.openings.load(Ordering::Relaxed), 0);
        collection.close().unwrap();
    }
}

#[test]
fn what_reads_return_does_not_depend_on_how_often_they_begin_again() {
    let reads: [fn(&Collection); 3] = [
        |collection| {
            let page = ScrollRequest { limit: 300, ..ScrollRequest::default() };
            let records = collection.scroll(page).wait().unwrap().records;
            let ids: Vec<PointId> = records.into_iter().map(|record| record.id).collect();
            assert_eq!(ids, (0..250).map(PointId::Num).collect::<Vec<_>>());
        },
        |collection| {
            let ids = [3, 120, 240, 999].map(PointId::Num).to_vec();
            let found = collection.retrieve(ids, RecordParts::NOTHING).wait().unwrap();
            assert_eq!((found.records.len(), found.missing), (3, vec![PointId::Num(999)]));
        },
        |collection| {
            let ids = [3, 120, 240, 999].map(PointId::Num);
            let filter = vecstore::filter::Filter::must(vecstore::filter::Condition::has_id(ids));
            assert_eq!(collection.count(Some(filter)).wait().unwrap(), 3);
        },
    ];
    for read in reads {
        let (collection, missing) = opened(3);
        read(&collection);
        assert_eq!(missing.openings.load(Ordering::Relaxed), 0);
        collection.close().unwrap();
    }
}

#[test]
fn what_is_told_of_a_collection_is_of_segments_that_are_there() {
    let (collection, missing) = opened(0);
    let collection = Arc::new(collection);
    let segments = |collection: &Collection| collection.info().unwrap().segments;
    assert_eq!(segments(&collection).len(), 2);
    let merging = Arc::clone(&collection);
    let merge: Meanwhile = Box::new(move || {
        merging.optimize(|_| {}).wait().unwrap();
    });
    *missing.before_listing.lock().unwrap() = Some(merge);
    let merged = segments(&collection);
    assert!(missing.before_listing.lock().unwrap().is_none());
    assert_eq!(merged.iter().map(|segment| (segment.number, segment.points)).collect::<Vec<_>>(), [(3, 250)]);
    assert!(merged[0].disk_bytes["vectors.vec"] > 0);
    Arc::into_inner(collection).unwrap().close().unwrap();
}
