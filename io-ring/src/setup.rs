//! Makes a ring, on any kernel from 5.10 on.
//!
//! The worker needs these features, which all such kernels have:
//!
//! | what | since |
//! |---|---|
//! | `WRITEV`, `FSYNC`, `ioprio` of an entry | 5.1 |
//! | `SYNC_FILE_RANGE` | 5.2 |
//! | `SETUP_CQSIZE` | 5.5 |
//! | `READ`, `WRITE`, `CLOSE`, `SETUP_CLAMP` | 5.6 |
//! | a read of an eventfd that waits without a worker | 5.8 |
//!
//! It uses these features if the kernel has them:
//!
//! | what | since |
//! |---|---|
//! | `REGISTER_IOWQ_MAX_WORKERS` | 5.15 |
//! | `SETUP_SUBMIT_ALL` | 5.18 |
//! | `SETUP_COOP_TASKRUN`, `SETUP_TASKRUN_FLAG`, a table of buffers filled as they come | 5.19 |
//! | `SETUP_SINGLE_ISSUER` | 6.0 |
//! | `SETUP_DEFER_TASKRUN` | 6.1 |

use crate::options::RingOptions;
use io_uring::IoUring;
use std::io;

/// Makes a ring for a single submitting thread, with the newest setup that the kernel takes. Returns that
/// setup's features too.
///
/// The first `setups_skipped` setups are not tried, as if the kernel were older.
pub(crate) fn make_ring(
    options: &RingOptions,
    setups_skipped: usize,
) -> io::Result<(IoUring, Vec<&'static str>)> {
    let entries = options.entries.clamp(1, 4096);
    let completions = options.in_flight_max.saturating_add(1).max(entries);
    let builder = || {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp().dontfork();
        builder
    };
    // 6.1: the kernel processes completions when this thread waits for them, and does not interrupt it. The
    // flag says that there are completions, for a thread that does not wait.
    let mut newest = builder();
    newest.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    // 5.19: completions cause no interrupts between processors.
    let mut newer = builder();
    newer.setup_coop_taskrun().setup_submit_all();
    let attempts = [
        (newest, vec!["io_uring", "SINGLE_ISSUER", "DEFER_TASKRUN"]),
        (newer, vec!["io_uring", "COOP_TASKRUN"]),
        (builder(), vec!["io_uring"]),
    ];
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for (builder, features) in attempts.into_iter().skip(setups_skipped) {
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, features)),
            // The kernel does not know a flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}
