//! A file of vectors, all of one dimension and element type, read by point offset over any reader.
//!
//! ```text
//! 0      8        12        16       20   24     32      36                 40           44  48           56        80     84
//! |magic | version | order   | element| dim| count| stride| records_per_block| block_bytes| t | data_offset| identity| crc32 | zeros to 4096
//! ^ "VECTFILE"       0x0A0B0C0D                    bytes                                                    or zeros  of 0..80
//! data:      blocks of records, the rest of a block is zeros; zeros up to a multiple of 4096
//! checksums: the crc32 of each record, its initial value the seed xor the number of the record
//! t:         the crc32 of this table, its initial value the seed
//! ```
//!
//! All numbers are little-endian. The seed is [`FileIdentity::seed`], or 0 in a file without an identity: a record passes
//! only in its own file, at its own place. Version 2, which is still read, has no identity; its crc32 is at 56, of 0..56.
//!
//! The checksums are kept in memory, 4 bytes a record, so that every record read is checked
//! and none has to share its page with a checksum. Records are packed one after another, or in blocks of 4096 bytes that no record
//! straddles, whichever was chosen by [`VectorFileHeader::new`]: a read of one record then touches one page.

use crate::{
    FileIdentity, PageWrite, PageWriter, ReadControl, ReadError, ReadOutcome, ReadRequest, ReadStats,
    SyncKind, VectorReader, WriteBehind, WriteError,
};
use half::f16;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

/// Length of the header page.
pub const VECTOR_FILE_HEADER_BYTES: u64 = 4096;
/// Bytes of the header page that hold fields.
pub const VECTOR_FILE_FIELDS_BYTES: usize = 84;
/// The largest dimension a file may have.
pub const DIM_MAX: u32 = 65_536;

const MAGIC: [u8; 8] = *b"VECTFILE";
const VERSION: u32 = 3;
/// Files had no identity, and so fewer fields.
const VERSION_OLDEST: u32 = 2;
const FIELDS_BYTES_OLDEST: usize = 60;
const IDENTITY_AT: usize = 56;
/// Reads back differently on a machine of the other byte order.
const BYTE_ORDER: u32 = 0x0A0B_0C0D;
const BLOCK: u32 = 4096;
const CHECKSUM_BYTES: u64 = 4;

/// What a component of a vector is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Unsigned byte.
    U8,
}

impl ElementType {
    /// Bytes of one component.
    #[must_use]
    pub fn bytes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
            Self::U8 => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::F32, Self::F16, Self::U8].into_iter().find(|element| element.code() == code)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
        })
    }
}

/// A name that is no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown element type {name:?}: use one of f32, f16, u8")]
pub struct UnknownElement {
    name: String,
}

impl std::str::FromStr for ElementType {
    type Err = UnknownElement;

    fn from_str(name: &str) -> Result<Self, UnknownElement> {
        let found = [Self::F32, Self::F16, Self::U8].into_iter().find(|element| element.to_string() == name);
        found.ok_or_else(|| UnknownElement { name: name.to_owned() })
    }
}

/// A component type that vector files can hold.
pub trait Element: bytemuck::Pod {
    /// Its name in the header.
    const TYPE: ElementType;
}

impl Element for f32 {
    const TYPE: ElementType = ElementType::F32;
}

impl Element for f16 {
    const TYPE: ElementType = ElementType::F16;
}

impl Element for u8 {
    const TYPE: ElementType = ElementType::U8;
}

