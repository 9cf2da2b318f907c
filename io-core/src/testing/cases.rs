//! The promises that every reader keeps. A case has the number of its promise in the crate's documentation.
//!
//! Intended panics use `resume_unwind`, which prints nothing.

use super::battery::{Case, FILE_LEN, Subject, byte_at};
use crate::{
    BackendFactory, BatchEnd, IoMode, Metered, OpenError, OpenOptions, PlanError, ReadControl, ReadError,
    ReadOutcome, ReadRequest, StopFlag, VectorReader, with_causes,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

pub(super) fn reader_cases<B: BackendFactory>() -> Vec<Case<B>> {
    vec![
        ("01 every request is delivered exactly once, with its bytes", exactly_once),
        ("01 concurrent batches of one reader each get their own", concurrent_batches),
        ("02 a request longer than any physical read is delivered whole", long_requests),
        ("02 bytes may lie anywhere, up to the last of the file", edges_of_the_file),
        ("03 past the end is an error that names the request, before any delivery", past_the_end),
        ("04 zero-length requests deliver an empty slice, an empty batch is ok", nothing_to_read),
        ("05 the sink runs only while the future is polled", only_while_polled),
        ("07 a raised stop flag delivers nothing and is no error", stopped_before),
        ("07 a flag raised in the sink ends the batch with what was delivered", stopped_within),
        ("07 a sink that breaks ends the batch with what was delivered", broken_off),
        ("08 a future dropped after any number of polls leaves the reader usable", dropped),
        ("08 a panic in the sink leaves the reader usable", panicked),
        ("08 leaving the executor with dropped reads in flight is safe", left_in_flight),
        ("08 a panic of the main future goes on after reads in flight have ended", main_panics),
        ("10 counters hold their identity at every moment", counter_identity),
        ("10 counters tell bytes wanted, duplicates and deliveries", counters_tell),
        ("11 after close, reads fail and closing again is allowed", closed),
        ("11 close waits for dropped batches", close_drains),
        ("12 the reader says what it really uses", says_what_it_uses),
        ("12 what cannot be opened is named", cannot_open),
        ("12 what is no regular file is refused", no_file),
        ("12 contradicting options are refused", bad_options),
        ("12 populate and every access pattern open", opening_hints),
    ]
}

/// Requests of mixed lengths all over the file, some of them twice.
pub(super) fn scattered(seed: u64, count: usize) -> Vec<ReadRequest> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut requests: Vec<ReadRequest> = Vec::with_capacity(count);
    for _ in 0..count {
        let request = match requests.last() {
            Some(_) if random.u8(..) < 25 => requests[random.usize(..requests.len())],
            // A neighbour, so that there is something to merge.
            Some(last) if random.u8(..) < 50 => {
                let offset = (last.offset + u64::from(last.len) + random.u64(..100)).min(FILE_LEN - 3000);
                ReadRequest::new(offset, random.u32(1..3000))
            }
            _ => {
                let len = *random.choice(&[1, 400, 3072, 4096, 10_000]).expect("not empty");
                ReadRequest::new(random.u64(..=FILE_LEN - u64::from(len)), len)
            }
        };
        requests.push(request);
    }
    requests
}

/// Fails unless `bytes` are the file's at the request.
pub(super) fn check_bytes(request: ReadRequest, bytes: &[u8]) {
    assert_eq!(bytes.len(), request.len as usize, "{request:?}: wrong length");
    for (at, &byte) in bytes.iter().enumerate() {
        assert_eq!(byte, byte_at(request.offset + at as u64), "{request:?}: wrong byte at {at}");
    }
}

