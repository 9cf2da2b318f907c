//! Reads what is left of a file of vectors or codes.

use super::segment::Owner;
use crate::error::Error;
use io_core::{
    DynBackend, DynVectorReader, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes,
};
use std::ops::ControlFlow;
use std::path::Path;
use vecstore_format::ElementType;
use vecstore_format::bit_flip::flipped_bit;
use vecstore_format::vector_file::{VECTOR_FILE_FIELDS_BYTES, VectorFileError, VectorFileHeader};

/// Bytes of one read of the table of checksums.
const CHUNK: u64 = 1 << 20;

/// A file of vectors or codes. Any part of it may be damaged or missing.
pub(super) struct SalvagedRecords {
    reader: Box<dyn DynVectorReader>,
    header: VectorFileHeader,
    /// The checksums of the first records. A truncated table has fewer than the file has records.
    checksums: Vec<u32>,
    /// Whether they are the whole table, as it was written.
    are_checksums_sound: bool,
}

/// The evidence that a record is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its checksum matches.
    Checksum,
    /// Its checksum matches after a flipped bit was put back.
    Mended,
    /// None: its checksum is damaged or missing too.
    Nothing,
}

impl SalvagedRecords {
    /// Opens a file of records of this kind. It checks the owner and the count, if they are known. Faults go
    /// to `notes`.
    pub(super) async fn open(
        backend: &DynBackend,
        path: &Path,
        (element, dim): (ElementType, u32),
        count: Option<u32>,
        owner: &Owner,
        notes: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let reader = backend.open(path, &OpenOptions::default()).await?;
        let file = reader.file().clone();
        let mut fields = [0; VECTOR_FILE_FIELDS_BYTES];
        let available = file.len.min(fields.len() as u64) as usize;
        fields[..available].copy_from_slice(&read(&*reader, 0, available as u64).await?);
        if let Some(mended) = VectorFileHeader::mended(&fields, &file.path) {
            fields = mended;
            notes.push(format!("{}: a flipped bit of its header was put back", path.display()));
        }
        let decoded = match VectorFileHeader::decode(&fields, &file.path, file.len) {
            Err(
                error @ (VectorFileError::Truncated { expected, .. }
                | VectorFileError::TrailingBytes { expected, .. }),
            ) => {
                notes.push(error.to_string());
                VectorFileHeader::decode(&fields, &file.path, expected)
            }
            decoded => decoded,
        };
        let decoded = decoded.map_err(Error::from).and_then(|header| {
            let fits = (header.element, header.dim) == (element, dim);
            if fits { Ok(header) } else { Err(Error::damaged(path, 0, "its header does not fit the schema")) }
        });
        let (header, is_header_sound) = match (decoded, count) {
            (Ok(header), _) => {
                owner.check(path, header.identity)?;
                (header, true)
            }
            (Err(error), Some(count)) => {
                let what = "the header was made anew from the schema and the number of points";
                notes.push(format!("{}: {what}", with_causes(&error)));
                let identity = owner.identity(path);
                (VectorFileHeader { identity, ..VectorFileHeader::new(element, dim, count.into()) }, false)
            }
            (Err(error), None) => return Err(error),
        };
        let offset = header.checksums_offset();
        // The header may claim far more records than exist.
        let records = header.count.min(count.map_or(u64::MAX, u64::from));
        let bytes = file.len.saturating_sub(offset).min(records.saturating_mul(4)) / 4 * 4;
        let table = read(&*reader, offset, bytes).await?;
        let are_checksums_sound =
            is_header_sound && bytes / 4 == header.count && header.table_crc(&table) == header.checksums_crc;
        let (words, _) = table.as_chunks::<4>();
        let checksums = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Self { reader, header, checksums, are_checksums_sound })
    }

    /// Number of records, including missing ones.
    pub(super) fn count(&self) -> u64 {
        self.header.count
    }

    /// A record and the evidence for it. An error if there is evidence against it.
    pub(super) async fn read(&self, point: u32) -> Result<(Vec<u8>, Proof), Error> {
        let (point, len) = (u64::from(point), self.header.stride());
        let offset = self.header.offset(point);
        let mut record = read(&*self.reader, offset, u64::from(len)).await?;
        let Some(&stored) = self.checksums.get(point as usize) else { return Ok((record, Proof::Nothing)) };
        let found = self.header.record_crc(point, &record);
        if found == stored {
            return Ok((record, Proof::Checksum));
        }
        match flipped_bit(found, stored, record.len()) {
            Some(bit) if bit < record.len() * 8 => {
                record[bit / 8] ^= 1 << (bit % 8);
                Ok((record, Proof::Mended))
            }
            _ if self.are_checksums_sound => {
                let file = self.reader.file().path.clone();
                Err(VectorFileError::RecordDamaged { file, point, offset, len, found, stored }.into())
            }
            // The flipped bit is in the checksum itself.
            Some(_) => Ok((record, Proof::Checksum)),
            None => Ok((record, Proof::Nothing)),
        }
    }
}

async fn read(reader: &dyn DynVectorReader, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    // Missing bytes are refused before the allocation, so that no header can claim memory that its file does
    // not fill.
    if len > 0 && offset.saturating_add(len) > reader.file_dyn().len {
        let reason = format!("it is cut off: bytes {offset} to {} are missing", offset.saturating_add(len));
        return Err(Error::damaged(&reader.file_dyn().path, offset, reason));
    }
    let mut target = vec![0; len as usize];
    let requests: Vec<ReadRequest> = (0..len.div_ceil(CHUNK))
        .map(|chunk| ReadRequest::new(offset + chunk * CHUNK, (len - chunk * CHUNK).min(CHUNK) as u32))
        .collect();
    reader
        .read_vectors_dyn(&requests, &ReadControl::default(), &mut |chunk, bytes| {
            target[chunk * CHUNK as usize..][..bytes.len()].copy_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .await?;
    Ok(target)
}
