//! Options of opening a file, and the part of opening that all backends share.

#[cfg(unix)]
use crate::IoGeometry;
use crate::OpenError;
use crate::gate::{DeviceBudget, ReadLimits};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How bytes come from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoMode {
    /// Copied from the page cache.
    Buffered,
    /// Past the page cache: `O_DIRECT`.
    Direct,
    /// The page cache itself, mapped.
    Mapped,
}

impl fmt::Display for IoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Direct => "O_DIRECT",
            Self::Mapped => "mapped",
        })
    }
}

/// The access pattern that the kernel is told to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessPattern {
    /// The kernel's usual read-ahead.
    Normal,
    /// No read-ahead, because requests are scattered. The default, since vectors are read by offset.
    #[default]
    Random,
    /// Much read-ahead.
    Sequential,
}

/// The priority of a file's operations.
///
/// `io-ring` has lanes, and its documentation says what they do. The other backends ignore the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// A caller waits, such as a search for its reads or a change for its journal. The default.
    #[default]
    Foreground,
    /// No caller waits, as when segments are written or merged. It delays the other lane by one slice at
    /// most.
    Background,
}

/// How to open or create a file.
///
/// ```
/// use io_core::OpenOptions;
///
/// let options = OpenOptions { direct: true, queue_depth: 128, ..OpenOptions::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Bypass the page cache (`O_DIRECT`), or fail. Without it, files are buffered or mapped.
    pub direct: bool,
    /// Maximum of physical operations in flight.
    pub queue_depth: u32,
    /// Maximum of bytes in flight.
    pub bytes_in_flight_max: u64,
    /// The budget of the device, which files share. [`OpenOptions::on_device`] sets it.
    pub device: Option<DeviceBudget>,
    /// No physical operation is longer than this many bytes. It is a multiple of 4096, up to 1 GiB.
    pub read_size_max: u32,
    /// Two neighbours become one read if at most this many unwanted bytes lie between them.
    pub gap_max: u32,
    /// Bring the whole file into the page cache on opening. Not together with `direct`.
    pub populate: bool,
    /// The access pattern that the kernel is told to expect.
    pub access: AccessPattern,
    /// The priority of operations, where the backend has lanes.
    pub lane: Lane,
}

impl Default for OpenOptions {
    /// Buffered, 32 deep, 8 MiB in flight, reads of up to 256 KiB, gaps of up to 4 KiB, random access,
    /// foreground.
    fn default() -> Self {
        Self {
            direct: false,
            queue_depth: 32,
            bytes_in_flight_max: 8 << 20,
            device: None,
            read_size_max: 256 << 10,
            gap_max: 4096,
            populate: false,
            access: AccessPattern::Random,
            lane: Lane::Foreground,
        }
    }
}

impl OpenOptions {
    /// The defaults with `O_DIRECT`.
    #[must_use]
    pub fn direct() -> Self {
        Self { direct: true, ..Self::default() }
    }

    /// The same options within the depth and the bytes of `device`, which other files share.
    ///
    /// A memory map has no budget, since the kernel reads its pages.
    #[must_use]
    pub fn on_device(self, device: &DeviceBudget) -> Self {
        let ReadLimits { queue_depth, bytes_in_flight_max } = device.limits();
        Self { queue_depth, bytes_in_flight_max, device: Some(device.clone()), ..self }
    }

    /// Checks that the options make sense together.
    ///
    /// # Errors
    /// [`OpenError::BadOptions`] with what to change.
    pub fn check(&self) -> Result<(), OpenError> {
        let own = ReadLimits { queue_depth: self.queue_depth, bytes_in_flight_max: self.bytes_in_flight_max };
        let problem = if self.device.as_ref().is_some_and(|device| device.limits() != own) {
            "the depth and the bytes differ from those of the device: set all three with `on_device`"
                .to_owned()
        } else if self.queue_depth == 0 || self.queue_depth > 4096 {
            format!("queue_depth is {}; it must be from 1 to 4096", self.queue_depth)
        } else if !(4096..=1 << 30).contains(&self.read_size_max) || !self.read_size_max.is_multiple_of(4096)
        {
            format!(
                "read_size_max is {}; it must be a multiple of 4096, from 4096 to 1073741824",
                self.read_size_max
            )
        } else if self.bytes_in_flight_max < u64::from(self.read_size_max) {
            format!(
                "bytes_in_flight_max ({}) is less than read_size_max ({}), so that the largest read could never start",
                self.bytes_in_flight_max, self.read_size_max
            )
        } else if self.populate && self.direct {
            "populate fills the page cache, which direct reads do not use; choose one".to_owned()
        } else {
            return Ok(());
        };
        Err(OpenError::BadOptions(problem))
    }
}

