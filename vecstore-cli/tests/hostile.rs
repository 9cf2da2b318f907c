//! Hostile input: every option with unsuitable values, and other objects in the place of every file.
#![cfg(target_os = "linux")]

mod common;

use common::{check_end, run, said, stdout, tempdir, vecstore};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A collection `c` with some points and deletions, and input files for commands.
fn sample(dir: &Path) {
    let points: String = (0..40)
        .map(|id| format!("{{\"id\": {id}, \"vector\": [1, {id}], \"payload\": {{\"n\": {id}}}}}\n"))
        .collect();
    fs::write(dir.join("points.jsonl"), points).unwrap();
    let row = |id: u8| [&2i32.to_le_bytes()[..], &1f32.to_le_bytes(), &f32::from(id).to_le_bytes()].concat();
    fs::write(dir.join("q.fvecs"), (0..4).flat_map(row).collect::<Vec<u8>>()).unwrap();
    fs::write(dir.join("schema.json"), r#"{"dim": 2}"#).unwrap();
    stdout(&vecstore(
        dir,
        &["create", "c", "--dim", "2", "--index", "n:integer", "--quantization", "rotated2"],
    ));
    stdout(&vecstore(dir, &["upsert", "c", "points.jsonl"]));
    stdout(&vecstore(dir, &["optimize", "c"]));
    stdout(&vecstore(dir, &["delete", "c", "1", "2"]));
    stdout(&vecstore(dir, &["import", "c", "q.fvecs", "--first-id", "100"]));
    stdout(&vecstore(dir, &["upsert", "c", "points.jsonl"]));
}

const HUGE: [&str; 4] =
    ["4000000000", "1000000000000", "18446744073709551615", "340282366920938463463374607431768211456"];
const NO_NUMBERS: [&str; 7] = ["-1", "-9223372036854775808", "NaN", "inf", "-inf", "1e400", ""];

/// For any value of a numeric option, a command gives an answer, or an error that names the option.
#[test]
fn no_option_takes_a_command_down() {
    let temp = tempdir();
    let dir = temp.path();
    sample(dir);
    let search = ["search", "c", "--vector", "[1, 2]"];
    let demo = ["demo", "--backend", "mmap", "--count", "100", "--dim", "2"];
    let advise = ["advise", "--path", ".", "--backend", "mmap"];
    let import = ["import", "c", "q.fvecs"];
    let create = ["create", "new"];
    let upsert = ["upsert", "c", "points.jsonl"];
    // A command, an option, values that are also too small or too large for it, and its name in the error.
    let options: [(&[&str], &str, &[&str]); 32] = [
        (&search, "--limit", &["0", "1048577"]),
        (&search, "--ef", &["0", "1048577"]),
        (&search, "--offset", &["1048577"]),
        (&search, "--oversampling", &["0", "0.5", "1001", "1e30"]),
        (&search, "--rescore", &["undecided=0", "undecided=NaN", "undecided=2", "undecided=-1"]),
        (&search, "--scan-ratio", &["1.1", "-0.1"]),
        (&search, "--cores", &["0", "1025", "100000"]),
        (&search, "--reads-per-core", &["0", "1025"]),
        (&search, "--queue-depth", &["0", "4097"]),
        (&demo, "--count", &["0", "99", "10000001"]),
        (&demo, "--dim", &["0", "65521"]),
        (&demo, "--m", &["0", "1", "1025"]),
        (&demo, "--ef-construct", &["0", "1048577"]),
        (&demo, "--limit", &["0", "1048577"]),
        (&demo, "--cores", &["0", "1025"]),
        (&demo, "--queue-depth", &["0", "4097"]),
        (&advise, "--seconds", &["0", "4", "3601"]),
        (&advise, "--size-mib", &["0", "15"]),
        (&advise, "--vector-bytes", &["0", "3", "262145"]),
        (&advise, "--data-gib", &["0"]),
        (&advise, "--memory-gib", &["0"]),
        (&create, "--dim", &["0", "65521"]),
        (&["create", "new", "--dim", "2"], "--m", &["0", "1", "1025"]),
        (&["create", "new", "--dim", "2"], "--ef-construct", &["0", "1048577"]),
        (
            &["create", "new", "--dim", "2"],
            "--quantization",
            &["int8_global=NaN", "int8_global=0.5", "product=0", "product=3"],
        ),
        (&import, "--first-id", &["18446744073709551613"]),
        (&["import", "c", "q.raw", "--format", "raw", "--raw-element", "f32"], "--raw-dim", &["0", "65521"]),
        (&upsert, "--seal-points", &["0"]),
        (&upsert, "--seal-bytes", &["0"]),
        (&upsert, "--segments-max", &["0"]),
        (&upsert, "--vacuum-ratio", &["1.1", "-0.1"]),
        (&upsert, "--segment-points-max", &["0"]),
    ];
    fs::copy(dir.join("q.fvecs"), dir.join("q.raw")).unwrap();
    for (command, option, out_of_range) in options {
        let takes_huge = [
            "--seal-points",
            "--seal-bytes",
            "--segments-max",
            "--size-mib",
            "--segment-points-max",
            "--first-id",
        ]
        .contains(&option);
        let huge = if takes_huge { &HUGE[3..] } else { &HUGE[..] };
        let takes_any_float = ["--data-gib", "--memory-gib"].contains(&option);
        let huge = if takes_any_float { &[][..] } else { huge };
        for value in out_of_range.iter().chain(huge).chain(&NO_NUMBERS) {
            let set = format!("{option}={value}");
            let output = vecstore(dir, &[command, &[&*set]].concat());
            let context = format!("{command:?} {set}");
            check_end(&output, &context);
            assert!(!output.status.success(), "{context}: {}", said(&output));
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            let name = option.trim_start_matches('-');
            let names = [option, name, &name.replace('-', "_"), "m is", "dim is", "dimension"];
            assert!(names.iter().any(|name| message.contains(name)), "{context}: {message}");
        }
        assert!(!dir.join("new").exists(), "{option}");
    }
}

/// Large but allowed values work, or the error says which resource is missing.
#[test]
fn the_largest_values_allowed_do_not_take_a_command_down() {
    let temp = tempdir();
    let dir = temp.path();
    sample(dir);
    let most = u64::MAX.to_string();
    let search = ["search", "c", "q.fvecs"];
    let all: [&[&str]; 12] = [
        &["--limit", "1048576", "--oversampling", "1000"],
        &[
            "--limit",
            "1048576",
            "--offset",
            "1048576",
            "--oversampling",
            "1000",
            "--scan-max",
            "0",
            "--scan-ratio",
            "0",
        ],
        &["--ef", "1048576", "--scan-max", "0", "--scan-ratio", "0"],
        &["--scan-max", &most, "--scan-ratio", "1"],
        &["--scan-max", "0", "--scan-ratio", "0", "--rescore", "never"],
        &["--reads-per-core", "1024"],
        &["--cores", "64", "--reads-per-core", "1024"],
        &["--queue-depth", "4096"],
        &["--queue-depth", "1", "--cores", "1", "--reads-per-core", "1"],
        &["--count", "0"],
        &["--threshold", "1e38"],
        &["--threshold=-inf", "--count", &most],
    ];
    for options in all {
        let output = vecstore(dir, &[&search, options].concat());
        check_end(&output, &format!("{options:?}"));
        assert!(output.status.success(), "{options:?}: {}", said(&output));
    }
    let most_points = [
        "upsert",
        "c",
        "points.jsonl",
        "--seal-points",
        &most,
        "--seal-bytes",
        &most,
        "--seal-log-bytes",
        &most,
        "--segments-max",
        &most,
        "--vacuum-ratio",
        "0",
        "--segment-points-max",
        "4294967295",
    ];
    assert_eq!(stdout(&vecstore(dir, &most_points)), "40 points\n");
    let fewest = [
        "upsert",
        "c",
        "points.jsonl",
        "--seal-points",
        "1",
        "--seal-bytes",
        "1",
        "--seal-log-bytes",
        "1",
        "--segments-max",
        "1",
        "--vacuum-ratio",
        "0",
        "--segment-points-max",
        "1",
    ];
    assert_eq!(stdout(&vecstore(dir, &fewest)), "40 points\n");
    assert_eq!(stdout(&vecstore(dir, &["scroll", "c", "--limit", &most])).lines().count(), 44);
    // Together they would exceed any memory.
    let made = vecstore(dir, &["demo", "--count", "10000000", "--dim", "65520"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    assert!(said(&made).contains("--count 10000000 with --dim 65520"), "{}", said(&made));
    stdout(&vecstore(
        dir,
        &["create", "new", "--dim", "2", "--m", "1024", "--ef-construct", "1048576", "--seed", &most],
    ));
    stdout(&vecstore(dir, &["upsert", "new", "points.jsonl", "--seal-points", "10"]));
    for advised in [
        ["--data-gib", "1e300"],
        ["--data-gib", "1e-300"],
        ["--memory-gib", "1e300"],
        ["--memory-gib", "1e-300"],
    ] {
        let base = ["advise", "--path", ".", "--backend", "mmap", "--size-mib", "16", "--seconds", "5"];
        // The values are checked before the measurement and used after it. One measurement is enough.
        if advised == ["--data-gib", "1e300"] {
            check_end(&vecstore(dir, &[&base[..], &advised].concat()), advised[1]);
        }
    }
}

/// Every file of a collection, and the directories in it.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(tree(&entry.path()));
        }
        all.push(entry.path());
    }
    all.sort();
    all
}

