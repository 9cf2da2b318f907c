//! Reading and writing the files of a simulated disk.

use super::SimulatedDisk;
use super::state::{Change, Fate, Operation};
use crate::backend::{
    BufferPool, Kept, Page, PageSink, PageSource, PagedReader, PagedWriter, Permit, run_to_drain,
};
use crate::testing::executor;
use crate::{
    BackendInfo, Directory, Executor, FileInfo, FileSystem, LocalBoxFuture, OpenError, OpenOptions,
    StartError, SyncKind,
};
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "simulated";

impl FileSystem for SimulatedDisk {
    type Reader = PagedReader<SimulatedSource>;

    type Writer = PagedWriter<SimulatedSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.clone())
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        check_inside()?;
        options.check()?;
        let (node, len) = self.find(path)?;
        Ok(PagedReader::new(SimulatedSource(self.file(node, path, len, options))))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        options.check()?;
        let mut state = self.lock();
        let created =
            state.operation(Operation::NewName).and_then(|fate| fate.answer(state.create(path, false)?));
        let node = created.map_err(|error| OpenError::io(path, error))?;
        drop(state);
        Ok(PagedWriter::new(SimulatedSink(self.file(node, path, 0, options))))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        options.check()?;
        let (node, len) = self.find(path)?;
        Ok(PagedWriter::new(SimulatedSink(self.file(node, path, len, options))))
    }
}

impl Executor for SimulatedDisk {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let _entered = executor::Entered::new(self.seed, NAME)?;
        Ok(executor::block_on(run_to_drain(main())))
    }
}

fn check_inside() -> Result<(), OpenError> {
    let wrong = OpenError::WrongExecutor { backend: NAME, run: "SimulatedDisk::run" };
    if executor::is_entered() { Ok(()) } else { Err(wrong) }
}

impl SimulatedDisk {
    /// A file and its length.
    fn find(&self, path: &Path) -> Result<(usize, u64), OpenError> {
        let mut state = self.lock();
        let opened = state.operation(Operation::Other).and_then(|fate| {
            let node = state.node(path)?;
            fate.answer((node, state.file(node)?.len() as u64))
        });
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => {
                OpenError::NotAFile { path: path.to_owned(), found: "a directory" }
            }
            _ => OpenError::io(path, error),
        })
    }

    fn file(&self, node: usize, path: &Path, len: u64, options: &OpenOptions) -> OpenFile {
        OpenFile {
            disk: self.clone(),
            node,
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            file: FileInfo::new(path, len),
            info: executor::info(NAME, options),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    disk: SimulatedDisk,
    node: usize,
    pool: BufferPool,
    file: FileInfo,
    info: BackendInfo,
}

/// A file of a simulated disk, for reading. It stays readable when its name is removed.
#[derive(Debug)]
pub struct SimulatedSource(OpenFile);

impl PageSource for SimulatedSource {
    type Page = Page;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Page>, Permit)> + 'static {
        let (disk, node, pool) = (self.0.disk.clone(), self.0.node, self.0.pool.clone());
        permit.over(async move {
            let mut page = pool.page(len as usize);
            executor::completion().await;
            let mut state = disk.lock();
            let fate = state.operation(Operation::Transfer { needs_space: false })?;
            let from = state.file(node)?.get(offset as usize..).unwrap_or_default();
            let mut taken = from.len().min(len as usize);
            if fate == Fate::Short && taken > 1 {
                taken /= 2;
            }
            page[..taken].copy_from_slice(&from[..taken]);
            fate.answer(page.into_kernel().completed(taken))
        })
    }

    fn share(page: Page, kept: Kept) -> Result<Bytes, Page> {
        Ok(kept.over(page))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        executor::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.0.file
    }

    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of a simulated disk, for writing.
#[derive(Debug)]
pub struct SimulatedSink(OpenFile);

impl PageSink for SimulatedSink {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.0.pool.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: Page,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let (disk, node, align) =
            (self.0.disk.clone(), self.0.node, self.0.info.geometry.offset_align as usize);
        permit.over(async move {
            executor::completion().await;
            let mut state = disk.lock();
            let fate = state.operation(Operation::Transfer { needs_space: true })?;
            let half = buffer.len() / 2 / align * align;
            let taken = if fate == Fate::Short && half > 0 { half } else { buffer.len() };
            state.apply(Change::Write { node, offset: offset as usize, bytes: buffer[..taken].into() });
            fate.answer(taken)
        })
    }

    async fn sync(&self, _kind: SyncKind) -> io::Result<()> {
        executor::completion().await;
        self.0.disk.lock().sync_node(self.0.node)
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.disk.lock();
        let fate = state.operation(Operation::Other)?;
        state.apply(Change::SetLen { node: self.0.node, len: len as usize });
        fate.answer(())
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        executor::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.0.file
    }

    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
