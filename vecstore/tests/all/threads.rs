//! Threads of a collection that do not start, that end early, or that drop the collection themselves. Every
//! waiting caller gets an answer, nothing waits for itself, and nothing is lost.

#![allow(clippy::print_stderr, reason = "a skip must be seen")]

use crate::common::collections::quiet as options;
use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use vecstore::backends::BackendKind;
use vecstore::collection::{
    BuildStage, Collection, CollectionOptions, Durability, PayloadChange, Pending, SearchRequest, Selection,
};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};
use vecstore::schema::{Placement, Placements, Schema};

const DIR: &str = "/c";

/// The way in which a thread fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The system refuses to start a thread.
    Thread,
    /// The executor does not start.
    Executor,
    /// The thread panics.
    Panic,
}

/// A disk whose threads fail.
#[derive(Clone)]
struct Failing {
    disk: SimulatedDisk,
    /// The thread that does not start, counted from 0, and how it fails.
    start: Option<(usize, Fault)>,
    threads: Arc<AtomicUsize>,
    executors: Arc<AtomicUsize>,
    /// The name of the thread that ends when it opens a file. Empty for none.
    ending: Arc<Mutex<&'static str>>,
    /// The signal that a thread waits for before it ends.
    held: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
    /// Files that the optimizer opened.
    built: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Failing {
    fn new(disk: &SimulatedDisk, start: Option<(usize, Fault)>) -> Self {
        let (threads, executors, ending, held, built) = Default::default();
        Self { disk: disk.clone(), start, threads, executors, ending, held, built }
    }

    fn end(&self, name: &'static str) {
        *self.ending.lock().unwrap() = name;
    }

    /// The optimizer also opens the files it has just built. It survives a panic there.
    fn end_here(&self, path: &Path) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let built = thread == "vecstore-optimizer" && self.built.lock().unwrap().insert(path.to_owned());
        if !built && thread == *self.ending.lock().unwrap() {
            if let Some(held) = self.held.lock().unwrap().take() {
                let _ = held.recv();
            }
            panic!("a test of a thread that ends: {thread}");
        }
    }
}

impl FileSystem for Failing {
    type Reader = <SimulatedDisk as FileSystem>::Reader;

    type Writer = <SimulatedDisk as FileSystem>::Writer;

    fn name(&self) -> &'static str {
        "failing"
    }

    fn directory(&self) -> Arc<dyn Directory> {
        FileSystem::directory(&self.disk)
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.end_here(path);
        FileSystem::open(&self.disk, path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        FileSystem::create(&self.disk, path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        FileSystem::open_for_writing(&self.disk, path, options).await
    }
}

impl Executor for Failing {
    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let thread = self.threads.fetch_add(1, Ordering::SeqCst);
        if matches!(self.start, Some((failing, Fault::Thread)) if failing == thread) {
            return Err(io::Error::from_raw_os_error(11));
        }
        self.disk.spawn_thread(name, work)
    }

    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let executor = self.executors.fetch_add(1, Ordering::SeqCst);
        match self.start {
            Some((failing, Fault::Executor)) if failing == executor => {
                Err(StartError::from_ring_setup("failing", io::Error::from_raw_os_error(24)))
            }
            Some((failing, Fault::Panic)) if failing == executor => {
                panic!("a test of an executor that panics")
            }
            _ => self.disk.run(main),
        }
    }
}

fn points(ids: std::ops::Range<u64>) -> Vec<Point> {
    ids.map(|id| Point::new(id, vec![id as f32, 1.0])).collect()
}

fn put(collection: &Collection, ids: std::ops::Range<u64>) -> Result<(), Error> {
    collection.upsert(points(ids), Durability::Written).wait().map(drop)
}

/// Submits a job. The returned function waits for the answer.
fn sent<T>(mut pending: Pending<T>) -> impl FnOnce() -> Result<T, Error> {
    let polled = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
    move || match polled {
        Poll::Ready(answer) => answer,
        Poll::Pending => pending.wait(),
    }
}

