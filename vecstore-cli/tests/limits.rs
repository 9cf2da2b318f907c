//! Scarce resources: open files, memory, locked memory, file sizes, threads, disk. Each command works, or
//! says which resource is missing. Acknowledged writes survive.
//!
//! Each limit is tried with one backend, in turn. `VECSTORE_LIMITS=all` tries all limits with all backends.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

mod common;

use common::{VECSTORE, check_end, run, said, stdout, vecstore};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vecstore::backends::BackendKind;

/// Points of an upsert.
const POINTS: usize = 20;

/// A collection `c`, and its acknowledged points.
struct Limited {
    dir: PathBuf,
    vecstore: PathBuf,
    /// An unused user id if the test is root, because some limits do not apply to root.
    user: Option<u32>,
    written: usize,
    acknowledged: Vec<usize>,
}

impl Limited {
    fn new(dir: &Path, vecstore_at: PathBuf, user: Option<u32>) -> Self {
        stdout(&vecstore(dir, &["create", "c", "--dim", "8", "--index", "n:integer"]));
        let mut limited =
            Self { dir: dir.to_owned(), vecstore: vecstore_at, user, written: 0, acknowledged: Vec::new() };
        let output = limited.upsert("true", "mmap");
        assert!(output.status.success(), "{}", said(&output));
        stdout(&vecstore(dir, &["optimize", "c"]));
        limited
    }

    /// Runs the command in a shell, after setting the limit.
    fn run(&self, limit: &str, args: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit} && exec \"$@\""), "sh"]).arg(&self.vecstore).args(args);
        // The standard library locks its backtrace. A panic that runs out of memory then waits for itself.
        command.env("RUST_BACKTRACE", "0");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        run(command.current_dir(&self.dir))
    }

    fn upsert(&mut self, limit: &str, backend: &str) -> Output {
        let ids = self.written..self.written + POINTS;
        self.written += POINTS;
        let line = |id: usize| {
            format!(
                "{{\"id\": {id}, \"vector\": [1, {id}, 0, 0, 0, 0, 0, 0], \"payload\": {{\"n\": {id}}}}}\n"
            )
        };
        fs::write(self.dir.join("new.jsonl"), ids.clone().map(line).collect::<String>()).unwrap();
        let output = self.run(limit, &["upsert", "c", "new.jsonl", "--backend", backend]);
        if output.status.success() {
            self.acknowledged.extend(ids);
        }
        output
    }

    /// Tries all commands under a limit. Returns true if all of them worked.
    fn try_all(&mut self, limit: &str, backend: &str, check: fn(&Output, &str)) -> bool {
        if !self.run(limit, &["--version"]).status.success() {
            // The system cannot even load the program.
            return false;
        }
        let mut all = true;
        let mut ended = |output: &Output, command: &str| {
            check(output, &format!("{command} through {backend} after `{limit}`"));
            all &= output.status.success();
        };
        ended(&self.upsert(limit, backend), "upsert");
        for command in [
            &["count", "c"][..],
            &["search", "c", "--vector", "[1,2,0,0,0,0,0,0]"],
            &["optimize", "c"],
            &["snapshot", "c", "s"],
            &["verify", "c"],
            &["repair", "c", "p"],
            &["export", "c", "out.npy", "out.jsonl"],
        ] {
            ended(&self.run(limit, &[command, &["--backend", backend]].concat()), command[0]);
        }
        self.check(&format!("{backend} after `{limit}`"));
        all
    }

    /// Without the limit, all acknowledged points exist and are sound. All other files of the commands are
    /// whole.
    fn check(&self, context: &str) {
        let verified = vecstore(&self.dir, &["verify", "c"]);
        assert!(verified.status.success(), "{context}: {}", said(&verified));
        let ids: Vec<String> = self.acknowledged.iter().map(ToString::to_string).collect();
        let get: Vec<&str> = ["get", "c"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        let got = vecstore(&self.dir, &get);
        assert!(got.status.success(), "{context}: {}", said(&got));
        for made in ["s", "p"] {
            if self.dir.join(made).exists() {
                let verified = vecstore(&self.dir, &["verify", made]);
                assert!(verified.status.success(), "{context}: {made}: {}", said(&verified));
                fs::remove_dir_all(self.dir.join(made)).unwrap();
            }
        }
        for made in ["out.npy", "out.jsonl"] {
            let _ = fs::remove_file(self.dir.join(made));
        }
    }
}

