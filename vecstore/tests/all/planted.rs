//! Links, pipes, devices and directories that somebody planted in the places of a collection's files. Calls
//! change nothing outside of the collection and wait for nothing, and errors name the path.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

use io_core::{StopFlag, with_causes};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, SearchRequest, Selection,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::Schema;

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() }
}

fn backend() -> io_core::DynBackend {
    BackendKind::all()[0].backend()
}

fn open(dir: &Path) -> Result<Collection, Error> {
    Collection::open(&backend(), dir, &options())
}

/// A collection with every kind of file: a segment with a codec, deleted points, and a log.
fn sample(dir: &Path) {
    let schema = Schema {
        quantization: Quantization::Rotated2,
        ..crate::new_schema(2).index("n", FieldKind::Integer)
    };
    let collection = Collection::create(&backend(), dir, &schema, &options()).unwrap();
    let point = |id: u64| {
        let payload = serde_json::json!({ "n": id });
        Point::new(id, vec![1.0, id as f32]).with_payload(payload)
    };
    collection.upsert((0..50).map(point).collect(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let gone = Selection::Ids((0..5).map(PointId::Num).collect());
    collection.delete(gone, Durability::Synced).wait().unwrap();
    collection.upsert((50..60).map(point).collect(), Durability::Synced).wait().unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.upsert((60..65).map(point).collect(), Durability::Synced).wait().unwrap();
    collection.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { assert!(fs::copy(&from, &to).is_ok()) }
    }
}

/// The names and contents of all files below a directory.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(tree(&path));
            all.push((path, Vec::new()));
        } else {
            let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            all.push((path, content));
        }
    }
    all.sort();
    all
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Runs `act`, which must not block. If it blocks, its thread goes on, and the test fails.
fn without_waiting<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waiting) = mpsc::channel();
    std::thread::spawn(move || drop(done.send(act())));
    waiting.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|error| panic!("{what}: {error}"))
}

type Call = fn(&Path, &Path) -> Result<(), String>;

fn told<T>(result: Result<T, Error>) -> Result<(), String> {
    result.map(drop).map_err(|error| with_causes(&error).to_string())
}

fn texts(errors: &[Error]) -> Vec<String> {
    errors.iter().map(|error| with_causes(error).to_string()).collect()
}

/// Reads all points.
fn read_all(collection: &Collection) -> Result<(), Error> {
    let all = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
    collection.scroll(all).wait()?;
    collection.search(SearchRequest::new(vec![1.0, 2.0])).wait()?;
    collection.facet("n".to_owned(), None, 10).wait().map(drop)
}

/// All calls on a collection. The second path is free.
const CALLS: [(&str, Call); 6] = [
    ("read", |dir, _| {
        let options = CollectionOptions { read_only: true, ..options() };
        told(Collection::open(&backend(), dir, &options).and_then(|collection| read_all(&collection)))
    }),
    ("write", |dir, _| {
        told(open(dir).and_then(|collection| {
            collection.upsert(vec![Point::new(99, vec![1.0, 2.0])], Durability::Synced).wait()?;
            collection.optimize(|_| {}).wait()?;
            collection.close()
        }))
    }),
    ("snapshot", |dir, free| told(open(dir).and_then(|collection| collection.snapshot(free).wait()))),
    ("restore", |dir, free| told(Collection::restore(&backend(), dir, free, &StopFlag::new()))),
    ("verify", |dir, _| match Collection::verify(&backend(), dir, &StopFlag::new()) {
        Ok(report) if report.problems.is_empty() => Ok(()),
        Ok(report) => Err(texts(&report.problems).join("; ")),
        Err(error) => Err(with_causes(&error).to_string()),
    }),
    ("repair", |dir, free| match Collection::repair(&backend(), dir, free, None, &StopFlag::new()) {
        Ok(report) => {
            assert!(open(free).is_ok_and(|collection| read_all(&collection).is_ok()), "{report:?}");
            Ok(())
        }
        Err(error) => Err(with_causes(&error).to_string()),
    }),
];

