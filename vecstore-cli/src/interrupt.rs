//! Signals that end a command: the first one in order, the second one at once.

use io_core::StopFlag;
use signal_hook::{consts, flag};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals that a command may end at in order.
#[cfg(target_os = "linux")]
const ENDING: [i32; 3] = [consts::SIGINT, consts::SIGTERM, consts::SIGHUP];

/// SIGHUP is left as it is here: whether `nohup` ignores it cannot be asked.
#[cfg(not(target_os = "linux"))]
const ENDING: [i32; 2] = [consts::SIGINT, consts::SIGTERM];

/// Installs the handlers and returns the flag that they raise. This is only for commands that look at the flag.
/// All others have no handlers, so that the first signal ends them.
pub(crate) fn stop_flag() -> StopFlag {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in ENDING.into_iter().filter(|&signal| !is_ignored(signal)) {
        // Handlers run in this order: the second signal finds the flag raised. Without handlers a signal still
        // ends the command, only less tidily.
        let ends = i32::from(crate::EXIT_INTERRUPTED);
        let _ = flag::register_conditional_shutdown(signal, ends, Arc::clone(&raised))
            .and_then(|_| flag::register(signal, Arc::clone(&raised)));
    }
    StopFlag::from(raised)
}

/// Whether the parent has this signal ignored, as `nohup` does. A handler would undo that.
#[cfg(target_os = "linux")]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
fn is_ignored(_signal: i32) -> bool {
    false
}

/// A file that would be longer than the process may make one (`ulimit -f`) becomes an error of the write, as where the disk is
/// full. Otherwise the process would be killed.
#[cfg(unix)]
pub(crate) fn outlive_file_size_limit() {
    // The flag is of no use to anybody. Without a handler it is as it would be without this.
    let _ = flag::register(consts::SIGXFSZ, Arc::default());
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn outlive_file_size_limit() {}
