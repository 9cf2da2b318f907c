//! Operations that stay in flight, because the thread that ends them is held.

use super::{Backend, directory};
use io_core::{FileSystem, OpenOptions, PageWriter, SyncKind};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Holds the only thread of a backend inside a waker until this is dropped. Operations that are handed in
/// meanwhile stay in flight.
pub(crate) struct Stalled {
    _release: Sender<()>,
    _woken: Pin<Box<dyn Future<Output = ()>>>,
}

struct BlockingWaker {
    entered: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Wake for BlockingWaker {
    fn wake(self: Arc<Self>) {
        // Both calls fail only if the test has gone on without this waker.
        let _ = self.entered.send(());
        let _ = self.release.lock().expect("one waits").recv();
    }
}

impl Stalled {
    pub(crate) fn new(backend: &Backend) -> Self {
        let directory = directory();
        let path = directory.path().join("stall");
        loop {
            let writer = pollster::block_on(backend.create(&path, &OpenOptions::default())).expect("creates");
            std::fs::remove_file(&path).expect("was created");
            let (entered, has_entered) = channel();
            let (release, released) = channel();
            let waker = Waker::from(Arc::new(BlockingWaker { entered, release: Mutex::new(released) }));
            let mut woken: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                writer.sync(SyncKind::All).await.expect("syncs");
            });
            // A sync that ended at once woke nothing.
            if woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                drop(waker);
                has_entered.recv().expect("the thread wakes it");
                return Self { _release: release, _woken: woken };
            }
        }
    }
}

/// The ids of the threads of this process with this name.
#[cfg(target_os = "linux")]
pub(crate) fn threads_named(name: &str) -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    let tasks = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        // A thread that has ended meanwhile has no entry.
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim_end() == name).then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
    });
    tasks.collect()
}
