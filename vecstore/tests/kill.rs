//! Kills a real process on a real file system. The child writes, seals and merges, and is killed at random
//! moments. After each kill, all acknowledged writes are there, and no batch is partly there.

use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, RecordParts, ScrollRequest};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const KILLS: usize = 200;
/// Points that every round rewrites. Each round also adds one point.
const REPLACED: u64 = 10;
const STAYING: u64 = 1000;
const DIR: &str = "VECSTORE_KILL_DIR";
const BACKEND: &str = "VECSTORE_KILL_BACKEND";

/// Thresholds so small that a few rounds are sealed and merged.
fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, seal_points: 60, segments_max: 3, ..CollectionOptions::default() }
}

/// The last round whose points exist. Fails unless all of its points exist and no others.
fn last_round(collection: &Collection) -> u64 {
    let request = ScrollRequest { limit: 1 << 20, with: RecordParts::ALL, ..ScrollRequest::default() };
    let records = collection.scroll(request).wait().unwrap().records;
    let Some(first) = records.first() else { return 0 };
    let round = first.payload.as_ref().unwrap()["round"].as_u64().unwrap();
    let expected =
        (0..REPLACED).map(|id| (id, round)).chain((1..=round).map(|round| (STAYING + round, round)));
    let found = records.iter().map(|record| {
        let written = record.payload.as_ref().unwrap()["round"].as_u64().unwrap();
        assert_eq!(record.vector.as_ref().unwrap()[1], written as f32);
        (record.id, written)
    });
    let expected: Vec<(PointId, u64)> = expected.map(|(id, round)| (PointId::Num(id), round)).collect();
    assert_eq!(found.collect::<Vec<_>>(), expected);
    round
}

/// The child: writes rounds, and prints each acknowledged one.
#[test]
#[ignore = "the process that the test beside it kills"]
fn child() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("run by the test beside it"));
    let kind: BackendKind = std::env::var(BACKEND).unwrap().parse().unwrap();
    let collection = Collection::open(&kind.backend(), &dir, &options()).unwrap();
    let mut out = std::io::stdout();
    for round in last_round(&collection) + 1.. {
        let ids = (0..REPLACED).chain([STAYING + round]);
        let point = |id| Point::new(id, vec![1.0, round as f32]).with_payload(json!({"round": round}));
        collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
        writeln!(out, "acknowledged {round}").and_then(|()| out.flush()).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the moment of the kill is random; nothing is expected of it")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn spawn(dir: &Path, kind: BackendKind) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(DIR, dir)
        .env(BACKEND, kind.name())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = temp.path().join("c");
    let kinds = BackendKind::plain();
    let schema = Schema::new(2).index("round", FieldKind::Integer);
    Collection::create(&kinds[0].backend(), &dir, &schema, &options()).unwrap().close().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut before = 0;
    for kill in 0..KILLS {
        let mut child = spawn(&dir, kinds[kill % kinds.len()]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (acknowledged, rounds) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The kill may truncate the last line, or the line comes from the test harness.
                let round = line.strip_prefix("acknowledged ").and_then(|round| round.parse::<u64>().ok());
                round.into_iter().for_each(|round| acknowledged.send(round).unwrap());
            }
        });
        // The kill comes at any time from before the first opening to long after the first merge. It waits
        // for some rounds, so that this does not depend on the speed of the machine.
        let awaited: Vec<u64> = rounds.iter().take(random.usize(..8)).collect();
        wait(Duration::from_micros(random.u64(..30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let acknowledged = awaited.into_iter().chain(rounds).max().unwrap_or(before);
        let reader = CollectionOptions { read_only: true, ..options() };
        let collection = Collection::open(&kinds[0].backend(), &dir, &reader).unwrap();
        let found = last_round(&collection);
        assert!(
            found >= acknowledged,
            "kill {kill}: round {acknowledged} was acknowledged, {found} is the last"
        );
        assert!(found >= before, "kill {kill}");
        before = found;
    }
    assert!(before > 2 * KILLS as u64, "the children were killed before they did anything: {before} rounds");
    let collection = Collection::open(&kinds[0].backend(), &dir, &options()).unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(last_round(&collection), before);
    collection.close().unwrap();
    let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the manifest, the lock and one segment: {left:?}");
}
