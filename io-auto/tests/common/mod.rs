//! What the tests share.
#![allow(dead_code, reason = "each test is a binary of its own and uses some of it")]

use io_auto::AutoBackend;
use io_core::{BackendFactory, BackendInfo, OpenError, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The file that the tests read: page n consists of bytes n.
pub(crate) fn file_of(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("file");
    let bytes: Vec<u8> = (0..100u8).flat_map(|page| [page; 4096]).collect();
    std::fs::write(&path, bytes).expect("writes");
    path
}

/// Opens the file, reads every page and checks it. Returns what is in use.
pub(crate) fn open_and_read(path: &Path) -> Result<BackendInfo, OpenError> {
    pollster::block_on(async {
        let reader = AutoBackend::default().open(path, &OpenOptions::default()).await?;
        read(&reader).await;
        let info = reader.info().clone();
        reader.close().await.expect("closes");
        Ok(info)
    })
}

/// Reads every page and checks it.
pub(crate) async fn read(reader: &impl VectorReader) {
    let requests: Vec<_> = (0..100).map(|page| ReadRequest::new(page * 4096, 4096)).collect();
    let sink = |index: usize, bytes: &[u8]| {
        assert!(bytes.iter().all(|&byte| usize::from(byte) == index), "page {index}");
        ControlFlow::Continue(())
    };
    let outcome = reader.read_vectors(&requests, &ReadControl::default(), sink).await.expect("reads");
    assert_eq!(outcome.delivered, 100);
}

/// Which backend `auto` took.
pub(crate) fn taken(opened: Result<BackendInfo, OpenError>) -> &'static str {
    opened.expect("opens").choice.expect("it always says").taken
}

/// From here on, this thread and those that it starts get `errno` from these system calls.
#[cfg(target_os = "linux")]
pub(crate) fn refuse(calls: &[libc::c_long], errno: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let calls = calls.iter().map(|&call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("seccompiler knows this processor");
    let refusal = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    apply_filter(&program).expect("this system has seccomp");
}
