//! What the tests share.
#![allow(dead_code, reason = "each test is a binary of its own and uses some of it")]

use io_auto::AutoBackend;
use io_core::{BackendInfo, FileSystem, OpenError, OpenOptions, ReadControl, ReadRequest, VectorReader};
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