/// All plain backends, or the next one in turn.
fn backends(turn: usize) -> Vec<&'static str> {
    let names: Vec<&str> = BackendKind::plain().iter().map(|kind| kind.name()).collect();
    if std::env::var("VECSTORE_LIMITS").is_ok_and(|which| which == "all") {
        return names;
    }
    vec![names[turn % names.len()]]
}

/// Tries limits from tight to wide. The widest must be enough.
fn try_limits(name: &str, limits: &[String], check: fn(&Output, &str)) {
    let temp = common::tempdir();
    let mut limited = Limited::new(temp.path(), VECSTORE.into(), None);
    let mut worked = Vec::new();
    for (turn, limit) in limits.iter().enumerate() {
        for backend in backends(turn) {
            worked.push(limited.try_all(limit, backend, check));
        }
    }
    assert!(worked.contains(&false), "{name}: no limit was one");
    assert_eq!(worked.last(), Some(&true), "{name}: the widest limit is not enough");
}

#[test]
fn open_files() {
    // A backend's executor needs some 10 to 30 files to start, and a collection needs more.
    let limits: Vec<String> =
        (3..=40).chain([48, 64, 128, 256, 512]).map(|limit| format!("ulimit -n {limit}")).collect();
    try_limits("open files", &limits, check_end);
}

/// Rust and glibc abort a process that gets no memory, with a message. The command cannot prevent that.
fn check_memory(output: &Output, context: &str) {
    const SIGABRT: i32 = 6;
    let no_memory = ["memory allocation of", "failed to allocate", "out of memory"]
        .iter()
        .any(|what| said(output).contains(what));
    if output.status.signal() == Some(SIGABRT) && no_memory {
        return;
    }
    // A starting thread without memory for its signal stack panics in the standard library. Callers that wait
    // for it get an error.
    if said(output).contains("failed to allocate an alternative stack") {
        return;
    }
    // glommio's executor panics where it gets no memory for its buffers. The command then ends with an error.
    if said(output).contains("/glommio-") && output.status.code() == Some(1) {
        return;
    }
    check_end(output, context);
}

#[test]
fn memory() {
    let limits = [8, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 16_384];
    let limits: Vec<String> = limits.iter().map(|mib| format!("ulimit -v {}", mib * 1024)).collect();
    try_limits("memory", &limits, check_memory);
}

#[test]
fn locked_memory() {
    let limits = [0, 1, 16, 64, 256, 511, 512, 1024, 8192];
    let limits: Vec<String> = limits.iter().map(|kib| format!("ulimit -l {kib}")).collect();
    let temp = common::tempdir();
    let mut limited = Limited::new(temp.path(), VECSTORE.into(), None);
    for (turn, limit) in limits.iter().enumerate() {
        for backend in backends(turn) {
            limited.try_all(limit, backend, check_end);
        }
    }
    let output = limited.run("ulimit -l 16", &["count", "c", "--backend", "glommio"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("ulimit -l"), "{}", said(&output));
}

#[test]
fn file_sizes() {
    let limits = [0, 1, 2, 8, 16, 32, 1_000_000];
    let limits: Vec<String> = limits.iter().map(|blocks| format!("ulimit -f {blocks}")).collect();
    try_limits("file sizes", &limits, check_end);
    // The error says what to do.
    let temp = common::tempdir();
    let mut limited = Limited::new(temp.path(), VECSTORE.into(), None);
    let output = limited.upsert("ulimit -f 0", "mmap");
    assert!(output.status.code() == Some(1) && said(&output).contains("ulimit -f"), "{}", said(&output));
}

/// After a write that failed half-way, an upsert says which lines are written, and which may be.
#[test]
fn a_failed_write_is_not_called_unwritten() {
    let temp = common::tempdir();
    let dir = temp.path();
    let payload = "x".repeat(1000);
    let line = |id| format!("{{\"id\": {id}, \"vector\": [1], \"payload\": {{\"text\": \"{payload}\"}}}}\n");
    fs::write(dir.join("new.jsonl"), (0..1000).map(line).collect::<String>()).unwrap();
    // A batch of 256 lines has some 262 KiB. Shells count in units of 512 or 1,024 bytes.
    for (limit, is_some_written) in [(0, false), (100, false), (650, true), (850, true)] {
        stdout(&vecstore(dir, &["create", "c", "--dim", "1"]));
        let script = format!("ulimit -f {limit}; exec \"$0\" upsert c new.jsonl");
        let output = run(Command::new("sh").args(["-c", &script, VECSTORE]).current_dir(dir));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let count: usize = stdout(&vecstore(dir, &["count", "c"])).trim().parse().unwrap();
        let text = said(&output);
        let numbers: Vec<usize> =
            text.lines().last().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        let (sure, first, last) = match numbers[..] {
            [first, last] => (0, first, last),
            [sure, first, last] => (sure, first, last),
            _ => panic!("{text}"),
        };
        assert_eq!((sure % 256, first, last), (0, sure + 1, sure + 256), "{text}");
        assert_eq!(sure > 0, is_some_written, "{text}");
        assert!((sure..=last).contains(&count), "{count}: {text}");
        fs::remove_dir_all(dir.join("c")).unwrap();
    }
}

/// Threads count as processes of a user, but not for root.
#[test]
fn threads() {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    // In a place where other users find it.
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let (command, user) = if is_root {
        // A user without running processes.
        common::copy_of_the_command(&dir.join("vecstore"));
        (dir.join("vecstore"), Some(61_234))
    } else {
        (PathBuf::from(VECSTORE), None)
    };
    let open_up = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open_up(dir);
    let mut limited = Limited::new(dir, command, None);
    limited.user = user;
    for path in ["c", "c/segment-000001"] {
        open_up(&dir.join(path));
        fs::read_dir(dir.join(path)).unwrap().for_each(|entry| open_up(&entry.unwrap().path()));
    }
    let limits = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 256];
    for (turn, limit) in limits.iter().enumerate() {
        for backend in backends(turn) {
            // bash and dash use different options.
            let limit = format!("{{ ulimit -u {limit} 2>/dev/null || ulimit -p {limit}; }}");
            limited.try_all(&limit, backend, check_end);
        }
    }
    if is_root {
        let output = limited.run("{ ulimit -u 2 2>/dev/null || ulimit -p 2; }", &["count", "c"]);
        assert!(output.status.code() == Some(1) && said(&output).contains("ulimit -u"), "{}", said(&output));
    }
}

