//! What a command meets in its system: another process, a closed pipe, a limit of open files.

use crate::common::{check_failure, end, fvecs, stdout, tempdir, vecstore, wait_for_writer};
#[cfg(target_os = "linux")]
use crate::packages::json_lines;
use crate::packages::packages;
use std::process::{Command, Stdio};

/// While one process writes, others get an error that names it.
#[test]
fn a_second_writer_is_told_who_is_first() {
    let temp = tempdir();
    packages(temp.path());
    let mut first = Command::new(env!("CARGO_BIN_EXE_vecstore"))
        .args(["upsert", "packages"])
        .current_dir(temp.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_writer(&mut first, &temp.path().join("packages"));
    let holder = format!("process {}", first.id());
    check_failure(&vecstore(temp.path(), &["count", "packages"]), 1, &["in use", &holder]);
    check_failure(&vecstore(temp.path(), &["optimize", "packages"]), 1, &["in use", &holder]);
    assert!(end(first, "an upsert without lines").status.success());
    assert_eq!(stdout(&vecstore(temp.path(), &["count", "packages"])), "200\n");
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let temp = tempdir();
    let dir = temp.path();
    fvecs(dir, "base.fvecs", 5000);
    stdout(&vecstore(dir, &["create", "c", "--dim", "8"]));
    stdout(&vecstore(dir, &["import", "c", "base.fvecs", "--no-optimize"]));
    let command = format!("{} search c base.fvecs | head -n 1", env!("CARGO_BIN_EXE_vecstore"));
    let output = Command::new("sh").args(["-c", &command]).current_dir(dir).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A limit that is enough for the files open now, but not for those that may be open later.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_open_files_below_the_bound_is_told() {
    let temp = tempdir();
    let dir = temp.path();
    packages(dir);
    let with_limit = |limit: u32| {
        let command = format!("ulimit -n {limit} && exec \"$0\" info packages --json");
        Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_vecstore")])
            .current_dir(dir)
            .output()
            .unwrap()
    };
    let few = with_limit(64);
    let max = json_lines(&few)[0]["open_files"]["max"].as_u64().unwrap();
    let told = String::from_utf8_lossy(&few.stderr);
    assert!(
        told.starts_with("vecstore: warning: ")
            && told.contains("ulimit -n")
            && told.contains("--cores")
            && told.contains(&max.to_string())
            && told.contains("64"),
        "{told}"
    );
    // The command raises its soft limit to the hard limit, so the soft limit alone gives no warning.
    let raised = Command::new("sh")
        .args(["-c", "ulimit -S -n 64 && exec \"$0\" info packages", env!("CARGO_BIN_EXE_vecstore")])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(stdout(&raised).contains("open files"));
    assert_eq!(String::from_utf8_lossy(&raised.stderr), "");
}
