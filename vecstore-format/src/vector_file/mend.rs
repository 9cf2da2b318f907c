//! Puts back a flipped bit of a header.

use super::header::FIELDS_BYTES_OLDEST;
use super::{VECTOR_FILE_FIELDS_BYTES, VectorFileError, VectorFileHeader};
use crate::bit_flip::mend;
use std::path::Path;
use std::sync::Arc;

impl VectorFileHeader {
    /// The fields with the flipped bit put back that makes them a valid header. `None` if they already are
    /// one, or if no such bit exists.
    #[must_use]
    pub fn mended(
        fields: &[u8; VECTOR_FILE_FIELDS_BYTES],
        file: &Arc<Path>,
    ) -> Option<[u8; VECTOR_FILE_FIELDS_BYTES]> {
        // The length of the file is checked elsewhere.
        let is_header = |fields: &[u8; VECTOR_FILE_FIELDS_BYTES]| {
            !matches!(
                Self::decode(fields, file, 0),
                Err(VectorFileError::HeaderDamaged { .. }
                    | VectorFileError::WrongMagic { .. }
                    | VectorFileError::WrongVersion { .. }
                    | VectorFileError::WrongEndianness { .. })
            )
        };
        if is_header(fields) {
            return None;
        }
        [VECTOR_FILE_FIELDS_BYTES, FIELDS_BYTES_OLDEST].into_iter().find_map(|len| {
            let mut candidate = *fields;
            let crc = crc32fast::hash(&candidate[..len - 4]);
            (mend(&mut candidate[..len], crc) && is_header(&candidate)).then_some(candidate)
        })
    }
}
