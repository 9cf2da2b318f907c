//! The factory. A map needs no executor. [`MmapBackend::run`](Executor::run) blocks on the future.

use crate::file::MmapReader;
use crate::write::FileSink;
use io_core::backend::{PagedWriter, create_std, open_std_for_writing, run_to_drain};
use io_core::{Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::path::Path;

pub(crate) const NAME: &str = "mmap";

/// Maps files. Its readers may be used under any executor, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct MmapBackend {
    _private: (),
}

impl FileSystem for MmapBackend {
    type Reader = MmapReader;

    type Writer = PagedWriter<FileSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        refuse_direct(options)?;
        MmapReader::open(path, options)
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        refuse_direct(options)?;
        Ok(PagedWriter::new(FileSink::new(create_std(path, options)?, options)))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        refuse_direct(options)?;
        Ok(PagedWriter::new(FileSink::new(open_std_for_writing(path, options)?, options)))
    }
}

io_core::send_backend!(MmapBackend, reader MmapReader, sink FileSink);

impl Executor for MmapBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        Ok(pollster::block_on(run_to_drain(main())))
    }
}

fn refuse_direct(options: &OpenOptions) -> Result<(), OpenError> {
    if options.direct {
        let what = "bypass the page cache, since a map is the page cache; open it without `direct`, or choose one of the ring backends".into();
        return Err(OpenError::Unsupported { backend: NAME, what });
    }
    Ok(())
}
