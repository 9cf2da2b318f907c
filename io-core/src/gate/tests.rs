use super::scope::Scope;
use super::*;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

fn poll(waiter: &mut Waiter, bytes: u64) -> Option<Permit> {
    match waiter.poll_acquire(bytes, Lane::Foreground, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

#[test]
fn never_above_the_depth_or_the_budget() {
    let gate = Gate::new(DeviceBudget::new(2, 100), Lane::Foreground);
    let mut waiter = gate.waiter();
    let first = poll(&mut waiter, 60).expect("fits");
    assert!(poll(&mut waiter, 41).is_none(), "over the byte budget");
    let second = poll(&mut waiter, 40).expect("fits exactly");
    assert!(poll(&mut waiter, 0).is_none(), "over the depth");
    drop(first);
    assert_eq!((gate.operations_in_flight(), gate.bytes_in_flight()), (1, 40));
    drop(second);
    assert!(poll(&mut waiter, 100).is_some());
}

#[test]
fn a_large_waiter_is_not_overtaken_by_small_ones() {
    let gate = Gate::new(DeviceBudget::new(8, 100), Lane::Foreground);
    let (mut large, mut small) = (gate.waiter(), gate.waiter());
    let held = poll(&mut small, 50).expect("fits");
    assert!(poll(&mut large, 80).is_none());
    assert!(poll(&mut small, 10).is_none(), "would fit, but the large one waits ahead");
    drop(held);
    let held = poll(&mut large, 80).expect("its turn");
    assert!(poll(&mut small, 10).is_some());
    drop(held);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker's own panic");
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_waker_that_panics_loses_neither_a_permit_nor_the_wakes_of_others() {
    let gate = Gate::new(DeviceBudget::new(1, 100), Lane::Foreground);
    let (mut holder, mut next) = (gate.waiter(), gate.waiter());
    let held = poll(&mut holder, 50).expect("fits");
    let wakes = Arc::<Wakes>::default();
    let (bad, good) = (Waker::from(Arc::new(Panics)), Waker::from(Arc::clone(&wakes)));
    let mut drained: Vec<_> = (0..2).map(|_| Box::pin(gate.drained())).collect();
    assert!(next.poll_acquire(80, Lane::Foreground, &mut Context::from_waker(&good)).is_pending());
    let scope = Scope::current();
    let mut left = Box::pin(scope.drain());
    assert!(left.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    assert!(drained[0].as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    assert!(drained[1].as_mut().poll(&mut Context::from_waker(&good)).is_pending());
    let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| drop(held)));
    assert!(dropped.is_err(), "the panic goes on");
    assert_eq!(wakes.0.load(SeqCst), 2, "who waits for the end, and who waits for the permit");
    assert_eq!((gate.operations_in_flight(), scope.operations.load(SeqCst)), (0, 0));
}

#[test]
fn who_waits_for_the_end_is_woken_once_however_often_it_looked() {
    let gate = Gate::new(DeviceBudget::new(1, 100), Lane::Foreground);
    let held = poll(&mut gate.waiter(), 50).expect("fits");
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut drained = pin!(gate.drained());
    for _ in 0..3 {
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(held);
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn files_of_one_device_share_its_budget_and_drain_alone() {
    let device = DeviceBudget::new(2, 100);
    let (one, other) = (Gate::new(device.clone(), Lane::Foreground), Gate::new(device, Lane::Foreground));
    let (mut of_one, mut of_other) = (one.waiter(), other.waiter());
    let first = poll(&mut of_one, 10).expect("fits");
    let second = poll(&mut of_other, 20).expect("fits");
    assert!(poll(&mut of_one, 10).is_none(), "over the depth of the device");
    assert_eq!((one.bytes_in_flight(), other.bytes_in_flight()), (10, 20));
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut drained = pin!(one.drained());
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(second);
    assert_eq!(wakes.0.load(SeqCst), 0, "the other file's operation");
    drop(first);
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn a_waiter_that_gives_up_lets_the_next_one_go() {
    let gate = Gate::new(DeviceBudget::new(8, 100), Lane::Foreground);
    let (mut large, mut small) = (gate.waiter(), gate.waiter());
    let _held = poll(&mut small, 50).expect("fits");
    assert!(poll(&mut large, 80).is_none());
    drop(large);
    assert!(poll(&mut small, 10).is_some());
}

fn poll_in(lane: Lane, waiter: &mut Waiter) -> Option<Permit> {
    match waiter.poll_acquire(1, lane, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

#[test]
fn the_foreground_goes_before_a_background_that_came_first() {
    let device = DeviceBudget::new(1, 100);
    let (gate, merge) = (Gate::new(device.clone(), Lane::Foreground), Gate::new(device, Lane::Background));
    let held = poll_in(Lane::Foreground, &mut gate.waiter()).expect("fits");
    let (mut scan, mut of_merge, mut search) = (gate.waiter(), merge.waiter(), gate.waiter());
    assert!(poll_in(Lane::Background, &mut scan).is_none());
    assert!(poll_in(Lane::Foreground, &mut of_merge).is_none(), "its file is in the background");
    assert!(poll_in(Lane::Foreground, &mut search).is_none());
    drop(held);
    assert!(poll_in(Lane::Foreground, &mut of_merge).is_none());
    assert!(poll_in(Lane::Background, &mut scan).is_none());
    let held = poll_in(Lane::Foreground, &mut search).expect("its turn");
    assert_eq!(held.lane(), Lane::Foreground);
    drop(held);
    let held = poll_in(Lane::Background, &mut scan).expect("its turn");
    assert_eq!(held.lane(), Lane::Background);
}

#[test]
fn a_waiter_that_changes_its_lane_changes_its_place() {
    let gate = Gate::new(DeviceBudget::new(1, 100), Lane::Foreground);
    let held = poll_in(Lane::Foreground, &mut gate.waiter()).expect("fits");
    let (mut first, mut second) = (gate.waiter(), gate.waiter());
    assert!(poll_in(Lane::Background, &mut first).is_none());
    assert!(poll_in(Lane::Background, &mut second).is_none());
    assert!(poll_in(Lane::Foreground, &mut second).is_none());
    drop(held);
    assert!(poll_in(Lane::Background, &mut first).is_none());
    assert!(poll_in(Lane::Foreground, &mut second).is_some());
}

#[test]
fn a_foreground_that_never_pauses_lets_the_background_go_in_the_end() {
    let gate = Gate::new(DeviceBudget::new(1, 100), Lane::Foreground);
    let mut background = gate.waiter();
    let mut held = poll_in(Lane::Foreground, &mut gate.waiter());
    let mut waiting = gate.waiter();
    assert!(poll_in(Lane::Background, &mut background).is_none());
    let mut overtook = 0;
    loop {
        assert!(poll_in(Lane::Foreground, &mut waiting).is_none());
        drop(held.take());
        if let Some(permit) = poll_in(Lane::Background, &mut background) {
            assert_eq!(permit.lane(), Lane::Background);
            break;
        }
        held = poll_in(Lane::Foreground, &mut waiting);
        assert!(held.is_some(), "one of the two goes");
        overtook += 1;
        assert!(overtook < 10_000, "the background starves");
    }
    assert_eq!(overtook, 1024);
}

#[test]
fn the_oldest_of_the_foreground_goes_first_also_after_the_background_had_its_turn() {
    let gate = Gate::new(DeviceBudget::new(1, 100), Lane::Foreground);
    let mut held = poll_in(Lane::Foreground, &mut gate.waiter());
    let (mut merge, mut scan) = (gate.waiter(), gate.waiter());
    assert!(poll_in(Lane::Background, &mut merge).is_none());
    assert!(poll_in(Lane::Background, &mut scan).is_none());
    // As many as may overtake the background.
    let mut search = gate.waiter();
    for _ in 0..1024 {
        assert!(poll_in(Lane::Foreground, &mut search).is_none());
        drop(held.take());
        held = poll_in(Lane::Foreground, &mut search);
        assert!(held.is_some());
    }
    let (mut older, mut newer) = (gate.waiter(), gate.waiter());
    assert!(poll_in(Lane::Foreground, &mut older).is_none());
    drop(held);
    let held = poll_in(Lane::Background, &mut merge).expect("its turn");
    assert!(poll_in(Lane::Foreground, &mut newer).is_none());
    drop(held);
    assert!(poll_in(Lane::Foreground, &mut newer).is_none(), "it came later");
    assert!(poll_in(Lane::Foreground, &mut older).is_some());
}

/// Whether the closure returns true in a forked process.
#[cfg(unix)]
#[allow(unsafe_code)]
fn in_child(holds: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses memory of its own, the allocator, which allows a fork, and the code under test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let held = std::panic::catch_unwind(AssertUnwindSafe(holds)).unwrap_or(false);
        // SAFETY: the child ends here.
        unsafe { libc::_exit(i32::from(!held)) }
    }
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[cfg(unix)]
#[test]
fn files_that_a_forked_process_opens_do_not_wait_for_those_of_its_parent() {
    fork::watch();
    let device = DeviceBudget::new(1, 100);
    let gate = Gate::new(device.clone(), Lane::Foreground);
    let _held = poll(&mut gate.waiter(), 50).expect("fits");
    let goes = || {
        let anew = Gate::new(device, Lane::Foreground);
        poll(&mut anew.waiter(), 50).is_some()
    };
    assert!(in_child(goes), "a permit of the parent never comes back in the child");
}
