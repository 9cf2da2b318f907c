//! Tests the slow disk through its binary: what a command sees of it, and that it leaves nothing behind. If
//! the machine cannot make one, the tests print why and end.

#![cfg(target_os = "linux")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A run also removes the remains of killed ones, so no two tests run at the same time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slow_disk(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slow-disk"));
    command.args(arguments);
    command
}

/// Prints why a run was skipped, past the test harness's capture. Returns false if it was not skipped.
fn skipped(status: Option<i32>, said: &str) -> bool {
    let skipped = status == Some(77);
    if skipped {
        assert!(said.starts_with("skipped: "), "{said}");
        write!(std::io::stderr(), "slow disk {said}").expect("stderr is there");
    }
    skipped
}

/// The mounts and loop devices below a directory.
fn there_is(dir: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("Linux has it");
    let backing = |entry: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(entry.expect("Linux lists it").path().join("loop/backing_file")).ok()
    };
    let loops = fs::read_dir("/sys/block").expect("Linux has it").filter_map(backing);
    mounts.lines().map(str::to_owned).chain(loops).filter(|line| line.contains(dir)).collect()
}

/// The disk's own directory, above that of its file system.
fn home_of(disk: &str) -> &str {
    disk.trim().strip_suffix("/disk").expect("a disk has this name")
}

/// A run whose command prints its directory and process id, and then waits. `None` if the machine cannot make
/// a disk.
fn started() -> Option<(Child, String, Pid)> {
    let command = r#"echo "$BENCH_DIR"; echo $$; exec sleep 1000"#;
    let mut run = slow_disk(&["run", "--size-mib", "64", "--latency-us", "10", "--", "sh", "-c", command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(run.stdout.take().expect("piped")).lines();
    let Some(disk) = lines.next() else {
        let output = run.wait_with_output().expect("it ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(skipped(output.status.code(), &said), "{}: {said}", output.status);
        return None;
    };
    let pid = lines.next().expect("its process").expect("readable").parse().expect("a number");
    let home = home_of(&disk.expect("readable")).to_owned();
    assert_eq!(there_is(&home).len(), 3, "drive, loop device and disk");
    Some((run, home, Pid::from_raw(pid).expect("not 0")))
}

#[test]
fn a_command_has_an_ext4_disk_and_its_status_is_the_runs() {
    let _alone = alone();
    // Four readers of four blocks each, with direct IO, on a disk that serves two at once.
    let command = r#"
        set -e
        cd "$BENCH_DIR"
        stat --file-system --format %T . >&2
        head -c 65536 /dev/urandom > written
        sync written
        for reader in 0 1 2 3; do
            dd if=written of="read$reader" iflag=direct bs=4096 skip=$((reader * 4)) count=4 status=none &
        done
        wait
        cat read0 read1 read2 read3 | cmp written - && echo "same $BENCH_DIR"
        exit 7"#;
    let options =
        ["--size-mib", "64", "--latency-us", "2000", "--parallelism", "2", "--memory-max-mib", "64"];
    let output = slow_disk(&[&["run"], &options[..], &["--", "bash", "-c", command]].concat())
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if skipped(output.status.code(), &said) {
        return;
    }
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.starts_with("ext2/ext3\n"), "stat's name of ext4: {said}");
    assert!(said.trim_end().ends_with("at most 2 at once"), "{said}");
    let printed = String::from_utf8(output.stdout).expect("a path");
    let disk = printed.strip_prefix("same ").expect("what was written was read");
    assert_eq!(there_is(home_of(disk)), [""; 0]);
    assert!(!fs::exists(home_of(disk)).expect("readable"));
}

#[test]
fn a_request_takes_its_time() {
    let _alone = alone();
    let command = r#"
        head -c 4096 /dev/zero > "$BENCH_DIR/block"
        sync "$BENCH_DIR/block"
        before=$(date +%s%N)
        dd if="$BENCH_DIR/block" of=/dev/null iflag=direct bs=4096 status=none
        echo $(($(date +%s%N) - before))"#;
    let output =
        slow_disk(&["run", "--size-mib", "16", "--latency-us", "50000", "--", "bash", "-c", command])
            .output()
            .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if skipped(output.status.code(), &said) {
        return;
    }
    let nanoseconds: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a time");
    assert!(nanoseconds >= 50_000_000, "{nanoseconds}");
}

#[test]
fn a_signal_ends_the_command_and_the_disk() {
    let _alone = alone();
    let Some((run, home, _)) = started() else { return };
    // `down` leaves the disk of a running process alone.
    assert!(slow_disk(&["down"]).status().expect("the binary starts").success());
    assert_eq!(there_is(&home).len(), 3);
    kill_process(Pid::from_child(&run), Signal::TERM).expect("it runs");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(128 + 15), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(there_is(&home), [""; 0]);
}

#[test]
fn what_a_killed_run_left_is_taken_down() {
    let _alone = alone();
    let Some((mut run, home, command)) = started() else { return };
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    kill_process(command, Signal::KILL).expect("it runs on");
    assert_eq!(there_is(&home).len(), 3);
    assert!(slow_disk(&["down"]).status().expect("the binary starts").success());
    assert_eq!(there_is(&home), [""; 0]);
    assert!(!fs::exists(&home).expect("readable"));
}
