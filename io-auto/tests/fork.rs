//! A process that is forked while it has files open, and whose child is put in a sandbox. One test, alone in
//! its process.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/child.rs"]
mod child;

use child::{in_child, tells_of_fork};
use common::{file_of, open_and_read, read, taken};
use io_auto::AutoBackend;
use io_core::testing::refuse_io_uring;
use io_core::{FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::ops::ControlFlow;

#[test]
fn the_child_chooses_for_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file_of(&directory);
    let backend = AutoBackend::default();
    let reader = pollster::block_on(backend.open(&path, &OpenOptions::default())).expect("opens");
    let here = reader.info().choice.clone().expect("it always says").taken;
    let is = |number, right: bool| if right { Ok(()) } else { Err(number) };
    let ended = in_child(|| is(1, taken(open_and_read(&path)) == here));
    assert_eq!(ended, (true, 0));
    let ended = in_child(|| {
        refuse_io_uring();
        let request = [ReadRequest::new(0, 10)];
        let control = ReadControl::default();
        let old = reader.read_vectors(&request, &control, |_, _| ControlFlow::Continue(()));
        is(1, tells_of_fork(pollster::block_on(old)))?;
        is(2, taken(open_and_read(&path)) == "threads")
    });
    assert_eq!(ended, (true, 0), "the number of the step that failed");
    pollster::block_on(read(&reader));
    assert_eq!(taken(open_and_read(&path)), here);
}
