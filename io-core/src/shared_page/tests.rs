use super::*;
use crate::Lane;
use crate::gate::{DeviceBudget, Gate};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn gate() -> Gate {
    Gate::new(DeviceBudget::new(8, 100), Lane::Foreground)
}

fn permit(gate: &Gate) -> Permit {
    match gate.waiter().poll_acquire(10, Lane::Foreground, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => permit,
        Poll::Pending => panic!("it fits"),
    }
}

fn poll(pending: &mut PendingPage, waker: &Waker) -> Poll<(io::Result<SharedPage>, Option<Permit>)> {
    Pin::new(pending).poll(&mut Context::from_waker(waker))
}

fn ended(pending: &mut PendingPage) -> (io::Result<SharedPage>, Option<Permit>) {
    match poll(pending, Waker::noop()) {
        Poll::Ready(ended) => ended,
        Poll::Pending => panic!("it has ended"),
    }
}

#[test]
fn a_page_comes_back_with_the_bytes_and_the_permit_and_wakes_who_waits() {
    let (pool, gate, wakes) = (SharedBufferPool::new(), gate(), Arc::<Wakes>::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (mut pending, mut running) = pool.page(8).start(Some(permit(&gate)));
    assert_eq!(running.as_ptr() as usize % BLOCK_BYTES, 0);
    assert!(poll(&mut pending, &waker).is_pending());
    std::thread::spawn(move || {
        running.copy_from_slice(b"abcdefgh");
        running.finish(Ok(3));
    })
    .join()
    .expect("no panic");
    assert_eq!((wakes.0.load(SeqCst), gate.operations_in_flight()), (1, 1));
    let (page, permit) = ended(&mut pending);
    assert_eq!(&*page.expect("reads"), b"abc");
    drop(permit);
    assert_eq!(gate.operations_in_flight(), 0);
}

#[test]
fn buffers_are_used_again_and_the_waker_of_an_earlier_operation_is_forgotten() {
    let (pool, wakes) = (SharedBufferPool::new(), Arc::<Wakes>::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let address = pool.page(10).as_ptr();
    for result in [Ok(10), Err(io::Error::from(io::ErrorKind::NotFound))] {
        let is_ok = result.is_ok();
        let page = pool.page(4000);
        assert_eq!(page.as_ptr(), address);
        let (mut pending, running) = page.start(None);
        running.finish(result);
        let (page, none) = ended(&mut pending);
        assert!(none.is_none());
        assert_eq!(page.is_ok(), is_ok);
    }
    let (mut pending, running) = pool.page(1).start(None);
    assert!(poll(&mut pending, &waker).is_pending());
    drop(pending);
    drop(running);
    let (_pending, running) = pool.page(1).start(None);
    assert_eq!(running.as_ptr(), address);
    running.finish(Ok(1));
    assert_eq!((wakes.0.load(SeqCst), Arc::strong_count(&wakes)), (0, 2), "the test's own waker is left");
}

#[test]
fn a_dropped_future_leaves_its_permit_to_the_operation() {
    let (pool, gate) = (SharedBufferPool::new(), gate());
    let address = pool.page(10).as_ptr();
    let (pending, running) = pool.page(10).start(Some(permit(&gate)));
    assert!(!running.is_abandoned());
    drop(pending);
    assert_eq!((running.is_abandoned(), gate.operations_in_flight()), (true, 1));
    assert_ne!(pool.page(10).as_ptr(), address, "the operation has the buffer");
    running.finish(Ok(10));
    assert_eq!(gate.operations_in_flight(), 0);

    let (pending, running) = pool.page(10).start(Some(permit(&gate)));
    running.finish(Ok(10));
    assert_eq!(gate.operations_in_flight(), 1);
    drop(pending);
    assert_eq!(gate.operations_in_flight(), 0);
}

#[test]
fn an_operation_given_up_is_an_error_and_wakes_who_waits() {
    let (pool, gate, wakes) = (SharedBufferPool::new(), gate(), Arc::<Wakes>::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (mut pending, running) = pool.page(10).start(Some(permit(&gate)));
    assert!(poll(&mut pending, &waker).is_pending());
    let thread = std::thread::spawn(move || {
        let _running = running;
        panic!("a runtime's own panic");
    });
    thread.join().expect_err("panics");
    assert_eq!(wakes.0.load(SeqCst), 1);
    let (page, permit) = ended(&mut pending);
    assert!(page.expect_err("given up").to_string().contains("given up"));
    assert!(permit.is_some());
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker's own panic");
    }
}

#[test]
fn a_waker_that_panics_does_not_end_the_thread() {
    let pool = SharedBufferPool::new();
    let (mut pending, running) = pool.page(10).start(None);
    assert!(poll(&mut pending, &Waker::from(Arc::new(Panics))).is_pending());
    running.finish(Ok(10));
    assert_eq!(ended(&mut pending).0.expect("reads").len(), 10);
}
