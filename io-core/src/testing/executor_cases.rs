//! Cases for a backend with a runtime: starting, nesting, a runtime that the user started, wakes from other
//! threads, an early end.

use super::MemoryBackend;
use super::battery::Subject;
use super::cases::read_and_check;
use crate::{
    BackendFactory, Executor, LocalBoxFuture, OpenError, OpenOptions, ReadControl, ReadRequest, StartError,
    VectorReader,
};
use atomic_waker::AtomicWaker;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

/// Runs a future in the backend's runtime, started without the backend, as a user may do.
pub(super) type OwnRuntime = fn(LocalBoxFuture<'static, ()>);

type ExecutorCase<B> = (&'static str, fn(&Subject<B>, OwnRuntime));

pub(super) fn executor_cases<B: BackendFactory>() -> Vec<ExecutorCase<B>> {
    vec![
        ("e1 an executor within an executor is refused", nested),
        ("e2 outside of its executor opening is refused", outside),
        ("e3 the user's own runtime will do", own_runtime),
        ("e4 the user's own runtime may end with reads in flight", own_runtime_ends),
        ("e5 wakes from other threads arrive", foreign_wakes),
    ]
}

fn requests() -> Vec<ReadRequest> {
    (0..180).map(|i| ReadRequest::new(i * 16_384, 4096)).collect()
}

fn nested<B: BackendFactory>(subject: &Subject<B>, _own: OwnRuntime) {
    let inner = subject.run(|| async { subject.backend.run(|| async {}) });
    assert!(matches!(inner, Err(StartError::Nested { .. })), "{inner:?}");
    subject.run(|| async {});
}

fn outside<B: BackendFactory>(subject: &Subject<B>, _own: OwnRuntime) {
    let open = || async { subject.backend.open(&subject.file(), &subject.options).await.map(drop) };
    let opened = MemoryBackend::new(1).run(open).expect("starts");
    let Err(error @ OpenError::WrongExecutor { .. }) = opened else { panic!("{opened:?}") };
    assert!(error.to_string().contains("::run"), "{error}");
}

fn own_runtime<B: BackendFactory>(subject: &Subject<B>, own: OwnRuntime) {
    let subject = subject.clone();
    own(Box::pin(async move {
        let reader = subject.open().await;
        read_and_check(&reader, &requests()).await.expect("a good batch");
        reader.close().await.expect("closes");
    }));
}

fn own_runtime_ends<B: BackendFactory>(subject: &Subject<B>, own: OwnRuntime) {
    let inside = subject.clone();
    own(Box::pin(async move {
        // The reader is neither closed nor drained. Memory that the kernel still writes to must not be
        // reused.
        let options = OpenOptions { queue_depth: 128, ..inside.options.clone() };
        let reader = inside.backend.open(&inside.file(), &options).await.expect("opens");
        let (requests, control) = (requests(), ReadControl::default());
        let mut reading =
            Box::pin(reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())));
        poll_fn(|cx| {
            let _ = reading.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }));
    // If a buffer had been freed, a late read would land in this memory.
    let fresh: Vec<Vec<u8>> = (0..256).map(|_| vec![0xA5; 4096]).collect();
    subject.run(|| async {
        read_and_check(&subject.open().await, &requests()).await.expect("a good batch");
    });
    assert!(fresh.iter().flatten().all(|&byte| byte == 0xA5), "a late read hit memory in use");
}

fn foreign_wakes<B: BackendFactory>(subject: &Subject<B>, _own: OwnRuntime) {
    const WAKES: u32 = 1000;
    let shared = Arc::new((AtomicU32::new(0), AtomicWaker::new()));
    let (seen, sender) = (Arc::new(AtomicU32::new(0)), Arc::clone(&shared));
    let acknowledged = Arc::clone(&seen);
    let thread = std::thread::spawn(move || {
        for wake in 1..=WAKES {
            sender.0.store(wake, Ordering::Release);
            sender.1.wake();
            // The next wake waits until this one has arrived. So no wake can stand in for another.
            while acknowledged.load(Ordering::Acquire) < wake {
                std::thread::yield_now();
            }
        }
    });
    subject.run(|| {
        poll_fn(|cx| {
            shared.1.register(cx.waker());
            let wake = shared.0.load(Ordering::Acquire);
            seen.store(wake, Ordering::Release);
            if wake == WAKES { Poll::Ready(()) } else { Poll::Pending }
        })
    });
    thread.join().expect("no panic");
}
