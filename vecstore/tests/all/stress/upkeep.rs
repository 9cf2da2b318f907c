//! Optimizes, syncs and takes snapshots, while others write and read.

use crate::stress::timeline::Points;
use crate::stress::{Run, opened_contents};
use std::path::Path;
use vecstore::collection::Collection;

pub(crate) fn keep_up(run: &Run, collection: &Collection, session: u64, mut random: fastrand::Rng) {
    let mut snapshots = 0;
    while run.goes_on() {
        match random.u32(..8) {
            0 | 1 => {
                run.note("seal".to_owned());
                collection.seal(|_| {}).wait().unwrap();
            }
            2 => {
                run.note("optimize".to_owned());
                collection.optimize(|_| {}).wait().unwrap();
            }
            3 => {
                run.note("settle".to_owned());
                collection.settle().wait().unwrap();
            }
            4 => {
                run.note("sync".to_owned());
                collection.sync().wait().unwrap();
            }
            5 => {
                let info = collection.info().unwrap();
                assert_eq!((info.read_only, info.background_error), (None, None));
            }
            _ => {
                snapshots += 1;
                let path = run.root.join(format!("snapshot-{session}-{snapshots}"));
                run.note(format!("snapshot {}", path.display()));
                let begun = run.timeline.begin_read();
                collection.snapshot(&path).wait().unwrap();
                let window = run.timeline.end_read(begun);
                let found = snapshot_contents(run, &path, random.u32(..3) == 0);
                let states = loop {
                    match run.timeline.states(&window) {
                        Some(states) => break states,
                        // The snapshot may contain a write that is not acknowledged yet.
                        None if run.has_failed() => return,
                        None => std::thread::yield_now(),
                    }
                };
                assert!(states.contains(&found), "{} is of no moment that there was", path.display());
                std::fs::remove_dir_all(&path).unwrap();
            }
        }
    }
}

/// The content of a snapshot, opened in place or restored.
fn snapshot_contents(run: &Run, path: &Path, restored: bool) -> Points {
    run.verify(path);
    if !restored {
        return opened_contents(run, path, true);
    }
    let restored = path.with_file_name("restored");
    Collection::restore(&run.backend, path, &restored, &io_core::StopFlag::new()).unwrap();
    let found = opened_contents(run, &restored, false);
    run.verify(&restored);
    std::fs::remove_dir_all(&restored).unwrap();
    found
}
