//! Errors, one enum for each phase: starting an executor, opening, planning, reading, writing.
//!
//! An error prints only its own part. Its cause is its `source`. [`with_causes`](crate::with_causes) prints
//! both.

use crate::open::DIRECT_NAME;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A batch of requests that cannot be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A request reaches past the end of the file.
    #[error("request {index} asks for {len} bytes at offset {offset}, past the end at {file_len}")]
    PastEnd {
        /// Index in the batch.
        index: usize,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u32,
        /// Length of the file when it was opened, in bytes.
        file_len: u64,
    },
    /// More requests in one batch than a plan can index.
    #[error("a batch of {count} requests is too large: at most {} fit", u32::MAX)]
    TooManyRequests {
        /// Requests in the batch.
        count: usize,
    },
    /// A write without the alignment that the file needs.
    #[error(
        "write {index} ({len} bytes at offset {offset}) is not a multiple of {align} bytes, as {direct} needs",
        direct = DIRECT_NAME
    )]
    Misaligned {
        /// Index in the batch.
        index: usize,
        /// First byte to write.
        offset: u64,
        /// Bytes to write.
        len: usize,
        /// Offset and length must be multiples of this many bytes.
        align: u32,
    },
    /// Two writes of one batch touch the same bytes, so that the result would depend on their order.
    #[error("writes {first} and {second} of one batch overlap at offset {offset}")]
    Overlap {
        /// Index of one of them.
        first: usize,
        /// Index of the other.
        second: usize,
        /// First byte that both write.
        offset: u64,
    },
}

/// A batch of reads that failed. Requests delivered before stay delivered. [`ReadError::delivered`] counts
/// them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The batch could not be planned. Nothing was read or delivered.
    #[error("cannot read {}", file.display())]
    Plan {
        /// The file.
        file: Arc<Path>,
        /// The request at fault, and the reason.
        source: PlanError,
    },
    /// The device, the file system or the runtime reported an error.
    #[error("{}: reading request {index} ({len} bytes at offset {offset}) failed after {delivered} were delivered", file.display())]
    Io {
        /// The file.
        file: Arc<Path>,
        /// First request that the failed read served.
        index: usize,
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        len: u32,
        /// Requests delivered before.
        delivered: usize,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is shorter than when it was opened, because another process truncated it.
    #[error("{}: ends at offset {end}, inside request {index} ({len} bytes at offset {offset}): it was truncated after it was opened", file.display())]
    Truncated {
        /// The file.
        file: Arc<Path>,
        /// First request that could not be served.
        index: usize,
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        len: u32,
        /// The end of the file now, as far as the read saw it.
        end: u64,
        /// Requests delivered before.
        delivered: usize,
    },
    /// A read of a session did not end before its deadline. Batches end with
    /// [`BatchEnd::Deadline`](crate::BatchEnd::Deadline) instead.
    #[error("{}: request {index} ({len} bytes at offset {offset}) was not served before its deadline", file.display())]
    Deadline {
        /// The file.
        file: Arc<Path>,
        /// The request's tag.
        index: usize,
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        len: u32,
    },
    /// The reader has been closed.
    #[error("{}: the reader is closed", file.display())]
    Closed {
        /// The file.
        file: Arc<Path>,
    },
}

impl ReadError {
    /// Requests that had been delivered when the batch failed.
    #[must_use]
    pub fn delivered(&self) -> usize {
        match self {
            Self::Plan { .. } | Self::Closed { .. } | Self::Deadline { .. } => 0,
            Self::Io { delivered, .. } | Self::Truncated { delivered, .. } => *delivered,
        }
    }

    /// The same error, with the number of requests that were delivered before it.
    pub(crate) fn after(mut self, count: usize) -> Self {
        if let Self::Io { delivered, .. } | Self::Truncated { delivered, .. } = &mut self {
            *delivered = count;
        }
        self
    }

