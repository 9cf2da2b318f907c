//! A process that is forked while it has files open, and whose child is put in a sandbox. One test, alone in
//! its process.
#![cfg(target_os = "linux")]

mod common;

use common::{file_of, open_and_read, read, taken};
use io_auto::AutoBackend;
use io_core::testing::refuse_io_uring;
use io_core::{FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes};
use std::ops::ControlFlow;

/// Runs `child` in a forked process. Returns its status: 0 if `child` returns `true`.
fn in_child(child: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child uses only memory of its own, the system's allocator, which allows a fork, and the
    // code under test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(10) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: the child ends here. Its destructors are the parent's to run.
        unsafe { libc::_exit(if matches!(done, Ok(true)) { 0 } else { 1 }) }
    }
    let mut status = 0;
    // SAFETY: waits for the child. `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

#[test]
fn the_child_chooses_for_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file_of(&directory);
    let backend = AutoBackend::default();
    let reader = pollster::block_on(backend.open(&path, &OpenOptions::default())).expect("opens");
    let here = reader.info().choice.clone().expect("it always says").taken;
    assert_eq!(in_child(|| taken(open_and_read(&path)) == here), 0);
    let in_sandbox = in_child(|| {
        refuse_io_uring();
        let request = [ReadRequest::new(0, 10)];
        let control = ReadControl::default();
        let old = reader.read_vectors(&request, &control, |_, _| ControlFlow::Continue(()));
        let told =
            pollster::block_on(old).is_err_and(|error| with_causes(&error).to_string().contains("fork"));
        told && taken(open_and_read(&path)) == "threads"
    });
    assert_eq!(in_sandbox, 0);
    pollster::block_on(read(&reader));
    assert_eq!(taken(open_and_read(&path)), here);
}