/// Opens a collection that other threads may still be closing.
fn reopened(backend: &DynBackend, dir: &Path) -> Collection {
    loop {
        match Collection::open(backend, dir, &options()) {
            Err(Error::InUse(_)) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn a_thread_that_does_not_start_fails_the_opening_and_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    let collection =
        Collection::create(&DynBackend::new(disk.clone()), Path::new(DIR), &crate::new_schema(2), &options())
            .unwrap();
    put(&collection, 0..10).unwrap();
    collection.close().unwrap();
    // The writer, the optimizer and two cores. If read-only, the loading thread and two cores.
    for (read_only, threads) in [(false, 4), (true, 3)] {
        let options = CollectionOptions { cores: 2, read_only, ..options() };
        for thread in 0..threads {
            for fault in [Fault::Thread, Fault::Executor, Fault::Panic] {
                let failing = DynBackend::new(Failing::new(&disk, Some((thread, fault))));
                let error = Collection::open(&failing, Path::new(DIR), &options).unwrap_err();
                let told = match fault {
                    Fault::Panic => matches!(error, Error::WorkerLost),
                    Fault::Thread => matches!(error, Error::Start(StartError::Threads { .. })),
                    Fault::Executor => matches!(error, Error::Start(StartError::Descriptors { .. })),
                };
                assert!(told, "{fault:?} of thread {thread}: {error}");
                // Its lock is free.
                let opened =
                    Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options).unwrap();
                assert_eq!(opened.count(None).wait().unwrap(), 10);
            }
        }
        let none = DynBackend::new(Failing::new(&disk, Some((threads, Fault::Executor))));
        Collection::open(&none, Path::new(DIR), &options).unwrap();
    }
}

/// Jobs that wait when their thread ends, and later jobs.
#[test]
fn whoever_waits_for_a_thread_that_ends_gets_an_error() {
    for ending in ["vecstore-writer", "vecstore-optimizer", "vecstore-core-0"] {
        let disk = SimulatedDisk::new(2);
        let failing = Failing::new(&disk, None);
        let backend = DynBackend::new(failing.clone());
        let options = CollectionOptions { background: true, seal_points: 5, ..options() };
        // The optimizer opens cached files once more before the segment is installed, and survives a panic
        // there too.
        let placement = Placements { ids: Placement::Pinned, ..Placements::default() };
        let schema = Schema { placement, ..crate::new_schema(2) };
        let collection = Collection::create(&backend, Path::new(DIR), &schema, &options).unwrap();
        put(&collection, 0..3).unwrap();
        // The thread is held, so that jobs wait behind it when it ends.
        let (reached, at_it) = mpsc::sync_channel(1);
        let (go_on, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let first = sent(collection.optimize(move |_| {
            let _ = reached.try_send(());
            let _ = held.lock().unwrap().recv();
        }));
        at_it.recv().unwrap();
        // Each thread's next opening is of the segment that is being built.
        put(&collection, 3..5).unwrap();
        failing.end(ending);
        let optimizations = [sent(collection.optimize(|_| {})), sent(collection.optimize(|_| {}))];
        let settle = sent(collection.settle());
        drop(go_on);
        let _ = first();
        let writes: Vec<_> =
            (0..3).map(|id| sent(collection.upsert(points(id..id + 1), Durability::Synced))).collect();
        let searches: Vec<_> =
            (0..3).map(|_| sent(collection.search(SearchRequest::new(vec![1.0, 1.0])))).collect();
        let written: Vec<bool> = writes.into_iter().map(|write| write().is_ok()).collect();
        let optimized: Vec<bool> =
            optimizations.into_iter().map(|optimization| optimization().is_ok()).collect();
        let settled = settle().is_ok();
        let found: Vec<bool> = searches.into_iter().map(|search| search().is_ok()).collect();
        // Later jobs.
        let later = [
            collection.optimize(|_| {}).wait().is_ok(),
            collection.sync().wait().is_ok(),
            collection.search(SearchRequest::new(vec![1.0, 1.0])).wait().is_ok(),
        ];
        match ending {
            "vecstore-core-0" => assert_eq!((later, settled), ([true, true, false], true)),
            "vecstore-optimizer" => {
                assert_eq!((&optimized[..], later), (&[false, false][..], [false, true, true]));
                // Writers get an error instead of waiting for room that cannot come.
                let refused = (0..100).find_map(|id| put(&collection, id * 10..id * 10 + 10).err()).unwrap();
                assert!(
                    matches!(&refused, Error::Full { source, .. } if matches!(**source, Error::WorkerLost)),
                    "{refused}"
                );
            }
            _ => {
                assert_eq!((&written[..], later), (&[false; 3][..], [false, false, true]));
                let reason = collection.info().unwrap().read_only.unwrap();
                assert!(reason.contains("ended unexpectedly"), "{reason}");
            }
        }
        assert_eq!(found.iter().all(|found| *found), ending != "vecstore-core-0", "{ending}");
        failing.end("");
        assert!(matches!(collection.close(), Err(Error::WorkerLost)), "{ending}");
        let opened = reopened(&backend, Path::new(DIR));
        let count = opened.count(None).wait().unwrap();
        assert!(count >= 3, "{ending}: {count}");
    }
}

/// The writer waits for room while the optimizer ends.
#[test]
fn writers_that_wait_for_room_learn_that_nobody_makes_any() {
    let disk = SimulatedDisk::new(5);
    let failing = Failing::new(&disk, None);
    let backend = DynBackend::new(failing.clone());
    let options = CollectionOptions { background: true, seal_points: 5, ..options() };
    let collection = Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options).unwrap();
    put(&collection, 0..3).unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let (go_on, held) = mpsc::channel();
    *failing.held.lock().unwrap() = Some(held);
    failing.end("vecstore-optimizer");
    // A few writes wait at a time, so that a group has a few. The writer has time to fill memory.
    let (mut writing, mut next) = (Vec::new(), 3);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if writing.len() < 5 {
            writing.push(collection.upsert(points(next..next + 1), Durability::Written));
            next += 1;
        }
        writing.retain_mut(|write| Pin::new(write).poll(&mut context).is_pending());
        collection.sync().wait().unwrap();
    }
    assert!(writing.len() == 5 && next < 100, "{next} writes found room");
    drop(go_on);
    for write in writing {
        let error = write.wait().unwrap_err();
        assert!(error.to_string().contains("points wait in memory"), "{error}");
    }
}