/// An open file, as readers and writers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The path that was opened.
    pub path: Arc<Path>,
    /// Length when it was opened, in bytes. A file being written has 0.
    pub len: u64,
}

#[cfg(unix)]
pub use unix::{create_std, open_std};

#[cfg(unix)]
mod unix {
    use super::{AccessPattern, FileInfo, IoGeometry, OpenError, OpenOptions, Path};
    use crate::regular::{self, Links};
    #[cfg(target_os = "linux")]
    use rustix::fs::OFlags;
    use rustix::io::Errno;
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;

    /// Opens an existing regular file for reading. Checks the options, finds the length and the alignment,
    /// and gives the advice. Refuses a symbolic link, as [`Links::Refuse`] does.
    ///
    /// # Errors
    /// [`OpenError`]. A read of the first block checks `O_DIRECT`, since some file systems accept the flag
    /// and refuse the read.
    pub fn open_std(path: &Path, options: &OpenOptions) -> Result<(File, FileInfo, IoGeometry), OpenError> {
        options.check()?;
        let flags = direct_flag(path, options)?;
        let opened = regular::open(path, Links::Refuse, File::options().read(true), flags);
        let file = opened.map_err(|error| explain(path, options, error.into_open_error(path)))?;
        let metadata = file.metadata().map_err(|error| OpenError::io(path, error))?;
        let align = if options.direct { direct_align(path, &file)? } else { BUFFERED };
        if options.direct && metadata.len() > 0 {
            probe_direct_read(path, &file)?;
        }
        advise(path, &file, options)?;
        Ok((file, FileInfo { path: path.into(), len: metadata.len() }, geometry(options, align)))
    }

