//! Files with known bytes, and reads of them that check every byte. The including module names the backend,
//! and what suits it: `Backend`, `options` and `request`.

use super::{Backend, request};
use io_core::{BatchEnd, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

pub(crate) type Reader = <Backend as FileSystem>::Reader;
pub(crate) type Writer = <Backend as FileSystem>::Writer;

/// Bytes from one request to the next. The gap between them is never read, so each is a read of its own.
pub(crate) const STRIDE: u64 = 8192;

/// The byte at `offset` of each file.
fn byte_at(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16)) as u8
}

pub(crate) fn bytes_at(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte_at).collect()
}

/// A directory for files of this test. It is removed at the end.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written to")
}

/// A file for `count` requests.
pub(crate) fn file_of(directory: &Path, count: usize) -> PathBuf {
    let path = directory.join("vectors");
    std::fs::write(&path, bytes_at(0, count * STRIDE as usize)).expect("is written");
    path
}

/// Requests `range`, last first.
pub(crate) fn requests(range: Range<u64>) -> Vec<ReadRequest> {
    range.rev().map(request).collect()
}

pub(crate) fn open(backend: &Backend, path: &Path, options: &OpenOptions) -> Reader {
    pollster::block_on(backend.open(path, options)).expect("opens")
}

pub(crate) fn ignore(_: usize, _: &[u8]) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Reads a batch. Checks every byte, and that each request is delivered once.
pub(crate) async fn read_and_check(reader: &Reader, requests: &[ReadRequest]) {
    let mut seen = vec![0; requests.len()];
    let outcome = reader
        .read_vectors(requests, &ReadControl::default(), |index, bytes| {
            let ReadRequest { offset, len } = requests[index];
            assert_eq!(bytes, bytes_at(offset, len as usize), "request {index}");
            seen[index] += 1;
            ControlFlow::Continue(())
        })
        .await
        .expect("reads");
    assert_eq!((outcome.delivered, outcome.end), (requests.len(), BatchEnd::Complete));
    assert!(seen.iter().all(|&times| times == 1));
}
