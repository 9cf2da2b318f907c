//! Bare rings that write, and the kernel threads that work for them.

#![allow(unsafe_code)]

use crate::rounds::Round;
use io_uring::{IoUring, opcode, types};
use std::error::Error;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The number of rings, and whether they share the first one's kernel threads (`IORING_SETUP_ATTACH_WQ`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// One ring for each file.
    File,
    /// One ring for each file, attached.
    FileAttached,
    /// One ring for each thread, for all of its files.
    Thread,
    /// One ring for each thread, attached.
    ThreadAttached,
}

/// The work to do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Number of files.
    pub files: usize,
    /// Number of threads. Each writes its share of the files at the same time.
    pub threads: usize,
    /// MiB of each file.
    pub mib: usize,
}

const CHUNK: usize = 64 << 10;
/// Writes of one file in flight.
const DEPTH: u32 = 8;

/// Writes files through bare rings, and syncs each.
///
/// # Errors
/// The error of the system, or a short write.
pub fn many_rings(dir: &Path, work: Work, pooling: Pooling) -> Result<Round> {
    let first = IoUring::new(DEPTH)?;
    let attached = matches!(pooling, Pooling::FileAttached | Pooling::ThreadAttached);
    let attach = attached.then_some(first.as_raw_fd());
    let watch = WorkerWatch::start();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..work.threads)
            .map(|thread| {
                let files = (thread..work.files).step_by(work.threads);
                let paths: Vec<_> = files.map(|file| dir.join(format!("many-{file}"))).collect();
                scope.spawn(move || write_files(&paths, work.mib, pooling, attach))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let round = Round::rate((work.files * work.mib) as f64, started.elapsed()).with(watch.peak() as f64);
    for file in 0..work.files {
        std::fs::remove_file(dir.join(format!("many-{file}")))?;
    }
    Ok(round)
}

fn new_ring(entries: u32, attach: Option<RawFd>) -> Result<IoUring> {
    let mut builder = IoUring::builder();
    if let Some(fd) = attach {
        builder.setup_attach_wq(fd);
    }
    Ok(builder.build(entries)?)
}

/// The state of writing one file.
struct Writing {
    file: File,
    ring: usize,
    next: usize,
    done: usize,
    synced: bool,
}

/// Keeps [`DEPTH`] writes of each file in flight, over one ring for all files or one for each.
fn write_files(paths: &[PathBuf], mib: usize, pooling: Pooling, attach: Option<RawFd>) -> Result<()> {
    let (bytes, chunks) = (vec![5u8; CHUNK], mib * (1 << 20) / CHUNK);
    let a_file = matches!(pooling, Pooling::File | Pooling::FileAttached);
    let rings = if a_file { paths.len() } else { 1 };
    let entries = if a_file { DEPTH } else { DEPTH * paths.len() as u32 };
    let mut rings: Vec<_> = (0..rings).map(|_| new_ring(entries, attach)).collect::<Result<_>>()?;
    let mut files = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let ring = if a_file { at } else { 0 };
        files.push(Writing { file: File::create_new(path)?, ring, next: 0, done: 0, synced: false });
    }
    while files.iter().any(|file| !file.synced) {
        for (at, writing) in files.iter_mut().enumerate() {
            let fd = types::Fd(writing.file.as_raw_fd());
            while writing.next < chunks && writing.next - writing.done < DEPTH as usize {
                let write = opcode::Write::new(fd, bytes.as_ptr(), CHUNK as u32);
                let write = write.offset((writing.next * CHUNK) as u64).build().user_data(at as u64);
                // SAFETY: the bytes and the files outlive the writes. All writes are reaped before this
                // function returns, or the bench ends.
                unsafe { rings[writing.ring].submission().push(&write) }?;
                writing.next += 1;
            }
            if writing.done == chunks && writing.next == chunks {
                let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC);
                // SAFETY: as above.
                unsafe { rings[writing.ring].submission().push(&sync.build().user_data(at as u64)) }?;
                writing.next += 1;
            }
        }
        // Submits to all rings before it waits for one of them.
        rings.iter().try_for_each(|ring| ring.submit().map(drop))?;
        let waited = files.iter().find(|file| !file.synced).map_or(0, |file| file.ring);
        rings[waited].submit_and_wait(1)?;
        for ring in &mut rings {
            for completion in ring.completion() {
                let writing = &mut files[completion.user_data() as usize];
                writing.synced = writing.done == chunks;
                let expected = if writing.synced { 0 } else { CHUNK as i32 };
                if completion.result() != expected {
                    return Err(format!("an operation returned {}", completion.result()).into());
                }
                writing.done += 1;
            }
        }
    }
    Ok(())
}

/// Samples the number of kernel threads for this process's rings, every few milliseconds.
pub struct WorkerWatch {
    peak: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl WorkerWatch {
    /// Begins to sample.
    #[must_use]
    pub fn start() -> Self {
        let (peak, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(workers(), Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        Self { peak, stop, thread }
    }

    /// The largest number found.
    #[must_use]
    pub fn peak(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // The thread does not panic.
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// The number of kernel threads that work for this process's rings now.
#[must_use]
pub fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let is_worker = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with("iou-wrk"))
    };
    tasks.filter(is_worker).count()
}