/// A waker that owns a collection, and drops it when it wakes.
struct Owner {
    collection: Mutex<Option<Arc<Collection>>>,
    /// The name of the thread that it woke on.
    woken_on: mpsc::SyncSender<String>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        if let Some(collection) = self.collection.lock().unwrap().take() {
            let _ = self.woken_on.send(std::thread::current().name().unwrap_or_default().to_owned());
            drop(collection);
        }
    }
}

/// Lets the waker of a pending operation drop the last handle of the collection.
fn dropped_by_waker<T>(collection: Arc<Collection>, ask: impl Fn(&Collection) -> Pending<T>) -> String {
    let (woken_on, woken) = mpsc::sync_channel(1);
    let owner = Arc::new(Owner { collection: Mutex::new(Some(collection)), woken_on });
    loop {
        let mut pending = ask(owner.collection.lock().unwrap().as_ref().unwrap());
        let polled = Pin::new(&mut pending).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&owner))));
        // The operation may be done before a waker is needed.
        if polled.is_pending() {
            return woken.recv().unwrap();
        }
    }
}

/// The simulated disk, and each backend of this machine, with a new directory.
fn backends(test: impl Fn(&DynBackend, &Path)) {
    test(&DynBackend::new(SimulatedDisk::new(3)), Path::new(DIR));
    for kind in BackendKind::plain() {
        let temp = tempfile::tempdir().unwrap();
        if let Err(refused) = kind.backend().run(async || ()) {
            eprintln!("{kind}: skipped: {refused}");
            continue;
        }
        test(&kind.backend(), &temp.path().join("c"));
    }
}

#[test]
fn a_thread_may_drop_the_last_handle_of_its_collection() {
    type Ask = fn(&Collection) -> Pending<()>;
    backends(|backend, dir| {
        let name = backend.name();
        let mut collection = Collection::create(backend, dir, &crate::new_schema(2), &options()).unwrap();
        put(&collection, 0..100).unwrap();
        let mut expected = 100;
        let asked: [(&str, Ask); 2] =
            [("vecstore-writer", Collection::sync), ("vecstore-optimizer", Collection::settle)];
        for (thread, ask) in asked {
            // A write is not lost if no caller waits for it.
            drop(sent(collection.upsert(points(expected..expected + 1), Durability::Written)));
            expected += 1;
            assert_eq!(dropped_by_waker(Arc::new(collection), ask), thread, "{name}");
            collection = reopened(backend, dir);
            assert_eq!(collection.count(None).wait().unwrap(), expected, "{name}, {thread}");
        }
        let searched = dropped_by_waker(Arc::new(collection), |collection| {
            collection.search(SearchRequest::new(vec![1.0, 1.0]))
        });
        assert_eq!(searched, "vecstore-core-0", "{name}");
        assert_eq!(reopened(backend, dir).count(None).wait().unwrap(), expected, "{name}");
    });
}

/// A callback that owns its collection. It is dropped with the optimization, or from within it, on any
/// computing thread.
#[test]
fn a_progress_callback_may_own_its_collection() {
    backends(|backend, dir| {
        let name = backend.name();
        Collection::create(backend, dir, &crate::new_schema(2), &options()).unwrap().close().unwrap();
        let mut expected = 0;
        for let_go_at in [None, Some(BuildStage::Reading), Some(BuildStage::Index), Some(BuildStage::Writing)]
        {
            let collection = Arc::new(reopened(backend, dir));
            put(&collection, expected..expected + 300).unwrap();
            expected += 300;
            let owned = Mutex::new(Some(Arc::clone(&collection)));
            let optimizing = collection.optimize(move |progress| {
                if Some(progress.stage) == let_go_at {
                    owned.lock().unwrap().take();
                }
            });
            drop(collection);
            // The optimization may stop when its callback closes the collection.
            let optimized = optimizing.wait();
            assert!(optimized.is_ok() || let_go_at.is_some(), "{name}, {let_go_at:?}: {optimized:?}");
            let opened = reopened(backend, dir);
            assert_eq!(opened.count(None).wait().unwrap(), expected, "{name}, {let_go_at:?}");
            opened.close().unwrap();
        }
    });
}

