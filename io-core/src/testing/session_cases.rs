//! The promises of sessions, on every backend and with faults of the device.

use super::Faults;
use super::battery::{Case, FILE_LEN, Subject};
use super::cases::{check_bytes, read_and_check, scattered};
use super::fault_cases::take_place;
use crate::backend::{PageSink, PageSource, PagedReader, PagedWriter};
use crate::{
    BackendFactory, Completion, DeviceBudget, FileSession, FileSystem, Metered, OpenOptions, PlanError,
    ReadControl, ReadError, ReadRequest, StopFlag, VectorReader,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::task::Poll;

pub(super) fn session_cases<B: BackendFactory>() -> Vec<Case<B>> {
    vec![
        ("13 a session completes each read once, with its bytes, whatever else is asked", any_order),
        ("13 reads that follow from others are served", chains),
        ("13 past the end is an error of that read alone", past_the_end),
        ("13 cancelled reads never complete", cancelled),
        ("13 once the stop flag is up, nothing completes", stopped),
        ("13 bytes stay valid when session and reader are gone", bytes_outlive),
        ("13 bytes that a cache keeps stop no reads", cache),
        ("13 a session dropped at any point leaves the reader usable", dropped),
        ("13 a closed reader refuses the reads of its sessions", closed),
        ("13 counters hold their identity and tell what a session did", counters),
    ]
}

pub(super) fn session_fault_cases<B, S, K>() -> Vec<Case<B>>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    vec![
        ("13 a read that has begun serves later requests for its bytes", joins),
        ("13 requests that wait are read together", planned_together),
        ("13 short and interrupted reads are never seen", never_short),
        ("13 an error of the device ends only the reads that needed it", errors_are_local),
        ("13 sessions and batches of a device keep to its depth and its byte budget", one_budget),
    ]
}

/// What a test expects of its session: the requests that are open, by tag.
struct Model {
    open: HashMap<u64, ReadRequest>,
    next_tag: u64,
}

impl Model {
    fn new() -> Self {
        Self { open: HashMap::new(), next_tag: 0 }
    }

    fn submit(&mut self, session: &mut impl FileSession, request: ReadRequest) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.open.insert(tag, request);
        session.submit(tag, request);
        tag
    }

    /// Checks a completion, and returns its bytes.
    fn completed(&mut self, completion: Completion) -> Bytes {
        let request = self.open.remove(&completion.tag).expect("a read that is open, once");
        let bytes = completion.bytes.expect("a good read");
        check_bytes(request, &bytes);
        bytes
    }
}

fn any_order<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        for seed in 0..10 {
            let mut random = fastrand::Rng::with_seed(seed);
            let requests = scattered(seed, 300);
            let mut session = reader.session(ReadControl::default());
            let mut model = Model::new();
            // Reads that are cancelled before anything completes.
            let mut doomed = 0;
            for &request in &requests {
                model.submit(&mut session, request);
                assert_eq!(session.pending(), model.open.len() + doomed);
                match random.u8(..8) {
                    0 => {
                        let open: Vec<_> = model.open.keys().copied().collect();
                        let tag = open[random.usize(..open.len())];
                        session.cancel(tag);
                        model.open.remove(&tag);
                    }
                    1 => {
                        session.submit(u64::MAX, request);
                        doomed += 1;
                    }
                    2..=4 => {
                        session.cancel(u64::MAX);
                        doomed = 0;
                        if let Some(completion) = session.next().await {
                            model.completed(completion);
                        }
                    }
                    _ => {}
                }
            }
            session.cancel(u64::MAX);
            while let Some(completion) = session.next().await {
                model.completed(completion);
            }
            assert_eq!((model.open.len(), session.pending()), (0, 0));
            let wanted: u64 = requests.iter().map(|request| u64::from(request.len)).sum();
            assert!(session.stats().bytes_wanted >= wanted);
            // An empty session goes on.
            model.submit(&mut session, ReadRequest::new(7, 70));
            model.completed(session.next().await.expect("one is pending"));
        }
    });
}

