//! A backend chosen at run time, whose files stay on their thread.

use crate::{
    BackendFactory, Directory, DynPageWriter, DynVectorReader, Executor, FileSystem, LocalBoxFuture,
    OpenError, OpenOptions, StartError,
};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

type Opened<'a, T> = LocalBoxFuture<'a, Result<Box<T>, OpenError>>;

/// The object-safe form of [`BackendFactory`]. Every backend implements it.
trait Object: Send + Sync {
    fn name_dyn(&self) -> &'static str;

    fn directory_dyn(&self) -> Arc<dyn Directory>;

    /// `main` stores its result itself.
    fn run_dyn<'a>(&self, main: Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>) -> Result<(), StartError>;

    fn spawn_thread_dyn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    fn open_dyn<'a>(&'a self, path: &'a Path, options: &'a OpenOptions) -> Opened<'a, dyn DynVectorReader>;

    fn create_dyn<'a>(&'a self, path: &'a Path, options: &'a OpenOptions) -> Opened<'a, dyn DynPageWriter>;

    fn open_for_writing_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn DynPageWriter>;
}

impl<B: BackendFactory> Object for B {
    fn name_dyn(&self) -> &'static str {
        self.name()
    }

    fn directory_dyn(&self) -> Arc<dyn Directory> {
        self.directory()
    }

    fn run_dyn<'a>(&self, main: Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>) -> Result<(), StartError> {
        self.run(main)
    }

    fn spawn_thread_dyn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.spawn_thread(name, work)
    }

    fn open_dyn<'a>(&'a self, path: &'a Path, options: &'a OpenOptions) -> Opened<'a, dyn DynVectorReader> {
        Box::pin(async move {
            let reader: Box<dyn DynVectorReader> = Box::new(self.open(path, options).await?);
            Ok(reader)
        })
    }

    fn create_dyn<'a>(&'a self, path: &'a Path, options: &'a OpenOptions) -> Opened<'a, dyn DynPageWriter> {
        Box::pin(async move {
            let writer: Box<dyn DynPageWriter> = Box::new(self.create(path, options).await?);
            Ok(writer)
        })
    }

    fn open_for_writing_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn DynPageWriter> {
        Box::pin(async move {
            let writer: Box<dyn DynPageWriter> = Box::new(self.open_for_writing(path, options).await?);
            Ok(writer)
        })
    }
}

/// A backend chosen at run time. Code generic over [`BackendFactory`] takes it like any other, compiled only
/// once.
///
/// Its readers and writers stay on the thread that opened them, whatever the backend.
/// [`SendBackend`](crate::SendBackend) has those that may move.
#[derive(Clone)]
pub struct DynBackend(Arc<dyn Object>);

impl DynBackend {
    /// Wraps a backend of any type.
    #[must_use]
    pub fn new<B: BackendFactory>(backend: B) -> Self {
        Self(Arc::new(backend))
    }
}

impl fmt::Debug for DynBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynBackend").field(&self.0.name_dyn()).finish()
    }
}

impl FileSystem for DynBackend {
    type Reader = Box<dyn DynVectorReader>;
    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name_dyn()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        self.0.directory_dyn()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.0.open_dyn(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create_dyn(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.open_for_writing_dyn(path, options).await
    }
}

impl Executor for DynBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        run_object(main, |main| self.0.run_dyn(main))
    }

    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.0.spawn_thread_dyn(name, work)
    }
}

/// A future that is boxed by the one who runs it.
pub(crate) type BoxedMain<'a> = Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>;

/// Runs `main` through an object, which knows no types.
pub(crate) fn run_object<'a, M, F>(
    main: M,
    run: impl FnOnce(BoxedMain<'a>) -> Result<(), StartError>,
) -> Result<F::Output, StartError>
where
    M: FnOnce() -> F + 'a,
    F: Future + 'a,
    F::Output: 'a,
{
    let output = std::rc::Rc::new(std::cell::Cell::new(None));
    let slot = std::rc::Rc::clone(&output);
    run(Box::new(move || Box::pin(async move { slot.set(Some(main().await)) })))?;
    Ok(output.take().expect("an executor that ran to its end has run `main` to its end"))
}