    /// Creates a file for writing. An existing entry of its name is an error, also a symbolic link.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn create_std(path: &Path, options: &OpenOptions) -> Result<(File, FileInfo, IoGeometry), OpenError> {
        options.check()?;
        let flags = direct_flag(path, options)?;
        let mut how = fs::OpenOptions::new();
        how.read(true).write(true).create_new(true).mode(0o644).custom_flags(flags);
        let file = how.open(path).map_err(|error| explain(path, options, OpenError::io(path, error)))?;
        let align = if options.direct { direct_align(path, &file)? } else { BUFFERED };
        Ok((file, FileInfo { path: path.into(), len: 0 }, geometry(options, align)))
    }

    /// Offsets and memory addresses are multiples of these. Both are 1 for buffered files.
    #[derive(Clone, Copy)]
    struct DirectAlign {
        offset: u32,
        memory: u32,
    }

    fn geometry(options: &OpenOptions, align: DirectAlign) -> IoGeometry {
        IoGeometry {
            offset_align: align.offset,
            memory_align: align.memory,
            read_size_max: options.read_size_max,
            gap_max: options.gap_max,
        }
    }

    const BUFFERED: DirectAlign = DirectAlign { offset: 1, memory: 1 };

    /// Recognizes the EINVAL of open(2) on a file system without `O_DIRECT`.
    fn explain(path: &Path, options: &OpenOptions, error: OpenError) -> OpenError {
        match &error {
            OpenError::Io { source, .. }
                if options.direct && Errno::from_io_error(source) == Some(Errno::INVAL) =>
            {
                refused(path, "open says EINVAL".to_owned())
            }
            _ => error,
        }
    }

    #[cfg(target_os = "linux")]
    fn direct_flag(_path: &Path, options: &OpenOptions) -> Result<i32, OpenError> {
        Ok(if options.direct { OFlags::DIRECT.bits().cast_signed() } else { 0 })
    }

    #[cfg(not(target_os = "linux"))]
    fn direct_flag(path: &Path, options: &OpenOptions) -> Result<i32, OpenError> {
        if options.direct {
            return Err(refused(path, "this system has none".to_owned()));
        }
        Ok(0)
    }

    fn refused(path: &Path, reason: String) -> OpenError {
        OpenError::DirectRefused { path: path.to_owned(), reason }
    }

    #[cfg(target_os = "linux")]
    fn direct_align(path: &Path, file: &File) -> Result<DirectAlign, OpenError> {
        use rustix::fs::{AtFlags, StatxFlags};
        // Kernels before 6.1 do not report the alignment. A whole page suits every device.
        const PAGE: DirectAlign = DirectAlign { offset: 4096, memory: 4096 };
        let Ok(stat) = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
            return Ok(PAGE);
        };
        if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            return Ok(PAGE);
        }
        if stat.stx_dio_offset_align == 0 {
            return Err(refused(path, "statx says it has no direct IO for this file".to_owned()));
        }
        Ok(DirectAlign { offset: stat.stx_dio_offset_align, memory: stat.stx_dio_mem_align })
    }

    #[cfg(not(target_os = "linux"))]
    fn direct_align(path: &Path, _file: &File) -> Result<DirectAlign, OpenError> {
        Err(refused(path, "this system has none".to_owned()))
    }

    /// Some file systems accept the flag and refuse the read.
    fn probe_direct_read(path: &Path, file: &File) -> Result<(), OpenError> {
        use std::os::unix::fs::FileExt;
        let mut block = crate::buffer::new_block(crate::buffer::BLOCK_BYTES);
        match file.read_at(&mut block, 0) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(refused(path, "a read says EINVAL".to_owned()))
            }
            Err(error) => Err(OpenError::io(path, error)),
        }
    }

    #[cfg(target_os = "linux")]
    fn advise(path: &Path, file: &File, options: &OpenOptions) -> Result<(), OpenError> {
        use rustix::fs::{Advice, fadvise};
        let pattern = match options.access {
            AccessPattern::Normal => Advice::Normal,
            AccessPattern::Random => Advice::Random,
            AccessPattern::Sequential => Advice::Sequential,
        };
        let advised = fadvise(file, 0, None, pattern);
        let populated = if options.populate { read_through(file) } else { Ok(()) };
        advised.map_err(io::Error::from).and(populated).map_err(|error| OpenError::io(path, error))
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(path: &Path, file: &File, options: &OpenOptions) -> Result<(), OpenError> {
        let _ = AccessPattern::Normal;
        if options.populate {
            return read_through(file).map_err(|error| OpenError::io(path, error));
        }
        Ok(())
    }

    const CHUNK: u64 = 1 << 20;

    /// Tells the kernel that the next bytes will be needed, in pieces. The kernel reads no more of a piece
    /// than its read-ahead, or one request of the device.
    #[cfg(target_os = "linux")]
    fn announce(file: &File, offset: u64) {
        use rustix::fs::{Advice, fadvise};
        const PIECE: std::num::NonZeroU64 = std::num::NonZeroU64::new(128 << 10).expect("not zero");
        for piece in (offset..offset + CHUNK).step_by(PIECE.get() as usize) {
            // This is only advice. The read reports what is wrong with a file.
            let _ = fadvise(file, piece, Some(PIECE), Advice::WillNeed);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn announce(_file: &File, _offset: u64) {}

    /// Brings the whole file into the page cache. Reading guarantees that, even if the kernel ignores the
    /// advice. The advice keeps many reads in flight, even if the kernel's read-ahead is short.
    fn read_through(file: &File) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut chunk = vec![0; CHUNK as usize];
        let mut offset = 0;
        loop {
            announce(file, offset);
            match file.read_at(&mut chunk, offset) {
                Ok(0) => return Ok(()),
                Ok(bytes) => offset += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
