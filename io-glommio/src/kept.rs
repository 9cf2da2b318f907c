//! Threads that keep their executor.
//!
//! glommio 0.9 never drops the header of a task (`RawTask::destroy`), and each header shares the executor's
//! eventfd. An executor that has run anything therefore leaves one eventfd behind. Threads that are started
//! here keep their executor instead, and take the next work of the same name.

use glommio::LocalExecutor;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// A thread that waits for work.
struct Idle {
    /// Work of another name may need another priority of its thread.
    name: String,
    /// A forked process does not have its parent's threads.
    process: u32,
    work: Sender<Work>,
}

static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

thread_local! {
    static KEEPS: Cell<bool> = const { Cell::new(false) };
    static EXECUTOR: RefCell<Option<LocalExecutor>> = const { RefCell::new(None) };
}

/// The executor that this thread has kept.
pub(crate) fn take() -> Option<LocalExecutor> {
    EXECUTOR.take()
}

/// Keeps an executor if the thread was started here. Drops it otherwise.
pub(crate) fn keep(executor: LocalExecutor) {
    if KEEPS.get() {
        EXECUTOR.set(Some(executor));
    }
}

/// Runs work on a thread of that name, an idle one or a new one.
pub(crate) fn spawn(name: String, mut work: Work) -> io::Result<()> {
    while let Some(idle) = idle(&name) {
        match idle.work.send(work) {
            Ok(()) => return Ok(()),
            Err(refused) => work = refused.0,
        }
    }
    std::thread::Builder::new().name(name.clone()).spawn(move || serve(&name, work)).map(drop)
}

fn idle(name: &str) -> Option<Idle> {
    let process = std::process::id();
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = idle.iter().position(|idle| idle.name == name && idle.process == process)?;
    Some(idle.swap_remove(found))
}

fn serve(name: &str, mut work: Work) {
    KEEPS.set(true);
    // After a panic the state of the executor is unknown, so the thread ends. The panic's message was
    // printed.
    while catch_unwind(AssertUnwindSafe(work)).is_ok() {
        let (sender, next) = channel();
        let idle = Idle { name: name.to_owned(), process: std::process::id(), work: sender };
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        let Ok(taken) = next.recv() else { return };
        work = taken;
    }
}
