//! Writes a file without flooding the disk.

use super::UsualIo;
use io_core::{
    BackendInfo, DynPageWriter, FileInfo, IoMode, PageWrite, PageWriter, SyncKind, WriteError, WriteOutcome,
};
use std::cell::Cell;

/// After this many bytes, the written data is synced to the disk.
const SLICE_BYTES: u64 = 4 << 20;

/// Writes a file in slices. Each slice is on the disk before the next one begins.
///
/// A buffered write only fills the page cache. One sync at the end of a segment would send hundreds of
/// requests to the disk at once, and every search would wait behind them. Writes past the page cache need no
/// slices, because the bytes in flight are bounded. A backend with lanes bounds them itself.
pub(crate) struct BackgroundWriter {
    writer: Box<dyn DynPageWriter>,
    /// Bytes written since the last sync.
    unsynced: Cell<u64>,
}

/// Whether a completed write is on the disk, not only in the page cache.
fn reaches_disk(info: &BackendInfo) -> bool {
    info.io_mode == IoMode::Direct || info.lanes
}

impl BackgroundWriter {
    pub(crate) fn new(writer: Box<dyn DynPageWriter>) -> Self {
        Self { writer, unsynced: Cell::new(0) }
    }
}

impl PageWriter for BackgroundWriter {
    async fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<WriteOutcome, WriteError> {
        let outcome = self.writer.write_pages(writes).await?;
        self.unsynced.set(self.unsynced.get() + outcome.bytes_written);
        if self.unsynced.get() >= SLICE_BYTES && !reaches_disk(self.info()) {
            self.sync(SyncKind::Data).await?;
        }
        Ok(outcome)
    }

    async fn sync(&self, kind: SyncKind) -> Result<(), WriteError> {
        let _usual = UsualIo::new();
        self.writer.sync(kind).await?;
        self.unsynced.set(0);
        Ok(())
    }

    async fn set_len(&self, len: u64) -> Result<(), WriteError> {
        self.writer.set_len(len).await
    }

    fn file(&self) -> &FileInfo {
        self.writer.file()
    }

    fn info(&self) -> &BackendInfo {
        self.writer.info()
    }

    async fn close(&self) -> Result<(), WriteError> {
        self.writer.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::OpenOptions;
    use io_core::testing::MemoryBackend;
    use io_core::{Executor, FileSystem};
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Call {
        Write(usize),
        Sync(SyncKind),
    }

    /// Records the calls it receives.
    struct Noting {
        writer: Box<dyn DynPageWriter>,
        info: BackendInfo,
        calls: Rc<RefCell<Vec<Call>>>,
    }

    impl PageWriter for Noting {
        async fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<WriteOutcome, WriteError> {
            self.calls.borrow_mut().extend(writes.iter().map(|write| Call::Write(write.bytes.len())));
            self.writer.write_pages(writes).await
        }

        async fn sync(&self, kind: SyncKind) -> Result<(), WriteError> {
            self.calls.borrow_mut().push(Call::Sync(kind));
            self.writer.sync(kind).await
        }

        async fn set_len(&self, len: u64) -> Result<(), WriteError> {
            self.writer.set_len(len).await
        }

        fn file(&self) -> &FileInfo {
            self.writer.file()
        }

        fn info(&self) -> &BackendInfo {
            &self.info
        }

        async fn close(&self) -> Result<(), WriteError> {
            self.writer.close().await
        }
    }

    /// The calls that result from writes of these lengths, in order, and a sync.
    fn calls(io_mode: IoMode, lanes: bool, writes: &[usize]) -> Vec<Call> {
        let memory = MemoryBackend::new(1);
        let calls = Rc::new(RefCell::new(Vec::new()));
        let work = async || {
            let created = memory.create(Path::new("a"), &OpenOptions::default()).await.unwrap();
            let mut info = created.info().clone().with_lanes(lanes);
            info.io_mode = io_mode;
            let noting = Noting { writer: Box::new(created), info, calls: Rc::clone(&calls) };
            let writer = BackgroundWriter::new(Box::new(noting));
            let mut offset = 0;
            for &bytes in writes {
                writer.write_pages(&[PageWrite { offset, bytes: &vec![1; bytes] }]).await.unwrap();
                offset += bytes as u64;
            }
            writer.sync(SyncKind::All).await.unwrap();
            writer.close().await.unwrap();
            offset
        };
        let bytes = memory.run(work).unwrap();
        assert_eq!(memory.get(Path::new("a")).unwrap(), vec![1; bytes as usize]);
        calls.take()
    }

    #[test]
    fn no_more_than_a_slice_is_not_on_the_disk() {
        const MIB: usize = 1 << 20;
        let (write, data, all) = (Call::Write, Call::Sync(SyncKind::Data), Call::Sync(SyncKind::All));
        let slice = [write(MIB), write(MIB), write(MIB), write(MIB)];
        let buffered = calls(IoMode::Buffered, false, &[MIB; 9]);
        assert_eq!(buffered, [&slice[..], &[data], &slice, &[data, write(MIB), all]].concat());
        // A long write forms a slice of its own.
        assert_eq!(calls(IoMode::Buffered, false, &[6 * MIB, MIB]), [write(6 * MIB), data, write(MIB), all]);
        for (io_mode, lanes) in [(IoMode::Direct, false), (IoMode::Buffered, true)] {
            let reaching = calls(io_mode, lanes, &[MIB; 5]);
            assert_eq!(reaching, [&slice[..], &[write(MIB), all]].concat());
        }
    }
}