/// Reads a batch to its end and checks that each request was delivered once, with its bytes.
pub(super) async fn read_and_check<R: VectorReader>(
    reader: &R,
    requests: &[ReadRequest],
) -> Result<ReadOutcome, ReadError> {
    let mut seen = vec![0; requests.len()];
    let outcome = reader
        .read_vectors(requests, &ReadControl::default(), |index, bytes| {
            seen[index] += 1;
            check_bytes(requests[index], bytes);
            ControlFlow::Continue(())
        })
        .await?;
    assert!(seen.iter().all(|&times| times == 1), "deliveries of each request: {seen:?}");
    assert_eq!((outcome.delivered, outcome.end), (requests.len(), BatchEnd::Complete));
    Ok(outcome)
}

/// Polls `future` up to `polls` times, with turns of the executor in between. Returns its output if it ended.
async fn poll_times<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                // It wakes itself at once. So the next poll may find the reader in any state.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

fn exactly_once<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        for seed in 0..20 {
            let requests = scattered(seed, 1 + seed as usize * 13);
            read_and_check(&reader, &requests).await.expect("a good batch");
        }
    });
}

fn concurrent_batches<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let batches: Vec<_> = (0..8).map(|seed| scattered(100 + seed, 60)).collect();
        let mut running: Vec<_> =
            batches.iter().map(|requests| Box::pin(read_and_check(&reader, requests))).collect();
        poll_fn(|cx| {
            running.retain_mut(|batch| match batch.as_mut().poll(cx) {
                Poll::Ready(result) => result.map(|_| false).expect("a good batch"),
                Poll::Pending => true,
            });
            if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}

fn long_requests<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let all = ReadRequest::new(0, FILE_LEN as u32);
        let most = ReadRequest::new(777, (2 << 20) + 5);
        let requests = [most, all, ReadRequest::new(1 << 20, 4096), most, ReadRequest::new(5, 0)];
        read_and_check(&reader, &requests).await.expect("a good batch");
    });
}

fn edges_of_the_file<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        assert_eq!(reader.file().len, FILE_LEN);
        for len in [1, 511, 512, 4096, 5000] {
            let requests = [ReadRequest::new(0, len), ReadRequest::new(FILE_LEN - u64::from(len), len)];
            read_and_check(&reader, &requests).await.expect("a good batch");
        }
    });
}

fn past_the_end<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let past =
            [(FILE_LEN - 10, 11), (FILE_LEN, 1), (FILE_LEN + 1, 0), (u64::MAX, 1), (u64::MAX, u32::MAX)];
        for (offset, len) in past {
            let requests = [ReadRequest::new(0, 10), ReadRequest::new(offset, len)];
            let mut delivered = 0;
            let error = reader
                .read_vectors(&requests, &ReadControl::default(), |_, _| {
                    delivered += 1;
                    ControlFlow::Continue(())
                })
                .await
                .expect_err("past the end");
            assert_eq!((delivered, error.delivered()), (0, 0));
            let text = with_causes(&error).to_string();
            assert!(text.contains("pattern") && text.contains(&offset.to_string()), "{text}");
            let ReadError::Plan { source, .. } = error else { panic!("{error:?}") };
            assert_eq!(source, PlanError::PastEnd { index: 1, offset, len, file_len: FILE_LEN });
        }
        read_and_check(&reader, &[ReadRequest::new(0, 10)]).await.expect("the reader goes on");
    });
}

fn nothing_to_read<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        read_and_check(&reader, &[]).await.expect("an empty batch");
        let empty = [ReadRequest::new(0, 0), ReadRequest::new(1234, 0), ReadRequest::new(FILE_LEN, 0)];
        let outcome = read_and_check(&reader, &empty).await.expect("empty requests");
        assert_eq!(outcome.stats.bytes_read, 0);
        assert_eq!(reader.meter().counters().bytes_read, 0);
    });
}

