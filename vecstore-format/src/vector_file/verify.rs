//! Reading every byte of a vector file.

use super::reader::read_into;
use super::{VectorFile, VectorFileError};
use crate::FormatError;
use io_core::{ReadControl, ReadOutcome, ReadStats, VectorReader};
use std::ops::Range;

/// Bytes that [`VectorFile::verify`] has in memory, about.
const VERIFY_BYTES: u64 = 1 << 20;

impl<R: VectorReader> VectorFile<R> {
    /// Reads the whole file and reports every record and every padding that is damaged. `delivered` of the
    /// outcome counts pieces of the file.
    ///
    /// # Errors
    /// [`FormatError::Read`]; what is damaged is no error of this call.
    pub async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(VectorFileError),
    ) -> Result<ReadOutcome, FormatError> {
        let header = *self.header();
        let end = header.checksums_offset();
        let mut outcome = ReadOutcome { delivered: 0, stopped: false, stats: ReadStats::default() };
        let (mut chunk, mut at, mut point) = (Vec::new(), header.fields_bytes() as u64, 0);
        while at < end && !outcome.stopped {
            // As many whole records as fit, and the padding before and after them.
            let first = point;
            while point < header.count && header.offset(point) < at + VERIFY_BYTES {
                point += 1;
            }
            let stop = if point == header.count { end } else { header.offset(point) };
            chunk.resize((stop - at) as usize, 0);
            let step = read_into(self.reader(), at, &mut chunk, control).await?;
            outcome.delivered += step.delivered;
            outcome.stopped = step.stopped;
            outcome.stats.add(&step.stats);
            if outcome.stopped {
                break;
            }
            let mut padding_from = 0;
            for point in first..point {
                let start = (header.offset(point) - at) as usize;
                self.check_padding(at, &chunk, padding_from..start).unwrap_or_else(&mut damaged);
                padding_from = start + header.stride() as usize;
                self.check_record(point, &chunk[start..padding_from]).unwrap_or_else(&mut damaged);
            }
            self.check_padding(at, &chunk, padding_from..chunk.len()).unwrap_or_else(&mut damaged);
            at = stop;
        }
        Ok(outcome)
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