/// Replaces each file of a collection by each of these, and tries all calls.
#[test]
fn no_call_waits_for_what_is_in_a_files_place() {
    let temp = tempdir();
    let sound = temp.path().join("sound");
    sample(&sound);
    let outside = temp.path().join("outside");
    fs::write(&outside, "kept").unwrap();
    let files: Vec<PathBuf> =
        tree(&sound).into_iter().map(|(path, _)| path.strip_prefix(&sound).unwrap().to_owned()).collect();
    let plant = |what: &str, path: &Path| match what {
        "a pipe" => mkfifo(path),
        "a directory" => fs::create_dir(path).unwrap(),
        "a socket" => drop(UnixListener::bind(path).unwrap()),
        "a link to a device" => symlink("/dev/zero", path).unwrap(),
        "a link to itself" => symlink(path, path).unwrap(),
        _ => symlink(&outside, path).unwrap(),
    };
    let kinds = ["a pipe", "a directory", "a socket", "a link to a device", "a link to itself", "a link"];
    assert!(files.len() > 20, "{files:?}");
    for (index, file) in files.iter().enumerate() {
        // All kinds for the first files, and two kinds for each other one.
        let some = if index < 4 { 0..kinds.len() } else { index % 5..index % 5 + 2 };
        for what in &kinds[some] {
            let at = tempfile::tempdir_in(temp.path()).unwrap();
            // A socket's path must be short.
            let dir = at.path().join("c");
            copy(&sound, &dir);
            let path = dir.join(file);
            if path.is_dir() {
                if *what == "a directory" {
                    continue;
                }
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            plant(what, &path);
            for (call, act) in CALLS {
                let context = format!("{call}, with {what} as {}", file.display());
                let (dir, free) = (dir.clone(), at.path().join(call));
                let result = without_waiting(&context, move || act(&dir, &free));
                // Repair saves the rest. It rebuilds codes and graphs.
                if call == "repair" && !file.ends_with("LOCK") {
                    continue;
                }
                let error = result.expect_err(&context);
                assert!(error.contains(path.to_str().unwrap()), "{context}: {error}");
                assert!(
                    !at.path().join("snapshot").exists() && !at.path().join("restore").exists(),
                    "{context}"
                );
            }
            assert_eq!(fs::read(&outside).unwrap(), b"kept");
        }
    }
}

/// Files that are opened for writing are hard links to a file of the user.
#[test]
fn nothing_outside_is_written_to_or_removed() {
    let temp = tempdir();
    let at = |name: &str| temp.path().join(name);
    sample(&at("c"));
    sample(&at("other"));
    fs::create_dir(at("users")).unwrap();
    for name in ["notes", "LOCK", "MANIFEST", "log-000001.wal"] {
        fs::write(at("users").join(name), "kept").unwrap();
    }
    let (users, other) = (tree(&at("users")), tree(&at("other")));
    type Plant<'a> = &'a dyn Fn(&Path);
    let linked: Plant = &|path| symlink(at("users/notes"), path).unwrap();
    let hard: Plant = &|path| fs::hard_link(at("users/notes"), path).unwrap();
    let directory: Plant = &|path| symlink(at("users"), path).unwrap();
    let inside: Plant = &|path| {
        fs::create_dir(path).unwrap();
        symlink(at("users/notes"), path.join("LOCK")).unwrap();
    };
    let hard_inside: Plant = &|path| {
        fs::create_dir(path).unwrap();
        fs::hard_link(at("users/notes"), path.join("LOCK")).unwrap();
    };
    let collection: Plant = &|path| symlink(at("other"), path).unwrap();
    let segment: Plant = &|path| {
        fs::remove_dir_all(path).unwrap();
        symlink(at("other/segment-000001"), path).unwrap();
    };
    let fresh: Plant = &|path| {
        fs::remove_file(path).unwrap();
        symlink(at("users/notes"), path).unwrap();
    };
    let segment_name = "c/segment-000001";
    assert!(at(segment_name).is_dir() && at("c/LOCK").is_file());
    for (name, plants, is_taken) in [
        ("c/LOCK", &[fresh][..], false),
        ("c/MANIFEST.new", &[linked, hard], true),
        ("c/SNAPSHOT.new", &[directory], true),
        ("c/log-000099.wal", &[linked], false),
        ("c/segment-000099", &[directory], true),
        (segment_name, &[segment], false),
        (".r.vecstore-restore", &[linked, directory, collection, inside, hard_inside], false),
        (".p.vecstore-repair", &[linked, directory, collection, inside, hard_inside], false),
        ("s", &[linked, directory], false),
        ("r", &[linked, directory], false),
    ] {
        for (number, plant) in plants.iter().enumerate() {
            let sound = tempfile::tempdir_in(temp.path()).unwrap();
            copy(&at("c"), &sound.path().join("c"));
            plant(&at(name));
            let (dir, free) = (at("c"), temp.path().to_owned());
            let results = without_waiting(name, move || {
                let new: Vec<Result<(), String>> = vec![
                    CALLS[1].1(&dir, &free),
                    CALLS[2].1(&dir, &free.join("s")),
                    CALLS[3].1(&dir, &free.join("r")),
                    CALLS[5].1(&dir, &free.join("p")),
                ];
                new
            });
            assert_eq!(results.iter().all(Result::is_ok), is_taken, "{name}, {number}: {results:?}");
            assert_eq!((tree(&at("users")), tree(&at("other"))), (users.clone(), other.clone()), "{name}");
            for made in ["s", "r", "p", ".r.vecstore-restore", ".p.vecstore-repair"] {
                let _ = fs::remove_file(at(made));
                let _ = fs::remove_dir_all(at(made));
            }
            fs::remove_dir_all(at("c")).unwrap();
            fs::rename(sound.path().join("c"), at("c")).unwrap();
        }
    }
}

/// Data put into another user's directory would belong to that user. Only root can give a directory away.
#[test]
fn a_directory_of_another_user_is_not_taken_over() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let temp = tempdir();
    let collection = temp.path().join("c");
    sample(&collection);
    let others = |path: &Path| {
        let given_away = chown(path, Some(65534), None);
        if let Err(error) = &given_away {
            eprintln!("a directory of another user: not tried, since this user may not make one: {error}");
        }
        given_away.is_ok()
    };
    let open_to_all = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        true
    };
    // Only on another file system is a snapshot staged beside its target.
    let elsewhere = other_file_system(temp.path());
    let (beside, elsewhere) = (temp.path(), elsewhere.as_ref().map(tempfile::TempDir::path));
    type Plant<'a> = &'a dyn Fn(&Path) -> bool;
    for plant in [&others as Plant<'_>, &open_to_all] {
        for (below, name, free, call) in [
            (Some(beside), ".r.vecstore-restore", "r", CALLS[3].1),
            (Some(beside), ".p.vecstore-repair", "p", CALLS[5].1),
            (elsewhere, ".s.vecstore-snapshot", "s", CALLS[2].1),
        ] {
            let Some(below) = below else { continue };
            let (planted, free) = (below.join(name), below.join(free));
            fs::create_dir(&planted).unwrap();
            fs::write(planted.join("kept"), "kept").unwrap();
            if plant(&planted) {
                let error = call(&collection, &free).unwrap_err();
                assert!(error.contains(name) && error.contains("remove it"), "{error}");
                assert_eq!(tree(&planted), [(planted.join("kept"), b"kept".to_vec())]);
                assert!(!free.exists());
            }
            fs::remove_dir_all(&planted).unwrap();
            assert_eq!(call(&collection, &free), Ok(()), "{name}: nothing else was in the way");
            fs::remove_dir_all(&free).unwrap();
        }
    }
}

