//! Runtimes that start and end: what the battery does not look at.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

mod common;

use common::refuse_io_uring;
use compio_driver::{DriverType, Proactor};
use compio_runtime::Runtime;
use io_compio::CompioBackend;
use io_core::{
    Executor, FileSystem, Meter, OpenError, OpenOptions, ReadControl, ReadRequest, StartError, VectorReader,
    with_causes,
};
use std::future::{pending, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;

fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Whether the system has io_uring. Says so if it has not.
fn starts() -> bool {
    let started = CompioBackend::default().run(|| async {});
    if let Err(refused) = &started {
        eprintln!("skipped: {}", with_causes(refused));
    }
    started.is_ok()
}

/// Starts a task that reads again and again. Returns when it has reads in flight.
async fn start_reading(meter: &Meter) {
    let options = OpenOptions::default().with_queue_depth(8);
    let reader = CompioBackend::default().open(&program(), &options).await.unwrap();
    let control = ReadControl::new().with_meter(meter.clone());
    let reading = async move {
        let requests: Vec<_> = (0..20).map(|i| ReadRequest::new(i * 16_384, 512)).collect();
        loop {
            reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())).await.unwrap();
        }
    };
    compio_runtime::spawn(reading).detach();
    poll_fn(|cx| {
        if meter.counters().in_flight > 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_refused_ring_is_an_error_and_no_other_driver_takes_its_place() {
    let backend = CompioBackend::default();
    let started = std::thread::spawn(move || {
        refuse_io_uring();
        backend.run(|| async {})
    });
    let started = started.join().unwrap();
    assert!(matches!(started, Err(StartError::IoUringRefused { .. })), "{started:?}");
}

#[test]
fn a_users_runtime_without_a_ring_is_refused() {
    let mut proactor = Proactor::builder();
    proactor.driver_type(DriverType::Poll);
    let own = Runtime::builder().with_proactor(proactor).build().unwrap();
    let backend = CompioBackend::default();
    let opened = own.block_on(async { backend.open(&program(), &OpenOptions::default()).await.map(drop) });
    let Err(error @ OpenError::Unsupported { .. }) = opened else { panic!("{opened:?}") };
    assert!(error.to_string().contains("DriverType::IoUring"), "{error}");
}

#[test]
fn nothing_is_read_for_a_task_once_main_has_ended() {
    if !starts() {
        return;
    }
    let meter = Meter::new();
    CompioBackend::default().run(|| start_reading(&meter)).unwrap();
    let counters = meter.counters();
    assert!(counters.completed > 0, "{counters:?}");
    assert_eq!((counters.in_flight, counters.abandoned), (0, 0), "{counters:?}");
}

#[test]
fn a_users_runtime_may_end_while_a_task_reads() {
    if !starts() {
        return;
    }
    let meter = Meter::new();
    let own = Runtime::new().unwrap();
    own.block_on(start_reading(&meter));
    assert!(meter.counters().in_flight > 0);
    drop(own);
    assert_eq!(meter.counters().in_flight, 0);
    assert!(meter.counters().abandoned > 0);
}

#[test]
fn tasks_are_dropped_also_after_a_panic_of_main() {
    if !starts() {
        return;
    }
    let held = Arc::new(());
    let in_task = Arc::clone(&held);
    let main = || async {
        compio_runtime::spawn(async move {
            let _in_task = in_task;
            pending::<()>().await;
        })
        .detach();
        panic!("a test of a panic");
    };
    let ended = catch_unwind(AssertUnwindSafe(|| CompioBackend::default().run::<_, _>(main)));
    assert!(ended.is_err());
    assert_eq!(Arc::strong_count(&held), 1);
}
