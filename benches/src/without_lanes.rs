//! A backend without its background lane, to measure the lane's effect.

use io_core::{DynBackend, Executor, FileSystem, Lane, OpenError, OpenOptions, StartError};
use io_core::{DynPageWriter, DynVectorReader};
use std::path::Path;

/// Opens all files in the foreground.
#[derive(Clone, Debug)]
pub struct WithoutLanes(pub DynBackend);

fn foreground(options: &OpenOptions) -> OpenOptions {
    options.clone().with_lane(Lane::Foreground)
}

impl FileSystem for WithoutLanes {
    type Reader = Box<dyn DynVectorReader>;

    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.0.open(path, &foreground(options)).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create(path, &foreground(options)).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.open_for_writing(path, &foreground(options)).await
    }
}

impl Executor for WithoutLanes {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.0.run(main)
    }
}
