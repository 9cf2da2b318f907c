//! Deadlines, lanes of requests, and reads beside writes of their file.

use super::Faults;
use super::battery::{Case, FILE_LEN, Subject};
use super::cases::{check_bytes, read_and_check, scattered};
use super::fault_cases::take_place;
use crate::backend::{PageSink, PageSource, PagedReader, PagedWriter};
use crate::{
    BackendFactory, BatchEnd, Completion, FileSession, FileSystem, PageWrite, PageWriter, ReadControl,
    ReadError, ReadRequest, ReadTerms, VectorReader,
};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::task::Poll;
use std::time::{Duration, Instant};

pub(super) fn terms_cases<B: BackendFactory>() -> Vec<Case<B>> {
    vec![
        ("07 after its deadline a batch delivers nothing", batch_after_its_deadline),
        ("07 a deadline that passes in the sink ends the batch", deadline_in_the_sink),
        ("13 a read after its deadline is an error of that read alone", read_after_its_deadline),
        ("13 the deadline of a session holds for each of its reads", session_after_its_deadline),
        ("13 a read whose deadline is far completes", deadline_far_away),
        ("13 reads in both lanes complete", both_lanes),
    ]
}

pub(super) fn terms_fault_cases<B, S, K>() -> Vec<Case<B>>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    vec![
        ("07 a deadline ends a batch that waits for its turn", deadline_while_waiting),
        ("13 a deadline ends a read that waits for its turn", read_deadline_while_waiting),
        ("13 a deadline ends a read in flight, which is drained", deadline_in_flight),
        ("13 the foreground of a session goes before its background", foreground_first),
        ("13 a foreground request takes the background read that covers it along", foreground_takes_along),
        ("13 a read that began before a write serves no request after it", no_stale_bytes),
    ]
}

/// A time that has passed.
fn past() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_millis(1)).unwrap_or(now)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

fn batch_after_its_deadline<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut requests = scattered(40, 50);
        requests.push(ReadRequest::new(0, 0));
        let control = ReadControl::new().with_deadline(past());
        let outcome = reader.read_vectors(&requests, &control, |_, _| panic!("delivered after the deadline"));
        let outcome = outcome.await.expect("a deadline is no error");
        assert_eq!((outcome.delivered, outcome.end), (0, BatchEnd::Deadline));
        read_and_check(&reader, &requests).await.expect("the reader goes on");
    });
}

fn deadline_in_the_sink<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let requests = scattered(41, 50);
        let deadline = soon();
        let control = ReadControl::new().with_deadline(deadline);
        let mut delivered = 0;
        let outcome = reader.read_vectors(&requests, &control, |index, bytes| {
            check_bytes(requests[index], bytes);
            delivered += 1;
            while Instant::now() < deadline {
                std::hint::spin_loop();
            }
            ControlFlow::Continue(())
        });
        let outcome = outcome.await.expect("a deadline is no error");
        assert_eq!((outcome.delivered, outcome.end), (delivered, BatchEnd::Deadline));
        assert!(delivered <= 1, "{delivered} were delivered, all but the first after the deadline");
    });
}

fn assert_late(completion: &Completion, request: ReadRequest) {
    let Err(ReadError::Deadline { index, offset, len, .. }) = &completion.bytes else {
        panic!("expected the error of a deadline, got {completion:?}")
    };
    assert_eq!((*index as u64, *offset, *len), (completion.tag, request.offset, request.len));
}

fn read_after_its_deadline<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::new());
        let requests = scattered(42, 40);
        for (tag, &request) in (0..).zip(&requests) {
            let terms = ReadTerms::new();
            session.submit_with(tag, request, if tag % 3 == 0 { terms.with_deadline(past()) } else { terms });
        }
        let mut completed = 0;
        while let Some(completion) = session.next().await {
            completed += 1;
            let request = requests[completion.tag as usize];
            if completion.tag % 3 == 0 && request.len > 0 {
                assert_late(&completion, request);
            } else {
                check_bytes(request, &completion.bytes.expect("a good read"));
            }
        }
        assert_eq!((completed, session.pending()), (requests.len(), 0));
    });
}

fn session_after_its_deadline<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::new().with_deadline(past()));
        let request = ReadRequest::new(4096, 100);
        let later = Instant::now() + Duration::from_secs(3600);
        session.submit(1, request);
        session.submit_with(2, request, ReadTerms::new().with_deadline(later));
        for _ in 0..2 {
            assert_late(&session.next().await.expect("two are pending"), request);
        }
        assert!(session.next().await.is_none());
    });
}

fn deadline_far_away<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let later = Instant::now() + Duration::from_secs(3600);
        let mut session = reader.session(ReadControl::new().with_deadline(later));
        let request = ReadRequest::new(77, 5000);
        session.submit_with(1, request, ReadTerms::new().with_deadline(later + Duration::from_secs(1)));
        check_bytes(request, &session.next().await.expect("one is pending").bytes.expect("a good read"));
        let control = ReadControl::new().with_deadline(later);
        let requests = [request];
        let read = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(()));
        assert!(read.await.expect("a good batch").is_complete());
    });
}

