//! Whether the system has what compio needs. It is asked before compio starts.

use crate::runtime::{RUNTIME, ring};
use compio_driver::op::OpCodeFlag;
use io_core::StartError;
use io_uring::IoUring;
use std::io;
use std::sync::OnceLock;

/// The operations of files, and those that compio itself needs.
const OPERATIONS: OpCodeFlag = OpCodeFlag::Read
    .union(OpCodeFlag::Write)
    .union(OpCodeFlag::Fsync)
    .union(OpCodeFlag::Close)
    .union(OpCodeFlag::AsyncCancel)
    .union(OpCodeFlag::PollAdd);

/// Finds the faults that compio would panic about, or report without saying what to do. Looks once a process.
pub(crate) fn check() -> Result<(), StartError> {
    static CHECKED: OnceLock<()> = OnceLock::new();
    if CHECKED.get().is_none() {
        look()?;
        CHECKED.get_or_init(|| ());
    }
    Ok(())
}

fn look() -> Result<(), StartError> {
    let refused = |error| StartError::from_ring_setup(RUNTIME, error);
    // A plain ring tells why the system refuses one.
    let plain = IoUring::new(2).map_err(refused)?;
    // Linux 5.13 brought this, and with it the repeated polls by which compio's ring is woken.
    if !plain.params().is_feature_resource_tagging() {
        let hint =
            "it needs Linux 5.13, and this kernel is older; use the threads or the mmap backend".to_owned();
        let source = io::ErrorKind::Unsupported.into();
        return Err(StartError::IoUringRefused { runtime: RUNTIME, hint, source });
    }
    drop(plain);
    // When compio first submits something, it asks a ring of its own which operations the kernel has. If it
    // gets no such ring, it takes them for unknown and panics. So it is made to ask now.
    ring().detect_opcode_support(OPERATIONS).build().map(drop).map_err(refused)
}
