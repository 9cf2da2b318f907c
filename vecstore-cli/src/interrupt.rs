//! Signals. Ctrl-C: the first one asks for a clean end, the second one ends at once.

use io_core::StopFlag;
use std::sync::OnceLock;

static STOP: OnceLock<StopFlag> = OnceLock::new();

/// Installs the handler and returns the flag that it raises.
pub(crate) fn stop_flag() -> StopFlag {
    let stop = STOP.get_or_init(StopFlag::new).clone();
    let raised = stop.clone();
    let installed = ctrlc::set_handler(move || {
        if raised.is_stopped() {
            #[expect(clippy::disallowed_methods, reason = "asked for twice: now, whatever is under way")]
            std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
        }
        raised.stop();
    });
    // Without a handler Ctrl-C still ends the program, only less tidily.
    drop(installed);
    stop
}

/// A file that would be longer than the process may make one (`ulimit -f`) becomes an error of the write, as where the disk is
/// full. Otherwise the process would be killed.
#[cfg(unix)]
pub(crate) fn outlive_file_size_limit() {
    // The flag is of no use to anybody. Without a handler it is as it would be without this.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn outlive_file_size_limit() {}
