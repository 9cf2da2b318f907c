//! Signals: the first one ends a command cleanly, the second one at once, and an ignored one does nothing.
#![cfg(target_os = "linux")]

mod common;

use common::{
    VECSTORE, check_failure, end, fvecs, is_empty, stdout, tempdir, vecstore, wait_for, wait_for_writer, walk,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SIGTERM: i32 = 15;

/// Starts a command with no signal ignored, even if the test itself ignores some.
fn start(dir: &Path, command: &[&str]) -> Child {
    Command::new("env")
        .arg("--default-signal")
        .args(command)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn begin(dir: &Path, args: &[&str]) -> Child {
    start(dir, &[&[VECSTORE], args].concat())
}

/// Sends a signal with `kill`, as a terminal or a service manager does.
fn send(child: &Child, signal: &str) {
    let signal = format!("-{signal}");
    assert!(Command::new("kill").args([&signal, &child.id().to_string()]).status().unwrap().success());
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Opens a pipe for writing once a command has it open for reading.
fn open_fifo(child: &mut Child, path: &Path) -> File {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    wait_for(child, "the pipe has a reader", || {
        File::options().write(true).custom_flags(flags).open(path).ok()
    })
}

/// Writes bytes to a pipe as the command reads them.
fn feed(child: &mut Child, pipe: &impl AsFd, mut bytes: &[u8]) {
    fcntl_setfl(pipe, fcntl_getfl(pipe).unwrap() | OFlags::NONBLOCK).unwrap();
    wait_for(child, "the pipe is read", || {
        while !bytes.is_empty() {
            match rustix::io::write(pipe, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::AGAIN) => return None,
                Err(error) => panic!("the pipe is written to: {error}"),
            }
        }
        Some(())
    });
}

/// `rows` lines of points with two components.
fn lines(rows: usize) -> String {
    (0..rows).map(|id| format!("{{\"id\": {id}, \"vector\": [1, {id}]}}\n")).collect()
}

fn upsert(from: &str) -> &'static [&'static str] {
    if from == "fifo" { &["upsert", "c", "fifo"] } else { &["upsert", "c"] }
}

/// An upsert that waits for lines ends cleanly at each of the signals. It writes the lines it has read, and
/// reports their number.
#[test]
fn an_upsert_that_waits_for_lines_ends_in_order() {
    let temp = tempdir();
    let dir = temp.path();
    stdout(&vecstore(dir, &["create", "c", "--dim", "2"]));
    make_fifo(&dir.join("fifo"));
    for (signal, from) in [("INT", "stdin"), ("TERM", "stdin"), ("HUP", "stdin"), ("INT", "fifo")] {
        // A pipe without a writer, or one into which nothing was written.
        let mut child = begin(dir, upsert(from));
        let pipe = child.stdin.take().unwrap();
        wait_for_writer(&mut child, &dir.join("c"));
        send(&child, signal);
        check_failure(&end(child, signal), 130, &["stopped", "nothing is written"]);
        drop(pipe);
    }
    for from in ["stdin", "fifo"] {
        let mut child = begin(dir, upsert(from));
        let stdin = child.stdin.take().unwrap();
        // More than a pipe holds. When it is written, the command has therefore read a part. The last line is
        // incomplete.
        let lines = lines(10_001);
        let fifo = (from == "fifo").then(|| open_fifo(&mut child, &dir.join("fifo")));
        match &fifo {
            Some(fifo) => feed(&mut child, fifo, lines.trim_end().as_bytes()),
            None => feed(&mut child, &stdin, lines.trim_end().as_bytes()),
        }
        send(&child, "INT");
        let output = end(child, from);
        let count = stdout(&vecstore(dir, &["count", "c"]));
        assert!(count.trim().parse::<u64>().unwrap() > 0, "{output:?}");
        let written = format!("the first {} lines are written", count.trim());
        check_failure(&output, 130, &["stopped", &written]);
        stdout(&vecstore(dir, &["delete", "c", "--filter", "{}"]));
    }
}

/// A command that does not handle signals ends at the first one.
#[test]
fn a_command_that_cannot_end_in_order_ends_at_once() {
    let temp = tempdir();
    let dir = temp.path();
    make_fifo(&dir.join("schema.json"));
    let mut child = begin(dir, &["create", "c", "--schema", "schema.json"]);
    // It waits for the schema while this is open.
    let pipe = open_fifo(&mut child, &dir.join("schema.json"));
    send(&child, "TERM");
    assert_eq!(end(child, "create").status.signal(), Some(SIGTERM));
    drop(pipe);

    // `repair` reads the same file, and handles signals.
    let mut child = begin(dir, &["repair", "nowhere", "to", "--schema", "schema.json"]);
    let pipe = open_fifo(&mut child, &dir.join("schema.json"));
    send(&child, "TERM");
    check_failure(&end(child, "repair"), 130, &["vecstore: stopped"]);
    drop(pipe);
}

/// Nothing reads the output, so the command cannot reach its next check for a signal.
#[test]
fn the_second_signal_ends_a_command_at_once() {
    let temp = tempdir();
    let dir = temp.path();
    stdout(&vecstore(dir, &["create", "c", "--dim", "8"]));
    fvecs(dir, "base.fvecs", 1000);
    stdout(&vecstore(dir, &["import", "c", "base.fvecs", "--no-optimize"]));
    let whole = stdout(&vecstore(dir, &["scroll", "c", "--with-vector"]));
    assert!(whole.len() > 70_000, "a page has to be longer than a pipe");
    let mut child = begin(dir, &["scroll", "c", "--with-vector"]);
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0]).unwrap();
    // Two signals of one kind might arrive as one.
    send(&child, "INT");
    send(&child, "TERM");
    let ended = end(child, "scroll");
    // A clean end would print a message.
    assert_eq!((ended.status.code(), ended.stderr), (Some(130), Vec::new()));
    drop(output);
}