const COMMANDS: [&[&str]; 16] = [
    &["count", "c"],
    &["search", "c", "--vector", "[1, 2]"],
    &["get", "c", "7"],
    &["scroll", "c"],
    &["facet", "c", "n"],
    &["info", "c"],
    &["verify", "c"],
    &["export", "c", "out.npy", "out.jsonl"],
    &["snapshot", "c", "s"],
    &["restore", "c", "r"],
    &["repair", "c", "p"],
    &["upsert", "c", "points.jsonl"],
    &["import", "c", "q.fvecs"],
    &["delete", "c", "3"],
    &["optimize", "c"],
    &["create", "c", "--dim", "2"],
];

/// Puts something in a file's place.
type Plant = fn(&Path);

/// Two commands for each file and each object in its place. `VECSTORE_HOSTILE=all` runs all commands.
#[test]
fn no_command_hangs_on_what_is_in_a_files_place() {
    let all = std::env::var("VECSTORE_HOSTILE").is_ok_and(|which| which == "all");
    let temp = tempdir();
    let dir = temp.path();
    sample(dir);
    let mut number = 0;
    for path in tree(&dir.join("c")) {
        let kinds: [(&str, Plant); 4] = [
            ("a pipe", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
            ("a directory", |path| fs::create_dir(path).unwrap()),
            // The path of a socket must be short. If it is too long, nothing is in the file's place.
            ("a socket", |path| match UnixListener::bind(path) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}"),
            }),
            ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
        ];
        for (what, plant) in kinds {
            if what == "a directory" && path.is_dir() {
                continue;
            }
            let aside = dir.join("aside");
            fs::rename(&path, &aside).unwrap();
            plant(&path);
            for _ in 0..if all { COMMANDS.len() } else { 2 } {
                let command = COMMANDS[number % COMMANDS.len()];
                number += if all { 1 } else { 7 };
                let context = format!("{command:?}, with {what} as {}", path.display());
                let output = vecstore(dir, command);
                check_end(&output, &context);
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
                // `repair` is meant for damage, so it may succeed.
                if command[0] != "repair" && command[0] != "create" {
                    assert!(
                        !output.status.success() && said(&output).contains(name),
                        "{context}: {}",
                        said(&output)
                    );
                }
                for made in ["out.npy", "out.jsonl"] {
                    let _ = fs::remove_file(dir.join(made));
                }
                for made in ["s", "r", "p"] {
                    let _ = fs::remove_dir_all(dir.join(made));
                }
            }
            let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
            fs::rename(&aside, &path).unwrap();
        }
    }
    assert!(stdout(&vecstore(dir, &["verify", "c"])).contains(" 0 problems"));
    assert_eq!(stdout(&vecstore(dir, &["count", "c"])), "44\n");
}