    /// The operating system's error number, where there is one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A batch of writes, or a sync, that failed. Writes that completed before may be on the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The batch could not be planned. Nothing was written.
    #[error("cannot write {}", file.display())]
    Plan {
        /// The file.
        file: Arc<Path>,
        /// The write at fault, and the reason.
        source: PlanError,
    },
    /// A physical write failed.
    #[error("{}: writing {len} bytes at offset {offset} failed after {bytes_written} bytes of the batch{}", file.display(), what_to_do(source))]
    Io {
        /// The file.
        file: Arc<Path>,
        /// First byte of the physical write.
        offset: u64,
        /// Its bytes.
        len: u32,
        /// Bytes of the batch that had been written.
        bytes_written: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A sync, a change of length or a close failed. Nothing may be assumed durable.
    #[error("{}: {operation} failed", file.display())]
    Finish {
        /// The file.
        file: Arc<Path>,
        /// The operation that failed.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The writer has been closed.
    #[error("{}: the writer is closed", file.display())]
    Closed {
        /// The file.
        file: Arc<Path>,
    },
}

/// A file that could not be opened or created as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused to open it.
    #[error("cannot open {}{}", path.display(), what_to_do(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Something else is in the place of a file.
    #[error("{} is {found}, not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// Its type: a directory, a pipe, a device, a symbolic link.
        found: &'static str,
    },
    /// The file system does not support direct IO, which is `O_DIRECT` on Linux.
    #[error("{}: its file system refuses {direct} ({reason}); open it buffered (leave out `direct`), or move it to a file system that has it, such as ext4 or xfs", path.display(), direct = DIRECT_NAME)]
    DirectRefused {
        /// The file.
        path: PathBuf,
        /// The sign of it, such as EINVAL from open(2).
        reason: String,
    },
    /// The backend does not support the request, on any system.
    #[error("{backend} cannot {what}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// The request, and what to do instead.
        what: String,
    },
    /// Options that contradict each other or are out of range.
    #[error("bad options: {0}")]
    BadOptions(String),
    /// The backend needs a ring that could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The backend was used outside the executor it needs.
    #[error(
        "{backend} was used outside its own executor: call it inside `{run}`, or inside a {backend} runtime you started on this thread"
    )]
    WrongExecutor {
        /// The backend's name.
        backend: &'static str,
        /// The call that starts the right executor.
        run: &'static str,
    },
}

/// The limit to raise, if the error says that the process or the system has reached one.
pub(crate) fn what_to_do(error: &io::Error) -> &'static str {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EFBIG: i32 = 27;
    match error.raw_os_error().filter(|_| cfg!(unix)) {
        Some(EMFILE) => " (raise the limit of open files, `ulimit -n`)",
        Some(ENFILE) => " (raise the system's limit of open files, `sysctl fs.file-max`)",
        Some(EFBIG) => " (raise the limit of file sizes, `ulimit -f`)",
        _ => "",
    }
}

