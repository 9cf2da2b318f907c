//! The factory.

use crate::chosen::of_process;
use crate::either::Either;
use crate::file::{AutoFile, AutoSink, AutoSource};
use io_core::backend::{PagedReader, PagedWriter};
use io_core::{Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::path::Path;

const NAME: &str = "auto";

/// Opens files on the process's ring where the kernel allows io_uring, else on the process's threads.
///
/// Readers, writers and their futures work under any executor, or none. They may move between threads.
///
/// All values are the same: one choice holds for the whole process. The [crate's documentation](crate) says
/// when it is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct AutoBackend {
    _private: (),
}

impl FileSystem for AutoBackend {
    type Reader = PagedReader<AutoSource>;

    type Writer = PagedWriter<AutoSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        let chosen = of_process()?;
        let file = match &chosen.taken {
            Either::Ring(ring) => Either::Ring(ring.open(path, options).await?.into_source()),
            Either::Threads(threads) => Either::Threads(threads.open(path, options).await?.into_source()),
        };
        Ok(PagedReader::new(AutoFile::source(NAME, file, chosen)))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let chosen = of_process()?;
        let file = match &chosen.taken {
            Either::Ring(ring) => Either::Ring(ring.create(path, options).await?.into_sink()),
            Either::Threads(threads) => Either::Threads(threads.create(path, options).await?.into_sink()),
        };
        Ok(PagedWriter::new(AutoFile::sink(NAME, file, chosen)))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let chosen = of_process()?;
        let file = match &chosen.taken {
            Either::Ring(ring) => Either::Ring(ring.open_for_writing(path, options).await?.into_sink()),
            Either::Threads(threads) => {
                Either::Threads(threads.open_for_writing(path, options).await?.into_sink())
            }
        };
        Ok(PagedWriter::new(AutoFile::sink(NAME, file, chosen)))
    }
}

io_core::send_backend!(AutoBackend, source AutoSource, sink AutoSink);

impl Executor for AutoBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let chosen = of_process()?;
        of_both!(&chosen.taken, backend => backend.run(main))
    }
}