/// Inputs that are not files. A pipe is read where lines are expected, and refused where a file is needed.
#[test]
fn inputs_that_are_no_files() {
    let temp = tempdir();
    let dir = temp.path();
    sample(dir);
    for name in ["pipe", "pipe.npy", "pipe.fvecs"] {
        assert!(Command::new("mkfifo").arg(dir.join(name)).status().unwrap().success());
    }
    symlink("/dev/zero", dir.join("zero.npy")).unwrap();
    symlink("q.fvecs", dir.join("link.fvecs")).unwrap();
    let refused = |args: &[&str], parts: &[&str]| {
        let output = vecstore(dir, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(parts.iter().all(|part| said(&output).contains(part)), "{args:?}: {}", said(&output));
    };
    for name in ["pipe.npy", "pipe.fvecs"] {
        refused(&["import", "c", name], &[name, "is a pipe, not a regular file"]);
        refused(&["search", "c", name], &[name, "is a pipe, not a regular file"]);
    }
    refused(&["import", "c", "zero.npy"], &["zero.npy", "is a device, not a regular file"]);
    refused(&["upsert", "c", "."], &["Is a directory"]);
    refused(&["create", "d", "--schema", "."], &["Is a directory"]);
    refused(&["import", "c", "q.fvecs", "--payload", "."], &["Is a directory"]);
    let truth =
        ["demo", "--vectors", "q.fvecs", "--queries", "q.fvecs", "--truth", "pipe.npy", "--backend", "mmap"];
    refused(&truth, &["pipe.npy", "is a pipe"]);
    // A link is followed if the user names it.
    assert_eq!(stdout(&vecstore(dir, &["search", "c", "link.fvecs", "--limit", "1"])).lines().count(), 4);
    // Lines may come from a pipe.
    let piped = format!("cat points.jsonl > pipe & {} upsert c pipe; wait", common::VECSTORE);
    let output = run(Command::new("sh").args(["-c", &piped]).current_dir(dir));
    assert_eq!(stdout(&output), "40 points\n");
    // Outputs: a command never writes through an existing entry, and a failed write is an error.
    symlink("nowhere", dir.join("out.npy")).unwrap();
    refused(&["export", "c", "out.npy", "out.jsonl"], &["out.npy", "exists already"]);
    refused(&["export", "c", "pipe.npy", "out.jsonl"], &["pipe.npy", "exists already"]);
    let full = format!("{} scroll c > /dev/full", common::VECSTORE);
    let output = run(Command::new("sh").args(["-c", &full]).current_dir(dir));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot print: No space left"), "{}", said(&output));
}

/// Nothing is copied or exported into the collection itself, under any path.
#[test]
fn nothing_is_put_into_the_collection_itself() {
    let temp = tempdir();
    let dir = temp.path();
    sample(dir);
    symlink("c", dir.join("link")).unwrap();
    let before = tree(&dir.join("c"));
    for from in ["c", "./c", "link", "c/../c"] {
        for to in ["c/new", "link/segment-000099", "c/../c/log-000099.wal", "./c/new"] {
            for command in [&["snapshot"][..], &["restore"], &["repair"], &["export"]] {
                let paths: &[&str] =
                    if command[0] == "export" { &[from, to, "out.jsonl"] } else { &[from, to] };
                let output = vecstore(dir, &[command, paths].concat());
                let context = format!("{command:?} {from} {to}: {}", said(&output));
                assert_eq!(output.status.code(), Some(1), "{context}");
                // Most messages have whole paths.
                let named = |path: &str| path.trim_start_matches("./").to_owned();
                let (inner, outer) = (format!("{} lies within", named(to)), named(from));
                let said = said(&output);
                let (_, after) = said.split_once(&inner).expect(&context);
                assert!(after.contains(" the collection ") && after.contains(&outer), "{context}");
            }
            let points = ["export", from, "out.npy", to];
            assert!(said(&vecstore(dir, &points)).contains("lies within the collection"));
            assert!(!dir.join("out.npy").exists() && !dir.join("out.jsonl").exists());
        }
    }
    assert_eq!(tree(&dir.join("c")), before);
}

/// If permissions prevent reading a file, the error says so, and does not call it damaged.
#[test]
fn a_file_that_may_not_be_read_is_not_called_damaged() {
    // A test as root runs the command as another user, because root may read everything. That user must be
    // able to find it.
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    sample(dir);
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let command = if is_root {
        common::copy_of_the_command(&dir.join("vecstore"));
        dir.join("vecstore")
    } else {
        PathBuf::from(common::VECSTORE)
    };
    let open_up = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open_up(dir, 0o777);
    let of_segment = |path: &PathBuf| path.ends_with("segment.json");
    let segment = tree(&dir.join("c")).into_iter().find(of_segment).unwrap().parent().unwrap().to_owned();
    let segment_name = segment.strip_prefix(dir).unwrap().display();
    let run = |args: &[&str]| {
        let mut command = Command::new(&command);
        if is_root {
            use std::os::unix::process::CommandExt;
            command.uid(65534).gid(65534);
        }
        run(command.args(args).current_dir(dir))
    };
    for path in tree(&dir.join("c")).into_iter().chain([dir.join("c")]) {
        open_up(&path, 0o777);
    }
    assert_eq!(run(&["verify", "c"]).status.code(), Some(0));
    for name in ["ids.pages", "vectors.vec", "segment.json"] {
        open_up(&segment.join(name), 0);
        let output = run(&["verify", "c"]);
        assert_eq!(output.status.code(), Some(5), "{}", said(&output));
        let path = format!("{segment_name}/{name}");
        for part in ["not read: cannot", &path, "Permission denied", " 0 problems", "no damage found"] {
            assert!(said(&output).contains(part), "{part} is not in {}", said(&output));
        }
        let output = run(&["repair", "c", "p"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains(&path) && said(&output).contains("Permission denied"),
            "{}",
            said(&output)
        );
        assert!(!dir.join("p").exists() && !dir.join(".p.vecstore-repair").exists());
        // If a file is also damaged, the exit code is that of damage.
        let payload = segment.join("payload.pages");
        let sound = fs::read(&payload).unwrap();
        fs::write(&payload, "x").unwrap();
        assert_eq!(run(&["verify", "c"]).status.code(), Some(4));
        fs::write(&payload, sound).unwrap();
        open_up(&segment.join(name), 0o777);
    }
}