impl OpenError {
    /// Wraps what the system said about `path`.
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// An executor that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel or a sandbox does not allow io_uring.
    #[error("{runtime} needs io_uring, and this system refuses it: {hint}")]
    IoUringRefused {
        /// The runtime.
        runtime: &'static str,
        /// What to check or change.
        hint: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Too little memory may be locked.
    #[error(
        "{runtime} cannot lock the memory its ring needs ({reason}): raise the limit (`ulimit -l unlimited`, or `memlock` in /etc/security/limits.conf; with containers, --ulimit memlock=-1)"
    )]
    LockedMemory {
        /// The runtime.
        runtime: &'static str,
        /// The message of the runtime or the system.
        reason: String,
    },
    /// The process or the system has reached its limit of open files.
    #[error(
        "{runtime} did not start (raise the limit of open files, `ulimit -n`, or use fewer cores and collections)"
    )]
    Descriptors {
        /// The runtime.
        runtime: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The process or its user has reached its limit of threads.
    #[error(
        "{runtime} did not start a thread (raise the limit of processes, `ulimit -u` or `pids` of the container, or of memory, `ulimit -v`, or use fewer cores)"
    )]
    Threads {
        /// The runtime.
        runtime: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// An executor is already running on this thread.
    #[error("{runtime} cannot start here: this thread already runs an executor; use another thread")]
    Nested {
        /// The runtime.
        runtime: &'static str,
    },
    /// Any other failure.
    #[error("{runtime} did not start{}", what_to_do(source))]
    Io {
        /// The runtime.
        runtime: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// Turns an error of ring setup into one that tells the user what to do.
    ///
    /// | error | likely cause |
    /// |---|---|
    /// | `EPERM` | the sysctl, or a sandbox |
    /// | `ENOSYS` | an old kernel, or a sandbox |
    /// | `ENOMEM` | the limit of locked memory |
    /// | `EMFILE`, `ENFILE` | the limit of open files |
    /// | `EAGAIN` | the limit of threads |
    #[must_use]
    pub fn from_ring_setup(runtime: &'static str, source: io::Error) -> Self {
        const EPERM: i32 = 1;
        const EAGAIN: i32 = 11;
        const ENOMEM: i32 = 12;
        const EMFILE: i32 = 24;
        const ENOSYS: i32 = 38;
        match source.raw_os_error() {
            Some(EPERM) => {
                let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
                let hint = match sysctl.as_deref().map(str::trim) {
                    Ok(level @ ("1" | "2")) => format!(
                        "the sysctl kernel.io_uring_disabled is {level}; set it to 0 (`sysctl -w kernel.io_uring_disabled=0`), or use the threads or the mmap backend"
                    ),
                    _ => "a seccomp filter (as containers have) blocks it; allow io_uring_setup, io_uring_enter and io_uring_register, or use the threads or the mmap backend".into(),
                };
                Self::IoUringRefused { runtime, hint, source }
            }
            Some(ENOSYS) => Self::IoUringRefused {
                runtime,
                hint: "the kernel is older than 5.10 or a seccomp filter hides it; use the threads or the mmap backend"
                    .into(),
                source,
            },
            Some(EMFILE) => Self::Descriptors { runtime, source },
            Some(EAGAIN) => Self::Threads { runtime, source },
            Some(ENOMEM) => Self::LockedMemory { runtime, reason: source.to_string() },
            _ => Self::Io { runtime, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_ring_says_what_to_do() {
        let message =
            |errno| StartError::from_ring_setup("r", io::Error::from_raw_os_error(errno)).to_string();
        let refused = message(1);
        assert!(refused.contains("kernel.io_uring_disabled") || refused.contains("seccomp"), "{refused}");
        assert!(message(38).contains("5.10"), "{}", message(38));
        assert!(message(12).contains("ulimit -l"), "{}", message(12));
        assert!(message(24).contains("ulimit -n"), "{}", message(24));
        assert!(message(11).contains("ulimit -u"), "{}", message(11));
        assert!(message(5) == "r did not start", "{}", message(5));
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_say_which_limit_to_raise() {
        for (errno, limit) in [(24, "ulimit -n"), (23, "fs.file-max")] {
            let source = || io::Error::from_raw_os_error(errno);
            let messages = [
                StartError::from_ring_setup("r", source()).to_string(),
                OpenError::io(Path::new("a"), source()).to_string(),
                crate::DirectoryError::new("list", Path::new("a"), source()).to_string(),
            ];
            assert!(messages.iter().all(|message| message.contains(limit)), "{messages:?}");
        }
        assert!(
            !OpenError::io(Path::new("a"), io::Error::from_raw_os_error(2)).to_string().contains("limit")
        );
    }

    #[test]
    fn errors_keep_their_cause_and_tell_what_was_delivered() {
        use std::error::Error;
        let error = ReadError::Io {
            file: Path::new("/data/v").into(),
            index: 3,
            offset: 4096,
            len: 400,
            delivered: 2,
            source: io::Error::from_raw_os_error(5),
        };
        assert_eq!((error.delivered(), error.raw_os_error()), (2, Some(5)));
        let own = "/data/v: reading request 3 (400 bytes at offset 4096) failed after 2 were delivered";
        assert_eq!(error.to_string(), own);
        let cause = error.source().expect("what the system said").to_string();
        assert_eq!(crate::with_causes(&error).to_string(), format!("{own}: {cause}"));
    }
}