fn only_while_polled<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let requests = scattered(7, 200);
        let polling = Cell::new(false);
        let in_sink = Cell::new(false);
        let control = ReadControl::default();
        let mut reading = pin!(reader.read_vectors(&requests, &control, |_, _| {
            assert!(polling.get(), "the sink ran outside a poll");
            assert!(!in_sink.replace(true), "the sink ran within itself");
            in_sink.set(false);
            ControlFlow::Continue(())
        }));
        let outcome = poll_fn(|cx| {
            polling.set(true);
            let polled = reading.as_mut().poll(cx);
            polling.set(false);
            polled
        })
        .await;
        assert_eq!(outcome.expect("a good batch").delivered, requests.len());
    });
}

fn stopped_before<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        let stop = StopFlag::new();
        stop.stop();
        let requests = [ReadRequest::new(5, 0), ReadRequest::new(0, 100), ReadRequest::new(9000, 10)];
        let outcome = reader
            .read_vectors(&requests, &ReadControl::new().with_stop(stop), |_, _| {
                panic!("delivered after a stop")
            })
            .await
            .expect("stopping is no error");
        assert_eq!((outcome.delivered, outcome.end), (0, BatchEnd::Stopped));
        assert_eq!(reader.meter().counters().started, 0, "submitted after a stop");
    });
}

fn stopped_within<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let requests = scattered(8, 300);
        for stop_after in [1, 2, 50, 299] {
            let stop = StopFlag::new();
            let mut delivered = 0;
            let outcome = reader
                .read_vectors(&requests, &ReadControl::new().with_stop(stop.clone()), |index, bytes| {
                    check_bytes(requests[index], bytes);
                    delivered += 1;
                    if delivered == stop_after {
                        stop.stop();
                    }
                    ControlFlow::Continue(())
                })
                .await
                .expect("stopping is no error");
            assert_eq!(
                (delivered, outcome.delivered, outcome.end),
                (stop_after, stop_after, BatchEnd::Stopped)
            );
        }
        read_and_check(&reader, &requests).await.expect("the reader goes on");
    });
}

fn broken_off<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut requests = scattered(9, 300);
        requests.push(ReadRequest::new(0, 0));
        for break_after in [1, 2, 50, 300] {
            let mut delivered = 0;
            let outcome = reader
                .read_vectors(&requests, &ReadControl::default(), |index, bytes| {
                    check_bytes(requests[index], bytes);
                    delivered += 1;
                    if delivered == break_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .await
                .expect("breaking off is no error");
            assert_eq!(
                (delivered, outcome.delivered, outcome.end),
                (break_after, break_after, BatchEnd::Stopped)
            );
        }
        read_and_check(&reader, &requests).await.expect("the reader goes on");
    });
}

fn dropped<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let requests = scattered(10, 200);
        for polls in (0..20).chain([50, 100]) {
            let ended = Rc::new(Cell::new(false));
            let seen = RefCell::new(vec![false; requests.len()]);
            let control = ReadControl::default();
            let reading = reader.read_vectors(&requests, &control, |index, bytes| {
                assert!(!ended.get(), "delivered after the drop");
                check_bytes(requests[index], bytes);
                assert!(!seen.borrow_mut()[index], "delivered twice");
                seen.borrow_mut()[index] = true;
                ControlFlow::Continue(())
            });
            let _ = poll_times(reading, polls).await;
            ended.set(true);
            // Reads of the dropped batch may still be in flight. Other batches get their own bytes.
            read_and_check(&reader, &scattered(11, 20)).await.expect("the reader goes on");
        }
        reader.close().await.expect("closes");
    });
}

/// A batch whose sink panics at its fifth delivery.
async fn panicking_batch<R: VectorReader>(reader: &R, requests: &[ReadRequest]) {
    let mut delivered = 0;
    let control = ReadControl::default();
    let mut reading = Box::pin(reader.read_vectors(requests, &control, |_, _| {
        delivered += 1;
        if delivered == 5 {
            std::panic::resume_unwind(Box::new("the sink's own panic"));
        }
        ControlFlow::Continue(())
    }));
    let panic = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| reading.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(_)) => panic!("the batch ended without the panic"),
        Err(panic) => Poll::Ready(panic),
    })
    .await;
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the sink's own panic"));
}

