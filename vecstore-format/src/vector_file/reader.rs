//! Reads the records of a vector file.

use super::header::MAGIC;
use super::{HEADER_BYTES, RecordChecksums, VECTOR_FILE_FIELDS_BYTES, VectorFileError, VectorFileHeader};
use crate::{ElementType, Expected, FormatError};
use io_core::{DirectoryError, ReadControl, ReadOutcome, ReadRequest, VectorReader};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records, read by point offset and checked.
///
/// ```
/// use io_core::{ReadControl, VectorReader};
/// use std::ops::ControlFlow;
/// use vecstore_format::FormatError;
/// use vecstore_format::vector_file::VectorFile;
///
/// async fn sums<R: VectorReader>(file: &VectorFile<R>, points: &[u32]) -> Result<Vec<f32>, FormatError> {
///     let mut sums = vec![0.0; points.len()];
///     let vectors = file.view::<f32>()?;
///     vectors
///         .read(points, &ReadControl::default(), |index, vector| {
///             sums[index] = vector.iter().sum();
///             ControlFlow::Continue(())
///         })
///         .await?;
///     Ok(sums)
/// }
/// ```
#[derive(Debug)]
pub struct VectorFile<R> {
    reader: R,
    checksums: RecordChecksums,
    /// Request lists of ended batches, for reuse.
    spare: Mutex<Vec<Vec<ReadRequest>>>,
}

impl<R: VectorReader> VectorFile<R> {
    /// Reads and checks the header and the table of checksums. [`VectorFile::check`] compares the identity.
    ///
    /// # Errors
    /// One variant of [`VectorFileError`] for each possible fault; [`FormatError::Read`].
    pub async fn open(reader: R) -> Result<Self, FormatError> {
        let mut file = Self::open_unchecked(reader).await?;
        file.load_checksums().await?;
        Ok(file)
    }

    /// Opens a file whose checksums another reader already has in memory.
    ///
    /// # Errors
    /// As [`VectorFile::open`]; [`VectorFileError::OtherFile`] if the checksums belong to another file.
    pub async fn open_shared(reader: R, checksums: &RecordChecksums) -> Result<Self, FormatError> {
        let header = read_header(&reader).await?;
        if header != checksums.header {
            let (file, found, expected) =
                (reader.file().path.clone(), header.identity, checksums.header.identity);
            return Err(VectorFileError::OtherFile { file, found, expected }.into());
        }
        Ok(Self::with(reader, checksums.clone()))
    }

    /// Opens a file without its table of checksums. The header is checked. Records are checked only by
    /// [`VectorFile::verify`]. Use it to salvage data that can be checked in another way, or to look at the
    /// header before the table is read.
    ///
    /// # Errors
    /// As [`VectorFile::open`].
    pub async fn open_unchecked(reader: R) -> Result<Self, FormatError> {
        let header = read_header(&reader).await?;
        Ok(Self::with(reader, RecordChecksums { header, table: Arc::new([]) }))
    }

    /// Reads and checks the table of checksums of a file opened by [`VectorFile::open_unchecked`]. It takes 4
    /// bytes of memory for each record that the header claims. A caller that knows the number of records
    /// compares it first, because a header may claim any number.
    ///
    /// # Errors
    /// [`VectorFileError::ChecksumsDamaged`]; [`FormatError::Read`].
    pub async fn load_checksums(&mut self) -> Result<(), FormatError> {
        self.checksums = RecordChecksums::read(&self.reader, self.header()).await?;
        Ok(())
    }

    fn with(reader: R, checksums: RecordChecksums) -> Self {
        Self { reader, checksums, spare: Mutex::default() }
    }

    /// The header of the file.
    pub fn header(&self) -> &VectorFileHeader {
        &self.checksums.header
    }

    /// The checksums, for other readers of the file.
    pub fn checksums(&self) -> &RecordChecksums {
        &self.checksums
    }

    /// The reader underneath.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Checks that this is the file that belongs here.
    ///
    /// # Errors
    /// [`FormatError::Misplaced`]; [`FormatError::Damaged`].
    pub fn check(&self, expected: &Expected) -> Result<(), FormatError> {
        expected.check(&self.reader.file().path, self.header().identity, self.header().crc())
    }

    /// Checks that the components of the records have this type.
    ///
    /// # Errors
    /// [`VectorFileError::ElementMismatch`].
    pub fn check_element(&self, wanted: ElementType) -> Result<(), VectorFileError> {
        let found = self.header().element;
        if found == wanted {
            return Ok(());
        }
        Err(VectorFileError::ElementMismatch { file: self.reader.file().path.clone(), found, wanted })
    }

