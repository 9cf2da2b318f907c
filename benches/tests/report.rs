//! Tests the report through its binary. Shell scripts stand in for cargo, the benches and the slow disk.

#![cfg(target_os = "linux")]

use benches::report::runs::{Outcome, Run, load};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Prints the paths of the programs, as cargo does.
const CARGO: &str = r#"#!/bin/sh
for name in scroll writes slow-disk; do
    echo "{\"target\":{\"name\":\"$name\"},\"executable\":\"$STAGE/$name\"}"
done
"#;
const SLOW_DISK: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"#;
const SCROLL: &str = r#"#!/bin/sh
echo "scroll $*" >> "$STAGE/log"
[ "$2" = prepare ] && exit "$PREPARED"
cat > "$BENCH_JSON" <<END
{"scenario":"scroll","tables":[{"title":"Scroll","notes":[],"columns":["ids","contender","ratio"],
"rows":[["UUIDs","ring",14.5]],"plots":[]}]}
END
"#;
/// Lacks a requirement on its first disk, and fails on its second.
const WRITES: &str = r#"#!/bin/sh
echo "writes $*" >> "$STAGE/log"
[ -e "$STAGE/again" ] && { echo boom >&2; exit 1; }
touch "$STAGE/again"
echo "no fio" >&2
exit 77
"#;

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        for (name, script) in
            [("cargo", CARGO), ("slow-disk", SLOW_DISK), ("scroll", SCROLL), ("writes", WRITES)]
        {
            let path = stage.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        stage
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn report(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
        command.arg(verb).arg("--out").arg(self.path().join("out")).args(arguments);
        command.env("CARGO", self.path().join("cargo")).env("STAGE", self.path());
        for name in ["BENCH_QUICK", "BENCH_DIR", "BENCH_BACKENDS"] {
            command.env_remove(name);
        }
        command.env("BENCH_ROUNDS", "2").env("PREPARED", "0");
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    fn runs(&self) -> Vec<Run> {
        load(&self.path().join("out")).unwrap()
    }
}

fn ended_well(output: &Output) -> bool {
    output.status.success()
}

#[test]
fn each_scenario_has_a_file_and_all_of_them_a_page() {
    let stage = Stage::new();
    let output = stage.report("run", &["--only", "scroll,writes"]).output().unwrap();
    // One scenario failed.
    assert!(!ended_well(&output));
    assert_eq!(stage.log(), "scroll --bench prepare\nscroll --bench\nwrites --bench\nwrites --bench\n");
    let [scroll, local, slow] = &stage.runs()[..] else { panic!("{:?}", stage.runs()) };
    assert_eq!(scroll.disk, "slow disk, 8 at once, 96 MiB of memory");
    assert_eq!(
        scroll.command,
        "BENCH_ROUNDS=2 target/release/slow-disk run --parallelism 8 --read-ahead-kb 128 --memory-max-mib 96 -- \
         cargo bench -p benches --bench scroll"
    );
    assert_eq!(scroll.report().unwrap().tables[0].rows[0][2].value(), Some(14.5));
    assert_eq!(local.outcome, Outcome::Skipped("no fio".to_owned()));
    assert!(matches!(&slow.outcome, Outcome::Failed(why) if why.ends_with(": boom")), "{slow:?}");
    let page = fs::read_to_string(stage.path().join("out/report.html")).unwrap();
    assert!(page.contains("14.5 times as fast") && page.contains("boom"));
}

#[test]
fn resuming_runs_what_has_no_figures_yet() {
    let stage = Stage::new();
    assert!(ended_well(&stage.report("run", &["--only", "scroll"]).output().unwrap()));
    let output = stage.report("run", &["--only", "scroll,writes", "--local", "--resume"]).output().unwrap();
    assert!(ended_well(&output), "{output:?}");
    assert_eq!(stage.log(), "scroll --bench prepare\nscroll --bench\nwrites --bench\n");
    assert_eq!(stage.runs().len(), 2);
    // Quick figures do not count as full ones.
    let output = stage.report("run", &["--only", "scroll", "--quick", "--resume"]).output().unwrap();
    assert!(ended_well(&output), "{output:?}");
    assert!(stage.log().ends_with("writes --bench\nscroll --bench prepare\nscroll --bench\n"));
    let runs = stage.runs();
    let scroll = runs.iter().find(|run| run.scenario == "scroll").unwrap();
    assert!(scroll.is_quick() && scroll.command.starts_with("BENCH_QUICK=1 BENCH_ROUNDS=2 "), "{scroll:?}");
}

#[test]
fn what_cannot_be_prepared_is_not_measured() {
    let stage = Stage::new();
    for (status, is_well) in [("77", true), ("1", false)] {
        let output = stage.report("run", &["--only", "scroll"]).env("PREPARED", status).output().unwrap();
        assert_eq!(ended_well(&output), is_well, "{output:?}");
        let [run] = &stage.runs()[..] else { panic!("{:?}", stage.runs()) };
        assert_eq!((run.disk.as_str(), matches!(run.outcome, Outcome::Skipped(_))), ("prepare", is_well));
    }
    assert_eq!(stage.log(), "scroll --bench prepare\n".repeat(2));
}

#[test]
fn the_table_of_any_command_is_recorded() {
    let stage = Stage::new();
    let scroll = stage.path().join("scroll");
    let scroll = scroll.to_str().unwrap();
    let of_mine = |disk| ["--scenario", "mine", "--disk", disk, "--", scroll, "a", "b"];
    for disk in ["one", "other", "one"] {
        let output = stage.report("record", &of_mine(disk)).output().unwrap();
        assert!(ended_well(&output), "{output:?}");
    }
    let runs = stage.runs();
    let disks: Vec<&str> = runs.iter().map(|run| run.disk.as_str()).collect();
    assert_eq!(disks, ["other", "one"]);
    assert_eq!(runs[0].command, format!("BENCH_ROUNDS=2 {scroll} a b"));
    let writes = stage.path().join("writes");
    let output = stage.report("record", &["--scenario", "mine", "--", writes.to_str().unwrap()]).output();
    let output = output.unwrap();
    assert!(!ended_well(&output) && String::from_utf8_lossy(&output.stdout).contains("report: no fio"));
    assert_eq!(stage.runs(), runs);
}