/// A directory on another file system. If none is known, prints that and returns `None`.
fn other_file_system(than: &Path) -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let there = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(there).ok();
    let other = made.filter(|made| device(made.path()) != device(than));
    if other.is_none() {
        eprintln!("no other file system is at {}: not tried", there.display());
    }
    other
}

/// What is built has a name of its own meanwhile, which has to fit too.
#[test]
fn copies_may_have_the_longest_names() {
    let temp = tempdir();
    let collection = temp.path().join("c");
    sample(&collection);
    let elsewhere = other_file_system(temp.path());
    let (beside, elsewhere) = (temp.path(), elsewhere.as_ref().map(tempfile::TempDir::path));
    for len in [230, 250, 255] {
        for (below, letter, (what, act)) in [
            (Some(beside), "s", CALLS[2]),
            (elsewhere, "s", CALLS[2]),
            (Some(beside), "r", CALLS[3]),
            (Some(beside), "p", CALLS[5]),
        ] {
            let Some(below) = below else { continue };
            let target = below.join(letter.repeat(len));
            assert_eq!(act(&collection, &target), Ok(()), "{what}, {len} bytes");
            open(&target).unwrap().close().unwrap();
            let hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
            assert!(!fs::read_dir(below).unwrap().map(Result::unwrap).any(|entry| hidden(&entry)), "{what}");
        }
    }
}