/// A vector file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorFileError {
    /// It does not start with the magic bytes.
    #[error("{}: not a vector file: it starts with {found:02x?} instead of {MAGIC:02x?}; was its writing finished?", file.display())]
    WrongMagic {
        /// The file.
        file: Arc<Path>,
        /// Its first bytes.
        found: [u8; 8],
    },
    /// It was written on a machine of the other byte order.
    #[error("{}: written big-endian; vector files are little-endian", file.display())]
    WrongEndianness {
        /// The file.
        file: Arc<Path>,
    },
    /// It is of a version this build does not know.
    #[error("{}: version {found} of the vector file format; this build reads version {VERSION}", file.display())]
    WrongVersion {
        /// The file.
        file: Arc<Path>,
        /// Its version.
        found: u32,
    },
    /// The header's checksum does not match: a bit flipped, or it was edited.
    #[error("{}: the header is damaged (crc32 {found:08x}, stored {stored:08x})", file.display())]
    HeaderDamaged {
        /// The file.
        file: Arc<Path>,
        /// Computed from the header.
        found: u32,
        /// Stored in it.
        stored: u32,
    },
    /// The table of checksums does not match its own checksum.
    #[error("{}: the table of checksums at offset {offset} is damaged (crc32 {found:08x}, stored {stored:08x})", file.display())]
    ChecksumsDamaged {
        /// The file.
        file: Arc<Path>,
        /// Where the table starts.
        offset: u64,
        /// Computed from the table.
        found: u32,
        /// Stored in the header.
        stored: u32,
    },
    /// A record does not match its checksum: a bit flipped on its way.
    #[error("{}: record {point} at offset {offset} ({len} bytes) is damaged: crc32 {found:08x}, stored {stored:08x}", file.display())]
    RecordDamaged {
        /// The file.
        file: Arc<Path>,
        /// The record.
        point: u64,
        /// Where it starts.
        offset: u64,
        /// Bytes of it.
        len: u32,
        /// Computed from the record.
        found: u32,
        /// Stored in the table.
        stored: u32,
    },
    /// Bytes between records, which are zeros, are not.
    #[error("{}: the byte at offset {offset}, between records, is {found:#04x} instead of 0", file.display())]
    PaddingDamaged {
        /// The file.
        file: Arc<Path>,
        /// The first wrong byte.
        offset: u64,
        /// What is there.
        found: u8,
    },
    /// An element type this build does not know.
    #[error("{}: element type {code} is unknown", file.display())]
    UnknownElement {
        /// The file.
        file: Arc<Path>,
        /// The number in the header.
        code: u32,
    },
    /// Opened as another type than it holds.
    #[error("{}: holds {found} vectors, and was opened as {wanted}", file.display())]
    ElementMismatch {
        /// The file.
        file: Arc<Path>,
        /// What it holds.
        found: ElementType,
        /// What it was opened as.
        wanted: ElementType,
    },
    /// Dimension 0 or more than [`DIM_MAX`].
    #[error("{}: dimension {dim} is not from 1 to {DIM_MAX}", file.display())]
    BadDimension {
        /// The file.
        file: Arc<Path>,
        /// The dimension.
        dim: u32,
    },
    /// Fields that contradict each other.
    #[error("{}: the header's layout is impossible (stride {stride}, {records_per_block} records in a block of {block_bytes} bytes, data at {data_offset})", file.display())]
    BadLayout {
        /// The file.
        file: Arc<Path>,
        /// Bytes of a record.
        stride: u32,
        /// Records in a block.
        records_per_block: u32,
        /// Bytes of a block.
        block_bytes: u32,
        /// Where the records start.
        data_offset: u64,
    },
    /// Shorter than the header says.
    #[error("{}: truncated: {count} vectors need {expected} bytes and the file has {found}", file.display())]
    Truncated {
        /// The file.
        file: Arc<Path>,
        /// Vectors the header promises (0 when even the header is cut off).
        count: u64,
        /// Bytes they need, header included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Longer than the header says.
    #[error("{}: {} bytes too long: {count} vectors need {expected} bytes", file.display(), found - expected)]
    TrailingBytes {
        /// The file.
        file: Arc<Path>,
        /// Vectors the header promises.
        count: u64,
        /// Bytes they need, header included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Opened with the checksums of another file.
    #[error("{}: another file ({}) than the one whose checksums were given ({}): it was replaced meanwhile", file.display(), whose(.found), whose(.expected))]
    OtherFile {
        /// The file.
        file: Arc<Path>,
        /// What it says it is.
        found: Option<FileIdentity>,
        /// The file the checksums are of.
        expected: Option<FileIdentity>,
    },
    /// A point that the file does not have.
    #[error("{}: point {point} (request {index}) does not exist; the file has {count}", file.display())]
    NoSuchPoint {
        /// The file.
        file: Arc<Path>,
        /// Index in the batch.
        index: usize,
        /// Point asked for.
        point: u32,
        /// Points in the file.
        count: u64,
    },
    /// A vector of another length than the file's dimension.
    #[error("{}: vector {point} has {found} components, and the file's dimension is {dim}", file.display())]
    WrongLength {
        /// The file.
        file: Arc<Path>,
        /// Which vector, in order of writing.
        point: u64,
        /// Its components.
        found: usize,
        /// The file's dimension.
        dim: u32,
    },
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn whose(identity: &Option<FileIdentity>) -> String {
    identity.map_or_else(|| "without an identity".to_owned(), |identity| identity.to_string())
}

/// What a vector file holds and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorFileHeader {
    /// Version of the format.
    pub version: u32,
    /// Type of the components.
    pub element: ElementType,
    /// Components of a vector.
    pub dim: u32,
    /// Vectors.
    pub count: u64,
    /// Records that lie together without a gap.
    pub records_per_block: u32,
    /// Bytes from one block to the next.
    pub block_bytes: u32,
    /// Checksum of the table of checksums.
    pub checksums_crc: u32,
    /// Which file it is, if it says so. Whoever knows which one it should be compares.
    pub identity: Option<FileIdentity>,
}

impl VectorFileHeader {
    /// The header of a new file: records in 4096-byte blocks that none straddles where that wastes at most an eighth of
    /// a block, and packed otherwise.
    #[must_use]
    pub fn new(element: ElementType, dim: u32, count: u64) -> Self {
        let stride = dim * element.bytes();
        let fitting = BLOCK / stride.max(1);
        let (records_per_block, block_bytes) =
            if fitting > 0 && BLOCK - fitting * stride <= BLOCK / 8 { (fitting, BLOCK) } else { (1, stride) };
        let (version, checksums_crc, identity) = (VERSION, 0, None);
        Self { version, element, dim, count, records_per_block, block_bytes, checksums_crc, identity }
    }

    /// Bytes of its fields, the last 4 of which are their checksum.
    fn fields_bytes(&self) -> usize {
        if self.version == VERSION_OLDEST { FIELDS_BYTES_OLDEST } else { VECTOR_FILE_FIELDS_BYTES }
    }

    /// The checksum of the header. It sums up the whole file: it covers the checksum of the table of all records' checksums.
    #[must_use]
    pub fn crc(&self) -> u32 {
        let fields = self.encode();
        crc32fast::hash(&fields[..self.fields_bytes() - 4])
    }

    /// The checksum of the record of `point`. Its number is part of it, and which file it is in: a record in the place of another
    /// one is found too.
    #[must_use]
    pub fn record_crc(&self, point: u64, record: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed() ^ point as u32);
        hasher.update(record);
        hasher.finalize()
    }

    /// The checksum of the table of checksums.
    #[must_use]
    pub fn table_crc(&self, table: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed());
        hasher.update(table);
        hasher.finalize()
    }

    fn seed(&self) -> u32 {
        self.identity.map_or(0, |identity| identity.seed())
    }

    /// Bytes of one record.
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.dim * self.element.bytes()
    }

    /// Where the record of `point` starts.
    #[must_use]
    pub fn offset(&self, point: u64) -> u64 {
        let per_block = u64::from(self.records_per_block);
        VECTOR_FILE_HEADER_BYTES
            + point / per_block * u64::from(self.block_bytes)
            + point % per_block * u64::from(self.stride())
    }

    /// Where the last record ends.
    fn records_end(&self) -> u64 {
        match self.count.checked_sub(1) {
            Some(last) => self.offset(last) + u64::from(self.stride()),
            None => VECTOR_FILE_HEADER_BYTES,
        }
    }

    /// Bytes from the first record to the end of the last one.
    #[must_use]
    pub fn records_bytes(&self) -> u64 {
        self.records_end() - VECTOR_FILE_HEADER_BYTES
    }

    /// Where the table of checksums starts.
    #[must_use]
    pub fn checksums_offset(&self) -> u64 {
        self.records_end().next_multiple_of(u64::from(BLOCK))
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.checksums_offset() + self.count * CHECKSUM_BYTES
    }

    /// The header page's fields.
    #[must_use]
    pub fn encode(&self) -> [u8; VECTOR_FILE_FIELDS_BYTES] {
        let mut bytes = [0; VECTOR_FILE_FIELDS_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(8, &self.version.to_le_bytes());
        put(12, &BYTE_ORDER.to_le_bytes());
        put(16, &self.element.code().to_le_bytes());
        put(20, &self.dim.to_le_bytes());
        put(24, &self.count.to_le_bytes());
        put(32, &self.stride().to_le_bytes());
        put(36, &self.records_per_block.to_le_bytes());
        put(40, &self.block_bytes.to_le_bytes());
        put(44, &self.checksums_crc.to_le_bytes());
        put(48, &VECTOR_FILE_HEADER_BYTES.to_le_bytes());
        if let Some(identity) = self.identity {
            put(IDENTITY_AT, &identity.to_bytes());
        }
        let crc_at = self.fields_bytes() - 4;
        let crc = crc32fast::hash(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header page's fields and checks them against each other and against the length of the file.
    ///
    /// # Errors
    /// One variant of [`VectorFileError`] for each thing that can be wrong.
    pub fn decode(
        bytes: &[u8; VECTOR_FILE_FIELDS_BYTES],
        file: &Arc<Path>,
        file_len: u64,
    ) -> Result<Self, VectorFileError> {
        let file = || Arc::clone(file);
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            let found = bytes[..8].try_into().expect("eight bytes");
            return Err(VectorFileError::WrongMagic { file: file(), found });
        }
        if u32_at(12) == BYTE_ORDER.swap_bytes() {
            return Err(VectorFileError::WrongEndianness { file: file() });
        }
        let (crc_at, identity) = match u32_at(8) {
            VERSION_OLDEST => (FIELDS_BYTES_OLDEST - 4, None),
            VERSION => {
                let identity =
                    bytes[IDENTITY_AT..][..FileIdentity::BYTES].try_into().expect("an identity's bytes");
                (VECTOR_FILE_FIELDS_BYTES - 4, FileIdentity::from_bytes(identity))
            }
            found => return Err(VectorFileError::WrongVersion { file: file(), found }),
        };
        let (found, stored) = (crc32fast::hash(&bytes[..crc_at]), u32_at(crc_at));
        if found != stored {
            return Err(VectorFileError::HeaderDamaged { file: file(), found, stored });
        }
        let code = u32_at(16);
        let Some(element) = ElementType::from_code(code) else {
            return Err(VectorFileError::UnknownElement { file: file(), code });
        };
        let (dim, count) = (u32_at(20), u64_at(24));
        if dim == 0 || dim > DIM_MAX {
            return Err(VectorFileError::BadDimension { file: file(), dim });
        }
        let (stride, records_per_block, block_bytes, data_offset) =
            (u32_at(32), u32_at(36), u32_at(40), u64_at(48));
        let (version, checksums_crc) = (u32_at(8), u32_at(44));
        let header =
            Self { version, element, dim, count, records_per_block, block_bytes, checksums_crc, identity };
        let layout_fits = stride == header.stride()
            && records_per_block > 0
            && u64::from(stride) * u64::from(records_per_block) <= u64::from(block_bytes)
            && block_bytes <= stride.max(BLOCK)
            && data_offset == VECTOR_FILE_HEADER_BYTES
            // So many records would overflow the file's length: no file is that long.
            && count.checked_mul(u64::from(block_bytes) + CHECKSUM_BYTES).is_some_and(|bytes| bytes < i64::MAX as u64);
        if !layout_fits {
            let file = file();
            return Err(VectorFileError::BadLayout {
                file,
                stride,
                records_per_block,
                block_bytes,
                data_offset,
            });
        }
        let (expected, found) = (header.file_bytes(), file_len);
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => {
                Err(VectorFileError::Truncated { file: file(), count, expected, found })
            }
            std::cmp::Ordering::Greater => {
                Err(VectorFileError::TrailingBytes { file: file(), count, expected, found })
            }
            std::cmp::Ordering::Equal => Ok(header),
        }
    }
}

