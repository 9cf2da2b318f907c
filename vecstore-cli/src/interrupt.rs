//! Signals that end a command: the first one cleanly, the second one at once.

use io_core::StopFlag;
use signal_hook::{consts, flag};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals at which a command may end cleanly.
#[cfg(target_os = "linux")]
const ENDING: [i32; 3] = [consts::SIGINT, consts::SIGTERM, consts::SIGHUP];

/// SIGHUP is not handled here, because the system does not tell whether `nohup` ignores it.
#[cfg(not(target_os = "linux"))]
const ENDING: [i32; 2] = [consts::SIGINT, consts::SIGTERM];

/// Installs the handlers and returns the flag that they raise. Only commands that check the flag call this.
/// All others have no handlers, so the first signal ends them.
pub(crate) fn stop_flag() -> StopFlag {
    let raised = Arc::new(AtomicBool::new(false));
    let signals: Vec<i32> = ENDING.into_iter().filter(|&signal| !is_ignored(signal)).collect();
    for &signal in &signals {
        // Handlers run in this order, so the second signal finds the flag raised. Without handlers, a signal
        // still ends the command, but not cleanly.
        let ends = i32::from(crate::EXIT_INTERRUPTED);
        let _ = flag::register_conditional_shutdown(signal, ends, Arc::clone(&raised))
            .and_then(|_| flag::register(signal, Arc::clone(&raised)));
    }
    tell_when_stopping(&signals);
    StopFlag::from(raised)
}

/// Says at the first signal, on a terminal, that the command is about to end. Most commands have ended before
/// they say it.
#[cfg(unix)]
fn tell_when_stopping(signals: &[i32]) {
    use std::io::{IsTerminal, Read, Write, stderr};
    use std::os::unix::net::UnixStream;
    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
    if !stderr().is_terminal() {
        return;
    }
    // Without the pipe or the thread, only the message is missing.
    let Ok((mut raised, raises)) = UnixStream::pair() else { return };
    for &signal in signals {
        let _ = raises.try_clone().and_then(|raises| signal_hook::low_level::pipe::register(signal, raises));
    }
    let _ = std::thread::Builder::new().spawn(move || {
        if raised.read_exact(&mut [0]).is_ok() {
            std::thread::park_timeout(PATIENCE);
            let _ = writeln!(stderr(), "stopping; press Ctrl-C again to end at once");
        }
    });
}

#[cfg(not(unix))]
fn tell_when_stopping(_signals: &[i32]) {}

/// Whether the parent ignores this signal, as `nohup` does. A handler would undo that.
#[cfg(target_os = "linux")]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Other systems do not tell it.
#[cfg(not(target_os = "linux"))]
fn is_ignored(_signal: i32) -> bool {
    false
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail, as on a full disk. Otherwise the signal would
/// kill the process.
#[cfg(unix)]
pub(crate) fn outlive_file_size_limit() {
    // Nothing reads the flag. Without the handler, the signal would still kill the process.
    let _ = flag::register(consts::SIGXFSZ, Arc::default());
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn outlive_file_size_limit() {}
