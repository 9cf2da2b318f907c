//! Appends to a log.

use super::bytes::UNSYNCED_MAX;
use super::record::{RecordHeader, encode_record};
use super::{HEADER_BYTES, KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, room_after};
use crate::{FormatError, RandomId, random_u64};
use io_core::{
    DynBackend, DynPageWriter, FileSystem, OpenOptions, PageWrite, PageWriter, SyncKind, WriteError,
};
use std::fmt;
use std::io;
use std::path::Path;

/// Whether a write failed for lack of room.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull)
}

/// A log open for writing. It collects records, then writes them and makes them durable together.
pub struct LogWriter {
    writer: Box<dyn DynPageWriter>,
    header: LogHeader,
    /// Length of the whole records, with the header. Bytes after it are not part of the log.
    len: u64,
    /// Length of the file. Bytes after the records are zeros.
    file_bytes: u64,
    /// Length known to be durable.
    synced_len: u64,
    /// Length up to the end of the last batch. A mark after it needs no sync.
    batches_len: u64,
    next_seq: u64,
    /// The checksum of the last record written.
    previous: u32,
    /// Records to write.
    pending: Vec<u8>,
    pending_records: u64,
    /// The checksum of the last one.
    pending_previous: u32,
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, len, next_seq, .. } = self;
        f.debug_struct("LogWriter")
            .field("header", header)
            .field("len", len)
            .field("next_seq", next_seq)
            .finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Creates a log durably, with its name.
    ///
    /// # Errors
    /// [`FormatError::Open`]; [`FormatError::Write`]; [`FormatError::Directory`].
    ///
    /// # Panics
    /// If the path does not name a file in a directory.
    pub async fn create(
        backend: &DynBackend,
        path: &Path,
        collection: RandomId,
        number: u64,
        first_seq: u64,
    ) -> Result<Self, FormatError> {
        // A log is appended to in pieces of any length. Only buffered files allow that.
        let writer = backend.create(path, &OpenOptions::default()).await?;
        let header = LogHeader { salt: random_u64(), number, first_seq, collection: Some(collection) };
        writer.write_pages(&[PageWrite { offset: 0, bytes: &header.encode() }]).await?;
        writer.sync(SyncKind::All).await?;
        backend.directory().sync_dir(path.parent().expect("a log is in a directory"))?;
        let len = HEADER_BYTES as u64;
        Ok(Self {
            writer,
            header,
            len,
            file_bytes: len,
            synced_len: len,
            batches_len: len,
            next_seq: first_seq,
            previous: header.crc(),
            pending: Vec::new(),
            pending_records: 0,
            pending_previous: header.crc(),
        })
    }

    /// The number in the file's name.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// The salt, which no other log has.
    #[must_use]
    pub fn salt(&self) -> u64 {
        self.header.salt
    }

    /// Length of header and whole records, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a header")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Queues a batch for [`LogWriter::write`], and returns its sequence number.
    pub fn push(&mut self, body: &[u8]) -> u64 {
        self.push_record(KIND_BATCH, body)
    }

    fn push_record(&mut self, kind: u32, body: &[u8]) -> u64 {
        let seq = self.next_seq + self.pending_records;
        let (synced_len, previous) = (self.synced_len, self.pending_previous);
        let header = RecordHeader { body_len: 0, crc: 0, seq, synced_len, kind, previous };
        self.pending_previous = encode_record(&self.header, header, body, &mut self.pending);
        self.pending_records += u64::from(kind == KIND_BATCH);
        seq
    }

    /// Whether [`LogWriter::sync`] must come before batches of so many bytes are queued. A power cut may
    /// leave zeros in the place of all that was not synced. A reader refuses more zeros than batches without
    /// a sync can leave.
    #[must_use]
    pub fn must_sync_before(&self, bytes: u64) -> bool {
        self.synced_len < self.batches_len && self.len - self.synced_len + bytes > UNSYNCED_MAX
    }

    /// Writes the queued batches. After an error, none of them is part of the log, and the next records take
    /// their place.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    pub async fn write(&mut self) -> Result<(), FormatError> {
        let written = self.write_ahead().await;
        let (bytes, records, previous) =
            (self.pending.len() as u64, self.pending_records, self.pending_previous);
        self.pending.clear();
        self.pending_records = 0;
        self.pending_previous = self.previous;
        match written {
            Ok(file_bytes) => self.file_bytes = file_bytes,
            Err(error) => {
                self.cut_off_failed().await;
                return Err(error.into());
            }
        }
        self.len += bytes;
        self.next_seq += records;
        if records > 0 {
            self.batches_len = self.len;
        }
        (self.previous, self.pending_previous) = (previous, previous);
        Ok(())
    }

    /// Writes the queued records. If the file ends within them, it also writes zeros after them: room for the
    /// next records. Their syncs then need not make a new length durable, which costs a file system several
    /// writes. Returns the length of the file.
    async fn write_ahead(&self) -> Result<u64, WriteError> {
        let records = PageWrite { offset: self.len, bytes: &self.pending };
        let end = self.len + self.pending.len() as u64;
        if end > self.file_bytes {
            let room = vec![0; room_after(end) as usize];
            let written = self.writer.write_pages(&[records, PageWrite { offset: end, bytes: &room }]).await;
            match written {
                Ok(_) => return Ok(end + room.len() as u64),
                // The records are written without room after them.
                Err(WriteError::Io { source, .. }) if is_full(&source) => {}
                Err(error) => return Err(error),
            }
        }
        self.writer.write_pages(&[records]).await?;
        Ok(end.max(self.file_bytes))
    }

    /// Removes the remains of a failed write, so that readers of the log need not judge them. If that fails
    /// too, the next records state by `previous` that they do not continue them.
    async fn cut_off_failed(&mut self) {
        if self.writer.set_len(self.len).await.is_ok() {
            self.file_bytes = self.len;
        }
    }

    /// Makes everything written durable, and adds a mark that says so. After an error it is unknown what is
    /// durable, and the log must not be written again.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    pub async fn sync(&mut self) -> Result<(), FormatError> {
        if self.synced_len < self.batches_len {
            self.writer.sync(SyncKind::Data).await?;
            self.synced_len = self.len;
            // The mark is written before the acknowledgement. It tells acknowledged records from a write in
            // progress. If this write fails, the next record states the length.
            self.push_record(KIND_MARK, &[]);
            let _ = self.write().await;
        }
        Ok(())
    }

    /// Adds the mark of a clean end and closes the file. Everything must be synced before. If the mark cannot
    /// be written, as on a full disk, the length of what counts is the error. Bytes after it may be whole
    /// records of a failed write, which the next log does not continue.
    ///
    /// # Errors
    /// The length of the log in bytes, up to the end of the last record that counts.
    pub async fn close(mut self) -> Result<(), u64> {
        debug_assert!(self.batches_len <= self.synced_len, "synced before it is closed");
        let len = self.len;
        self.push_record(KIND_CLOSE, &[]);
        let mut marked = self.write().await;
        // The room is useless after closing. If it stays, it does no harm.
        let _ = self.writer.set_len(self.len).await;
        if marked.is_ok() {
            marked = self.writer.sync(SyncKind::Data).await.map_err(FormatError::from);
        }
        self.abandon().await;
        marked.map_err(|_| len)
    }

    /// Closes the file as it is.
    pub async fn abandon(self) {
        // The log failed before, so an error here changes nothing.
        let _ = self.writer.close().await;
    }
}