/// The checksums of a file's records, in memory. Readers of the same file share them.
#[derive(Clone, Debug)]
pub struct RecordChecksums {
    /// The header of the file they are of.
    header: VectorFileHeader,
    /// None where they are not known.
    table: Arc<[u32]>,
}

impl RecordChecksums {
    async fn read<R: VectorReader>(reader: &R, header: &VectorFileHeader) -> Result<Self, VectorFileError> {
        let mut table = vec![0u32; header.count as usize];
        let offset = header.checksums_offset();
        read_into(reader, offset, bytemuck::cast_slice_mut(&mut table)).await?;
        let (found, stored) = (header.table_crc(bytemuck::cast_slice(&table)), header.checksums_crc);
        if found != stored {
            let file = reader.file().path.clone();
            return Err(VectorFileError::ChecksumsDamaged { file, offset, found, stored });
        }
        // Whatever the machine's byte order, from here on they are numbers.
        table.iter_mut().for_each(|crc| *crc = u32::from_le(*crc));
        Ok(Self { header: *header, table: table.into() })
    }

    /// Bytes of memory they take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }
}

/// Vectors of `T`, read by point offset and checked.
///
/// ```
/// use io_core::{ReadControl, VectorFile, VectorFileError, VectorReader};
/// use std::ops::{ControlFlow, Range};
///
/// async fn sums<R: VectorReader>(file: &VectorFile<f32, R>, points: &[u32]) -> Result<Vec<f32>, VectorFileError> {
///     let mut sums = vec![0.0; points.len()];
///     file.read(points, &ReadControl::default(), |index, vector| {
///         sums[index] = vector.iter().sum();
///         ControlFlow::Continue(())
///     })
///     .await?;
///     Ok(sums)
/// }
/// ```
#[derive(Debug)]
pub struct VectorFile<T, R> {
    reader: R,
    checksums: RecordChecksums,
    /// Request lists of batches that ended, for those to come.
    spare: RefCell<Vec<Vec<ReadRequest>>>,
    element: PhantomData<T>,
}

