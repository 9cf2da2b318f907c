//! Options of opening a file, and the part of opening that all backends share.

mod advice;
mod direct;
mod std_file;

use crate::OpenError;
use crate::gate::{DeviceBudget, ReadLimits};
use crate::write_count::WriteCount;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use direct::NAME as DIRECT_NAME;
pub use std_file::{create_std, open_std, open_std_for_writing};

/// How bytes come from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoMode {
    /// Copied from the page cache.
    Buffered,
    /// Past the page cache: `O_DIRECT`, or what other systems have in its place.
    Direct,
    /// The page cache itself, mapped.
    Mapped,
}

impl fmt::Display for IoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Direct => DIRECT_NAME,
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
/// On every backend, the foreground goes before the background where both wait for a part of one
/// [`DeviceBudget`]. `io-ring` and `io-threads` have lanes besides, which also limit what the background has
/// in flight. The documentation of `io-ring` says how.
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
/// let options = OpenOptions::direct().with_queue_depth(128);
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Bypass the page cache, or fail. Without it, files are buffered or mapped.
    ///
    /// | system | how | offsets and lengths |
    /// |---|---|---|
    /// | Linux | `O_DIRECT` | as the file system says |
    /// | Apple's | `F_NOCACHE` | any; what is not aligned to pages still goes through the cache |
    /// | Windows | `FILE_FLAG_NO_BUFFERING` | multiples of 4096 |
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
    /// The defaults, past the page cache.
    #[must_use]
    pub fn direct() -> Self {
        Self { direct: true, ..Self::default() }
    }

    /// The same options, with the field [`direct`](#structfield.direct).
    #[must_use]
    pub fn with_direct(self, direct: bool) -> Self {
        Self { direct, ..self }
    }

    /// The same options, with [`OpenOptions::queue_depth`].
    #[must_use]
    pub fn with_queue_depth(self, queue_depth: u32) -> Self {
        Self { queue_depth, ..self }
    }

    /// The same options, with [`OpenOptions::bytes_in_flight_max`].
    #[must_use]
    pub fn with_bytes_in_flight_max(self, bytes_in_flight_max: u64) -> Self {
        Self { bytes_in_flight_max, ..self }
    }

    /// The same options, with [`OpenOptions::read_size_max`].
    #[must_use]
    pub fn with_read_size_max(self, read_size_max: u32) -> Self {
        Self { read_size_max, ..self }
    }

    /// The same options, with [`OpenOptions::gap_max`].
    #[must_use]
    pub fn with_gap_max(self, gap_max: u32) -> Self {
        Self { gap_max, ..self }
    }

    /// The same options, with [`OpenOptions::populate`].
    #[must_use]
    pub fn with_populate(self, populate: bool) -> Self {
        Self { populate, ..self }
    }

    /// The same options, with [`OpenOptions::access`].
    #[must_use]
    pub fn with_access(self, access: AccessPattern) -> Self {
        Self { access, ..self }
    }

    /// The same options, with [`OpenOptions::lane`].
    #[must_use]
    pub fn with_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
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
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileInfo {
    /// The path that was opened.
    pub path: Arc<Path>,
    /// Length when it was opened, in bytes. A file being written has 0 when it is new.
    pub len: u64,
    /// The writes of the file by this process.
    pub(crate) writes: WriteCount,
}

impl FileInfo {
    /// A file that nobody else has open.
    #[must_use]
    pub fn new(path: impl Into<Arc<Path>>, len: u64) -> Self {
        Self { path: path.into(), len, writes: WriteCount::default() }
    }

    /// A file of the system. Its readers and writers in this process know of each other.
    ///
    /// # Errors
    /// The system's error.
    pub fn of(file: &File, path: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let writes = WriteCount::of(&metadata, path)?;
        Ok(Self { path: path.into(), len: metadata.len(), writes })
    }
}

/// Two are equal if they name the same path and length.
impl PartialEq for FileInfo {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, self.len) == (&other.path, other.len)
    }
}

impl Eq for FileInfo {}