/// Neither of two threads waits for the other.
#[test]
fn two_collections_may_be_dropped_by_each_other() {
    let backend = DynBackend::new(SimulatedDisk::new(4));
    let dirs = [Path::new("/a"), Path::new("/b")];
    let create =
        |dir| Arc::new(Collection::create(&backend, dir, &crate::new_schema(2), &options()).unwrap());
    let [a, b] = dirs.map(create);
    put(&a, 0..50).unwrap();
    put(&b, 0..50).unwrap();
    let both = Arc::new(Barrier::new(2));
    // Each callback drops the other collection while both optimizers run.
    let letting_go = |other: &Arc<Collection>| {
        let (other, both) = (Mutex::new(Some(Arc::clone(other))), Arc::clone(&both));
        move |_| {
            if let Some(other) = other.lock().unwrap().take() {
                both.wait();
                drop(other);
            }
        }
    };
    let optimizing = [sent(a.optimize(letting_go(&b))), sent(b.optimize(letting_go(&a)))];
    drop((a, b));
    optimizing.into_iter().for_each(|optimizing| drop(optimizing()));
    for dir in dirs {
        assert_eq!(reopened(&backend, dir).count(None).wait().unwrap(), 50);
    }
}

/// Runs `act`, and fails if it hangs.
fn ends<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(act()));
    ended.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("{what} hangs"))
}

/// A writer without room waits for the optimizer, which waits for its callback.
#[test]
fn a_progress_callback_may_write_where_memory_is_full() {
    let backend = DynBackend::new(SimulatedDisk::new(4));
    let options = CollectionOptions { seal_points: 2, background: true, ..options() };
    let collection =
        Arc::new(Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options).unwrap());
    put(&collection, 0..1).unwrap();
    let (weak, next) = (Arc::downgrade(&collection), AtomicUsize::new(1));
    let (told, errors) = mpsc::channel();
    let callback = move |_| {
        let collection = weak.upgrade().unwrap();
        for _ in 0..20 {
            let id = next.fetch_add(1, Ordering::Relaxed) as u64;
            if id <= 100 {
                put(&collection, id..id + 1).unwrap();
            }
        }
        let waits = [collection.seal(|_| {}).wait(), collection.optimize(|_| {}).wait()];
        waits.into_iter().for_each(|waited| told.send(waited.unwrap_err()).unwrap());
    };
    let optimizing = collection.optimize(callback);
    ends("a callback that writes", || optimizing.wait()).unwrap();
    assert!(errors.iter().all(|error| matches!(error, Error::WaitsForItself)));
    let written = Arc::into_inner(collection).unwrap();
    let count = written.count(None).wait().unwrap();
    assert!(count > 20, "{count} points");
    written.close().unwrap();
}

/// Writes that wait for room when the collection is closed have begun, so they are finished.
#[test]
fn closing_does_not_refuse_writes_that_wait_for_room() {
    const POINTS: u64 = 40;
    let backend = DynBackend::new(SimulatedDisk::new(4));
    let in_background = CollectionOptions { seal_points: 2, background: true, ..options() };
    let collection =
        Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &in_background).unwrap();
    put(&collection, 0..1).unwrap();
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (reached, at_callback) = mpsc::channel();
    let optimizing = sent(collection.optimize(move |_| {
        let _ = reached.send(());
        let _ = held.lock().unwrap().recv();
    }));
    at_callback.recv().unwrap();
    // Writes that depend on existing points are grouped alone, so that not all writes form one group.
    let writes: Vec<_> = (1..=POINTS)
        .flat_map(|id| {
            let nothing = Selection::Ids(vec![PointId::Num(1000)]);
            let change = PayloadChange::Clear;
            [
                sent(collection.upsert(points(id..id + 1), Durability::Written)),
                sent(collection.change_payload(nothing, change, Durability::Written)),
            ]
        })
        .collect();
    let closing = std::thread::spawn(move || collection.close());
    // No room is made before all writes are answered.
    for written in writes {
        written().unwrap();
    }
    drop(let_go);
    ends("closing", move || closing.join().unwrap()).unwrap();
    let _ = optimizing();
    assert_eq!(reopened(&backend, Path::new(DIR)).count(None).wait().unwrap(), POINTS + 1);
}

#[test]
fn a_collection_without_cores_says_how_it_is_read() {
    let backend = DynBackend::new(SimulatedDisk::new(4));
    let options = CollectionOptions { cores: 0, ..options() };
    let collection = Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options).unwrap();
    let error = collection.search(SearchRequest::new(vec![0.0; 2])).wait().unwrap_err();
    assert!(error.to_string().contains("Collection::reader"), "{error}");
    collection.close().unwrap();
}
