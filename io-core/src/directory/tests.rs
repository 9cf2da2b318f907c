//! Tests of the real file system: the effects of its calls, and the files that they must not touch.

use super::*;
use crate::with_causes;
use std::fs::{self, File};
use std::io::Write;

#[test]
fn names_and_small_files() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, sub, go_on) = (StdDirectory, temp.path().join("sub"), StopFlag::new());
    dir.create_dir(&sub).unwrap();
    let error = dir.create_dir(&sub).unwrap_err();
    assert_eq!((error.operation, &error.path, error.is_not_found()), ("create", &sub, false));
    let (a, b, c) = (sub.join("a"), sub.join("b"), sub.join("c"));
    dir.write(&a, b"one").unwrap();
    dir.write(&a, b"2").unwrap();
    dir.hard_link(&a, &b).unwrap();
    dir.rename(&a, &c).unwrap();
    dir.copy(&c, &a, &go_on).unwrap();
    dir.write(&c, b"3").unwrap();
    dir.rename(&a, &c).unwrap();
    dir.sync_file(&c).unwrap();
    let long: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    dir.write(&b, &long).unwrap();
    dir.rewrite(&b, 2_500_001).unwrap();
    assert_eq!(dir.read(&b).unwrap(), long[..2_500_001]);
    dir.write(&b, b"3").unwrap();
    assert_eq!(dir.copy(&sub.join("x"), &a, &go_on).unwrap_err().path, sub.join("x"));
    assert_eq!(dir.copy(&c, &sub.join("no/where"), &go_on).unwrap_err().path, sub.join("no/where"));
    dir.sync_dir(&sub).unwrap();
    assert_eq!((dir.read(&b).unwrap(), dir.read(&c).unwrap()), (b"3".to_vec(), b"2".to_vec()));
    assert!(dir.read(&a).unwrap_err().is_not_found());
    dir.remove_file(&b).unwrap();
    let names = |path: &Path| dir.list(path).unwrap();
    assert_eq!(names(&sub), [DirectoryEntry { name: "c".into(), is_dir: false, len: 1 }]);
    assert_eq!(names(temp.path()), [DirectoryEntry { name: "sub".into(), is_dir: true, len: 0 }]);
    dir.remove_dir_all(&sub).unwrap();
    assert!(dir.list(&sub).unwrap_err().is_not_found());
}

#[test]
fn a_copy_is_whole_or_stops() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    // The file is longer than one piece of the copy. Most of it is a hole, on file systems that have holes.
    let len = (16 << 20) * 2 + 5;
    fs::write(at("file"), b"first").unwrap();
    File::options().write(true).open(at("file")).unwrap().set_len(len).unwrap();
    let stop = StopFlag::new();
    StdDirectory.copy(&at("file"), &at("copy"), &stop).unwrap();
    assert_eq!(fs::metadata(at("copy")).unwrap().len(), len);
    assert_eq!(StdDirectory.read_at(&at("copy"), 0, 6).unwrap(), b"first\0");
    stop.stop();
    let error = StdDirectory.copy(&at("file"), &at("other"), &stop).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::Interrupted);
    assert_eq!(fs::metadata(at("other")).unwrap().len(), 0);
}

#[test]
fn a_lock_is_held_against_others_and_says_by_whom() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("LOCK");
    let lock = |kind| StdDirectory.lock(&path, kind);
    let held = |kind| lock(kind).unwrap_err().to_string();
    let owner = lock(LockKind::Exclusive).unwrap();
    let named = format!(
        "{} is locked by process {}, or by a process that it forked",
        path.display(),
        std::process::id()
    );
    assert_eq!((held(LockKind::Exclusive), held(LockKind::Shared)), (named.clone(), named));
    drop(owner);
    assert_eq!(fs::read(&path).unwrap(), b"");
    let readers = [lock(LockKind::Shared).unwrap(), lock(LockKind::Shared).unwrap()];
    let error = held(LockKind::Exclusive);
    assert!(error.ends_with("is locked by others that have it open for reading"), "{error}");
    drop(readers);
    drop(lock(LockKind::Exclusive).unwrap());
}

/// A forked process shares its parent's open files, and so its locks. A second handle to the same open file
/// stands in for it.
#[test]
fn a_lock_that_a_forked_process_holds_is_not_taken_for_a_readers() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("LOCK");
    for (name, said) in [
        ("process 7\n", "is locked by process 7, or by a process that it forked"),
        ("", "is locked by an unknown process, perhaps one that the last owner forked"),
    ] {
        let mut parents = File::create(&path).unwrap();
        parents.write_all(name.as_bytes()).unwrap();
        parents.lock().unwrap();
        let childs = parents.try_clone().unwrap();
        drop(parents);
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            let error = StdDirectory.lock(&path, kind).unwrap_err().to_string();
            assert!(error.ends_with(said), "{error}");
        }
        drop(childs);
    }
}