impl<T: Element, R: VectorReader> VectorFile<T, R> {
    /// Reads and checks the header and the table of checksums. Which file it is, [`VectorFile::header`] tells.
    ///
    /// # Errors
    /// One variant of [`VectorFileError`] for each thing that can be wrong.
    pub async fn open(reader: R) -> Result<Self, VectorFileError> {
        let mut file = Self::open_unchecked(reader).await?;
        file.load_checksums().await?;
        Ok(file)
    }

    /// Opens a file whose checksums another reader of the same file has in memory already.
    ///
    /// # Errors
    /// As [`VectorFile::open`]; [`VectorFileError::OtherFile`] when the checksums are not those of this file.
    pub async fn open_shared(reader: R, checksums: &RecordChecksums) -> Result<Self, VectorFileError> {
        let header = read_header(&reader, T::TYPE).await?;
        if header != checksums.header {
            let (found, expected) = (header.identity, checksums.header.identity);
            return Err(VectorFileError::OtherFile { file: reader.file().path.clone(), found, expected });
        }
        Ok(Self::with(reader, checksums.clone()))
    }

    /// Opens a file without its table of checksums: the header is checked, and records are not, but by [`VectorFile::verify`]. For
    /// salvaging what can be checked in another way, and for looking at the header before the table is read.
    ///
    /// # Errors
    /// As [`VectorFile::open`].
    pub async fn open_unchecked(reader: R) -> Result<Self, VectorFileError> {
        let header = read_header(&reader, T::TYPE).await?;
        Ok(Self::with(reader, RecordChecksums { header, table: Arc::new([]) }))
    }