#[test]
fn a_collection_behind_a_linked_directory_works() {
    let temp = tempdir();
    let at = |name: &str| temp.path().join(name);
    sample(&at("c"));
    symlink("c", at("link")).unwrap();
    for (call, act) in CALLS {
        assert_eq!(act(&at("link"), &at(call)), Ok(()), "{call}");
    }
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
}

/// A copy inside the collection would be removed as a leftover. It is refused under any path.
#[test]
fn no_copy_goes_into_the_collection_itself() {
    let temp = tempdir();
    let at = |name: &str| temp.path().join(name);
    sample(&at("c"));
    fs::create_dir(at("c/sub")).unwrap();
    symlink("c", at("link")).unwrap();
    symlink("c/sub", at("deep")).unwrap();
    let targets =
        ["c/x", "c/segment-000099", "c/sub/x", "c/sub/../x", "link/x", "deep/x", "deep/../x", "link/sub/x"];
    let before = tree(&at("c"));
    for from in ["c", "link", "c/sub/.."] {
        for target in targets {
            let (dir, to) = (at(from), at(target));
            let inside = |result: Result<(), Error>| {
                let error = result.unwrap_err();
                assert!(
                    matches!(&error, Error::Inside { path, .. } if *path == to),
                    "{from} to {target}: {error}"
                );
                assert!(error.to_string().contains(to.to_str().unwrap()));
            };
            inside(open(&dir).unwrap().snapshot(&to).wait());
            inside(Collection::restore(&backend(), &dir, &to, &StopFlag::new()));
            inside(Collection::repair(&backend(), &dir, &to, None, &StopFlag::new()).map(drop));
            assert_eq!(tree(&at("c")), before, "{from} to {target}");
        }
    }
    for (call, act) in CALLS {
        assert_eq!(act(&at("c"), &at(call)), Ok(()), "{call}");
    }
}

/// A snapshot on another file system is copied. A directory that appears there meanwhile is not removed.
#[test]
fn of_snapshots_to_one_place_on_another_file_system_one_is_made_and_stays() {
    let temp = tempdir();
    let Some(other) = other_file_system(temp.path()) else { return };
    let collections = ["a", "b"].map(|name| {
        sample(&temp.path().join(name));
        open(&temp.path().join(name)).unwrap()
    });
    let mut made = 0;
    for round in 0..20 {
        let target = other.path().join(format!("s{round}"));
        let taken: Vec<Result<(), Error>> = std::thread::scope(|scope| {
            let taking = collections.each_ref().map(|collection| {
                let target = &target;
                scope.spawn(move || collection.snapshot(target).wait())
            });
            taking.into_iter().map(|taking| taking.join().unwrap()).collect()
        });
        assert!(taken.iter().filter(|taken| taken.is_ok()).count() <= 1, "{taken:?}");
        if taken.iter().any(Result::is_ok) {
            made += 1;
            let report = Collection::verify(&backend(), &target, &StopFlag::new()).unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
        }
    }
    assert!(made > 0, "no snapshot was made");
    let left: Vec<_> = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    let no_parent = collections[0].snapshot(&other.path().join("none/s")).wait().unwrap_err().to_string();
    assert!(no_parent.contains("cannot look at") && no_parent.contains("none"), "{no_parent}");
}
