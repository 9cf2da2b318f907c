//! What a session and a batch over it promise when reads, writes and deadlines meet. The test itself decides
//! when a transfer ends.

use io_core::backend::{Kept, PageSink, PageSource, PagedReader, PagedWriter, Permit};
use io_core::{
    BackendInfo, DeviceBudget, FileInfo, FileSession, IoGeometry, LocalBoxFuture, Meter, OpenOptions,
    PageWrite, PageWriter, ReadControl, ReadError, ReadRequest, ReadTerms, SendVectorReader, SyncKind,
    VectorReader,
};
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const LEN: usize = 1 << 20;

/// Transfers wait for it.
#[derive(Clone, Default)]
struct Event(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Event {
    fn set(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn wait(self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Takes the bytes when a read begins, and hands them out after the event.
struct Held {
    file: FileInfo,
    info: BackendInfo,
    bytes: Arc<Mutex<Vec<u8>>>,
    event: Event,
}

impl Held {
    fn new(options: &OpenOptions) -> Self {
        let geometry = IoGeometry::buffered(options.read_size_max, options.gap_max);
        Self {
            file: FileInfo::new(Path::new("held"), LEN as u64),
            info: BackendInfo::new("held", "none", options, geometry, &[]),
            bytes: Arc::new(Mutex::new(vec![1; LEN])),
            event: Event::default(),
        }
    }

    /// The same file, whose transfers wait for another event.
    fn again(&self) -> Self {
        let (file, info, bytes) = (self.file.clone(), self.info.clone(), Arc::clone(&self.bytes));
        Self { file, info, bytes, event: Event::default() }
    }
}

impl PageSource for Held {
    type Page = Vec<u8>;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Vec<u8>>, Permit)> + 'static {
        let page = self.bytes.lock().unwrap()[offset as usize..][..len as usize].to_vec();
        let event = self.event.clone();
        permit.over(async move {
            event.wait().await;
            Ok(page)
        })
    }

    fn share(page: Vec<u8>, kept: Kept) -> Result<bytes::Bytes, Vec<u8>> {
        Ok(kept.over(page))
    }

    fn spawn(&self, _task: LocalBoxFuture<'static, ()>) {}

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl PageSink for Held {
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn write(
        &self,
        offset: u64,
        buffer: Vec<u8>,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let (bytes, event) = (Arc::clone(&self.bytes), self.event.clone());
        permit.over(async move {
            event.wait().await;
            bytes.lock().unwrap()[offset as usize..][..buffer.len()].copy_from_slice(&buffer);
            Ok(buffer.len())
        })
    }

    async fn sync(&self, _kind: SyncKind) -> io::Result<()> {
        Ok(())
    }

    async fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn spawn(&self, _task: LocalBoxFuture<'static, ()>) {}

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

io_core::send_backend!(@source Held);

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Starts what was submitted.
fn start(session: &mut impl FileSession) {
    assert!(session.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Completes everything. Returns the first byte of each read, by tag.
fn drain(session: &mut impl FileSession) -> Vec<(u64, u8)> {
    let mut seen = Vec::new();
    while let Some(completion) = pollster::block_on(session.next()) {
        seen.push((completion.tag, completion.bytes.expect("a good read")[0]));
    }
    seen.sort_unstable();
    seen
}

#[test]
fn a_read_that_began_during_a_write_serves_no_request_after_that_write() {
    let source = Held::new(&OpenOptions::default());
    let (sink, end_read) = (source.again(), source.event.clone());
    let end_write = sink.event.clone();
    let (reader, writer) = (PagedReader::new(source), PagedWriter::new(sink));
    let pages = [PageWrite { offset: 0, bytes: &[2; 4096] }];
    let mut writing = Box::pin(writer.write_pages(&pages));
    assert!(poll(writing.as_mut()).is_pending());
    let mut session = reader.session(ReadControl::new());
    session.submit(1, ReadRequest::new(0, 4096));
    start(&mut session);
    end_write.set();
    let Poll::Ready(written) = poll(writing.as_mut()) else { panic!("the write has ended") };
    written.expect("writes");
    session.submit(2, ReadRequest::new(0, 4096));
    start(&mut session);
    end_read.set();
    assert_eq!(drain(&mut session), [(1, 1), (2, 2)], "the second request came after the write");
}

#[test]
fn a_read_in_flight_serves_later_requests_although_a_shorter_one_lies_within_it() {
    let source = Held::new(&OpenOptions::default());
    let event = source.event.clone();
    let reader = PagedReader::new(source);
    let mut session = reader.session(ReadControl::new());
    session.submit(1, ReadRequest::new(4096, 4096));
    start(&mut session);
    session.submit(2, ReadRequest::new(0, 65_536));
    start(&mut session);
    session.submit(3, ReadRequest::new(16_384, 100));
    start(&mut session);
    event.set();
    assert_eq!(drain(&mut session), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(session.stats().reads, 2);
}

#[test]
fn a_foreground_request_takes_a_background_one_along_that_waits_for_a_plan() {
    let source = Held::new(&OpenOptions::default());
    source.event.set();
    let reader = PagedReader::new(source);
    let mut session = reader.session(ReadControl::new());
    session.submit_with(1, ReadRequest::new(0, 4096), ReadTerms::background());
    session.submit(2, ReadRequest::new(0, 4096));
    assert_eq!(drain(&mut session), [(1, 1), (2, 1)]);
    assert_eq!(session.stats().reads, 1);
}

/// A reader with a read in flight on a device of one place, a session that `waits` for it, and a batch behind
/// both. The batch must be read once the place is free, although nobody polls the session.
fn a_batch_behind(waits: impl FnOnce(&mut dyn FileSession)) {
    let options = OpenOptions::default().on_device(&DeviceBudget::new(1, 8 << 20));
    let [first, idle, last] = [(); 3].map(|()| Held::new(&options));
    let event = first.event.clone();
    last.event.set();
    let [first, idle, last] = [first, idle, last].map(PagedReader::new);
    let (requests, control) = ([ReadRequest::new(0, 100)], ReadControl::new());
    let mut holds = Box::pin(first.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())));
    assert!(poll(holds.as_mut()).is_pending());
    let mut session = idle.session(ReadControl::new());
    waits(&mut session);
    assert_eq!(session.pending(), 0);
    let mut behind = Box::pin(last.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(())));
    assert!(poll(behind.as_mut()).is_pending());
    event.set();
    assert!(poll(holds.as_mut()).is_ready());
    assert!(poll(behind.as_mut()).is_ready(), "a session with nothing pending holds a place in the queue");
    drop(session);
}

#[test]
fn a_session_whose_last_read_was_late_holds_nobody_back() {
    a_batch_behind(|session| {
        let soon = Instant::now() + Duration::from_millis(5);
        session.submit_with(1, ReadRequest::new(0, 100), ReadTerms::new().with_deadline(soon));
        let late = pollster::block_on(poll_fn(|cx| session.poll_next(cx))).expect("one is pending");
        assert!(matches!(late.bytes, Err(ReadError::Deadline { .. })));
    });
}

#[test]
fn a_session_whose_last_read_was_cancelled_holds_nobody_back() {
    a_batch_behind(|session| {
        session.submit(1, ReadRequest::new(0, 100));
        assert!(session.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
        session.cancel(1);
    });
}

fn send_reader() -> Box<dyn SendVectorReader> {
    let source = Held::new(&OpenOptions::default());
    source.event.set();
    Box::new(PagedReader::new(source))
}

#[test]
fn a_batch_over_a_session_counts_what_the_sink_got() {
    let reader = send_reader();
    let requests: Vec<_> = (0..10).map(|at| ReadRequest::new(at * 100, 100)).collect();
    let meter = Meter::new();
    let control = ReadControl::new().with_meter(meter.clone());
    let read = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Break(()));
    assert_eq!(pollster::block_on(read).expect("a good batch").delivered, 1);
    assert_eq!(meter.counters().delivered, 1);
}

#[test]
fn a_closed_reader_refuses_every_batch_over_a_session() {
    let reader = send_reader();
    pollster::block_on(VectorReader::close(&reader)).expect("closes");
    for requests in [&[][..], &[ReadRequest::new(LEN as u64, 1)]] {
        let control = ReadControl::new();
        let read = reader.read_vectors(requests, &control, |_, _| ControlFlow::Continue(()));
        let refused = pollster::block_on(read).expect_err("it is closed");
        assert!(matches!(refused, ReadError::Closed { .. }), "{refused}");
    }
}
