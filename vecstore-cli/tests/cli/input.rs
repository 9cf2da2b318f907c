//! Input that is too long, or that ends early.

use crate::common::{check_failure, stdout, tempdir, vecstore};
#[cfg(target_os = "linux")]
use crate::packages::packages;
#[cfg(target_os = "linux")]
use std::process::Command;

/// Endless input and too long lines are refused at a limit. Memory is limited too, so that a command that
/// reads on fails without taking the machine's memory.
#[cfg(target_os = "linux")]
#[test]
fn endless_input_is_refused_at_a_limit() {
    let temp = tempdir();
    let dir = temp.path();
    packages(dir);
    let run = |command: &str| {
        let limited =
            format!("ulimit -v 6000000; {}", command.replace("vecstore", env!("CARGO_BIN_EXE_vecstore")));
        Command::new("sh").args(["-c", &limited]).current_dir(dir).output().unwrap()
    };
    let limit = "more than 33554432 bytes";
    let line = format!("line 1: it has {limit}");
    check_failure(&run("vecstore upsert packages /dev/zero"), 1, &["/dev/zero", &line]);
    check_failure(&run("vecstore upsert packages < /dev/zero"), 1, &["standard input", &line]);
    check_failure(&run("vecstore import packages base.fvecs --payload /dev/zero"), 1, &["/dev/zero", &line]);
    check_failure(&run("vecstore create x --schema /dev/zero"), 1, &["/dev/zero", limit]);
    check_failure(&run("vecstore repair packages x --schema /dev/zero"), 1, &["/dev/zero", limit]);
    check_failure(&run("vecstore count packages --filter @/dev/zero"), 2, &["/dev/zero", limit]);
    // The longest line allowed, and one byte more. The line's end does not count.
    let padded = |bytes: usize| format!("{}{}", " ".repeat(bytes - 2), "{}");
    let good = "{\"id\": 7, \"vector\": [1,2,3,4,5,6,7,8]}\n";
    for (bytes, said) in [(32 << 20, "line 2: missing field"), ((32 << 20) + 1, "line 2: it has more than")] {
        std::fs::write(dir.join("long.jsonl"), format!("{good}{}\n", padded(bytes))).unwrap();
        check_failure(&run("vecstore upsert packages long.jsonl"), 1, &["long.jsonl", said]);
    }
    // Deeply nested values, and tables that claim to be long.
    let deep = format!("{{\"id\": 1, \"vector\": [1], \"payload\": {{\"a\": {}", "[".repeat(1 << 20));
    std::fs::write(dir.join("deep.jsonl"), &deep).unwrap();
    check_failure(&run("vecstore upsert packages deep.jsonl"), 1, &["line 1", "recursion limit"]);
    std::fs::write(dir.join("filter.json"), "{\"must\": [".repeat(1 << 18)).unwrap();
    check_failure(&run("vecstore count packages --filter @filter.json"), 2, &["filter.json"]);
    let sparse = |name: &str, descr: &str, rows: u64, columns: u64| {
        let header = format!(
            "{:<117}\n",
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}")
        );
        let bytes = [b"\x93NUMPY\x01\x00", &118u16.to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(dir.join(name), bytes).unwrap();
        let file = std::fs::File::options().write(true).open(dir.join(name)).unwrap();
        file.set_len(128 + rows * columns * 4).unwrap();
    };
    sparse("queries.npy", "<f4", 5 << 27, 8);
    check_failure(
        &run("vecstore search packages queries.npy"),
        1,
        &["queries.npy", "671088640 queries", "at most 33554432"],
    );
    stdout(&run("vecstore search packages queries.npy --count 2"));
    sparse("truth.npy", "<i4", 5 << 27, 8);
    let demo = "vecstore demo --vectors base.fvecs --queries base.fvecs --truth truth.npy";
    check_failure(&run(demo), 1, &["truth.npy", "21474836480 bytes", "at most 268435456"]);
}

/// Whatever ends an upsert, the lines before it are written, and the command says how many.
#[test]
fn an_upsert_that_ends_early_says_how_far_it_came() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    let good: String = (0..600).map(|id| format!("{{\"id\": {id}, \"vector\": [1, {id}]}}\n")).collect();
    let bad: [(&[u8], &str); 4] = [
        (b"{\"id\": \xFF}", "line 601: invalid utf-8"),
        (&[b' '; (32 << 20) + 1], "line 601: it has more than 33554432 bytes"),
        (b"{\"id\": 7,", "line 601: EOF while parsing a value at column 9\n"),
        (b"{\"id\": 7, \"vector\": [1]}", "line 601: point 7: a vector of 1 components"),
    ];
    for (line, said) in bad {
        stdout(&run(&["create", "c", "--dim", "2"]));
        std::fs::write(dir.join("points.jsonl"), [good.as_bytes(), line, b"\n"].concat()).unwrap();
        let said = ["points.jsonl", said, "the first 600 lines are written"];
        check_failure(&run(&["upsert", "c", "points.jsonl"]), 1, &said);
        assert_eq!(stdout(&run(&["count", "c"])), "600\n", "{said:?}");
        std::fs::remove_dir_all(dir.join("c")).unwrap();
    }
}
