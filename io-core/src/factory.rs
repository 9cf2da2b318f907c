//! Backends open files and start executors. A program chooses one by type or at run time.

use crate::choice::Choice;
use crate::open::DIRECT_NAME;
use crate::{
    DeviceBudget, Directory, DynPageWriter, DynVectorReader, IoGeometry, IoMode, OpenError, OpenOptions,
    PageWriter, StartError, StdDirectory, VectorReader,
};
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The settings that an open file really uses, as the system granted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// The backend's name, as users select it.
    pub backend: &'static str,
    /// The runtime and its version, or what takes the place of a runtime.
    pub runtime: &'static str,
    /// How bytes come from the disk.
    pub io_mode: IoMode,
    /// Maximum of physical operations in flight.
    pub queue_depth: u32,
    /// Maximum of bytes in flight.
    pub bytes_in_flight_max: u64,
    /// The budget that the file shares with others. Without one, the file has a budget of its own.
    pub device: Option<DeviceBudget>,
    /// Alignment and size limits of physical operations.
    pub geometry: IoGeometry,
    /// Whether [`Lane::Background`](crate::Lane) operations give way to others. If so, a background write
    /// ends only when its bytes are on the disk.
    pub lanes: bool,
    /// Kernel features in use, such as `io_uring`, `O_DIRECT`, `MAP_POPULATE`.
    pub kernel_features: Vec<&'static str>,
    /// Which backend was taken, and why, if the backend chooses between others.
    pub choice: Option<Choice>,
}

impl BackendInfo {
    /// Describes a file opened with these options, without lanes. Adds the system's name for direct IO, such
    /// as `O_DIRECT`, to the features if the options have it.
    #[must_use]
    pub fn new(
        backend: &'static str,
        runtime: &'static str,
        options: &OpenOptions,
        geometry: IoGeometry,
        kernel_features: &[&'static str],
    ) -> Self {
        let direct = options.direct.then_some(DIRECT_NAME);
        Self {
            backend,
            runtime,
            io_mode: if options.direct { IoMode::Direct } else { IoMode::Buffered },
            queue_depth: options.queue_depth,
            bytes_in_flight_max: options.bytes_in_flight_max,
            device: options.device.clone(),
            geometry,
            lanes: false,
            kernel_features: kernel_features.iter().copied().chain(direct).collect(),
            choice: None,
        }
    }

    /// The budget of the file's device, or one of its own.
    pub(crate) fn budget(&self) -> DeviceBudget {
        let own = || DeviceBudget::new(self.queue_depth, self.bytes_in_flight_max);
        self.device.clone().unwrap_or_else(own)
    }
}

impl fmt::Display for BackendInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.backend, self.runtime, self.io_mode)?;
        if self.io_mode != IoMode::Mapped {
            write!(f, ", depth {}, {} KiB in flight", self.queue_depth, self.bytes_in_flight_max / 1024)?;
        }
        if !self.kernel_features.is_empty() {
            write!(f, ", {}", self.kernel_features.join(" + "))?;
        }
        write!(f, ")")?;
        self.choice.as_ref().map_or(Ok(()), |choice| write!(f, "; {choice}"))
    }
}

/// A backend opens readers and writers, and starts the executor they live on. Readers and writers need not be
/// `Send`.
///
/// It is cheap to clone and may cross threads. Give each core a clone, which opens that core's files.
pub trait BackendFactory: Clone + Send + Sync + 'static {
    /// Reads one file.
    type Reader: VectorReader + 'static;
    /// Writes one file.
    type Writer: PageWriter + 'static;

    /// The name that users select the backend by.
    fn name(&self) -> &'static str;

    /// The file system that [`BackendFactory::open`] and [`BackendFactory::create`] find their files on.
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(StdDirectory)
    }

    /// Starts an executor on this thread and runs `main` on it. Then waits for all operations that this
    /// thread has in flight, also if `main` panics.
    ///
    /// # Errors
    /// [`StartError`], before `main` is called.
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future;

    /// Starts a thread of this name for `work`, and does not wait for it. `work` may call
    /// [`BackendFactory::run`].
    ///
    /// A backend may keep such a thread with its executor after `work` has returned. The thread then takes
    /// the next work of the same name.
    ///
    /// # Errors
    /// The system's error. `work` is dropped then.
    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(work).map(drop)
    }

    /// Opens an existing file for reading. Call it inside [`BackendFactory::run`].
    ///
    /// # Errors
    /// [`OpenError`]. No option is silently ignored.
    fn open(
        &self,
        path: &Path,
        options: &OpenOptions,
    ) -> impl Future<Output = Result<Self::Reader, OpenError>>;

    /// Creates an empty file and opens it for writing. An existing one is an error. Call it inside
    /// [`BackendFactory::run`].
    ///
    /// # Errors
    /// [`OpenError`].
    fn create(
        &self,
        path: &Path,
        options: &OpenOptions,
    ) -> impl Future<Output = Result<Self::Writer, OpenError>>;
}

/// The object-safe form of [`BackendFactory`]. Every backend implements it.
trait DynBackendFactory: Send + Sync {
    /// As [`BackendFactory::name`].
    fn name_dyn(&self) -> &'static str;

    /// As [`BackendFactory::directory`].
    fn directory_dyn(&self) -> Arc<dyn Directory>;

    /// As [`BackendFactory::run`]. `main` stores its result itself.
    ///
    /// # Errors
    /// [`StartError`].
    fn run_dyn<'a>(&self, main: Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>) -> Result<(), StartError>;

    /// As [`BackendFactory::spawn_thread`].
    ///
    /// # Errors
    /// The system's error.
    fn spawn_thread_dyn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    /// As [`BackendFactory::open`].
    fn open_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> LocalBoxFuture<'a, Result<Box<dyn DynVectorReader>, OpenError>>;

    /// As [`BackendFactory::create`].
    fn create_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> LocalBoxFuture<'a, Result<Box<dyn DynPageWriter>, OpenError>>;
}

impl<B: BackendFactory> DynBackendFactory for B {
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

    fn open_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> LocalBoxFuture<'a, Result<Box<dyn DynVectorReader>, OpenError>> {
        Box::pin(async move {
            let reader: Box<dyn DynVectorReader> = Box::new(self.open(path, options).await?);
            Ok(reader)
        })
    }

    fn create_dyn<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> LocalBoxFuture<'a, Result<Box<dyn DynPageWriter>, OpenError>> {
        Box::pin(async move {
            let writer: Box<dyn DynPageWriter> = Box::new(self.create(path, options).await?);
            Ok(writer)
        })
    }
}

/// A backend chosen at run time. Code generic over [`BackendFactory`] takes it like any other, compiled only
/// once.
#[derive(Clone)]
pub struct DynBackend(Arc<dyn DynBackendFactory>);

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

impl BackendFactory for DynBackend {
    type Reader = Box<dyn DynVectorReader>;
    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name_dyn()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        self.0.directory_dyn()
    }

    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let mut output = None;
        let slot = &mut output;
        self.0.run_dyn(Box::new(move || Box::pin(async move { *slot = Some(main().await) })))?;
        Ok(output.expect("an executor that ran to its end has run `main` to its end"))
    }

    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.0.spawn_thread_dyn(name, work)
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.0.open_dyn(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create_dyn(path, options).await
    }
}
