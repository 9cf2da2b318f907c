//! Cases with faults of the device, for backends made of a page source.

use super::Faults;
use super::battery::{Case, FILE_LEN, Subject};
use super::cases::{check_bytes, read_and_check};
use crate::backend::{PageSink, PageSource, PagedReader, PagedWriter, Permit};
use crate::{
    BackendFactory, BatchEnd, Lane, Metered, OpenOptions, ReadControl, ReadError, ReadRequest, StopFlag,
    VectorReader,
};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

pub(super) fn fault_cases<B, S, K>() -> Vec<Case<B>>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    vec![
        ("03 short reads are re-issued and never seen", short_reads),
        ("03 interrupted reads are retried", interrupted),
        ("03 a file truncated after opening is an error, not a short slice", truncated),
        ("06 the first error wins, wherever it strikes", first_error_wins),
        ("06 a read that fails after the batch was broken off changes nothing", error_after_the_end),
        ("07 a raised stop flag wakes a batch that waits for its turn", stop_wakes),
        ("08 reads of a dropped batch hold their share until they end", dropped_reads_hold_their_share),
        ("09 in flight never exceeds the depth and the byte budget", within_limits),
        ("09 a budget of one read still serves everything", smallest_budget),
    ]
}

fn requests(seed: u64, count: usize, len_max: u32) -> Vec<ReadRequest> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|_| {
            let len = random.u32(1..=len_max);
            ReadRequest::new(random.u64(..=FILE_LEN - u64::from(len)), len)
        })
        .collect()
}

fn short_reads<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    for seed in 0..6 {
        let faulty = subject.faulty(Faults { seed, short: 0.5, delay: 0.3, ..Faults::default() });
        faulty.run(|| async {
            let reader = faulty.open().await;
            let mut requests = requests(seed, 100, 9000);
            requests.push(ReadRequest::new(1000, 700_000));
            requests.push(ReadRequest::new(FILE_LEN - 3, 3));
            read_and_check(&reader, &requests).await.expect("short reads are no error");
        });
        assert!(faulty.backend.log().faults() > 0, "the case injected nothing");
    }
}

fn interrupted<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let faulty =
        subject.faulty(Faults { seed: 1, interrupted: 0.4, short: 0.2, delay: 0.3, ..Faults::default() });
    faulty.run(|| async {
        let reader = Metered::new(faulty.open().await);
        read_and_check(&reader, &requests(2, 200, 5000)).await.expect("EINTR is no error");
        let counters = reader.meter().counters();
        assert!(counters.failed > 0, "the case injected nothing");
        assert_eq!(counters.started, counters.completed + counters.failed);
    });
}

/// Notes that it was called.
#[derive(Default)]
struct Called(AtomicBool);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn stop_wakes<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options.queue_depth = 1;
    subject.run(|| async {
        let reader = subject.open().await;
        let only_place = take_place(&reader).await;
        let (requests, stop) = ([ReadRequest::new(0, 100)], StopFlag::new());
        let control = ReadControl::new().with_stop(stop.clone());
        let mut reading = Box::pin(reader.read_vectors(&requests, &control, |_, _| panic!("delivered")));
        let called = Arc::<Called>::default();
        let waker = Waker::from(Arc::clone(&called));
        assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        stop.stop();
        assert!(called.0.load(Ordering::SeqCst), "nothing woke the batch");
        let Poll::Ready(outcome) = reading.as_mut().poll(&mut Context::from_waker(&waker)) else {
            panic!("a stopped batch waits for nothing if it has nothing in flight")
        };
        let outcome = outcome.expect("stopping is no error");
        assert_eq!((outcome.delivered, outcome.end), (0, BatchEnd::Stopped));
        drop((reading, only_place));
        read_and_check(&reader, &requests).await.expect("the reader goes on");
    });
}

/// Takes a place on the device, as a read in flight does.
pub(super) async fn take_place<S: PageSource>(reader: &PagedReader<S>) -> Permit {
    let mut waiter = reader.gate().waiter();
    poll_fn(|cx| waiter.poll_acquire(1, Lane::Foreground, cx)).await
}

fn error_after_the_end<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut broken_off = 0;
    for seed in 0..8 {
        let faulty = subject.faulty(Faults { seed, io_error_at: Some(20), delay: 0.7, ..Faults::default() });
        faulty.run(|| async {
            let reader = faulty.open().await;
            // Far apart, and all of them in flight at once.
            let requests: Vec<_> = (0..30).map(|at| ReadRequest::new(at * 100_000, 100)).collect();
            let read =
                reader.read_vectors(&requests, &ReadControl::default(), |_, _| ControlFlow::Break(())).await;
            match read {
                Ok(outcome) => {
                    assert_eq!((outcome.delivered, outcome.end), (1, BatchEnd::Stopped));
                    broken_off += 1;
                }
                // The read that fails was the first to end.
                Err(error) => assert_eq!(error.delivered(), 0),
            }
        });
        assert_eq!(faulty.backend.log().faults(), 1, "the case injected nothing");
    }
    assert!(broken_off > 0, "the read that fails was always the first to end");
}

