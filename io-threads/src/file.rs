//! Files opened for the threads: one physical read, one physical write, sync.

#[cfg(target_os = "linux")]
use crate::cached::Cached;
use crate::open_file::OpenFile;
use crate::operation::{Kind, Operation};
use crate::pool::{NAME, Pool, RUNTIME};
use bytes::Bytes;
use io_core::backend::{Kept, PageSink, PageSource, PendingPage, Permit, SharedPage, fork, open_std};
use io_core::{BackendInfo, FileInfo, IoGeometry, LocalBoxFuture, OpenError, OpenOptions, SyncKind};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open file until it is closed, and what is known about it.
struct Handle {
    file: Mutex<Option<Arc<OpenFile>>>,
    pool: Arc<Pool>,
    file_info: FileInfo,
    info: BackendInfo,
}

impl Handle {
    fn new(
        pool: Arc<Pool>,
        (file, file_info, geometry): (File, FileInfo, IoGeometry),
        options: &OpenOptions,
        features: &[&'static str],
    ) -> Self {
        let info = BackendInfo::new(NAME, RUNTIME, options, geometry, features);
        // A background write must end on the disk. Only Linux can send some pages of a file there.
        let info = info.with_lanes(options.direct || cfg!(target_os = "linux"));
        let file = OpenFile::new(file, Arc::clone(&pool), options);
        Self { file: Mutex::new(Some(Arc::new(file))), pool, file_info, info }
    }

    fn page(&self, len: usize) -> SharedPage {
        self.pool.buffers.page(len)
    }

    fn lost(&self) -> Option<io::Error> {
        self.pool.team.is_of_another_process().then(fork::lost)
    }

    /// The file, for an operation to keep until it ends.
    fn file(&self) -> io::Result<Arc<OpenFile>> {
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        // Nothing panics while the lock is held.
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.clone().ok_or_else(|| io::Error::other("the file is closed"))
    }

    fn start(
        &self,
        file: io::Result<Arc<OpenFile>>,
        kind: Kind,
        page: SharedPage,
        permit: Option<Permit>,
    ) -> PendingPage {
        let lane = permit.as_ref().map_or(self.info.lane, Permit::lane);
        let (pending, page) = page.start(permit);
        match file {
            Ok(file) => self.pool.team.submit(Operation { kind, lane, file, page }),
            Err(error) => page.finish(Err(error)),
        }
        pending
    }

    /// Runs an operation that needs no buffer.
    async fn run(&self, kind: Kind) -> io::Result<()> {
        let (result, _) = self.start(self.file(), kind, self.page(0), None).await;
        result.map(drop)
    }

    /// Closes the file, once the last operation has ended. A second call does nothing.
    fn close(&self) -> io::Result<()> {
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

/// Reads one file through the threads.
pub struct ThreadsSource {
    handle: Handle,
    /// `None` for files whose bytes do not come from the page cache.
    #[cfg(target_os = "linux")]
    cached: Option<Cached>,
}

impl ThreadsSource {
    pub(crate) fn open(pool: Arc<Pool>, path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        let opened = open_std(path, options)?;
        let asks_cache = cfg!(target_os = "linux") && !options.direct;
        let features: &[_] = if asks_cache { &["RWF_NOWAIT"] } else { &[] };
        Ok(Self {
            handle: Handle::new(pool, opened, options, features),
            #[cfg(target_os = "linux")]
            cached: asks_cache.then(Cached::new),
        })
    }

    /// Reads on this thread if the bytes are in the page cache. Returns the page unread otherwise.
    #[cfg(target_os = "linux")]
    fn read_cached(
        &self,
        file: &OpenFile,
        offset: u64,
        mut page: SharedPage,
    ) -> Result<SharedPage, SharedPage> {
        let Some(bytes) = self.cached.as_ref().and_then(|cached| cached.read(file.std(), &mut page, offset))
        else {
            return Err(page);
        };
        page.truncate(bytes);
        Ok(page)
    }

    #[cfg(not(target_os = "linux"))]
    fn read_cached(
        &self,
        _file: &OpenFile,
        _offset: u64,
        page: SharedPage,
    ) -> Result<SharedPage, SharedPage> {
        Err(page)
    }
}

impl PageSource for ThreadsSource {
    type Page = SharedPage;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<SharedPage>, Permit)> + 'static {
        let (file, page) = (self.handle.file(), self.handle.page(len as usize));
        let page = match &file {
            Ok(file) => self.read_cached(file, offset, page),
            Err(_) => Err(page),
        };
        let read = match page {
            Ok(page) => Ok((page, permit)),
            Err(page) => Err(self.handle.start(file, Kind::Read(offset), page, Some(permit))),
        };
        async move {
            match read {
                Ok((page, permit)) => (Ok(page), permit),
                Err(pending) => pending.with_permit().await,
            }
        }
    }

    fn share(page: SharedPage, kept: Kept) -> Result<Bytes, SharedPage> {
        Ok(kept.over(page))
    }

    /// Operations go on without their futures, and keep their permits.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        drop(task);
    }

    fn lost(&self) -> Option<io::Error> {
        self.handle.lost()
    }

    fn file(&self) -> &FileInfo {
        &self.handle.file_info
    }

    fn info(&self) -> &BackendInfo {
        &self.handle.info
    }

    async fn close(&self) -> io::Result<()> {
        self.handle.close()
    }
}

/// Writes one file through the threads.
pub struct ThreadsSink(Handle);

impl ThreadsSink {
    /// Over a file that `create_std` or `open_std_for_writing` opened.
    pub(crate) fn new(pool: Arc<Pool>, opened: (File, FileInfo, IoGeometry), options: &OpenOptions) -> Self {
        Self(Handle::new(pool, opened, options, &[]))
    }
}

impl PageSink for ThreadsSink {
    type Buffer = SharedPage;

    fn buffer(&self, len: usize) -> SharedPage {
        self.0.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: SharedPage,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let pending = self.0.start(self.0.file(), Kind::Write(offset), buffer, Some(permit));
        async move {
            let (written, permit) = pending.with_permit().await;
            (written.map(|page| page.len()), permit)
        }
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        self.0.run(Kind::Sync(kind)).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.run(Kind::SetLen(len)).await
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        drop(task);
    }

    fn lost(&self) -> Option<io::Error> {
        self.0.lost()
    }

    fn file(&self) -> &FileInfo {
        &self.0.file_info
    }

    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
