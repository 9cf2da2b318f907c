//! Which backend is taken, and what is said about it. One test opens files, alone in its process, since one
//! choice holds for the whole process.

mod common;

use common::{file_of, open_and_read, taken};
use io_auto::{AutoBackend, AutoSink, AutoSource};
use io_core::backend::{PagedReader, PagedWriter};
use io_core::{Executor, FileSystem, OpenOptions, PageWriter};

/// At compile time.
#[test]
fn readers_and_writers_may_move_and_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<PagedReader<AutoSource>>();
    shared::<PagedWriter<AutoSink>>();
}

#[cfg(not(target_os = "linux"))]
#[test]
fn without_linux_there_are_threads() {
    let directory = tempfile::tempdir().expect("a directory");
    let info = open_and_read(&file_of(&directory)).expect("opens");
    let choice = info.choice.expect("it always says");
    assert_eq!((info.backend, choice.taken), ("auto", "threads"));
    assert!(choice.reason.contains("Linux"), "{choice}");
}

#[cfg(target_os = "linux")]
#[test]
fn it_takes_the_ring_where_the_kernel_allows_it_and_else_threads_and_says_why() {
    use io_core::testing::{refuse_calls, refuse_io_uring};
    use io_ring::{RingBackend, RingOptions};

    let directory = tempfile::tempdir().expect("a directory");
    let path = file_of(&directory);
    // Whether this machine allows io_uring.
    let here = if RingBackend::start(&RingOptions::default()).is_ok() { "ring" } else { "threads" };
    let backend = AutoBackend::default();

    let info = open_and_read(&path).expect("opens");
    let choice = info.choice.clone().expect("it always says");
    assert_eq!((info.backend, choice.taken), ("auto", here));
    assert_eq!(info.kernel_features.contains(&"io_uring"), here == "ring");
    assert!(info.to_string().ends_with(&format!("); takes {here}: {}", choice.reason)), "{info}");
    let created = backend.run(async || {
        let writer = backend.create(&directory.path().join("new"), &OpenOptions::default()).await?;
        Ok::<_, io_core::OpenError>(writer.info().choice.clone())
    });
    assert_eq!(created.expect("starts").expect("creates"), Some(choice));

    let all = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let refusals = [
        // As Docker's default profile, and as a kernel without io_uring.
        (&all[..], libc::EPERM, "Operation not permitted"),
        (&all[..1], libc::ENOSYS, "Function not implemented"),
        // A ring that can be made, and not used.
        (&all[1..2], libc::EPERM, "Operation not permitted"),
    ];
    for (calls, errno, system_says) in refusals {
        in_a_thread(|| {
            refuse_calls(calls, errno);
            let ring = RingBackend::start(&RingOptions::default()).expect_err("it is refused");
            let says = io_core::with_causes(&ring).to_string();
            for part in [
                "needs io_uring, and this system refuses it",
                "use the threads or the mmap backend",
                system_says,
            ] {
                assert!(says.contains(part), "{part}: {says}");
            }
            assert!(says.contains("seccomp") || says.contains("kernel.io_uring_disabled"), "{says}");
            let info = open_and_read(&path).expect("opens");
            let choice = info.choice.clone().expect("it always says");
            assert_eq!((info.backend, choice.taken, &*choice.reason), ("auto", "threads", &*says));
            assert!(info.to_string().contains(&says), "{info}");
            backend.run(async || {}).expect("threads start");
        });
        // The choice held as long as files were open, and those are closed.
        assert_eq!(taken(open_and_read(&path)), here);
    }

    // While a file is open, the choice holds for the whole process, whoever opens the next one.
    let open = pollster::block_on(backend.open(&path, &OpenOptions::default())).expect("opens");
    in_a_thread(|| {
        refuse_io_uring();
        assert_eq!(taken(open_and_read(&path)), here);
    });
    pollster::block_on(common::read(&open));
    drop(open);
    in_a_thread(|| {
        refuse_io_uring();
        let running = backend.run(async || {
            in_a_thread(|| assert_eq!(taken(open_and_read(&path)), "threads"));
            taken(open_and_read(&path))
        });
        assert_eq!(running.expect("starts"), "threads");
    });
}

#[cfg(target_os = "linux")]
fn in_a_thread(act: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(act).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