    /// Reads the records of `points` and checks each. It passes each record, as it arrives, to
    /// `sink(index in points, bytes)`. The bytes are aligned for the type of their components.
    ///
    /// # Errors
    /// [`VectorFileError::NoSuchPoint`] before any IO; [`VectorFileError::RecordDamaged`];
    /// [`FormatError::Read`].
    ///
    /// # Cancel safety
    /// As [`VectorReader::read_vectors`].
    pub async fn read<S>(
        &self,
        points: &[u32],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, FormatError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let header = self.header();
        let mut requests = self.spare().pop().unwrap_or_default();
        requests.clear();
        for (index, &point) in points.iter().enumerate() {
            let count = header.count;
            if u64::from(point) >= count {
                let file = self.reader.file().path.clone();
                return Err(VectorFileError::NoSuchPoint { file, index, point, count }.into());
            }
            requests.push(ReadRequest::new(header.offset(u64::from(point)), header.stride()));
        }
        let align = header.element.bytes() as usize;
        let mut words = Vec::new();
        let mut damage = None;
        let result = self
            .reader
            .read_vectors(&requests, control, |index, record| {
                if let Err(damaged) = self.check_record(u64::from(points[index]), record) {
                    damage = Some(damaged);
                    return ControlFlow::Break(());
                }
                if record.as_ptr().addr().is_multiple_of(align) {
                    sink(index, record)
                } else {
                    // A reader from elsewhere may deliver at odd addresses.
                    sink(index, copied(record, &mut words))
                }
            })
            .await;
        self.spare().push(requests);
        match damage {
            Some(damaged) => Err(damaged.into()),
            None => Ok(result?),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<ReadRequest>>> {
        // Nothing panics while the lock is held.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_record(&self, point: u64, record: &[u8]) -> Result<(), VectorFileError> {
        let stored = self.checksums.table.get(point as usize);
        stored.map_or(Ok(()), |&stored| self.check_against(stored, point, record))
    }

    pub(super) fn check_against(
        &self,
        stored: u32,
        point: u64,
        record: &[u8],
    ) -> Result<(), VectorFileError> {
        let header = self.header();
        let found = header.record_crc(point, record);
        if found == stored {
            return Ok(());
        }
        let (file, offset) = (self.reader.file().path.clone(), header.offset(point));
        Err(VectorFileError::RecordDamaged { file, point, offset, len: header.stride(), found, stored })
    }

    /// Waits for everything in flight and closes the file.
    ///
    /// # Errors
    /// The system's error on closing.
    pub async fn close(&self) -> Result<(), FormatError> {
        let closed = self.reader.close().await;
        Ok(closed.map_err(|error| DirectoryError::new("close", &self.reader.file().path, error))?)
    }
}

/// Copies bytes to the start of words, where they are aligned for every component type.
fn copied<'a>(bytes: &[u8], words: &'a mut Vec<u32>) -> &'a [u8] {
    words.resize(bytes.len().div_ceil(size_of::<u32>()), 0);
    let copy = &mut bytemuck::cast_slice_mut(words)[..bytes.len()];
    copy.copy_from_slice(bytes);
    copy
}

/// Fills `target` from `offset` on.
pub(super) async fn read_into<R: VectorReader>(
    reader: &R,
    offset: u64,
    target: &mut [u8],
    control: &ReadControl,
) -> Result<ReadOutcome, FormatError> {
    const REQUEST: usize = 1 << 20;
    let requests: Vec<_> = (0..target.len().div_ceil(REQUEST))
        .map(|part| {
            let len = REQUEST.min(target.len() - part * REQUEST) as u32;
            ReadRequest::new(offset + (part * REQUEST) as u64, len)
        })
        .collect();
    let read = reader.read_vectors(&requests, control, |part, bytes| {
        target[part * REQUEST..][..bytes.len()].copy_from_slice(bytes);
        ControlFlow::Continue(())
    });
    Ok(read.await?)
}

async fn read_header<R: VectorReader>(reader: &R) -> Result<VectorFileHeader, FormatError> {
    let info = reader.file();
    let mut fields = [0; VECTOR_FILE_FIELDS_BYTES];
    let available = info.len.min(VECTOR_FILE_FIELDS_BYTES as u64) as u32;
    reader
        .read_vectors(&[ReadRequest::new(0, available)], &ReadControl::default(), |_, bytes| {
            fields[..bytes.len()].copy_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .await?;
    // A file with other magic bytes gets that error, even if it is also too short.
    let looks_right =
        fields[..8] == MAGIC || available < 8 && MAGIC.starts_with(&fields[..available as usize]);
    if info.len < HEADER_BYTES && looks_right {
        let (file, found) = (info.path.clone(), info.len);
        let expected = HEADER_BYTES;
        return Err(VectorFileError::Truncated { file, count: 0, expected, found }.into());
    }
    Ok(VectorFileHeader::decode(&fields, &info.path, info.len)?)
}