/// A signal that the parent ignores stays ignored, as `nohup` needs. The others still end the command
/// cleanly.
#[test]
fn an_ignored_signal_stays_ignored() {
    let temp = tempdir();
    let dir = temp.path();
    stdout(&vecstore(dir, &["create", "c", "--dim", "2"]));
    let ignoring = |signal: &str| {
        let script = format!("trap '' {signal}; exec \"$0\" upsert c");
        let mut child = start(dir, &["sh", "-c", &script, VECSTORE]);
        wait_for_writer(&mut child, &dir.join("c"));
        child
    };
    for signal in ["HUP", "INT", "TERM"] {
        let mut child = ignoring(signal);
        send(&child, signal);
        let stdin = child.stdin.take().unwrap();
        feed(&mut child, &stdin, lines(3).as_bytes());
        drop(stdin);
        assert_eq!(stdout(&end(child, signal)), "3 points\n", "{signal}");
    }
    let mut child = ignoring("HUP");
    let stdin = child.stdin.take().unwrap();
    send(&child, "HUP");
    send(&child, "TERM");
    check_failure(&end(child, "upsert"), 130, &["stopped", "nothing is written"]);
    drop(stdin);
}

/// The files of an interrupted optimization are removed, and no point is lost.
#[test]
fn an_optimization_loses_nothing() {
    let temp = tempdir();
    let dir = temp.path();
    fvecs(dir, "base.fvecs", 15_000);
    stdout(&vecstore(dir, &["create", "c", "--dim", "8", "--ef-construct", "2000", "--m", "64"]));
    stdout(&vecstore(dir, &["import", "c", "base.fvecs", "--no-optimize"]));
    let files = walk(&dir.join("c")).len();
    let mut child = begin(dir, &["optimize", "c"]);
    // It has begun once the directory of the new segment exists. The handler is installed before that.
    let segment = dir.join("c/segment-000001");
    wait_for(&mut child, "a new segment", || segment.exists().then_some(()));
    send(&child, "INT");
    check_failure(&end(child, "optimize"), 130, &["stopped"]);
    assert_eq!(walk(&dir.join("c")).len(), files, "something is left of the new segment");
    assert_eq!(stdout(&vecstore(dir, &["count", "c"])), "15000\n");
}

/// The points that an import reports are there. It says how to continue.
#[test]
fn an_import_can_go_on() {
    let temp = tempdir();
    let dir = temp.path();
    stdout(&vecstore(dir, &["create", "c", "--dim", "8"]));
    // Payloads come through a pipe, so that the import cannot finish before the signal.
    make_fifo(&dir.join("pipe"));
    let import = |rows: usize, payloads: &[u8], more: &[&str]| {
        fvecs(dir, "base.fvecs", rows);
        let args = [&["import", "c", "base.fvecs", "--payload", "pipe"], more].concat();
        let mut child = begin(dir, &args);
        let pipe = open_fifo(&mut child, &dir.join("pipe"));
        feed(&mut child, &pipe, payloads);
        send(&child, "INT");
        let output = end(child, "import");
        drop(pipe);
        (output, stdout(&vecstore(dir, &["count", "c"])))
    };
    // More than a pipe holds. When it is written, the import has therefore read and written some points.
    let (output, count) = import(100_000, "{}\n".repeat(60_000).as_bytes(), &[]);
    let said = format!("{} of 100000 points are in the collection", count.trim());
    check_failure(&output, 130, &["stopped", &said, "same command again"]);
    stdout(&vecstore(dir, &["delete", "c", "--filter", "{}"]));
    // Empty lines at the end are read after all points are written.
    let payloads = ["{}\n".repeat(300), "\n".repeat(200_000)].concat();
    let (output, count) = import(300, payloads.as_bytes(), &[]);
    check_failure(&output, 130, &["stopped", "all 300 points are in the collection", "vecstore optimize"]);
    assert_eq!(count, "300\n");
    let (output, _) = import(300, payloads.as_bytes(), &["--no-optimize"]);
    check_failure(&output, 130, &["stopped", "all 300 points are in the collection"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("optimize"), "it was not asked for");
}

#[test]
fn nothing_of_a_measurement_is_left() {
    let temp = tempdir();
    let mut child = begin(temp.path(), &["advise", "--path", ".", "--size-mib", "64", "--seconds", "60"]);
    wait_for(&mut child, "a file to measure", || (!is_empty(temp.path())).then_some(()));
    send(&child, "INT");
    check_failure(&end(child, "advise"), 130, &["stopped"]);
    assert!(is_empty(temp.path()), "the measured file is left");
}