/// Walks whose each page names the next ones.
fn chains<B: BackendFactory>(subject: &Subject<B>) {
    const STEPS: u64 = 40;
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::default());
        let page = |of: u64| ReadRequest::new(of % (FILE_LEN / 4096) * 4096, 4096);
        let mut walks: HashMap<u64, (ReadRequest, u64)> = HashMap::new();
        for walk in 0..16 {
            walks.insert(walk, (page(walk), 0));
            session.submit(walk, page(walk));
        }
        let mut steps = 0;
        while let Some(Completion { tag, bytes }) = session.next().await {
            let (request, step) = walks[&tag];
            let bytes = bytes.expect("a good read");
            check_bytes(request, &bytes);
            steps += 1;
            if step + 1 < STEPS {
                let next = page(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")));
                walks.insert(tag, (next, step + 1));
                session.submit(tag, next);
            }
        }
        assert_eq!(steps, 16 * STEPS);
    });
}

fn past_the_end<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::default());
        let mut model = Model::new();
        model.submit(&mut session, ReadRequest::new(0, 10));
        for (tag, offset, len) in [(1000, FILE_LEN - 10, 11), (1001, u64::MAX, u32::MAX)] {
            session.submit(tag, ReadRequest::new(offset, len));
        }
        model.submit(&mut session, ReadRequest::new(FILE_LEN, 0));
        let mut refused = Vec::new();
        while let Some(completion) = session.next().await {
            match completion {
                Completion { tag, bytes: Err(ReadError::Plan { source, .. }) } => refused.push((tag, source)),
                completion => drop(model.completed(completion)),
            }
        }
        refused.sort_by_key(|&(tag, _)| tag);
        let past = |index, offset, len| PlanError::PastEnd { index, offset, len, file_len: FILE_LEN };
        let expected = [(1000, past(1000, FILE_LEN - 10, 11)), (1001, past(1001, u64::MAX, u32::MAX))];
        assert_eq!(refused, expected);
        assert!(model.open.is_empty());
    });
}

fn cancelled<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let requests = scattered(31, 200);
        for polls in [0, 1, 5, 50] {
            let mut session = reader.session(ReadControl::default());
            let mut model = Model::new();
            for &request in &requests {
                model.submit(&mut session, request);
            }
            for _ in 0..polls {
                model.completed(session.next().await.expect("reads are pending"));
            }
            // Every second one, and then the rest.
            for tag in (0..requests.len() as u64).step_by(2) {
                session.cancel(tag);
                model.open.remove(&tag);
            }
            assert_eq!(session.pending(), model.open.len());
            for _ in 0..20 {
                model.completed(session.next().await.expect("reads are pending"));
            }
            session.cancel_all();
            assert_eq!(session.pending(), 0);
            assert!(session.next().await.is_none());
            // A tag may be used again.
            session.submit(0, requests[0]);
            let again = session.next().await.expect("one is pending");
            assert_eq!(again.tag, 0);
            check_bytes(requests[0], &again.bytes.expect("a good read"));
        }
        reader.close().await.expect("closes");
    });
}

fn stopped<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        for completions in [0, 1, 20] {
            let stop = StopFlag::new();
            let mut session = reader.session(ReadControl::new().with_stop(stop.clone()));
            for (tag, &request) in (0..).zip(&scattered(32, 100)) {
                session.submit(tag, request);
            }
            for _ in 0..completions {
                assert!(session.next().await.is_some());
            }
            stop.stop();
            assert!(session.next().await.is_none(), "completed after a stop");
            assert_eq!((session.pending(), reader.meter().counters().in_flight), (0, 0));
        }
        read_and_check(&reader, &scattered(33, 20)).await.expect("the reader goes on");
    });
}

fn bytes_outlive<B: BackendFactory>(subject: &Subject<B>) {
    let kept = subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::default());
        let requests = scattered(34, 60);
        for (tag, &request) in (0..).zip(&requests) {
            session.submit(tag, request);
        }
        let mut kept = Vec::new();
        while let Some(Completion { tag, bytes }) = session.next().await {
            kept.push((requests[tag as usize], bytes.expect("a good read")));
        }
        drop(session);
        // Other reads may take the pages that are free now.
        read_and_check(&reader, &scattered(35, 100)).await.expect("a good batch");
        reader.close().await.expect("closes");
        kept
    });
    assert_eq!(kept.len(), 60);
    let elsewhere = std::thread::spawn(move || {
        for (request, bytes) in &kept {
            check_bytes(*request, bytes);
        }
    });
    elsewhere.join().expect("bytes may move to another thread");
}

