//! Running the command so that it cannot hang the test.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// So long does no command here take, however slow the machine: one that does hangs.
const WATCHDOG: Duration = Duration::from_secs(180);

pub(crate) const VECSTORE: &str = env!("CARGO_BIN_EXE_vecstore");

pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs a command without input to its end; fails if it has none.
pub(crate) fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, what) = (child.id().to_string(), format!("{command:?}"));
    let (done, waiting) = mpsc::channel();
    let waiter = std::thread::spawn(move || drop(done.send(child.wait_with_output().unwrap())));
    let output = waiting.recv_timeout(WATCHDOG).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        panic!("{what} hangs");
    });
    waiter.join().unwrap();
    output
}

pub(crate) fn vecstore(dir: &Path, args: &[&str]) -> Output {
    run(Command::new(VECSTORE).args(args).current_dir(dir))
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// All that was printed.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Fails unless a command worked, or said what is wrong and ended with a code of its own: neither a panic nor a signal.
pub(crate) fn check_end(output: &Output, context: &str) {
    let said = said(output);
    assert_eq!(output.status.signal(), None, "{context}: {said}");
    assert!(!said.contains("panicked"), "{context}: {said}");
    match output.status.code() {
        Some(0) => {}
        Some(1..=5) => assert!(!output.stderr.is_empty(), "{context}"),
        code => panic!("{context}: ended with {code:?}: {said}"),
    }
}