/// A separate disk. Dropping it unmounts it.
struct Disk(PathBuf);

impl Disk {
    /// `None` if the test may not mount one.
    fn new(at: &Path, kib: usize) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(at)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    fn resize(&self, kib: usize) {
        let option = format!("remount,size={kib}k");
        assert!(Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// `vecstore/tests/all/faults.rs` fills a simulated disk at every operation. This disk is real.
#[test]
fn disk() {
    let temp = common::tempdir();
    let Some(disk) = Disk::new(&temp.path().join("disk"), 64 << 10) else {
        eprintln!("no disk may be mounted here: not tried");
        return;
    };
    let mut limited = Limited::new(&disk.0, VECSTORE.into(), None);
    let mut failed = 0;
    for (turn, room_kib) in [0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024].into_iter().enumerate()
    {
        for backend in backends(turn) {
            let used: u64 = used_kib(&disk.0);
            disk.resize(used as usize + room_kib);
            let before = limited.acknowledged.len();
            let end = |output: &Output, command: &str| {
                check_end(output, &format!("{command} through {backend}, with {room_kib} KiB left"));
                let is_full = said(output).contains("No space left on device");
                assert!(
                    output.status.success() || is_full,
                    "{command} {backend} {room_kib}: {}",
                    said(output)
                );
            };
            // The input lines are on the same disk, so they are written while there is room.
            disk.resize(64 << 10);
            let (ids, written) = (limited.written, POINTS);
            let line = |id: usize| format!("{{\"id\": {id}, \"vector\": [1, {id}, 0, 0, 0, 0, 0, 0]}}\n");
            fs::write(disk.0.join("new.jsonl"), (ids..ids + written).map(line).collect::<String>()).unwrap();
            limited.written += written;
            disk.resize(used_kib(&disk.0) as usize + room_kib);
            let output = limited.run("true", &["upsert", "c", "new.jsonl", "--backend", backend]);
            if output.status.success() {
                limited.acknowledged.extend(ids..ids + written);
            }
            end(&output, "upsert");
            for command in
                [&["optimize", "c"][..], &["snapshot", "c", "s"], &["repair", "c", "p"], &["count", "c"]]
            {
                end(&limited.run("true", &[command, &["--backend", backend]].concat()), command[0]);
            }
            failed += usize::from(limited.acknowledged.len() == before);
            disk.resize(64 << 10);
            limited.check(&format!("{backend} with {room_kib} KiB left"));
        }
    }
    assert!(failed > 0, "the disk was never full");
}

fn used_kib(path: &Path) -> u64 {
    let output = Command::new("df").args(["-k", "--output=used"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
}
