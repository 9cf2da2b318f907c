//! Reads and writes while the kernel refuses `io_uring_enter`, for the tests of every ring. It replaces
//! `syscall` of the C library, so only a test binary of its own may include it.

#![allow(unsafe_code)]

use io_core::{
    BackendFactory, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use std::ffi::{c_int, c_long};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The errors of `io_uring_enter` that pass: the kernel lacks memory, has too many completions, or was
/// interrupted.
const ERRORS: [c_int; 3] = [libc::EAGAIN, libc::EBUSY, libc::EINTR];
/// With one read at a time, no other read's completion brings a refused one to the kernel.
const DEPTHS: [u32; 2] = [1, 8];
const CALLS: i64 = 3;
const REQUESTS: u64 = 64;
const LEN: u32 = 4096;

/// Calls in a row that are refused. Some runtimes try a second time by chance.
const REFUSED_CALLS: i64 = 3;

/// Calls until the first refused one, which is call 0.
static CALLS_LEFT: AtomicI64 = AtomicI64::new(-REFUSED_CALLS);
static ERROR: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

static REAL: OnceLock<Syscall> = OnceLock::new();

type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// What the C library's function of this name does, except that it refuses `io_uring_enter` once in a while.
///
/// # Safety
/// As for that function.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_io_uring_enter
        && (1 - REFUSED_CALLS..=0).contains(&CALLS_LEFT.fetch_sub(1, SeqCst))
    {
        REFUSED.fetch_add(1, SeqCst);
        // SAFETY: it has no conditions.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: the pointer is this thread's own.
        unsafe { *errno = ERROR.load(SeqCst) as c_int };
        return -1;
    }
    let real = REAL.get_or_init(|| {
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
        assert!(!found.is_null(), "the C library has `syscall`");
        // SAFETY: the function takes its arguments in registers, and as many as the kernel's call needs.
        unsafe { std::mem::transmute::<*mut libc::c_void, Syscall>(found) }
    });
    // SAFETY: the caller answers for the arguments.
    unsafe { real(number, a, b, c, d, e, f) }
}

/// Reads and writes files, and refuses some calls of `io_uring_enter` meanwhile. Every operation must end.
/// What it then says must be true.
///
/// `errors` are other errors that the backend must stand.
pub(super) fn check<B: BackendFactory>(backend: &B, errors: &[c_int]) {
    let _guard = stop_hanging();
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("creates a directory");
    let path = dir.path().join("read");
    let bytes: Vec<u8> = (0..REQUESTS * u64::from(LEN)).map(|at| (at / 4096 + at % 251) as u8).collect();
    std::fs::write(&path, &bytes).expect("writes");
    for &error in ERRORS.iter().chain(errors) {
        ERROR.store(error as usize, SeqCst);
        for (depth, call) in DEPTHS.into_iter().flat_map(|depth| (0..CALLS).map(move |call| (depth, call))) {
            let options =
                OpenOptions::default().with_queue_depth(depth).with_gap_max(0).with_read_size_max(LEN);
            let written = dir.path().join(format!("{error} {depth} {call}"));
            let started = backend.run(|| async {
                read(backend, &path, &options, &bytes, call).await;
                write(backend, &written, &options, &bytes, call).await;
            });
            started.expect("starts");
        }
    }
    assert!(REFUSED.load(SeqCst) > 0, "no call was refused: the test does not see the backend's calls");
}

/// Refuses calls while the future runs.
async fn refusing<F: Future>(call: i64, future: F) -> F::Output {
    CALLS_LEFT.store(call, SeqCst);
    let output = future.await;
    CALLS_LEFT.store(-REFUSED_CALLS, SeqCst);
    output
}

async fn read(backend: &impl BackendFactory, path: &Path, options: &OpenOptions, bytes: &[u8], call: i64) {
    let requests: Vec<_> = (0..REQUESTS).map(|page| ReadRequest::new(page * u64::from(LEN), LEN)).collect();
    let reader = backend.open(path, options).await.expect("opens");
    let mut right = 0;
    let sink = |index: usize, read: &[u8]| {
        right += usize::from(read == &bytes[index * LEN as usize..][..LEN as usize]);
        ControlFlow::Continue(())
    };
    let outcome = refusing(call, reader.read_vectors(&requests, &ReadControl::default(), sink)).await;
    match outcome {
        Ok(outcome) => assert_eq!((outcome.delivered, right), (requests.len(), requests.len())),
        Err(error) => assert_eq!(error.raw_os_error(), Some(ERROR.load(SeqCst) as i32), "{error}"),
    }
    reader.close().await.expect("closes");
}

async fn write(backend: &impl BackendFactory, path: &Path, options: &OpenOptions, bytes: &[u8], call: i64) {
    let writer = backend.create(path, options).await.expect("creates");
    let pages: Vec<_> = bytes.chunks(LEN as usize).collect();
    let offsets = (0..).step_by(LEN as usize);
    let writes: Vec<_> = offsets.zip(pages).map(|(offset, bytes)| PageWrite { offset, bytes }).collect();
    let ended = refusing(call, async {
        writer.write_pages(&writes).await?;
        writer.sync(SyncKind::All).await
    });
    let ended = ended.await;
    writer.close().await.expect("closes");
    if ended.is_ok() {
        assert!(std::fs::read(path).expect("is there") == bytes, "{}: other bytes", path.display());
    }
}

/// An operation that never ends must not hold up the tests for ever. The guard lives as long as the test.
fn stop_hanging() -> Sender<()> {
    let (guard, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
            // A panic of this thread would not end the test.
            std::process::abort();
        }
    });
    guard
}
