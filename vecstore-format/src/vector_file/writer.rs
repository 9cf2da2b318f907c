//! Writes a vector file from front to back.

use super::header::{BLOCK, record_bytes};
use super::{HEADER_BYTES, RECORD_BYTES_MAX, VECTOR_FILE_FIELDS_BYTES, VectorFileError, VectorFileHeader};
use crate::{Element, ElementType, FileIdentity, FormatError};
use io_core::{
    LocalWrites, PageWrite, PageWriter, SendPageWriter, SendWrites, SyncKind, WriteBehind, WriteForm,
};

/// Bytes to collect before a write.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Writes a vector file from front to back. The header comes last, so an unfinished file is not taken for a
/// vector file.
///
/// With [`SendWrites`] it is `Send` and `Sync`, and so are its futures.
#[derive(Debug)]
pub struct VectorFileWriter<W, K: WriteForm<W> = LocalWrites> {
    writer: WriteBehind<W, K>,
    header: VectorFileHeader,
    /// Unwritten bytes. `pending_offset` is their place.
    pending: Vec<u8>,
    pending_offset: u64,
    checksums: Vec<u32>,
}

impl<W: PageWriter + 'static> VectorFileWriter<W> {
    /// Starts a file of records of `dim` components, without an identity.
    ///
    /// # Errors
    /// [`VectorFileError::BadRecordLength`].
    pub fn new(writer: W, element: ElementType, dim: u32) -> Result<Self, VectorFileError> {
        Self::with_identity(writer, element, dim, None)
    }

    /// Starts a file of records of `dim` components with an identity. Its records pass in no other file, and
    /// records of other files do not pass in it.
    ///
    /// # Errors
    /// [`VectorFileError::BadRecordLength`].
    pub fn with_identity(
        writer: W,
        element: ElementType,
        dim: u32,
        identity: Option<FileIdentity>,
    ) -> Result<Self, VectorFileError> {
        Self::over(writer, element, dim, identity)
    }
}

impl<W: PageWriter + SendPageWriter + 'static> VectorFileWriter<W, SendWrites> {
    /// As [`VectorFileWriter::with_identity`], for a writer that may move between threads.
    ///
    /// # Errors
    /// [`VectorFileError::BadRecordLength`].
    pub fn new_send(
        writer: W,
        element: ElementType,
        dim: u32,
        identity: Option<FileIdentity>,
    ) -> Result<Self, VectorFileError> {
        Self::over(writer, element, dim, identity)
    }
}

impl<W: PageWriter + 'static, K: WriteForm<W>> VectorFileWriter<W, K> {
    fn over(
        writer: W,
        element: ElementType,
        dim: u32,
        identity: Option<FileIdentity>,
    ) -> Result<Self, VectorFileError> {
        let bytes = record_bytes(element, dim);
        if bytes == 0 || bytes > RECORD_BYTES_MAX {
            return Err(VectorFileError::BadRecordLength { file: writer.file().path.clone(), bytes });
        }
        let header = VectorFileHeader { identity, ..VectorFileHeader::new(element, dim, 0) };
        Ok(Self {
            writer: WriteBehind::over(writer),
            header,
            pending: Vec::with_capacity(PENDING_BYTES_MAX + BLOCK as usize),
            pending_offset: HEADER_BYTES,
            checksums: Vec::new(),
        })
    }

    /// Puts records that fit into one page each, as [`VectorFileHeader::in_pages`] does. Call it before the
    /// first record.
    #[must_use]
    pub fn in_pages(self) -> Self {
        Self { header: self.header.in_pages(), ..self }
    }

    /// Appends a record: its components, one after the other, little-endian.
    ///
    /// # Errors
    /// [`VectorFileError::WrongLength`]; [`FormatError::Write`], after which the writer must not be used.
    pub async fn push(&mut self, record: &[u8]) -> Result<(), FormatError> {
        let Self { header, .. } = self;
        if record.len() != header.stride() as usize {
            let (file, point, found) = (self.writer.writer().file().path.clone(), header.count, record.len());
            return Err(VectorFileError::WrongLength { file, point, found, stride: header.stride() }.into());
        }
        let at = (header.offset(header.count) - self.pending_offset) as usize;
        self.checksums.push(header.record_crc(header.count, record).to_le());
        header.count += 1;
        self.pending.resize(at, 0);
        self.pending.extend_from_slice(record);
        if self.pending.len() >= PENDING_BYTES_MAX {
            self.write_pending().await?;
        }
        Ok(())
    }

    /// Appends a vector of the file's type.
    ///
    /// # Errors
    /// [`VectorFileError::ElementMismatch`] if the file's components have another type; as
    /// [`VectorFileWriter::push`].
    pub async fn push_vector<T: Element>(&mut self, vector: &[T]) -> Result<(), FormatError> {
        let (found, wanted) = (self.header.element, T::TYPE);
        if found != wanted {
            let file = self.writer.writer().file().path.clone();
            return Err(VectorFileError::ElementMismatch { file, found, wanted }.into());
        }
        self.push(bytemuck::cast_slice(vector)).await
    }

    /// Writes the remaining bytes and the header, and makes the file durable. Returns the header.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    pub async fn finish(mut self) -> Result<VectorFileHeader, FormatError> {
        self.pad_pending().await?;
        let checksums: &[u8] = bytemuck::cast_slice(&self.checksums);
        self.header.checksums_crc = self.header.table_crc(checksums);
        self.pending.extend_from_slice(checksums);
        self.pad_pending().await?;
        self.writer.settled().await?;
        let writer = self.writer.writer();
        writer.sync(SyncKind::Data).await?;
        let mut page = vec![0; HEADER_BYTES as usize];
        page[..VECTOR_FILE_FIELDS_BYTES].copy_from_slice(&self.header.encode());
        writer.write_pages(&[PageWrite { offset: 0, bytes: &page }]).await?;
        writer.set_len(self.header.file_bytes()).await?;
        writer.sync(SyncKind::All).await?;
        writer.close().await?;
        Ok(self.header)
    }

    /// Writes all pending bytes, padded with zeros.
    async fn pad_pending(&mut self) -> Result<(), FormatError> {
        self.pending.resize(self.pending.len().next_multiple_of(BLOCK as usize), 0);
        self.write_pending().await
    }

    /// Writes the whole pages of the pending bytes.
    async fn write_pending(&mut self) -> Result<(), FormatError> {
        let whole = self.pending.len() / BLOCK as usize * BLOCK as usize;
        self.writer.write(self.pending_offset, &mut self.pending, whole).await?;
        self.pending_offset += whole as u64;
        Ok(())
    }
}
