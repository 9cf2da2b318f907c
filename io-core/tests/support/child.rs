//! A forked process: runs something in it, and says how that ended.

use io_core::with_causes;
use std::error::Error;

/// Whether the error is that of a file opened before the fork, and says what to do.
pub(crate) fn tells_of_fork<T>(result: Result<T, impl Error + 'static>) -> bool {
    let error = result.err().map(|error| with_causes(&error).to_string());
    error.is_some_and(|error| error.contains("before a fork") && error.contains("in this process"))
}

/// Runs `child` in a forked process and waits for it. Returns whether it ended by itself, and its status.
/// That is 0 if `child` returned `Ok`.
pub(crate) fn in_child(child: impl FnOnce() -> Result<(), u8>) -> (bool, i32) {
    // SAFETY: the child uses only memory of its own, the system's allocator, which allows a fork, and the
    // code under test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(10) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        let status = done.map_or(255, |done| done.err().unwrap_or(0));
        // SAFETY: the child ends here. Its destructors are the parent's to run.
        unsafe { libc::_exit(i32::from(status)) }
    }
    let mut status = 0;
    // SAFETY: waits for a child of this process. `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    (libc::WIFEXITED(status), libc::WEXITSTATUS(status))
}