    /// Reads and checks the table of checksums of a file that was opened without. That takes 4 bytes of memory a record of the
    /// header, which may say anything: whoever knows how many there are compares before.
    ///
    /// # Errors
    /// [`VectorFileError::ChecksumsDamaged`]; [`VectorFileError::Read`].
    pub async fn load_checksums(&mut self) -> Result<(), VectorFileError> {
        self.checksums = RecordChecksums::read(&self.reader, self.header()).await?;
        Ok(())
    }

    fn with(reader: R, checksums: RecordChecksums) -> Self {
        Self { reader, checksums, spare: RefCell::default(), element: PhantomData }
    }

    /// What the file holds.
    pub fn header(&self) -> &VectorFileHeader {
        &self.checksums.header
    }

    /// The checksums, to be shared with other readers of the file.
    pub fn checksums(&self) -> &RecordChecksums {
        &self.checksums
    }

    /// The reader underneath.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Reads the vectors of `points`, checks each, and hands it, as it arrives, to `sink(index in points, components)`.
    ///
    /// # Errors
    /// [`VectorFileError::NoSuchPoint`] before any IO; [`VectorFileError::RecordDamaged`]; [`VectorFileError::Read`].
    ///
    /// # Cancel safety
    /// As [`VectorReader::read_vectors`].
    pub async fn read<S>(
        &self,
        points: &[u32],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, VectorFileError>
    where
        S: FnMut(usize, &[T]) -> ControlFlow<()>,
    {
        let mut requests = self.spare.borrow_mut().pop().unwrap_or_default();
        requests.clear();
        for (index, &point) in points.iter().enumerate() {
            let count = self.header().count;
            if u64::from(point) >= count {
                let file = self.reader.file().path.clone();
                return Err(VectorFileError::NoSuchPoint { file, index, point, count });
            }
            requests.push(ReadRequest::new(self.header().offset(u64::from(point)), self.header().stride()));
        }
        let mut aligned = Vec::new();
        let mut damage = None;
        let result = self
            .reader
            .read_vectors(&requests, control, |index, bytes| {
                if let Err(damaged) = self.check(u64::from(points[index]), bytes) {
                    damage = Some(damaged);
                    return ControlFlow::Break(());
                }
                match bytemuck::try_cast_slice(bytes) {
                    Ok(components) => sink(index, components),
                    // A reader of somebody else's may deliver at odd addresses.
                    Err(_) => {
                        aligned.resize(self.header().dim as usize, T::zeroed());
                        bytemuck::cast_slice_mut(&mut aligned).copy_from_slice(bytes);
                        sink(index, &aligned)
                    }
                }
            })
            .await;
        self.spare.borrow_mut().push(requests);
        match damage {
            Some(damaged) => Err(damaged),
            None => Ok(result?),
        }
    }

    fn check(&self, point: u64, record: &[u8]) -> Result<(), VectorFileError> {
        let stored = self.checksums.table.get(point as usize);
        stored.map_or(Ok(()), |&stored| self.check_against(stored, point, record))
    }

    fn check_against(&self, stored: u32, point: u64, record: &[u8]) -> Result<(), VectorFileError> {
        let header = self.header();
        let found = header.record_crc(point, record);
        if found == stored {
            return Ok(());
        }
        let (file, offset) = (self.reader.file().path.clone(), header.offset(point));
        Err(VectorFileError::RecordDamaged { file, point, offset, len: header.stride(), found, stored })
    }

    /// Reads the whole file and reports every record and every padding that is damaged, until `damaged` has enough of them; or
    /// the table of checksums, if that is. `delivered` of the outcome counts pieces of the file. The table is read in pieces too, and need not have been
    /// loaded.
    ///
    /// # Errors
    /// [`VectorFileError::Read`]; what is damaged is no error of this call.
    pub async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(VectorFileError) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, VectorFileError> {
        let header = *self.header();
        let (end, table_end) = (header.checksums_offset(), header.file_bytes());
        let mut outcome = ReadOutcome { delivered: 0, stopped: false, stats: ReadStats::default() };
        let (mut table, mut at) = (Vec::new(), end);
        let mut hasher = crc32fast::Hasher::new_with_initial(header.seed());
        while at < table_end && !outcome.stopped {
            table.resize((table_end - at).min(VERIFY_BYTES) as usize, 0);
            self.read_piece(at, &mut table, control, &mut outcome).await?;
            hasher.update(&table);
            at += table.len() as u64;
        }
        let (found, stored) = (hasher.finalize(), header.checksums_crc);
        if found != stored && !outcome.stopped {
            let file = self.reader.file().path.clone();
            let _ = damaged(VectorFileError::ChecksumsDamaged { file, offset: end, found, stored });
            return Ok(outcome);
        }
        let mut tell = |found: Result<(), VectorFileError>| match found {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => damaged(error),
        };
        let (mut chunk, mut at, mut point) = (Vec::new(), header.fields_bytes() as u64, 0);
        while at < end && !outcome.stopped {
            // As many whole records as fit, and the padding before and after them.
            let first = point;
            while point < header.count && header.offset(point) < at + VERIFY_BYTES {
                point += 1;
            }
            let stop = if point == header.count { end } else { header.offset(point) };
            chunk.resize((stop - at) as usize, 0);
            self.read_piece(at, &mut chunk, control, &mut outcome).await?;
            table.resize((point - first) as usize * CHECKSUM_BYTES as usize, 0);
            if !outcome.stopped {
                self.read_piece(end + first * CHECKSUM_BYTES, &mut table, control, &mut outcome).await?;
            }
            if outcome.stopped {
                break;
            }
            let mut padding_from = 0;
            for (point, stored) in (first..point).zip(table.as_chunks().0) {
                let start = (header.offset(point) - at) as usize;
                let padding = self.check_padding(at, &chunk, padding_from..start);
                padding_from = start + header.stride() as usize;
                let record =
                    self.check_against(u32::from_le_bytes(*stored), point, &chunk[start..padding_from]);
                if tell(padding).is_break() || tell(record).is_break() {
                    return Ok(outcome);
                }
            }
            if tell(self.check_padding(at, &chunk, padding_from..chunk.len())).is_break() {
                break;
            }
            at = stop;
        }
        Ok(outcome)
    }

    async fn read_piece(
        &self,
        at: u64,
        target: &mut [u8],
        control: &ReadControl,
        outcome: &mut ReadOutcome,
    ) -> Result<(), VectorFileError> {
        let read = read_into_controlled(&self.reader, at, target, control).await?;
        outcome.delivered += read.delivered;
        outcome.stopped = read.stopped;
        outcome.stats.add(&read.stats);
        Ok(())
    }

    fn check_padding(&self, at: u64, chunk: &[u8], range: Range<usize>) -> Result<(), VectorFileError> {
        match chunk[range.clone()].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(index) => Err(VectorFileError::PaddingDamaged {
                file: self.reader.file().path.clone(),
                offset: at + (range.start + index) as u64,
                found: chunk[range.start + index],
            }),
        }
    }