fn both_lanes<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::new());
        let requests = scattered(43, 200);
        for (tag, &request) in (0..).zip(&requests) {
            let terms = if tag % 2 == 0 { ReadTerms::background() } else { ReadTerms::new() };
            session.submit_with(tag, request, terms);
        }
        let mut seen = vec![false; requests.len()];
        while let Some(Completion { tag, bytes }) = session.next().await {
            check_bytes(requests[tag as usize], &bytes.expect("a good read"));
            assert!(!std::mem::replace(&mut seen[tag as usize], true), "request {tag} completed twice");
        }
        assert!(seen.iter().all(|&seen| seen));
    });
}

fn deadline_while_waiting<B, S, K>(subject: &Subject<B>)
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
        let requests = scattered(44, 10);
        let control = ReadControl::new().with_deadline(soon());
        let outcome = reader.read_vectors(&requests, &control, |_, bytes| {
            assert!(bytes.is_empty(), "there was no place to read anything");
            ControlFlow::Continue(())
        });
        assert_eq!(outcome.await.expect("a deadline is no error").end, BatchEnd::Deadline);
        drop(only_place);
        read_and_check(&reader, &requests).await.expect("the reader goes on");
    });
}

fn read_deadline_while_waiting<B, S, K>(subject: &Subject<B>)
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
        let mut session = reader.session(ReadControl::new());
        let (short, long) = (ReadRequest::new(0, 100), ReadRequest::new(1 << 20, 100));
        session.submit(1, long);
        session.submit_with(2, short, ReadTerms::new().with_deadline(soon()));
        let late = session.next().await.expect("two are pending");
        assert_eq!(late.tag, 2);
        assert_late(&late, short);
        drop(only_place);
        let Completion { tag, bytes } = session.next().await.expect("one is pending");
        assert_eq!(tag, 1);
        check_bytes(long, &bytes.expect("a good read"));
        assert!(session.next().await.is_none());
    });
}

/// Polls once, so that what was submitted starts. A backend may serve a read at once.
async fn start(session: &mut impl FileSession) -> Option<Completion> {
    poll_fn(|cx| match session.poll_next(cx) {
        Poll::Ready(completion) => Poll::Ready(completion),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn deadline_in_flight<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let faulty = subject.faulty(Faults { seed: 7, delay: 1.0, ..Faults::default() });
    faulty.run(|| async {
        let reader = faulty.open().await;
        let mut session = reader.session(ReadControl::new());
        let request = ReadRequest::new(4096, 100);
        let deadline = soon();
        session.submit_with(1, request, ReadTerms::new().with_deadline(deadline));
        if let Some(Completion { bytes, .. }) = start(&mut session).await {
            check_bytes(request, &bytes.expect("a good read"));
            return;
        }
        while Instant::now() < deadline {
            std::hint::spin_loop();
        }
        assert_late(&session.next().await.expect("one is pending"), request);
        assert!(session.next().await.is_none(), "completed twice");
        assert_eq!(reader.gate().operations_in_flight(), 0, "not drained");
    });
}

fn foreground_first<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    assert_eq!(order_of(subject, &[10, 20, 30], &[50, 40]), [40, 50, 10, 20, 30]);
}

fn foreground_takes_along<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    assert_eq!(order_of(subject, &[10, 20, 30], &[30, 40]), [30, 30, 40, 10, 20]);
}

/// Reads some pages in the background and then others in the foreground, one at a time. Returns the order in
/// which they complete.
fn order_of<B, S, K>(subject: &Subject<B>, background: &[u64], foreground: &[u64]) -> Vec<u64>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options.queue_depth = 1;
    subject.options.gap_max = 0;
    subject.run(|| async {
        let reader = subject.open().await;
        let only_place = take_place(&reader).await;
        let mut session = reader.session(ReadControl::new());
        let request = |page: u64| ReadRequest::new(page * 4096, 4096);
        assert!(request(50).end().is_some_and(|end| end <= FILE_LEN));
        for &page in background {
            session.submit_with(page, request(page), ReadTerms::background());
        }
        assert!(start(&mut session).await.is_none());
        for &page in foreground {
            session.submit(page, request(page));
        }
        assert!(start(&mut session).await.is_none());
        drop(only_place);
        let mut order = Vec::new();
        while let Some(Completion { tag, bytes }) = session.next().await {
            check_bytes(request(tag), &bytes.expect("a good read"));
            order.push(tag);
        }
        order
    })
}

fn no_stale_bytes<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    const PAGE: usize = 4096;
    let faulty = subject.faulty(Faults { seed: 8, delay: 1.0, ..Faults::default() });
    faulty.run(|| async {
        let path = faulty.new_path();
        let writer = faulty.backend.create(&path, &faulty.options).await.expect("creates");
        let write = |byte: u8| {
            let (writer, bytes) = (&writer, vec![byte; PAGE]);
            async move {
                let pages = [PageWrite { offset: 0, bytes: &bytes }];
                writer.write_pages(&pages).await.expect("writes");
            }
        };
        write(1).await;
        let reader = faulty.backend.open(&path, &faulty.options).await.expect("opens");
        let mut session = reader.session(ReadControl::new());
        let request = ReadRequest::new(0, PAGE as u32);
        session.submit(1, request);
        let _served_at_once = start(&mut session).await;
        write(2).await;
        session.submit(2, request);
        while let Some(Completion { tag, bytes }) = session.next().await {
            let bytes = bytes.expect("a good read");
            if tag == 2 {
                assert_eq!(bytes, vec![2; PAGE], "bytes from before the write");
            }
        }
        assert_eq!(session.stats().reads, 2);
        writer.close().await.expect("closes");
    });
}