/// Keeps everything, several times the byte budget.
fn cache<B: BackendFactory>(subject: &Subject<B>) {
    let mut subject = subject.clone();
    subject.options.read_size_max = 64 << 10;
    subject.options.bytes_in_flight_max = 128 << 10;
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::default());
        let mut cache = Vec::new();
        let mut requests = scattered(36, 400);
        requests.push(ReadRequest::new(0, FILE_LEN as u32));
        for wave in requests.chunks(10) {
            for &request in wave {
                session.submit(cache.len() as u64, request);
                cache.push((request, Bytes::new()));
            }
            while let Some(Completion { tag, bytes }) = session.next().await {
                cache[tag as usize].1 = bytes.expect("a good read");
            }
        }
        for (request, bytes) in &cache {
            check_bytes(*request, bytes);
        }
        read_and_check(&reader, &requests).await.expect("batches go on beside a cache");
    });
}

fn dropped<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        for completions in [0, 1, 3, 10, 50] {
            let mut session = reader.session(ReadControl::default());
            for (tag, &request) in (0..).zip(&scattered(37, 200)) {
                session.submit(tag, request);
            }
            poll_fn(|cx| {
                let _ = session.poll_next(cx);
                Poll::Ready(())
            })
            .await;
            for _ in 0..completions {
                assert!(session.next().await.is_some());
            }
            drop(session);
            read_and_check(&reader, &scattered(38, 20)).await.expect("the reader goes on");
        }
        reader.close().await.expect("closes");
        assert_eq!(reader.meter().counters().in_flight, 0);
    });
}

fn closed<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = subject.open().await;
        let mut session = reader.session(ReadControl::default());
        session.submit(1, ReadRequest::new(0, 10));
        assert!(session.next().await.expect("one is pending").bytes.is_ok());
        reader.close().await.expect("closes");
        session.submit(2, ReadRequest::new(0, 10));
        let refused = session.next().await.expect("one is pending");
        assert!(
            matches!(refused, Completion { tag: 2, bytes: Err(ReadError::Closed { .. }) }),
            "{refused:?}"
        );
    });
}

fn counters<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let reader = Metered::new(subject.open().await);
        let check = || {
            let now = reader.meter().counters();
            assert_eq!(now.started, now.completed + now.failed + now.abandoned + now.in_flight, "{now:?}");
            now
        };
        let requests = scattered(39, 200);
        let mut session = reader.session(ReadControl::default());
        for (tag, &request) in (0..).zip(&requests) {
            session.submit(tag, request);
        }
        while let Some(completion) = session.next().await {
            assert!(completion.bytes.is_ok());
            check();
        }
        let (stats, counters) = (session.stats(), check());
        let wanted = requests.iter().map(|request| u64::from(request.len)).sum();
        assert_eq!((counters.bytes_wanted, stats.bytes_wanted), (wanted, wanted));
        assert_eq!((counters.delivered, counters.completed), (requests.len() as u64, stats.reads));
        assert_eq!((counters.bytes_read, counters.merged), (stats.bytes_read, stats.merged));
        assert_eq!(counters.duplicates, stats.duplicates);
    });
}

/// Polls once, so that what was submitted is planned.
async fn start(session: &mut impl FileSession) -> Option<Completion> {
    poll_fn(|cx| match session.poll_next(cx) {
        Poll::Ready(completion) => Poll::Ready(completion),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn joins<B, S, K>(subject: &Subject<B>)
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
        let mut session = reader.session(ReadControl::default());
        let mut model = Model::new();
        model.submit(&mut session, ReadRequest::new(8192, 4096));
        assert!(start(&mut session).await.is_none());
        model.submit(&mut session, ReadRequest::new(8192, 4096));
        model.submit(&mut session, ReadRequest::new(9000, 100));
        // It begins on the page and ends behind it, so it needs a read of its own.
        model.submit(&mut session, ReadRequest::new(12_000, 1000));
        drop(only_place);
        while let Some(completion) = session.next().await {
            model.completed(completion);
        }
        assert!(model.open.is_empty());
        let stats = session.stats();
        assert_eq!((stats.reads, stats.duplicates, stats.merged), (2, 1, 1));
        assert_eq!(stats.bytes_wanted, 2 * 4096 + 100 + 1000);
        // A read that has ended serves nobody.
        model.submit(&mut session, ReadRequest::new(8192, 4096));
        model.completed(session.next().await.expect("one is pending"));
        assert_eq!(session.stats().reads, 3);
    });
}

