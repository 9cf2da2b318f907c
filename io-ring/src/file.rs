//! Files opened for the ring: one physical read, one physical write, sync.

use crate::open_file::OpenFile;
use crate::operation::{Ended, Idle, Kind, Order, Pending};
use crate::ring::{NAME, RUNTIME, Ring};
use bytes::Bytes;
use io_core::backend::{Kept, PageSink, PageSource, Permit, fork, open_std};
use io_core::{BackendInfo, FileInfo, IoGeometry, LocalBoxFuture, OpenError, OpenOptions, SyncKind};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file and what is known about it.
struct Handle {
    file: Arc<OpenFile>,
    file_info: FileInfo,
    info: BackendInfo,
}

impl Handle {
    fn new(ring: Arc<Ring<OpenFile>>, opened: (File, FileInfo, IoGeometry), options: &OpenOptions) -> Self {
        let (file, file_info, geometry) = opened;
        let info = BackendInfo::new(NAME, RUNTIME, options, geometry, ring.features());
        let info = info.with_lanes(true);
        Self { file: OpenFile::new(file, ring, options), file_info, info }
    }

    fn start(
        &self,
        idle: Idle<OpenFile>,
        kind: Kind,
        offset: u64,
        len: u32,
        permit: Option<Permit>,
    ) -> Pending<OpenFile> {
        let order = Order { kind, file: Arc::clone(&self.file), offset, len, permit };
        let (pending, running) = idle.start(Some(order));
        self.file.ring().submit(running);
        pending
    }

    fn lost(&self) -> Option<io::Error> {
        self.file.ring().is_of_another_process().then(fork::lost)
    }

    /// Runs an operation that needs no buffer.
    async fn run(&self, kind: Kind) -> io::Result<()> {
        let ended = self.start(self.file.pool().take(0), kind, 0, 0, None).ended().await;
        let result = ended.result.map(drop);
        if let Some(idle) = ended.idle {
            self.file.pool().put(idle);
        }
        result
    }
}

/// Bytes that were read or will be written. Dropping it returns the buffer to its ring's pool.
pub struct RingPage {
    /// `None` only while the page is dropped or handed in.
    idle: Option<Idle<OpenFile>>,
    len: usize,
    file: Arc<OpenFile>,
}

impl Deref for RingPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.idle.as_ref().map_or(&[], |idle| &idle.buffer()[..self.len])
    }
}

impl DerefMut for RingPage {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.idle.as_mut().map_or(&mut [], |idle| &mut idle.buffer_mut()[..self.len])
    }
}

impl Drop for RingPage {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.take() {
            self.file.pool().put(idle);
        }
    }
}

/// Reads one file through the ring.
pub struct RingSource(Handle);

impl RingSource {
    pub(crate) fn open(
        ring: Arc<Ring<OpenFile>>,
        path: &Path,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        Ok(Self(Handle::new(ring, open_std(path, options)?, options)))
    }
}

impl PageSource for RingSource {
    type Page = RingPage;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<RingPage>, Permit)> + 'static {
        let pending =
            self.0.start(self.0.file.pool().take(len as usize), Kind::Read, offset, len, Some(permit));
        async move {
            let Ended { result, idle, order } = pending.ended().await;
            let (file, permit) = returned(order);
            (result.map(|bytes| RingPage { idle, len: bytes as usize, file }), permit)
        }
    }

    fn share(page: RingPage, kept: Kept) -> Result<Bytes, RingPage> {
        Ok(kept.over(page))
    }

    /// Operations go on without their futures, and keep their permits.
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
        self.0.run(Kind::Close).await
    }
}

/// Takes the file and the permit out of the order of a read or write.
fn returned(order: Option<Order<OpenFile>>) -> (Arc<OpenFile>, Permit) {
    let Some(Order { file, permit: Some(permit), .. }) = order else {
        unreachable!("the order comes back as it was handed in")
    };
    (file, permit)
}

/// Writes one file through the ring.
pub struct RingSink {
    handle: Handle,
    /// io_uring has no ftruncate in the kernels we support, so a second descriptor does it. `None` once
    /// closed.
    for_len: Mutex<Option<File>>,
}

impl RingSink {
    /// Over a file that `create_std` or `open_std_for_writing` opened.
    pub(crate) fn new(
        ring: Arc<Ring<OpenFile>>,
        (file, file_info, geometry): (File, FileInfo, IoGeometry),
        path: &Path,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let for_len = file.try_clone().map_err(|error| OpenError::io(path, error))?;
        let handle = Handle::new(ring, (file, file_info, geometry), options);
        Ok(Self { handle, for_len: Mutex::new(Some(for_len)) })
    }

    fn for_len(&self) -> MutexGuard<'_, Option<File>> {
        // Nothing panics while the lock is held.
        self.for_len.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageSink for RingSink {
    type Buffer = RingPage;

    fn buffer(&self, len: usize) -> RingPage {
        let file = Arc::clone(&self.handle.file);
        RingPage { idle: Some(file.pool().take(len)), len, file }
    }

    fn write(
        &self,
        offset: u64,
        mut buffer: RingPage,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let len = buffer.len() as u32;
        let idle = buffer.idle.take().expect("a page has a buffer until it is handed in");
        let pending = self.handle.start(idle, Kind::Write, offset, len, Some(permit));
        async move {
            let Ended { result, idle, order } = pending.ended().await;
            let (file, permit) = returned(order);
            if let Some(idle) = idle {
                file.pool().put(idle);
            }
            (result.map(|bytes| bytes as usize), permit)
        }
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        self.handle.run(Kind::Sync(kind)).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        // The parent still has the file, and a thread that stayed behind may hold the lock.
        if let Some(lost) = self.handle.lost() {
            return Err(lost);
        }
        let for_len = self.for_len();
        for_len
            .as_ref()
            .map_or_else(|| Err(io::Error::from_raw_os_error(libc::EBADF)), |file| file.set_len(len))
    }

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
        drop(self.for_len().take());
        self.handle.run(Kind::Close).await
    }
}