/// Locking overwrites anything that a crash may have left in a lock file, and nothing else.
#[test]
fn only_a_lock_file_is_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let (path, users) = (temp.path().join("LOCK"), temp.path().join("notes"));
    let name = b"process 4194304\n";
    for written in 0..=name.len() {
        for zeros in [0, 3, name.len() - written] {
            fs::write(&path, [&name[..written], &vec![0; zeros]].concat()).unwrap();
            drop(StdDirectory.lock(&path, LockKind::Exclusive).unwrap());
            assert_eq!(fs::read(&path).unwrap(), b"");
        }
    }
    for content in [
        &b"x"[..],
        b"process of law\n",
        b"process 1\nprocess 2\n",
        b"process 1 \n",
        b"\0x",
        &[b' '; 100],
        &[0; 100],
    ] {
        fs::write(&users, content).unwrap();
        fs::remove_file(&path).unwrap();
        fs::hard_link(&users, &path).unwrap();
        let error = StdDirectory.lock(&path, LockKind::Exclusive).unwrap_err();
        let error = with_causes(&error).to_string();
        assert!(
            error.contains(path.to_str().unwrap()) && error.contains("move it to another directory"),
            "{error}"
        );
        assert_eq!(fs::read(&users).unwrap(), content);
        drop(StdDirectory.lock(&path, LockKind::Shared).unwrap());
    }
}

#[test]
fn what_is_within_a_directory() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("c");
    fs::create_dir_all(dir.join("sub")).unwrap();
    let is_within = |path: &str| StdDirectory.is_within(&temp.path().join(path), &dir).unwrap();
    let inside = ["c", "c/", "c/.", "c/x", "c/x/y", "c/sub", "c/sub/x", "c/sub/..", "c/sub/../x", "./c/x"];
    assert!(inside.into_iter().all(is_within));
    assert!(!["", "d", "c2/x", "c/..", "c/../d", "c/sub/../../d"].into_iter().any(is_within));
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(&dir, temp.path().join("link")).unwrap();
        symlink("c/sub", temp.path().join("deep")).unwrap();
        symlink(temp.path(), dir.join("out")).unwrap();
        assert!(["link", "link/x", "deep/x", "deep/../x", "c/out/c/x"].into_iter().all(is_within));
        assert!(!is_within("c/out/d"));
        let through_link = StdDirectory.is_within(&dir.join("x"), &temp.path().join("link"));
        assert!(through_link.unwrap());
    }
    let missing = StdDirectory.is_within(&dir, &temp.path().join("missing")).unwrap_err();
    assert!(missing.is_not_found() && missing.path.ends_with("missing"));
    // Relative paths start at the current directory of the process.
    assert!(StdDirectory.is_within(Path::new("x/y"), Path::new(".")).unwrap());
    assert!(!StdDirectory.is_within(Path::new("../x"), Path::new(".")).unwrap());
}

