//! Tasks that outlive the batch they come from.
//!
//! compio's executor must get no new task while it drops its tasks, as it does when a runtime ends. A batch
//! may be one of the things dropped then. So it only queues what it leaves in flight. A task of each runtime,
//! the *spawner*, takes it from there. If the spawner is gone, the runtime is ending.

use compio_runtime::Runtime;
use io_core::LocalBoxFuture;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Tasks that wait for the spawner, and what wakes it. The spawner owns the queue.
#[derive(Default)]
struct Queue {
    tasks: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    spawner: RefCell<Option<Waker>>,
}

thread_local! {
    /// The queues of this thread's runtimes, by the descriptor of their ring. A runtime may run within
    /// another one, which then stands still.
    static QUEUES: RefCell<Vec<(RawFd, Weak<Queue>)>> = const { RefCell::new(Vec::new()) };
}

/// Starts the spawner of the runtime that runs on this thread, if it has none.
///
/// # Panics
/// Outside a runtime.
pub(crate) fn start_spawner() {
    Runtime::with_current(|runtime| {
        QUEUES.with_borrow_mut(|queues| {
            queues.retain(|(_, queue)| queue.strong_count() > 0);
            if queues.iter().all(|(ring, _)| *ring != runtime.as_raw_fd()) {
                let queue = Rc::<Queue>::default();
                queues.push((runtime.as_raw_fd(), Rc::downgrade(&queue)));
                runtime.spawn(spawn_queued(queue)).detach();
            }
        });
    });
}

/// The spawner.
async fn spawn_queued(queue: Rc<Queue>) -> Infallible {
    poll_fn(|cx| {
        queue.spawner.replace(Some(cx.waker().clone()));
        for task in queue.tasks.take() {
            compio_runtime::spawn(task).detach();
        }
        Poll::Pending
    })
    .await
}

/// Runs a task to its end. Nothing waits for it. Outside the runtime, and when the runtime ends, the task is
/// dropped and its buffers are leaked.
pub(crate) fn spawn(task: LocalBoxFuture<'static, ()>) {
    let Ok(ring) = Runtime::try_with_current(AsRawFd::as_raw_fd) else { return };
    let queue = QUEUES.with_borrow(|queues| {
        queues.iter().find(|(of, _)| *of == ring).and_then(|(_, queue)| queue.upgrade())
    });
    let Some(queue) = queue else { return };
    queue.tasks.borrow_mut().push(task);
    if let Some(spawner) = queue.spawner.borrow().as_ref() {
        spawner.wake_by_ref();
    }
}
