//! A small executor for simulated backends. A seed decides which operation in flight completes next. So a
//! failure can be replayed.

use crate::{BackendInfo, IoGeometry, IoMode, LocalBoxFuture, OpenOptions, StartError};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

thread_local! {
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// Removes the thread's executor when dropped, also on a panic.
pub(super) struct Entered;

impl Entered {
    pub(super) fn new(seed: u64, runtime: &'static str) -> Result<Self, StartError> {
        EXECUTOR.with_borrow_mut(|executor| {
            if executor.is_some() {
                return Err(StartError::Nested { runtime });
            }
            *executor = Some(Executor { random: fastrand::Rng::with_seed(seed), ..Executor::default() });
            Ok(Self)
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The executor is dropped outside the borrow, because its tasks may use it while they are dropped.
        let executor = EXECUTOR.take();
        drop(executor);
    }
}

/// The settings of a backend on this executor.
pub(super) fn info(backend: &'static str, options: &OpenOptions) -> BackendInfo {
    // Direct files get a device's alignment, to test the planner with one.
    let (io_mode, align) = if options.direct { (IoMode::Direct, 512) } else { (IoMode::Buffered, 1) };
    BackendInfo {
        choice: None,
        backend,
        runtime: "deterministic executor",
        io_mode,
        queue_depth: options.queue_depth,
        bytes_in_flight_max: options.bytes_in_flight_max,
        device: options.device.clone(),
        geometry: IoGeometry {
            offset_align: align,
            memory_align: align,
            read_size_max: options.read_size_max,
            gap_max: options.gap_max,
        },
        lane: options.lane,
        lanes: false,
        kernel_features: Vec::new(),
    }
}

/// Whether this thread runs the executor.
pub(super) fn is_entered() -> bool {
    EXECUTOR.with_borrow(Option::is_some)
}

#[derive(Default)]
struct Executor {
    random: fastrand::Rng,
    /// Operations in flight.
    pending: Vec<Rc<Operation>>,
    tasks: Vec<LocalBoxFuture<'static, ()>>,
}

#[derive(Default)]
struct Operation {
    complete: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

struct Woken {
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

pub(super) fn block_on<F: Future>(main: F) -> F::Output {
    let woken = Arc::new(Woken { woken: AtomicBool::new(true), thread: std::thread::current() });
    let waker = Waker::from(Arc::clone(&woken));
    let mut main = std::pin::pin!(main);
    loop {
        if woken.woken.swap(false, Ordering::AcqRel) {
            let mut cx = Context::from_waker(&waker);
            if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                return output;
            }
            poll_tasks(&mut cx);
            // The disk makes progress even if tasks keep waking themselves.
            complete_some();
        } else if !complete_some() {
            // Only another thread can wake this one now.
            std::thread::park();
        }
    }
}

fn poll_tasks(cx: &mut Context<'_>) {
    let mut tasks =
        EXECUTOR.with_borrow_mut(|executor| executor.as_mut().map(|it| std::mem::take(&mut it.tasks)));
    let Some(tasks) = tasks.as_mut() else { return };
    tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
    EXECUTOR.with_borrow_mut(|executor| {
        if let Some(executor) = executor {
            executor.tasks.append(tasks);
        }
    });
}

/// Completes a few operations at once, as a ring does. The seed chooses them. Returns whether there was one.
fn complete_some() -> bool {
    let count = EXECUTOR.with_borrow_mut(|executor| match executor {
        Some(executor) => executor.random.usize(1..=4).min(executor.pending.len()),
        None => 0,
    });
    for _ in 0..count {
        let chosen = EXECUTOR.with_borrow_mut(|executor| {
            let executor = executor.as_mut()?;
            let chosen = executor.random.usize(..executor.pending.len());
            Some(executor.pending.swap_remove(chosen))
        });
        let Some(operation) = chosen else { break };
        operation.complete.set(true);
        if let Some(waker) = operation.waker.take() {
            waker.wake();
        }
    }
    count > 0
}

/// Ends when the executor chooses this operation.
pub(super) async fn completion() {
    let operation = Rc::new(Operation::default());
    EXECUTOR.with_borrow_mut(|executor| {
        executor.as_mut().expect("inside MemoryBackend::run").pending.push(Rc::clone(&operation));
    });
    poll_fn(|cx| {
        if operation.complete.get() {
            return Poll::Ready(());
        }
        *operation.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

pub(super) fn spawn(task: LocalBoxFuture<'static, ()>) {
    let refused = EXECUTOR.with_borrow_mut(|executor| match executor {
        Some(executor) => {
            executor.tasks.push(task);
            None
        }
        None => Some(task),
    });
    drop(refused);
}
