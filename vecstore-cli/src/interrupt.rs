//! Ctrl-C: the first one asks for a clean end, the second one ends at once.

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