fn truncated<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    if subject.backend.name() == "memory" {
        // Its files are in its own memory, so no other process can truncate them.
        return;
    }
    let path = subject.new_path();
    std::fs::copy(subject.file(), &path).expect("a copy");
    subject.run(|| async {
        let reader = subject.backend.open(&path, &subject.options).await.expect("opens");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens for writing");
        file.set_len(1_000_000).expect("truncates");
        let requests =
            [ReadRequest::new(0, 100), ReadRequest::new(999_900, 200), ReadRequest::new(2_000_000, 5)];
        let mut delivered = 0;
        let error = reader
            .read_vectors(&requests, &ReadControl::default(), |index, bytes| {
                check_bytes(requests[index], bytes);
                delivered += 1;
                ControlFlow::Continue(())
            })
            .await
            .expect_err("the bytes are gone");
        let ReadError::Truncated { index, .. } = error else { panic!("{error:?}") };
        assert!(index == 1 || index == 2, "request 0 is still there");
        assert!(delivered <= 1);
        assert_eq!(error.delivered(), delivered);
        read_and_check(&reader, &[ReadRequest::new(0, 4096)]).await.expect("the reader goes on");
    });
}

fn first_error_wins<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    const EIO: i32 = 5;
    for (at, queue_depth) in [(0, 32), (1, 32), (17, 32), (60, 32), (17, 1)] {
        let mut subject = subject.clone();
        subject.options.queue_depth = queue_depth;
        let faulty =
            subject.faulty(Faults { seed: at, io_error_at: Some(at), delay: 0.5, ..Faults::default() });
        faulty.run(|| async {
            let reader = Metered::new(faulty.open().await);
            // The requests are too far apart to merge, so the reads are numbered by offset.
            let requests: Vec<_> = (0..100).map(|i| ReadRequest::new(i * 30_000, 100)).collect();
            let mut delivered = 0;
            let error = reader
                .read_vectors(&requests, &ReadControl::default(), |index, bytes| {
                    assert_ne!(index as u64, at, "a failed read was delivered");
                    check_bytes(requests[index], bytes);
                    delivered += 1;
                    ControlFlow::Continue(())
                })
                .await
                .expect_err("the injected error");
            assert_eq!(error.raw_os_error(), Some(EIO), "{error:?}");
            assert_eq!(error.delivered(), delivered);
            assert!(error.to_string().contains("pattern"), "{error}");
            let ReadError::Io { index, offset, len, .. } = error else { panic!("{error:?}") };
            assert_eq!((index as u64, offset, len), (at, at * 30_000, 100));
            let counters = reader.meter().counters();
            assert_eq!((counters.in_flight, counters.failed), (0, 1), "not drained");
            if queue_depth == 1 {
                assert_eq!(counters.started, at + 1, "submitted after the error");
            }
            read_and_check(&reader, &requests).await.expect("the reader goes on");
        });
    }
}

fn dropped_reads_hold_their_share<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options.queue_depth = 4;
    let faulty = subject.faulty(Faults { seed: 3, delay: 1.0, ..Faults::default() });
    faulty.run(|| async {
        let reader = faulty.open().await;
        for seed in 0..10 {
            let abandoned = requests(seed, 50, 5000);
            let control = ReadControl::default();
            let reading = reader.read_vectors(&abandoned, &control, |_, _| ControlFlow::Continue(()));
            let mut reading = Box::pin(reading);
            poll_fn(|cx| {
                let _ = reading.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            drop(reading);
            read_and_check(&reader, &requests(seed + 50, 20, 5000)).await.expect("a good batch");
        }
        reader.close().await.expect("closes");
    });
    let log = faulty.backend.log();
    assert_eq!((log.in_flight(), log.in_flight_max()), (0, 4), "in flight now, and at most");
}

fn within_limits<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let limits = [(1, 1 << 20), (3, 1 << 20), (32, 40_000), (7, 16 << 10)];
    for (queue_depth, bytes_in_flight_max) in limits {
        let mut subject = subject.clone();
        subject.options =
            OpenOptions { queue_depth, bytes_in_flight_max, read_size_max: 16 << 10, ..subject.options };
        let faulty = subject.faulty(Faults { seed: 4, delay: 0.8, short: 0.1, ..Faults::default() });
        faulty.run(|| async {
            let reader = faulty.open().await;
            let batches: Vec<_> = (0..4).map(|seed| requests(seed, 60, 12_000)).collect();
            let mut running: Vec<_> =
                batches.iter().map(|batch| Box::pin(read_and_check(&reader, batch))).collect();
            poll_fn(|cx| {
                running.retain_mut(|batch| match batch.as_mut().poll(cx) {
                    Poll::Ready(result) => result.map(|_| false).expect("a good batch"),
                    Poll::Pending => true,
                });
                if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
        let log = faulty.backend.log();
        assert!(log.in_flight_max() <= u64::from(queue_depth), "{log:?} with depth {queue_depth}");
        assert!(log.bytes_in_flight_max() <= bytes_in_flight_max, "{log:?} with {bytes_in_flight_max} bytes");
        // The limits are used too: the one that binds is nearly reached.
        let depth_reached = log.in_flight_max() == u64::from(queue_depth);
        let budget_reached = log.bytes_in_flight_max() + (16 << 10) > bytes_in_flight_max;
        assert!(depth_reached || budget_reached, "{log:?} within {queue_depth} and {bytes_in_flight_max}");
    }
}

fn smallest_budget<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options = OpenOptions {
        queue_depth: 1,
        bytes_in_flight_max: 4096,
        read_size_max: 4096,
        gap_max: 0,
        ..subject.options
    };
    subject.run(|| async {
        let reader = subject.open().await;
        let mut requests = requests(5, 60, 3000);
        requests.push(ReadRequest::new(12_345, 100_000));
        read_and_check(&reader, &requests).await.expect("a good batch");
    });
}