fn panicked<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        panicking_batch(&reader, &scattered(12, 200)).await;
        read_and_check(&reader, &scattered(13, 50)).await.expect("the reader goes on");
        reader.close().await.expect("closes");
        let counters = reader.meter().counters();
        assert_eq!(counters.in_flight, 0);
        assert_eq!(counters.started, counters.completed + counters.abandoned);
    });
}

fn left_in_flight<B: BackendFactory>(subject: &Subject<B>) {
    for polls in 1..4 {
        let reader = subject.run(|| async {
            let reader = Metered::new(subject.open().await);
            let requests = scattered(14, 300);
            let control = ReadControl::default();
            let reading = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(()));
            let _ = poll_times(reading, polls).await;
            reader
        });
        let counters = reader.meter().counters();
        assert_eq!(counters.in_flight, 0, "the executor was left with reads in flight");
        assert_eq!(counters.started, counters.completed + counters.abandoned);
    }
}

fn main_panics<B: BackendFactory>(subject: &Subject<B>) {
    let meter = crate::Meter::new();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        subject.run(|| async {
            let reader = Metered::with_meter(subject.open().await, meter.clone());
            let requests = scattered(15, 300);
            let control = ReadControl::default();
            let reading = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(()));
            let _ = poll_times(reading, 1).await;
            std::panic::resume_unwind(Box::new("main's own panic"));
        });
    }));
    let panic = ran.expect_err("the panic goes on");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"main's own panic"));
    assert_eq!(meter.counters().in_flight, 0, "the executor was left with reads in flight");
    // The thread can start another executor.
    subject.run(|| async {
        read_and_check(&subject.open().await, &scattered(16, 20)).await.expect("a good batch");
    });
}

fn counter_identity<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        let check = || {
            let now = reader.meter().counters();
            assert_eq!(now.started, now.completed + now.failed + now.abandoned + now.in_flight, "{now:?}");
        };
        let requests = scattered(17, 200);
        for polls in [1, 2, 5, 10_000] {
            let control = ReadControl::default();
            let reading = reader.read_vectors(&requests, &control, |_, _| {
                check();
                ControlFlow::Continue(())
            });
            let _ = poll_times(reading, polls).await;
            check();
        }
        reader.close().await.expect("closes");
        check();
        assert_eq!(reader.meter().counters().in_flight, 0);
    });
}

fn counters_tell<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        let requests = [
            ReadRequest::new(8192, 4096),
            ReadRequest::new(8192, 4096),
            ReadRequest::new(2 << 20, 100),
            ReadRequest::new(5, 0),
        ];
        let outcome = read_and_check(&reader, &requests).await.expect("a good batch");
        let counters = reader.meter().counters();
        assert_eq!((counters.batches, counters.delivered), (1, 4));
        assert_eq!((counters.bytes_wanted, outcome.stats.bytes_wanted), (8292, 8292));
        assert_eq!((counters.failed, counters.abandoned, counters.in_flight), (0, 0, 0));
        assert_eq!(outcome.stats.reads, counters.completed);
        assert_eq!(outcome.stats.bytes_read, counters.bytes_read);
        // A map gives each request a slice of its own.
        if !reader.info().kernel_features.contains(&"mmap") {
            assert_eq!((counters.duplicates, counters.started), (1, 2));
            assert!(counters.bytes_read >= 4196 && counters.bytes_read <= 4096 + 4096, "{counters:?}");
        }
    });
}

fn closed<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        read_and_check(&reader, &scattered(18, 20)).await.expect("a good batch");
        reader.close().await.expect("closes");
        reader.close().await.expect("closes again");
        let refused = reader
            .read_vectors(&[ReadRequest::new(0, 1)], &ReadControl::default(), |_, _| panic!("delivered"))
            .await;
        assert!(matches!(refused, Err(ReadError::Closed { .. })), "{refused:?}");
    });
}

