//! loom runs each model in every order of its threads' steps, with all that weak memory allows.
//!
//! loom itself checks that only one side at a time touches the content of an operation. It also checks that
//! no operation leaks, and that no thread waits for ever.

#![allow(unsafe_code)]

use crate::handover::Handover;
use crate::operation::{Ended, Idle, Kind, OperationFile, Order, Pending, Running};
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A file that keeps the operations that come back. `take_all` sees what happened before `take_back`, as with
/// the pool.
struct Kept(Mutex<Vec<Idle<Self>>>);

impl Kept {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    fn take_all(&self) -> Vec<Idle<Self>> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl OperationFile for Kept {
    fn take_back(&self, idle: Idle<Self>) {
        self.0.lock().expect("no panic").push(idle);
    }
}

fn start(idle: Idle<Kept>, file: &Arc<Kept>, offset: u64) -> (Pending<Kept>, Running<Kept>) {
    idle.start(Some(Order { kind: Kind::Read, file: Arc::clone(file), offset, len: 0, permit: None }))
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A ring that sleeps whenever it may and takes `total` operations. Returns their numbers and how often it
/// slept.
fn take_all(handover: &Handover<Kept>, total: usize) -> (Vec<u64>, usize) {
    let (mut taken, mut slept) = (Vec::new(), 0);
    loop {
        for operation in handover.take_all() {
            taken.push(operation.order().offset);
            operation.finish(0);
        }
        if taken.len() == total {
            return (taken, slept);
        }
        if handover.sleep() {
            slept += 1;
            thread::park();
        }
    }
}

/// All orders of three threads would take minutes. Orders with few preemptions find nearly all faults.
fn with_few_preemptions(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// `counts`: how many operations each pusher hands in.
fn hand_over(counts: &'static [u64]) {
    with_few_preemptions(move || {
        let file = Kept::new();
        let (handover, ring) = (Arc::new(Handover::new()), thread::current());
        let pushers = counts.iter().enumerate().map(|(pusher, &count)| {
            let (file, handover, ring) = (Arc::clone(&file), Arc::clone(&handover), ring.clone());
            thread::spawn(move || {
                let mut told = 0;
                for number in 0..count {
                    let (pending, running) = start(Idle::new(0), &file, pusher as u64 * 100 + number);
                    drop(pending);
                    if handover.push(running) {
                        told += 1;
                        ring.unpark();
                    }
                }
                told
            })
        });
        let pushers: Vec<_> = pushers.collect();
        let total: u64 = counts.iter().sum();
        let (taken, slept) = take_all(&handover, total as usize);
        let told: usize = pushers.into_iter().map(|pusher| pusher.join().expect("no panic")).sum();
        assert_eq!(told, slept, "one pusher is told of each sleep");
        for (pusher, &count) in counts.iter().enumerate() {
            let of_pusher = taken.iter().filter(|&&number| number / 100 == pusher as u64);
            let numbers: Vec<u64> = of_pusher.map(|&number| number % 100).collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "all, in the order they were handed in");
        }
        assert_eq!(file.take_all().len() as u64, total, "all came back");
    });
}

#[test]
fn loom_what_one_thread_hands_in_arrives_in_order_at_a_ring_that_sleeps() {
    hand_over(&[3]);
}

#[test]
fn loom_of_two_threads_one_wakes_a_ring_that_sleeps() {
    hand_over(&[1, 1]);
}

#[test]
fn loom_two_threads_hand_in_while_the_ring_takes() {
    hand_over(&[2, 1]);
}

#[test]
fn loom_what_was_handed_in_and_never_taken_does_not_leak() {
    loom::model(|| {
        let (handover, file) = (Arc::new(Handover::new()), Kept::new());
        let (mut pending, running) = start(Idle::new(0), &file, 0);
        let pusher = thread::spawn({
            let handover = Arc::clone(&handover);
            move || handover.push(running)
        });
        let slept = handover.sleep();
        let told = pusher.join().expect("no panic");
        assert_eq!(told, slept);
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(pending.poll(&Context::from_waker(&waker)).is_pending());
    });
}

#[test]
fn loom_a_future_sees_what_the_ring_left_and_is_woken_once() {
    loom::model(|| {
        let file = Kept::new();
        let (mut pending, running) = start(Idle::new(1), &file, 7);
        let ring = thread::spawn(move || {
            // SAFETY: the buffer has 4096 bytes, and is the ring's until `finish`.
            unsafe { running.buffer_ptr().write(42) };
            running.finish(1);
        });
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        let first = pending.poll(&cx);
        ring.join().expect("no panic");
        let woken = wakes.0.load(Ordering::Relaxed);
        let ended = match first {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                assert_eq!(woken, 1, "it waits, so it is told, and once");
                let Poll::Ready(ended) = pending.poll(&cx) else { panic!("the ring has finished it") };
                ended
            }
        };
        let Ended { result, idle, order } = ended;
        assert_eq!((result.expect("was read"), order.expect("comes back").offset), (1, 7));
        assert_eq!(idle.expect("no fork").buffer()[0], 42);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1, "nothing keeps the task");
    });
}

