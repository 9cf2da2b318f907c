//! The drive: a file system with one file. Each of its servers takes a fixed time for a request.

use super::{Doing, Error, Options, Served, pause};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, Session, WriteFlags,
};
use rustix::process::{configure_io_flusher_behavior, setpriority_process};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

pub(super) const FILE_NAME: &str = "drive.img";
const FILE: INodeNo = INodeNo(2);

/// The most bytes of a request. Longer ones are split, as on a network drive.
const REQUEST_MAX: u32 = 128 << 10;
/// The most requests that the kernel passes on at once. A loop device has fewer in flight.
const UNDER_WAY_MAX: u16 = 1024;
/// Nothing here changes, so the kernel may cache it.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The threads that serve.
#[derive(Debug)]
pub(super) struct Servers {
    counts: Arc<Counts>,
    session: JoinHandle<io::Result<()>>,
}

impl Servers {
    /// Waits for the servers to end after the unmount.
    pub(super) fn join(self) -> Result<(), Error> {
        let ended = self.session.join().unwrap_or_else(|_| Err(io::Error::other("a server panicked")));
        ended.doing(|| "serve the FUSE file system".into())
    }

    pub(super) fn served(&self) -> Served {
        let counts = &self.counts;
        Served {
            reads: (counts.reads.load(Relaxed), counts.read_bytes.load(Relaxed)),
            writes: (counts.writes.load(Relaxed), counts.written_bytes.load(Relaxed)),
            at_once_max: counts.at_once_max.load(Relaxed),
        }
    }
}

/// Mounts the file system and starts its servers.
pub(super) fn mount(dir: &Path, backing: File, options: &Options) -> Result<Servers, Error> {
    let counts = Arc::default();
    let drive = Drive { backing, size: options.size, latency: options.latency, counts: Arc::clone(&counts) };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("slow-disk".into())];
    // The threads are the servers. Each takes a request from the kernel once it is done with the one before.
    config.n_threads = Some(options.parallelism);
    let session = Session::new(drive, dir, &config).doing(|| format!("mount FUSE at {}", dir.display()))?;
    let serve = move || {
        // The threads inherit both settings, if the process may set them. A drive does not wait for this
        // machine's cores. It also does not wait for memory that is freed only after the drive has written
        // it.
        let _ = setpriority_process(None, -20);
        let _ = configure_io_flusher_behavior(true);
        session.run()
    };
    let session = std::thread::Builder::new().name("slow-disk".into()).spawn(serve);
    Ok(Servers { counts, session: session.doing(|| "start a thread".into())? })
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    at_once: AtomicU64,
    at_once_max: AtomicU64,
}

struct Drive {
    backing: File,
    size: u64,
    latency: Duration,
    counts: Arc<Counts>,
}

impl Drive {
    /// Serves a request, and returns when its time is up.
    fn serve<T>(&self, request: impl FnOnce() -> io::Result<T>) -> Result<T, Errno> {
        let due = Instant::now() + self.latency;
        self.counts.at_once_max.fetch_max(self.counts.at_once.fetch_add(1, Relaxed) + 1, Relaxed);
        let done = request();
        pause(due.saturating_duration_since(Instant::now()));
        self.counts.at_once.fetch_sub(1, Relaxed);
        done.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_i32))
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, nlink, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0o700, 2, 0),
            FILE => (FileType::RegularFile, 0o600, 1, self.size),
            _ => return None,
        };
        let time = UNIX_EPOCH;
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Drive {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |_| io::Error::other("the kernel's FUSE has no asynchronous direct IO");
        config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).map_err(refused)?;
        let within = "within what fuser allows";
        config.set_max_write(REQUEST_MAX).expect(within);
        config.set_max_background(UNDER_WAY_MAX).expect(within);
        config.set_congestion_threshold(UNDER_WAY_MAX).expect(within);
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE).filter(|_| name == FILE_NAME) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // FUSE caches nothing of the file, and several threads write at once.
        let flags = FopenFlags::FOPEN_DIRECT_IO
            | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
            | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut bytes = vec![0; size as usize];
            self.backing.read_exact_at(&mut bytes, offset).map(|()| bytes)
        };
        match self.serve(read) {
            Ok(bytes) => {
                self.counts.reads.fetch_add(1, Relaxed);
                self.counts.read_bytes.fetch_add(bytes.len() as u64, Relaxed);
                reply.data(&bytes);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.serve(|| self.backing.write_all_at(data, offset)) {
            Ok(()) => {
                self.counts.writes.fetch_add(1, Relaxed);
                self.counts.written_bytes.fetch_add(data.len() as u64, Relaxed);
                reply.written(data.len() as u32);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        // Every answered write is already on the backing file.
        reply.ok();
    }
}
