//! Reading every page.

use super::reader::CHUNK_PAGES;
use super::{PAGE, PAGE_DATA, Pages};
use crate::FormatError;
use io_core::{ReadControl, ReadOutcome, ReadRequest, VectorReader};
use std::ops::ControlFlow;

impl Pages {
    /// Reads every page and reports each that is damaged. If none is by itself, it reports that not all are
    /// those that were written.
    ///
    /// # Errors
    /// [`FormatError::Read`]; what is damaged is no error of this call.
    pub async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(FormatError),
    ) -> Result<ReadOutcome, FormatError> {
        let pages = self.reader.file().len / PAGE as u64;
        let requests: Vec<ReadRequest> = (0..pages.div_ceil(CHUNK_PAGES))
            .map(|chunk| {
                let len = (pages - chunk * CHUNK_PAGES).min(CHUNK_PAGES) * PAGE as u64;
                ReadRequest::new(chunk * CHUNK_PAGES * PAGE as u64, len as u32)
            })
            .collect();
        let mut checksums = vec![0; pages as usize * 4];
        let mut is_sound = true;
        let outcome = self
            .reader
            .read_vectors(&requests, control, |chunk, bytes| {
                for (index, bytes) in bytes.chunks(PAGE).enumerate() {
                    let page = chunk as u64 * CHUNK_PAGES + index as u64;
                    checksums[page as usize * 4..][..4].copy_from_slice(&bytes[PAGE_DATA..]);
                    if let Err(error) = self.sound_page(page, bytes) {
                        is_sound = false;
                        damaged(error);
                    }
                }
                ControlFlow::Continue(())
            })
            .await?;
        if outcome.stopped {
            return Ok(outcome);
        }
        let found = checksums.get(4..).map_or(0, crc32fast::hash);
        match self.data.header.checksums_crc {
            Some(stored) if is_sound && found != stored => {
                let reason = format!(
                    "each page is sound, and their checksums come to {found:08x} instead of {stored:08x}: not all are those that were written"
                );
                damaged(FormatError::damaged(&self.data.path, None, reason));
            }
            _ => {}
        }
        Ok(outcome)
    }
}