    /// Waits for everything in flight and closes the file.
    ///
    /// # Errors
    /// What the system says on closing.
    pub async fn close(&self) -> std::io::Result<()> {
        self.reader.close().await
    }
}

/// Bytes that [`VectorFile::verify`] has in memory, about.
const VERIFY_BYTES: u64 = 1 << 20;

/// Fills `target` from `offset` on.
async fn read_into<R: VectorReader>(
    reader: &R,
    offset: u64,
    target: &mut [u8],
) -> Result<(), VectorFileError> {
    read_into_controlled(reader, offset, target, &ReadControl::default()).await.map(|_| ())
}

async fn read_into_controlled<R: VectorReader>(
    reader: &R,
    offset: u64,
    target: &mut [u8],
    control: &ReadControl,
) -> Result<ReadOutcome, VectorFileError> {
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

async fn read_header<R: VectorReader>(
    reader: &R,
    wanted: ElementType,
) -> Result<VectorFileHeader, VectorFileError> {
    let info = reader.file();
    let mut fields = [0; VECTOR_FILE_FIELDS_BYTES];
    let available = info.len.min(VECTOR_FILE_FIELDS_BYTES as u64) as u32;
    reader
        .read_vectors(&[ReadRequest::new(0, available)], &ReadControl::default(), |_, bytes| {
            fields[..bytes.len()].copy_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .await?;
    // A file that is no vector file at all is called that, however short it is.
    let looks_right =
        fields[..8] == MAGIC || available < 8 && MAGIC.starts_with(&fields[..available as usize]);
    if info.len < VECTOR_FILE_HEADER_BYTES && looks_right {
        let (file, found) = (info.path.clone(), info.len);
        return Err(VectorFileError::Truncated { file, count: 0, expected: VECTOR_FILE_HEADER_BYTES, found });
    }
    let header = VectorFileHeader::decode(&fields, &info.path, info.len)?;
    if header.element != wanted {
        let file = info.path.clone();
        return Err(VectorFileError::ElementMismatch { file, found: header.element, wanted });
    }
    Ok(header)
}

/// Writes a vector file from front to back. The header is written last, so that an unfinished file is not taken for one.
#[derive(Debug)]
pub struct VectorFileWriter<T, W> {
    writer: WriteBehind<W>,
    header: VectorFileHeader,
    /// Bytes not yet written, and where they belong.
    pending: Vec<u8>,
    pending_offset: u64,
    checksums: Vec<u32>,
    element: PhantomData<T>,
}

/// Bytes collected before they are written.
const PENDING_BYTES_MAX: usize = 1 << 20;

impl<T: Element, W: PageWriter + 'static> VectorFileWriter<T, W> {
    /// Starts a file of vectors with `dim` components and no identity.
    ///
    /// # Errors
    /// [`VectorFileError::BadDimension`].
    pub fn new(writer: W, dim: u32) -> Result<Self, VectorFileError> {
        Self::with_identity(writer, dim, None)
    }

    /// Starts a file of vectors with `dim` components that is this one and none other: no record of another file passes for one
    /// of it, and none of its records in another file.
    ///
    /// # Errors
    /// [`VectorFileError::BadDimension`].
    pub fn with_identity(
        writer: W,
        dim: u32,
        identity: Option<FileIdentity>,
    ) -> Result<Self, VectorFileError> {
        if dim == 0 || dim > DIM_MAX {
            return Err(VectorFileError::BadDimension { file: writer.file().path.clone(), dim });
        }
        let header = VectorFileHeader { identity, ..VectorFileHeader::new(T::TYPE, dim, 0) };
        Ok(Self {
            writer: WriteBehind::new(writer),
            header,
            pending: Vec::with_capacity(PENDING_BYTES_MAX + BLOCK as usize),
            pending_offset: VECTOR_FILE_HEADER_BYTES,
            checksums: Vec::new(),
            element: PhantomData,
        })
    }

    /// Appends a vector.
    ///
    /// # Errors
    /// [`VectorFileError::WrongLength`]; [`VectorFileError::Write`], after which the file is not to be used.
    pub async fn push(&mut self, vector: &[T]) -> Result<(), VectorFileError> {
        let Self { header, .. } = self;
        if vector.len() != header.dim as usize {
            let (file, point, found) = (self.writer.writer().file().path.clone(), header.count, vector.len());
            return Err(VectorFileError::WrongLength { file, point, found, dim: header.dim });
        }
        let at = (header.offset(header.count) - self.pending_offset) as usize;
        let record = bytemuck::cast_slice(vector);
        self.checksums.push(header.record_crc(header.count, record).to_le());
        header.count += 1;
        self.pending.resize(at, 0);
        self.pending.extend_from_slice(record);
        if self.pending.len() >= PENDING_BYTES_MAX {
            self.write_pending().await?;
        }
        Ok(())
    }

    /// Writes what is left and the header, and makes the file durable. Returns the header.
    ///
    /// # Errors
    /// [`VectorFileError::Write`].
    pub async fn finish(mut self) -> Result<VectorFileHeader, VectorFileError> {
        self.pad_pending().await?;
        let checksums: &[u8] = bytemuck::cast_slice(&self.checksums);
        self.header.checksums_crc = self.header.table_crc(checksums);
        self.pending.extend_from_slice(checksums);
        self.pad_pending().await?;
        self.writer.settled().await?;
        let writer = self.writer.writer();
        writer.sync(SyncKind::Data).await?;
        let mut page = vec![0; VECTOR_FILE_HEADER_BYTES as usize];
        page[..VECTOR_FILE_FIELDS_BYTES].copy_from_slice(&self.header.encode());
        writer.write_pages(&[PageWrite { offset: 0, bytes: &page }]).await?;
        writer.set_len(self.header.file_bytes()).await?;
        writer.sync(SyncKind::All).await?;
        writer.close().await?;
        Ok(self.header)
    }

    /// Writes all that is pending, filled up with zeros.
    async fn pad_pending(&mut self) -> Result<(), VectorFileError> {
        self.pending.resize(self.pending.len().next_multiple_of(BLOCK as usize), 0);
        self.write_pending().await
    }

    /// Writes the whole pages of what is pending.
    async fn write_pending(&mut self) -> Result<(), VectorFileError> {
        let whole = self.pending.len() / BLOCK as usize * BLOCK as usize;
        self.writer.write(self.pending_offset, &mut self.pending, whole).await?;
        self.pending_offset += whole as u64;
        Ok(())
    }
}
