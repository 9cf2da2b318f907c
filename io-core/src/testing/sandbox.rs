//! A sandbox that refuses system calls, as containers have.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// From here on, this thread and those that it starts get `EPERM` from io_uring, as from Docker's default
/// profile. So do the processes that they start. It cannot be undone.
///
/// # Panics
/// If the system has no seccomp.
pub fn refuse_io_uring() {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    refuse_calls(&calls, libc::EPERM);
}

/// As [`refuse_io_uring`], for any system calls (`libc::SYS_…`), with any error.
///
/// # Panics
/// If the system has no seccomp.
pub fn refuse_calls(calls: &[libc::c_long], errno: i32) {
    let calls = calls.iter().map(|&call| (call, Vec::new())).collect();
    let processor = std::env::consts::ARCH.try_into().expect("seccomp is known for this processor");
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, processor);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).expect("this system has seccomp");
}