#[cfg(target_os = "linux")]
mod planted {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Runs `act` on a thread of its own, and fails if it hangs.
    fn without_waiting<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, waiting) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(act()));
        let waited = waiting.recv_timeout(std::time::Duration::from_secs(60));
        waited.unwrap_or_else(|_| panic!("{what} hangs"))
    }

    type Call = fn(&Path) -> Result<(), String>;

    fn told<T>(result: Result<T, impl std::error::Error + 'static>) -> Result<(), String> {
        result.map(drop).map_err(|error| with_causes(&error).to_string())
    }

    /// Every call that opens an existing file.
    const CALLS: [(&str, Call); 8] = [
        ("read", |path| told(StdDirectory.read(path))),
        ("sync", |path| told(StdDirectory.sync_file(path))),
        ("rewrite", |path| told(StdDirectory.rewrite(path, 0))),
        ("copy", |path| told(StdDirectory.copy(path, &path.with_file_name("copy"), &StopFlag::new()))),
        ("link", |path| told(StdDirectory.hard_link(path, &path.with_file_name("copy")))),
        ("lock", |path| told(StdDirectory.lock(path, LockKind::Exclusive))),
        ("lock to read", |path| told(StdDirectory.lock(path, LockKind::Shared))),
        ("open", |path| told(crate::backend::open_std(path, &crate::OpenOptions::default()))),
    ];

    #[test]
    fn nothing_but_a_file_is_opened_and_nothing_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        fs::create_dir(at("directory")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, leads_to) in [
            ("link to file", at("file")),
            ("link to pipe", at("pipe")),
            ("link to device", "/dev/zero".into()),
            ("link to nothing", at("nothing")),
        ] {
            symlink(leads_to, at(name)).unwrap();
        }
        let there = [
            (at("directory"), "a directory"),
            (at("pipe"), "a pipe"),
            (at("socket"), "a socket"),
            (at("link to file"), "a symbolic link"),
            (at("link to pipe"), "a symbolic link"),
            (at("link to device"), "a symbolic link"),
            (at("link to nothing"), "a symbolic link"),
            ("/dev/zero".into(), "a device"),
            ("/dev/full".into(), "a device"),
        ];
        for (path, found) in there {
            for (call, act) in CALLS {
                let what = format!("{call} of {}", path.display());
                let tried = path.clone();
                let error = without_waiting(&what, move || act(&tried)).expect_err(&what);
                assert!(error.contains(path.to_str().unwrap()), "{what}: {error}");
                assert!(error.contains(&format!("{found}, not a regular file")), "{what}: {error}");
                assert!(!at("copy").exists() && !at("nothing").exists(), "{what}");
            }
            let listed = path.clone();
            let is_listed = without_waiting("list", move || StdDirectory.list(&listed).is_ok());
            assert_eq!(is_listed, found == "a directory");
            let synced = path.clone();
            let is_synced = without_waiting("sync_dir", move || StdDirectory.sync_dir(&synced).is_ok());
            assert_eq!(is_synced, found == "a directory");
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"kept");
    }

    /// Another process may have put anything under the name of a new file.
    #[test]
    fn nothing_is_written_through_a_name_that_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("users"), "kept").unwrap();
        fs::write(at("ours"), "ours").unwrap();
        let plant: [(&str, &dyn Fn()); 4] = [
            ("link", &|| symlink(at("users"), at("new")).unwrap()),
            ("hard link", &|| fs::hard_link(at("users"), at("new")).unwrap()),
            ("link to nothing", &|| symlink(at("nothing"), at("new")).unwrap()),
            ("pipe", &|| {
                rustix::fs::mkfifoat(rustix::fs::CWD, at("new"), rustix::fs::Mode::RWXU).unwrap();
            }),
        ];
        for (what, plant) in plant {
            plant();
            let (ours, new) = (at("ours"), at("new"));
            let copied = without_waiting(what, move || {
                StdDirectory.copy(&ours, &new, &StopFlag::new()).map_err(|error| error.path)
            });
            assert_eq!(copied, Err(at("new")), "{what}");
            let new = at("new");
            without_waiting(what, move || StdDirectory.write(&new, b"new").unwrap());
            assert!(fs::symlink_metadata(at("new")).unwrap().is_file(), "{what}");
            assert_eq!(
                (fs::read(at("new")).unwrap(), fs::read(at("users")).unwrap()),
                (b"new".to_vec(), b"kept".to_vec())
            );
            assert!(!at("nothing").exists(), "{what}");
            fs::remove_file(at("new")).unwrap();
        }
    }
}

/// A piece of a file far longer than memory can be read, but not the whole file. Unix only: elsewhere such a
/// file takes space on the disk.
#[cfg(unix)]
#[test]
fn a_long_file_is_read_in_pieces_only() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("long");
    StdDirectory.write(&path, b"0123456789").unwrap();
    assert_eq!(StdDirectory.read_at(&path, 3, 4).unwrap(), b"3456");
    assert_eq!(StdDirectory.read_at(&path, 8, usize::MAX).unwrap(), b"89");
    assert_eq!(StdDirectory.read_at(&path, 11, 4).unwrap(), b"");
    let len = SMALL_FILE_BYTES_MAX as u64;
    File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
    assert_eq!(StdDirectory.read(&path).unwrap().len() as u64, len);
    File::options().write(true).open(&path).unwrap().set_len(20 << 30).unwrap();
    assert_eq!(StdDirectory.read_at(&path, (20 << 30) - 1, 4).unwrap(), [0]);
    let error = StdDirectory.read(&path).unwrap_err();
    assert_eq!((error.source.kind(), &error.path), (io::ErrorKind::FileTooLarge, &path));
    assert!(with_causes(&error).to_string().contains("the limit for a file of its kind"), "{error:?}");
}
