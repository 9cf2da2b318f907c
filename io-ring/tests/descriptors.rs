//! A process that has no descriptor left. One test, alone in its process.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/no_descriptors.rs"]
mod no_descriptors;

use common::{directory, file_of, options, own, read_and_check, requests};
use io_core::{FileSystem, OpenError, StartError};
use io_ring::{RingBackend, RingOptions};
use no_descriptors::take_descriptors;

#[test]
fn starting_and_opening_say_so_and_open_files_are_read_on() {
    let directory = directory();
    let path = file_of(directory.path(), 100);
    let backend = own();
    let reader = pollster::block_on(backend.open(&path, &options())).expect("opens");
    let mut taken = take_descriptors();

    // First there is no descriptor for the eventfd, then none for the ring.
    for _ in 0..2 {
        let error = RingBackend::start(&RingOptions::default()).expect_err("no descriptor is left");
        assert!(
            matches!(&error, StartError::Descriptors { source, .. } if source.raw_os_error() == Some(libc::EMFILE)),
            "{error:?}"
        );
        let error = pollster::block_on(RingBackend::default().open(&path, &options()));
        assert!(matches!(error.map(drop), Err(OpenError::Start(StartError::Descriptors { .. }))));
        taken.pop();
    }
    // The eventfd gave its descriptor back, and there is one for the ring.
    let second = RingBackend::start(&RingOptions::default()).expect("two descriptors are left");
    let error = pollster::block_on(second.open(&path, &options())).map(drop).expect_err("and now none");
    assert!(
        matches!(&error, OpenError::Io { source, .. } if source.raw_os_error() == Some(libc::EMFILE)),
        "{error:?}"
    );
    pollster::block_on(read_and_check(&reader, &requests(0..100)));
    taken.pop();
    let reopened = pollster::block_on(second.open(&path, &options())).expect("opens");
    pollster::block_on(read_and_check(&reopened, &requests(0..100)));
}
