//! A backend that gets one vector at a time, as from a plain loop.

use io_core::{BackendFactory, BackendInfo, DynBackend, DynPageWriter, DynVectorReader, FileInfo};
use io_core::{
    OpenError, OpenOptions, ReadControl, ReadError, ReadOutcome, ReadRequest, ReadStats, StartError,
    VectorReader,
};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

/// Over a map, each read waits for its own page fault, so a thread has one read in flight.
#[derive(Clone, Debug)]
pub struct OneByOne(pub DynBackend);

impl BackendFactory for OneByOne {
    type Reader = OneByOneReader;
    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.0.run(main)
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        Ok(OneByOneReader(self.0.open(path, options).await?))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create(path, options).await
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
        let mut whole = ReadOutcome { delivered: 0, stopped: false, stats: ReadStats::default() };
        for (index, request) in requests.iter().enumerate() {
            let one = std::slice::from_ref(request);
            let read = self.0.read_vectors(one, control, |_, bytes| sink(index, bytes)).await?;
            whole.delivered += read.delivered;
            whole.stats.add(&read.stats);
            whole.stopped = read.stopped;
            if whole.stopped {
                break;
            }
        }
        Ok(whole)
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
