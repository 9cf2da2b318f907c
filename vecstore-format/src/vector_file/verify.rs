//! Reads every byte of a vector file.

use super::header::CHECKSUM_BYTES;
use super::reader::read_into;
use super::{VectorFile, VectorFileError};
use crate::FormatError;
use io_core::{ReadControl, ReadOutcome, VectorReader};
use std::ops::{ControlFlow, Range};

/// The memory that [`VectorFile::verify`] takes, in bytes, about.
const VERIFY_BYTES: u64 = 1 << 20;

impl<R: VectorReader> VectorFile<R> {
    /// Reads the whole file. It passes every damaged record and padding to `damaged`, until that breaks. If
    /// the table of checksums is damaged, it reports only that. `delivered` of the outcome counts pieces of
    /// the file. The table is read in pieces too, and need not have been loaded.
    ///
    /// # Errors
    /// [`FormatError::Read`]. Damage is not an error of this call.
    pub async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(VectorFileError) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, FormatError> {
        let header = *self.header();
        let (end, table_end) = (header.checksums_offset(), header.file_bytes());
        let mut outcome = ReadOutcome::new();
        let (mut table, mut at) = (Vec::new(), end);
        let mut hasher = crc32fast::Hasher::new_with_initial(header.seed());
        while at < table_end && outcome.is_complete() {
            table.resize((table_end - at).min(VERIFY_BYTES) as usize, 0);
            self.read_piece(at, &mut table, control, &mut outcome).await?;
            hasher.update(&table);
            at += table.len() as u64;
        }
        let (found, stored) = (hasher.finalize(), header.checksums_crc);
        if found != stored && outcome.is_complete() {
            let file = self.reader().file().path.clone();
            let _ = damaged(VectorFileError::ChecksumsDamaged { file, offset: end, found, stored });
            return Ok(outcome);
        }
        let mut tell = |found: Result<(), VectorFileError>| match found {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => damaged(error),
        };
        let (mut chunk, mut at, mut point) = (Vec::new(), header.fields_bytes() as u64, 0);
        while at < end && outcome.is_complete() {
            // As many whole records as fit, and the padding around them.
            let first = point;
            while point < header.count && header.offset(point) < at + VERIFY_BYTES {
                point += 1;
            }
            let stop = if point == header.count { end } else { header.offset(point) };
            chunk.resize((stop - at) as usize, 0);
            self.read_piece(at, &mut chunk, control, &mut outcome).await?;
            table.resize((point - first) as usize * CHECKSUM_BYTES as usize, 0);
            if outcome.is_complete() {
                self.read_piece(end + first * CHECKSUM_BYTES, &mut table, control, &mut outcome).await?;
            }
            if !outcome.is_complete() {
                break;
            }
            let mut padding_from = 0;
            for (point, stored) in (first..point).zip(table.as_chunks().0) {
                let start = (header.offset(point) - at) as usize;
                let padding = self.check_padding(at, &chunk, padding_from..start);
                padding_from = start + header.stride() as usize;
                let stored = u32::from_le_bytes(*stored);
                let record = self.check_against(stored, point, &chunk[start..padding_from]);
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
    ) -> Result<(), FormatError> {
        let read = read_into(self.reader(), at, target, control).await?;
        outcome.delivered += read.delivered;
        outcome.end = read.end;
        outcome.stats.add(&read.stats);
        Ok(())
    }

    fn check_padding(&self, at: u64, chunk: &[u8], range: Range<usize>) -> Result<(), VectorFileError> {
        match chunk[range.clone()].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(index) => Err(VectorFileError::PaddingDamaged {
                file: self.reader().file().path.clone(),
                offset: at + (range.start + index) as u64,
                found: chunk[range.start + index],
            }),
        }
    }
}
