//! A process that has no descriptor left. One test, alone in its process.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/no_descriptors.rs"]
mod no_descriptors;

use common::{file_of, open_and_read, taken};
use io_core::{OpenError, StartError};
use no_descriptors::take_descriptors;

#[test]
fn a_want_of_descriptors_is_an_error_and_no_reason_for_threads() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file_of(&directory);
    let mut held = take_descriptors();
    // First there is no descriptor for the eventfd, then none for the ring.
    let opened = [(); 2].map(|()| {
        let opened = open_and_read(&path);
        held.pop();
        opened
    });
    drop(held);
    // A system that refuses io_uring anyway may say so before it looks for a descriptor.
    let refused = if taken(open_and_read(&path)) == "ring" { &opened[..] } else { &opened[..1] };
    for opened in refused {
        assert!(matches!(opened, Err(OpenError::Start(StartError::Descriptors { .. }))), "{opened:?}");
    }
}