#[test]
fn loom_a_future_that_blocks_is_woken() {
    loom::model(|| {
        let file = Kept::new();
        let (pending, running) = start(Idle::new(0), &file, 0);
        let ring = thread::spawn(move || running.finish(-libc::EIO));
        let ended = loom::future::block_on(pending.ended());
        assert_eq!(ended.result.expect_err("as the ring says").raw_os_error(), Some(libc::EIO));
        ring.join().expect("no panic");
    });
}

/// Drops a future after some polls. Its operation comes back once, from the side that came second.
fn dropped_after(polls: usize) {
    loom::model(move || {
        let file = Kept::new();
        let (mut pending, running) = start(Idle::new(0), &file, 0);
        let ring = thread::spawn(move || {
            let result = if running.is_abandoned() { -libc::ECANCELED } else { 0 };
            running.finish(result);
        });
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut ended = None;
        for _ in 0..polls {
            if let Poll::Ready(now) = pending.poll(&Context::from_waker(&waker)) {
                ended = Some(now);
                break;
            }
        }
        drop(pending);
        let came_back = match ended {
            Some(ended) => {
                ended.result.expect("a future that is there is not cancelled");
                file.take_back(ended.idle.expect("no fork"));
                true
            }
            None => file.take_all().pop().is_some_and(|idle| {
                // It is used again at once, while the ring may still be in `finish`.
                let (pending, running) = start(idle, &file, 1);
                drop(pending);
                running.finish(0);
                true
            }),
        };
        ring.join().expect("no panic");
        let in_pool = file.take_all();
        assert_eq!(in_pool.len(), 1, "came back to the future's side: {came_back}");
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1, "nothing keeps the task");
    });
}

#[test]
fn loom_a_future_dropped_at_once_leaves_its_operation_to_the_ring() {
    dropped_after(0);
}

#[test]
fn loom_a_future_dropped_after_polls_leaves_its_operation_to_whoever_is_second() {
    dropped_after(1);
    dropped_after(2);
}

#[test]
fn loom_an_operation_used_again_is_not_hurt_by_the_late_wake_of_its_life_before() {
    with_few_preemptions(|| {
        let file = Kept::new();
        let (mut pending, running) = start(Idle::new(0), &file, 0);
        let ring = thread::spawn(move || running.finish(1));
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(wakes);
        if let Poll::Ready(ended) = pending.poll(&Context::from_waker(&waker)) {
            let (pending, running) = start(ended.idle.expect("no fork"), &file, 0);
            let ring = thread::spawn(move || running.finish(2));
            let again = loom::future::block_on(pending.ended());
            assert_eq!(again.result.expect("was read"), 2, "of this life");
            ring.join().expect("no panic");
        }
        ring.join().expect("no panic");
    });
}
