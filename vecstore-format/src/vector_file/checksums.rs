//! The checksums of the records of a vector file.

use super::reader::read_into;
use super::{VectorFileError, VectorFileHeader};
use crate::FormatError;
use io_core::{ReadControl, VectorReader};
use std::sync::Arc;

/// The checksums of a file's records, in memory. Readers of the same file share them.
#[derive(Clone, Debug)]
pub struct RecordChecksums {
    /// The header of their file.
    pub(super) header: VectorFileHeader,
    /// Empty if they are unknown.
    pub(super) table: Arc<[u32]>,
}

impl RecordChecksums {
    pub(super) async fn read<R: VectorReader>(
        reader: &R,
        header: &VectorFileHeader,
    ) -> Result<Self, FormatError> {
        let mut table = vec![0u32; header.count as usize];
        let offset = header.checksums_offset();
        read_into(reader, offset, bytemuck::cast_slice_mut(&mut table), &ReadControl::default()).await?;
        let (found, stored) = (header.table_crc(bytemuck::cast_slice(&table)), header.checksums_crc);
        if found != stored {
            let file = reader.file().path.clone();
            return Err(VectorFileError::ChecksumsDamaged { file, offset, found, stored }.into());
        }
        // From little-endian to the machine's byte order.
        table.iter_mut().for_each(|crc| *crc = u32::from_le(*crc));
        Ok(Self { header: *header, table: table.into() })
    }

    /// The memory that they take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }
}
