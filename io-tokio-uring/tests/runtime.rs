//! What is this runtime's own: starting, nesting, the user's own runtime, wakes from other threads, a hasty end.

use io_core::{BackendFactory, OpenError, OpenOptions, ReadControl, ReadRequest, StartError, VectorReader};
use io_tokio_uring::TokioUringBackend;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A file of 4 MiB whose bytes tell their offset.
fn file(dir: &Path) -> PathBuf {
    let path = dir.join("pattern");
    let bytes: Vec<u8> = (0..(4u32 << 20) / 4).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, bytes).expect("a file to read");
    path
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn requests() -> Vec<ReadRequest> {
    (0..256).map(|i| ReadRequest::new(i * 16_384, 4096)).collect()
}

async fn read_and_check(reader: &impl VectorReader) {
    let requests = requests();
    let outcome = reader
        .read_vectors(&requests, &ReadControl::default(), |index, bytes| {
            assert_eq!(bytes[..4], (requests[index].offset as u32 / 4).to_le_bytes());
            ControlFlow::Continue(())
        })
        .await
        .expect("reads");
    assert_eq!(outcome.delivered, 256);
}

/// Polls a batch once, so that its reads are in flight, and drops it.
async fn drop_in_flight(reader: &impl VectorReader) {
    let (requests, control) = (requests(), ReadControl::default());
    let mut reading = Box::pin(reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())));
    std::future::poll_fn(|cx| {
        let _ = reading.as_mut().poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
}

/// Runs a future as a user does who starts this runtime himself.
fn run_in_own_runtime(main: impl Future<Output = ()>) {
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).expect("starts");
    runtime.block_on(main);
}

#[test]
fn an_executor_within_an_executor_is_refused() {
    let backend = TokioUringBackend::default();
    let inner = backend.run(|| async { backend.run(|| async {}) }).expect("the outer one starts");
    assert!(matches!(inner, Err(StartError::Nested { .. })), "{inner:?}");
    backend.run(|| async {}).expect("one after the other is fine");
}

#[test]
fn outside_of_its_executor_opening_is_refused() {
    let dir = tempdir();
    let path = file(dir.path());
    let backend = TokioUringBackend::default();
    let mmap = io_core::testing::MemoryBackend::new(1);
    let options = OpenOptions::default();
    let opened = mmap.run(|| async { backend.open(&path, &options).await.map(drop) }).expect("starts");
    let Err(error @ OpenError::WrongExecutor { .. }) = opened else { panic!("{opened:?}") };
    assert!(error.to_string().contains("TokioUringBackend::run"), "{error}");
}

#[test]
fn the_users_own_runtime_will_do() {
    let dir = tempdir();
    let path = file(dir.path());
    run_in_own_runtime(async {
        for options in [OpenOptions::default(), OpenOptions::direct()] {
            match TokioUringBackend::default().open(&path, &options).await {
                Ok(reader) => {
                    read_and_check(&reader).await;
                    reader.close().await.expect("closes");
                }
                Err(error) => assert!(matches!(error, OpenError::DirectRefused { .. }), "{error}"),
            }
        }
    });
}

#[test]
fn the_users_own_runtime_may_end_with_reads_in_flight() {
    let dir = tempdir();
    let path = file(dir.path());
    for direct in [false, true] {
        let options = OpenOptions { direct, queue_depth: 128, ..OpenOptions::default() };
        run_in_own_runtime(async {
            match TokioUringBackend::default().open(&path, &options).await {
                // Neither closed nor drained: what the kernel still writes to must not be used again.
                Ok(reader) => drop_in_flight(&reader).await,
                Err(error) => assert!(matches!(error, OpenError::DirectRefused { .. }), "{error}"),
            }
        });
        // Memory that a late read would land in, if its buffer had been freed.
        let fresh: Vec<Vec<u8>> = (0..256).map(|_| vec![0xA5; 4096]).collect();
        TokioUringBackend::default()
            .run(|| async {
                let reader =
                    TokioUringBackend::default().open(&path, &OpenOptions::default()).await.expect("opens");
                read_and_check(&reader).await;
            })
            .expect("starts");
        assert!(fresh.iter().flatten().all(|&byte| byte == 0xA5), "a late read hit memory in use");
    }
}

#[test]
fn wakes_from_other_threads_arrive() {
    let (sender, receiver) = async_channel::unbounded();
    let thread = std::thread::spawn(move || {
        let backend = TokioUringBackend::default();
        backend.run(|| async {
            let mut sum = 0u32;
            while let Ok(number) = receiver.recv().await {
                sum += number;
            }
            sum
        })
    });
    for number in 1..=1000 {
        sender.send_blocking(number).expect("received");
    }
    drop(sender);
    assert_eq!(thread.join().expect("no panic").expect("starts"), 500_500);
}
