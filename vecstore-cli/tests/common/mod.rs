//! Runs the command so that it cannot hang the test.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longer than any command here takes on a slow machine. A command that takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(180);

pub(crate) const VECSTORE: &str = env!("CARGO_BIN_EXE_vecstore");

pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs a command without input to its end. Fails if it hangs.
pub(crate) fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    end(child, &format!("{command:?}"))
}

/// Waits for the end of a command. Fails if it hangs.
pub(crate) fn end(child: Child, what: &str) -> Output {
    let id = child.id().to_string();
    let (done, waiting) = mpsc::channel();
    let waiter = std::thread::spawn(move || drop(done.send(child.wait_with_output().unwrap())));
    let output = waiting.recv_timeout(WATCHDOG).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        panic!("{what} hangs");
    });
    waiter.join().unwrap();
    output
}

/// Polls for an effect of a running command. Fails if the command ends first, or if the effect never comes.
pub(crate) fn wait_for<T>(child: &mut Child, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const LOOKS: u32 = 36_000;
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{what}: the command ended before, with {status}");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let _ = child.kill();
    panic!("{what}: not seen after {LOOKS} looks");
}

/// Waits until a command has a collection open for writing. The lock file then names its process.
pub(crate) fn wait_for_writer(child: &mut Child, collection: &Path) {
    let (lock, owner) = (collection.join("LOCK"), format!("process {}\n", child.id()));
    wait_for(child, "LOCK names its holder", || {
        (std::fs::read_to_string(&lock).ok()? == owner).then_some(())
    });
}

pub(crate) fn vecstore(dir: &Path, args: &[&str]) -> Output {
    run(Command::new(VECSTORE).args(args).current_dir(dir))
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The whole output, standard error included.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Fails unless the command failed with this code, and with a message that contains all of these parts.
pub(crate) fn check_failure(output: &Output, code: i32, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Writes `rows` vectors of 8 components as `.fvecs`. Each is near the unit vector of its number.
pub(crate) fn fvecs(dir: &Path, name: &str, rows: usize) -> PathBuf {
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.extend(8i32.to_le_bytes());
        for component in 0..8 {
            let value = if row % 8 == component { 1.0f32 } else { row as f32 / 1000.0 };
            bytes.extend(value.to_le_bytes());
        }
    }
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

pub(crate) fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

pub(crate) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

/// Fails unless the command worked, or ended with a message and an exit code of its own. A panic or a signal
/// fails.
#[cfg(unix)]
pub(crate) fn check_end(output: &Output, context: &str) {
    use std::os::unix::process::ExitStatusExt;
    let said = said(output);
    assert_eq!(output.status.signal(), None, "{context}: {said}");
    assert!(!said.contains("panicked"), "{context}: {said}");
    match output.status.code() {
        Some(0) => {}
        Some(1..=5) => assert!(!output.stderr.is_empty(), "{context}"),
        code => panic!("{context}: ended with {code:?}: {said}"),
    }
}

/// Copies the command, by another process. A program that this process has open to write cannot be started,
/// and a process that another test just forks has it open too.
#[cfg(unix)]
pub(crate) fn copy_of_the_command(path: &Path) {
    let copied = Command::new("cp").arg(VECSTORE).arg(path).status().unwrap();
    assert!(copied.success());
}
