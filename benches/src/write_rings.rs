//! Bare rings that write, and the kernel's threads behind them.

#![allow(unsafe_code)]

use crate::rounds::Round;
use io_uring::{IoUring, opcode, types};
use std::error::Error;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Where the rings' kernel threads come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// A ring a file, each with workers of its own.
    Own,
    /// A ring a file, all with the workers of the first (`IORING_SETUP_ATTACH_WQ`).
    Shared,
    /// A ring a thread, all with the workers of the first.
    ThreadShared,
}

const CHUNK: usize = 64 << 10;
const DEPTH: u32 = 32;

/// Writes `mib` MiB to each of `files` files from `submitters` threads, through bare rings, and syncs each.
///
/// # Errors
/// What the system says; a short write.
pub fn many_rings(
    dir: &Path,
    files: usize,
    submitters: usize,
    mib: usize,
    pooling: Pooling,
) -> Result<Round> {
    let first = IoUring::new(DEPTH)?;
    let attach = (pooling != Pooling::Own).then_some(first.as_raw_fd());
    let watch = WorkerWatch::start();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..submitters)
            .map(|submitter| {
                scope.spawn(move || write_files(dir, files, submitters, submitter, mib, pooling, attach))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let round = Round::rate((files * mib) as f64, started.elapsed()).with(watch.peak() as f64);
    for file in 0..files {
        std::fs::remove_file(dir.join(format!("many-{file}")))?;
    }
    Ok(round)
}

fn new_ring(attach: Option<RawFd>) -> Result<IoUring> {
    let mut builder = IoUring::builder();
    if let Some(fd) = attach {
        builder.setup_attach_wq(fd);
    }
    Ok(builder.build(DEPTH)?)
}

fn write_files(
    dir: &Path,
    files: usize,
    submitters: usize,
    submitter: usize,
    mib: usize,
    pooling: Pooling,
    attach: Option<RawFd>,
) -> Result<()> {
    let bytes = vec![5u8; CHUNK];
    let mut of_thread = if pooling == Pooling::ThreadShared { Some(new_ring(attach)?) } else { None };
    // Open until the end, as a store's files are.
    let mut kept = Vec::new();
    for file in (submitter..files).step_by(submitters) {
        let file = File::create_new(dir.join(format!("many-{file}")))?;
        match &mut of_thread {
            Some(ring) => write_file(ring, &file, &bytes, mib)?,
            None => {
                let mut ring = new_ring(attach)?;
                write_file(&mut ring, &file, &bytes, mib)?;
                kept.push(ring);
            }
        }
    }
    Ok(())
}

fn write_file(ring: &mut IoUring, file: &File, bytes: &[u8], mib: usize) -> Result<()> {
    let fd = types::Fd(file.as_raw_fd());
    let chunks = mib * (1 << 20) / CHUNK;
    let (mut next, mut done) = (0, 0);
    while done < chunks {
        while next < chunks && next - done < DEPTH as usize {
            let write =
                opcode::Write::new(fd, bytes.as_ptr(), CHUNK as u32).offset((next * CHUNK) as u64).build();
            // SAFETY: the bytes and the file outlive the write: all are reaped before this function returns, or the
            // bench ends.
            unsafe { ring.submission().push(&write) }?;
            next += 1;
        }
        ring.submit_and_wait(1)?;
        for completion in ring.completion() {
            if completion.result() != CHUNK as i32 {
                return Err(format!("a write returned {}", completion.result()).into());
            }
            done += 1;
        }
    }
    let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
    // SAFETY: the file outlives the sync, which is waited for.
    unsafe { ring.submission().push(&sync) }?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|completion| completion.result()) {
        Some(0) => Ok(()),
        result => Err(format!("a sync returned {result:?}").into()),
    }
}

/// Looks every few milliseconds how many kernel threads work for this process's rings.
pub struct WorkerWatch {
    peak: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl WorkerWatch {
    /// Begins to look.
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

    /// The most there were at a time.
    #[must_use]
    pub fn peak(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // It does not panic.
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// Kernel threads that work for this process's rings now.
#[must_use]
pub fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let is_worker = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with("iou-wrk"))
    };
    tasks.filter(is_worker).count()
}
