//! Files opened for glommio: one physical read, one physical write, sync.

use crate::device::read_bytes_max;
use crate::runtime::{NAME, RUNTIME, os_error, spawn};
use glommio::GlommioError;
use glommio::io::{BufferedFile, DmaBuffer, DmaFile, OpenOptions as GlommioOptions, ReadResult};
use io_core::backend::Handle;
use io_core::backend::{PageSink, PageSource, PagedReader, PagedWriter, Permit, open_std, woken};
use io_core::{BackendInfo, FileInfo, IoGeometry, LocalBoxFuture, OpenError, OpenOptions, SyncKind};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::Path;

enum GlommioFile {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

impl GlommioFile {
    /// Opens the file behind `opened` once more, even if another file has taken its name.
    async fn open(opened: &File, path: &Path, write: bool, options: &OpenOptions) -> Result<Self, OpenError> {
        let same = format!("/proc/{}/fd/{}", std::process::id(), opened.as_raw_fd());
        let mut how = GlommioOptions::new();
        how.read(!write).write(write);
        let failed = |error: GlommioError<()>| OpenError::io(path, os_error(error));
        if !options.direct {
            return Ok(Self::Buffered(how.buffered_open(&same).await.map_err(failed)?));
        }
        let file = how.dma_open(&same).await.map_err(failed)?;
        // glommio falls back to buffered reads silently if it does not expect O_DIRECT of the file system.
        if !is_direct(&file).map_err(|error| OpenError::io(path, error))? {
            let reason = "glommio opened it buffered".to_owned();
            return Err(OpenError::DirectRefused { path: path.to_owned(), reason });
        }
        Ok(Self::Direct(file))
    }

    async fn close(self) -> io::Result<()> {
        match self {
            Self::Direct(file) => file.close().await.map_err(os_error),
            Self::Buffered(file) => file.close().await.map_err(os_error),
        }
    }
}

/// Whether the open file really has `O_DIRECT`.
fn is_direct(file: &DmaFile) -> io::Result<bool> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags = flags.and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or(0);
    Ok(flags & rustix::fs::OFlags::DIRECT.bits() != 0)
}

/// The handle of a file. Its reads keep to the alignment of glommio and the longest read of the device.
fn handle(
    file: GlommioFile,
    std: &File,
    file_info: FileInfo,
    mut geometry: IoGeometry,
    options: &OpenOptions,
) -> Handle<GlommioFile> {
    if let GlommioFile::Direct(file) = &file {
        let align = u32::try_from(file.alignment()).unwrap_or(4096);
        geometry.offset_align = geometry.offset_align.max(align);
        geometry.memory_align = geometry.memory_align.max(align);
        if let Some(device_max) = read_bytes_max(std) {
            let whole = device_max / geometry.offset_align * geometry.offset_align;
            geometry.read_size_max = geometry.read_size_max.min(whole.max(geometry.offset_align));
        }
    }
    let info = BackendInfo::new(NAME, RUNTIME, options, geometry, &["io_uring"]);
    Handle::new(file, file_info, info)
}

pub(crate) async fn open_reader(
    path: &Path,
    options: &OpenOptions,
) -> Result<PagedReader<GlommioSource>, OpenError> {
    let (std, file_info, geometry) = open_std(path, options)?;
    let file = GlommioFile::open(&std, path, false, options).await?;
    Ok(PagedReader::new(GlommioSource(handle(file, &std, file_info, geometry, options))))
}

/// A writer of a file that `create_std` or `open_std_for_writing` opened.
pub(crate) async fn writer(
    (std, file_info, geometry): (File, FileInfo, IoGeometry),
    path: &Path,
    options: &OpenOptions,
) -> Result<PagedWriter<GlommioSink>, OpenError> {
    let file = GlommioFile::open(&std, path, true, options).await?;
    let handle = handle(file, &std, file_info, geometry, options);
    Ok(PagedWriter::new(GlommioSink { handle, std }))
}

/// Reads one file through the rings of this thread.
pub struct GlommioSource(Handle<GlommioFile>);

impl PageSource for GlommioSource {
    type Page = ReadResult;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<ReadResult>, Permit)> + 'static {
        let file = self.0.file();
        let read = async move {
            let read = match &*file? {
                GlommioFile::Direct(file) => file.read_at_aligned(offset, len as usize).await,
                GlommioFile::Buffered(file) => file.read_at(offset, len as usize).await,
            };
            read.map_err(os_error)
        };
        permit.over(woken(read, spawn))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }

    fn file(&self) -> &FileInfo {
        self.0.file_info()
    }

    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn close(&self) -> io::Result<()> {
        woken(self.0.close(GlommioFile::close), spawn).await
    }
}

/// Memory that glommio writes from.
pub enum GlommioBuffer {
    /// For direct files.
    Dma(DmaBuffer),
    /// For buffered files.
    Heap(Vec<u8>),
}

impl Deref for GlommioBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Dma(buffer) => buffer.as_bytes(),
            Self::Heap(buffer) => buffer,
        }
    }
}

impl DerefMut for GlommioBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Dma(buffer) => buffer.as_bytes_mut(),
            Self::Heap(buffer) => buffer,
        }
    }
}

/// Writes one file through the rings of this thread.
pub struct GlommioSink {
    handle: Handle<GlommioFile>,
    /// For fsync and ftruncate, which glommio does not have. They block.
    std: File,
}

impl PageSink for GlommioSink {
    type Buffer = GlommioBuffer;

    fn buffer(&self, len: usize) -> GlommioBuffer {
        match self.handle.file().as_deref() {
            Ok(GlommioFile::Direct(file)) => {
                let mut buffer = file.alloc_dma_buffer(len);
                buffer.trim_to_size(len);
                GlommioBuffer::Dma(buffer)
            }
            // A closed file gets a buffer too. Writing it then fails.
            Ok(GlommioFile::Buffered(_)) | Err(_) => GlommioBuffer::Heap(vec![0; len]),
        }
    }

    fn write(
        &self,
        offset: u64,
        buffer: GlommioBuffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let file = self.handle.file();
        let write = async move {
            match (&*file?, buffer) {
                (GlommioFile::Direct(file), GlommioBuffer::Dma(buffer)) => {
                    file.write_at(buffer, offset).await.map_err(os_error)
                }
                (GlommioFile::Buffered(file), GlommioBuffer::Heap(buffer)) => {
                    file.write_at(buffer, offset).await.map_err(os_error)
                }
                _ => Err(io::Error::other("a buffer of another file")),
            }
        };
        permit.over(woken(write, spawn))
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        let file = self.handle.file()?;
        let sync = async {
            match (&*file, kind) {
                (GlommioFile::Direct(file), SyncKind::Data) => file.fdatasync().await.map_err(os_error),
                (GlommioFile::Buffered(file), SyncKind::Data) => file.fdatasync().await.map_err(os_error),
                (_, SyncKind::All) => self.std.sync_all(),
            }
        };
        woken(sync, spawn).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.std.set_len(len)
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }

    fn file(&self) -> &FileInfo {
        self.handle.file_info()
    }

    fn info(&self) -> &BackendInfo {
        self.handle.info()
    }

    async fn close(&self) -> io::Result<()> {
        woken(self.handle.close(GlommioFile::close), spawn).await
    }
}
