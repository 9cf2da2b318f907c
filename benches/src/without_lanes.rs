//! A backend without its background lane, to measure the lane's effect.

use io_core::{BackendFactory, DynBackend, Lane, OpenError, OpenOptions, StartError};
use io_core::{DynPageWriter, DynVectorReader};
use std::path::Path;

/// Opens all files in the foreground.
#[derive(Clone, Debug)]
pub struct WithoutLanes(pub DynBackend);

fn foreground(options: &OpenOptions) -> OpenOptions {
    options.clone().with_lane(Lane::Foreground)
}

impl BackendFactory for WithoutLanes {
    type Reader = Box<dyn DynVectorReader>;
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
        self.0.open(path, &foreground(options)).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create(path, &foreground(options)).await
    }
}
