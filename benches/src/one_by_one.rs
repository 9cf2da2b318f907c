//! A backend that gets one vector at a time, as from a plain loop.

use io_core::{
    BackendInfo, DynBackend, DynPageWriter, DynVectorReader, Executor, FileInfo, FileSystem, ReadTerms,
};
use io_core::{
    Completion, FileSession, OpenError, OpenOptions, ReadControl, ReadError, ReadOutcome, ReadRequest,
    ReadStats, StartError, VectorReader,
};
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::task::{Context, Poll};

/// Over a map, each read waits for its own page fault, so a thread has one read in flight.
#[derive(Clone, Debug)]
pub struct OneByOne(pub DynBackend);

impl FileSystem for OneByOne {
    type Reader = OneByOneReader;

    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        Ok(OneByOneReader(self.0.open(path, options).await?))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.open_for_writing(path, options).await
    }
}

impl Executor for OneByOne {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.0.run(main)
    }
}

/// Splits every batch into its reads.
#[allow(missing_debug_implementations, reason = "a reader of any backend")]
pub struct OneByOneReader(Box<dyn DynVectorReader>);

impl VectorReader for OneByOneReader {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let mut whole = ReadOutcome::new();
        for (index, request) in requests.iter().enumerate() {
            let one = std::slice::from_ref(request);
            let read = self.0.read_vectors(one, control, |_, bytes| sink(index, bytes)).await?;
            whole.delivered += read.delivered;
            whole.stats.add(&read.stats);
            whole.end = read.end;
            if !whole.is_complete() {
                break;
            }
        }
        Ok(whole)
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        OneByOneSession { inner: self.0.session(control), waiting: VecDeque::new() }
    }

    fn file(&self) -> &FileInfo {
        self.0.file()
    }

    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.0.close().await
    }
}

/// A session with one read in flight.
struct OneByOneSession<S> {
    inner: S,
    waiting: VecDeque<(u64, ReadRequest, ReadTerms)>,
}

impl<S: FileSession> FileSession for OneByOneSession<S> {
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        self.waiting.push_back((tag, request, terms));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.inner.pending() == 0
            && let Some((tag, request, terms)) = self.waiting.pop_front()
        {
            self.inner.submit_with(tag, request, terms);
        }
        self.inner.poll_next(cx)
    }

    fn cancel(&mut self, tag: u64) {
        self.waiting.retain(|&(waiting, _, _)| waiting != tag);
        self.inner.cancel(tag);
    }

    fn cancel_all(&mut self) {
        self.waiting.clear();
        self.inner.cancel_all();
    }

    fn pending(&self) -> usize {
        self.waiting.len() + self.inner.pending()
    }

    fn stats(&self) -> ReadStats {
        self.inner.stats()
    }
}