fn close_drains<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        let requests = scattered(19, 300);
        let control = ReadControl::default();
        let reading = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(()));
        let _ = poll_times(reading, 1).await;
        reader.close().await.expect("closes");
        assert_eq!(reader.meter().counters().in_flight, 0);
    });
}

fn says_what_it_uses<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let info = reader.info();
        assert_eq!(info.backend, subject.backend.name());
        assert!(!info.runtime.is_empty());
        assert_eq!(info.io_mode == IoMode::Direct, subject.options.direct, "{info}");
        assert_eq!(info.geometry.check(), Ok(()));
        assert!(info.geometry.read_size_max <= subject.options.read_size_max);
        assert!(info.queue_depth <= subject.options.queue_depth);
        assert!(info.bytes_in_flight_max <= subject.options.bytes_in_flight_max);
        if info.io_mode == IoMode::Direct {
            assert!(info.geometry.offset_align >= 512, "{info}");
        }
        assert!(info.to_string().contains(info.backend));
    });
}

fn cannot_open<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let missing = subject.new_path();
        let error = subject.backend.open(&missing, &subject.options).await.map(drop).expect_err("missing");
        assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
        let OpenError::Io { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);

        let directory = subject.new_path();
        std::fs::create_dir(&directory).expect("a directory");
        let error =
            subject.backend.open(&directory, &subject.options).await.map(drop).expect_err("a directory");
        let text = error.to_string();
        assert!(text.contains(&directory.display().to_string()), "{text}");
    });
}

/// Something else stands in a file's place. A backend neither follows it nor waits for it.
#[cfg(target_os = "linux")]
fn no_file<B: BackendFactory>(subject: &Subject<B>) {
    use rustix::fs::{CWD, Mode, mkfifoat};
    subject.run(|| async {
        let (link, pipe) = (subject.new_path(), subject.new_path());
        std::os::unix::fs::symlink(subject.file(), &link).expect("a link");
        mkfifoat(CWD, &pipe, Mode::RWXU).expect("a pipe");
        // Both ends are open. So a backend that opens the pipe fails the case instead of hanging.
        let _ends = std::fs::File::options().read(true).write(true).open(&pipe).expect("opens");
        for (path, is) in [(&link, "a symbolic link"), (&pipe, "a pipe")] {
            let error = subject.backend.open(path, &subject.options).await.map(drop).expect_err(is);
            let OpenError::NotAFile { path: named, found } = error else { panic!("{error:?}") };
            assert_eq!((&named, found), (path, is));
        }
    });
}

#[cfg(not(target_os = "linux"))]
fn no_file<B: BackendFactory>(_subject: &Subject<B>) {}

fn bad_options<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let good = &subject.options;
        for bad in [
            OpenOptions { queue_depth: 0, ..good.clone() },
            OpenOptions { read_size_max: 1000, ..good.clone() },
            OpenOptions { read_size_max: 0, ..good.clone() },
            OpenOptions { bytes_in_flight_max: 4096, read_size_max: 8192, ..good.clone() },
        ] {
            let refused = subject.backend.open(&subject.file(), &bad).await.map(drop);
            assert!(matches!(refused, Err(OpenError::BadOptions(_))), "{bad:?}: {refused:?}");
        }
    });
}

fn opening_hints<B: BackendFactory>(subject: &Subject<B>) {
    use crate::AccessPattern::{Normal, Random, Sequential};
    subject.run(|| async {
        for access in [Normal, Random, Sequential] {
            let options =
                OpenOptions { access, populate: !subject.options.direct, ..subject.options.clone() };
            let reader = subject.backend.open(&subject.file(), &options).await.expect("opens");
            read_and_check(&reader, &scattered(20, 20)).await.expect("a good batch");
            reader.close().await.expect("closes");
        }
    });
}