fn planned_together<B, S, K>(subject: &Subject<B>)
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
        let mut session = reader.session(ReadControl::default());
        let mut model = Model::new();
        model.submit(&mut session, ReadRequest::new(1 << 20, 4096));
        assert!(start(&mut session).await.is_none());
        // The depth is used up. These wait, and are sorted and merged: two reads.
        for page in [7, 3, 5, 100, 4, 101, 6, 3] {
            model.submit(&mut session, ReadRequest::new(page * 4096, 4096));
        }
        drop(only_place);
        let mut order = Vec::new();
        while let Some(completion) = session.next().await {
            order.push(model.open[&completion.tag].offset / 4096);
            model.completed(completion);
        }
        let stats = session.stats();
        assert_eq!((stats.reads, stats.duplicates, stats.merged), (3, 1, 5));
        assert_eq!(order, [256, 3, 3, 4, 5, 6, 7, 100, 101]);
    });
}

fn never_short<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    for seed in 0..6 {
        let faults = Faults { seed, short: 0.4, interrupted: 0.2, delay: 0.4, ..Faults::default() };
        let faulty = subject.faulty(faults);
        faulty.run(|| async {
            let reader = faulty.open().await;
            let mut session = reader.session(ReadControl::default());
            let mut model = Model::new();
            let mut requests = scattered(40 + seed, 200);
            requests.insert(100, ReadRequest::new(1000, 700_000));
            // Few pages, so that late requests meet reads that have come in part.
            requests.extend((0..200).map(|at| ReadRequest::new(at % 7 * 3000, 2000 + at as u32)));
            for (at, &request) in requests.iter().enumerate() {
                model.submit(&mut session, request);
                if at % 3 == 0 {
                    model.completed(session.next().await.expect("reads are pending"));
                }
            }
            while let Some(completion) = session.next().await {
                model.completed(completion);
            }
            assert!(model.open.is_empty());
        });
        assert!(faulty.backend.log().faults() > 0, "the case injected nothing");
    }
}

fn errors_are_local<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    const EIO: i32 = 5;
    for at in [0, 3, 17] {
        let faults = Faults { seed: at, io_error_at: Some(at), delay: 0.3, ..Faults::default() };
        let faulty = subject.faulty(faults);
        faulty.run(|| async {
            // Without gaps, and far apart, so that each request is a read.
            let options = OpenOptions { gap_max: 0, ..faulty.options.clone() };
            let reader = faulty.backend.open(&faulty.file(), &options).await.expect("opens");
            let mut session = reader.session(ReadControl::default());
            let mut model = Model::new();
            for page in 0..20 {
                model.submit(&mut session, ReadRequest::new(page * 100_000, 4096));
            }
            let mut failed = Vec::new();
            while let Some(completion) = session.next().await {
                if let Err(error) = &completion.bytes {
                    let ReadError::Io { index, offset, len, .. } = error else { panic!("{error:?}") };
                    assert_eq!(error.raw_os_error(), Some(EIO));
                    assert_eq!(
                        (*index as u64, *offset, *len),
                        (completion.tag, completion.tag * 100_000, 4096)
                    );
                    failed.push(completion.tag);
                    model.open.remove(&completion.tag);
                } else {
                    model.completed(completion);
                }
            }
            // The device failed one transfer, and the reads go out in order.
            assert_eq!((failed, model.open.len()), (vec![at], 0));
        });
    }
}

fn one_budget<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options.read_size_max = 16 << 10;
    subject.options = subject.options.on_device(&DeviceBudget::new(5, 48 << 10));
    let faulty = subject.faulty(Faults { seed: 4, delay: 0.5, ..Faults::default() });
    faulty.run(|| async {
        let (reader, other) = (faulty.open().await, faulty.open().await);
        let requests = scattered(50, 150);
        let walk = |seed| {
            let mut session = other.session(ReadControl::default());
            async move {
                let mut model = Model::new();
                for &request in &scattered(seed, 150) {
                    model.submit(&mut session, request);
                    if model.open.len() > 20 {
                        model.completed(session.next().await.expect("reads are pending"));
                    }
                }
                while let Some(completion) = session.next().await {
                    model.completed(completion);
                }
            }
        };
        let control = ReadControl::default();
        let batch = async {
            let read = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())).await;
            assert_eq!(read.expect("a good batch").delivered, requests.len());
        };
        let mut running: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> =
            vec![Box::pin(walk(51)), Box::pin(walk(52)), Box::pin(batch)];
        poll_fn(|cx| {
            running.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    let log = faulty.backend.log();
    assert_eq!(log.in_flight_max(), 5, "the depth was never reached, or exceeded");
    assert!(log.bytes_in_flight_max() <= 48 << 10, "{} bytes in flight", log.bytes_in_flight_max());
    assert_eq!(log.in_flight(), 0);
}
