//! A process that has one descriptor left. One test, alone in its process.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

#[path = "../../io-core/tests/support/no_descriptors.rs"]
mod no_descriptors;

use compio_driver::{DriverType, Proactor};
use compio_runtime::Runtime;
use io_compio::CompioBackend;
use io_core::{FileSystem, OpenError, OpenOptions, ReadControl, ReadRequest, StartError, VectorReader};
use no_descriptors::take_descriptors;
use std::ops::ControlFlow;

/// compio asks a ring of its own for the operations of the kernel when it first submits one, and panics if it
/// gets no ring.
#[test]
fn a_users_runtime_that_has_submitted_nothing_yet_says_so() {
    let mut proactor = Proactor::builder();
    proactor.driver_type(DriverType::IoUring);
    let own = match Runtime::builder().with_proactor(proactor).build() {
        Ok(own) => own,
        Err(refused) => return eprintln!("skipped: {refused}"),
    };
    let (backend, program) = (CompioBackend::default(), std::env::current_exe().unwrap());
    let options = OpenOptions::default();
    let open = || backend.open(&program, &options);
    let mut taken = take_descriptors();
    taken.pop();
    own.block_on(async {
        let opened = open().await.map(drop);
        assert!(matches!(opened, Err(OpenError::Start(StartError::Descriptors { .. }))), "{opened:?}");
        taken.clear();
        let reader = open().await.unwrap();
        let mut magic = Vec::new();
        reader
            .read_vectors(&[ReadRequest::new(0, 4)], &ReadControl::default(), |_, bytes| {
                magic.extend_from_slice(bytes);
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
        assert_eq!(magic, b"\x7fELF");
        reader.close().await.unwrap();
    });
}
