//! Futures, threads and runtimes that end while their reads are in flight: for backends whose operations go
//! on without their futures.

use crate::common::{
    Backend, LEN, Stalled, directory, file_of, ignore, open, options, own, poll_once, read_and_check,
    requests,
};
use io_core::{ReadControl, VectorReader};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

const DEPTH: u32 = 32;

#[test]
fn a_batch_polled_by_one_thread_ends_on_another() {
    let (directory, backend) = (directory(), own());
    let reader = Arc::new(open(&backend, &file_of(directory.path(), 100), &options()));
    let stalled = Stalled::new(&backend);
    let batch = std::thread::spawn({
        let reader = Arc::clone(&reader);
        move || {
            let mut batch: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(async move { read_and_check(&reader, &requests(0..100)).await });
            assert!(poll_once(batch.as_mut()).is_pending());
            batch
        }
    });
    // The thread that polled first has ended.
    let batch = batch.join().expect("polls");
    assert_eq!(reader.gate().operations_in_flight(), DEPTH);
    drop(stalled);
    pollster::block_on(batch);
    assert_eq!(reader.gate().operations_in_flight(), 0);
}

/// Counts wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_was_dropped_holds_its_permits_until_the_backend_is_done_and_close_waits_for_it() {
    let (directory, backend) = (directory(), own());
    let reader = open(&backend, &file_of(directory.path(), 100), &options());
    let (control, requests) = (ReadControl::default(), requests(0..100));
    let full = (DEPTH, u64::from(DEPTH * LEN));
    let in_flight = || (reader.gate().operations_in_flight(), reader.gate().bytes_in_flight());

    let stalled = Stalled::new(&backend);
    let mut first = Box::pin(reader.read_vectors(&requests, &control, ignore));
    assert!(poll_once(first.as_mut()).is_pending());
    drop(first);
    assert_eq!(in_flight(), full, "dropped, and on its way");
    // The second batch is dropped, on a thread that then ends.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut second = Box::pin(reader.read_vectors(&requests, &control, ignore));
            assert!(poll_once(second.as_mut()).is_pending());
        });
    });
    assert_eq!(in_flight(), full, "not above the limits");
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut closing = Box::pin(reader.close());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    drop(stalled);
    pollster::block_on(closing).expect("closes");
    assert_eq!(in_flight(), (0, 0));
}

#[test]
fn a_batch_dropped_after_any_number_of_polls_leaves_the_reader_whole() {
    let (directory, backend) = (directory(), Backend::default());
    let reader = open(&backend, &file_of(directory.path(), 200), &options());
    let (control, all) = (ReadControl::default(), requests(0..200));
    let mut polls_at_the_end = None;
    for polls in 0..10_000 {
        let mut batch = pin!(reader.read_vectors(&all, &control, ignore));
        for poll in 0..polls {
            // The batch is polled whether or not a read ended meanwhile.
            std::thread::yield_now();
            if poll_once(batch.as_mut()).is_ready() {
                polls_at_the_end = Some(poll);
                break;
            }
        }
        if polls_at_the_end.is_some() {
            break;
        }
    }
    assert!(polls_at_the_end.is_some(), "polled often enough, a batch ends");
    pollster::block_on(read_and_check(&reader, &all));
    pollster::block_on(reader.close()).expect("closes");
    assert_eq!(reader.gate().operations_in_flight(), 0);
}

#[test]
fn a_runtime_torn_down_leaves_its_reads_to_the_backend() {
    let (directory, backend) = (directory(), own());
    let reader = Arc::new(open(&backend, &file_of(directory.path(), 100), &options()));
    let stalled = Stalled::new(&backend);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("builds");
    let (polled, was_polled) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let (reader, polled) = (Arc::clone(&reader), polled.clone());
        runtime.spawn(async move {
            let requests = requests(0..100);
            let mut batch = pin!(read_and_check(&reader, &requests));
            assert!(poll_once(batch.as_mut()).is_pending());
            polled.send(()).expect("the test waits");
            batch.await;
        });
    }
    for _ in 0..4 {
        was_polled.recv().expect("each is polled");
    }
    drop(runtime);
    assert_eq!(Arc::strong_count(&reader), 1, "the tasks are gone");
    assert_eq!(reader.gate().operations_in_flight(), DEPTH);
    drop(stalled);
    pollster::block_on(reader.close()).expect("closes");
    assert_eq!(reader.gate().operations_in_flight(), 0);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker's own panic");
    }
}

#[test]
fn wakers_that_panic_take_neither_the_backend_down_nor_permits_away() {
    let (directory, backend) = (directory(), own());
    let path = file_of(directory.path(), 100);
    let (reader, other) = (open(&backend, &path, &options()), open(&backend, &path, &options()));
    let (control, all) = (ReadControl::default(), requests(0..100));
    let bad = Waker::from(Arc::new(Panics));
    let stalled = Stalled::new(&backend);
    // The permits of the first batch come back on the backend's thread. There they wake the second batch,
    // which waits for them.
    let mut first = Box::pin(reader.read_vectors(&all, &control, ignore));
    assert!(first.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    drop(first);
    let mut second = Box::pin(reader.read_vectors(&all, &control, ignore));
    assert!(second.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    // The third batch reads through another reader. Its waker panics for each read that ends.
    let mut third = Box::pin(other.read_vectors(&all, &control, ignore));
    assert!(third.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    drop(stalled);
    // The one and only thread still reads, for both.
    pollster::block_on(third).expect("reads");
    let second = std::panic::catch_unwind(AssertUnwindSafe(|| pollster::block_on(second)));
    assert_eq!(second.expect("the panic was its waker's before").expect("reads").delivered, 100);
    pollster::block_on(read_and_check(&reader, &all));
    pollster::block_on(reader.close()).expect("every permit came back");
}
