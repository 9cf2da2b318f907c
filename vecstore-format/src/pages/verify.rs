//! Reads every page.

use super::batches::{CHUNK_PAGES, batch_pages, batches};
use super::{PAGE, PAGE_DATA, Pages};
use crate::FormatError;
use io_core::{ReadControl, ReadOutcome, VectorReader};
use std::ops::ControlFlow;

impl Pages {
    /// Reads every page and passes each damaged one to `damaged`, until that breaks. If every page is sound
    /// by itself, it also checks that the pages were written together.
    ///
    /// # Errors
    /// [`FormatError::Read`]. Damage is not an error of this call.
    pub async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(FormatError) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, FormatError> {
        let pages = self.reader.file().len / PAGE as u64;
        let mut all_checksums = crc32fast::Hasher::new();
        let mut outcome = ReadOutcome::new();
        let mut is_sound = true;
        for (first, requests) in batches(1, pages) {
            let mut checksums = vec![0; batch_pages(&requests) * 4];
            let mut flow = ControlFlow::Continue(());
            let batch = self
                .reader
                .read_vectors(&requests, control, |chunk, bytes| {
                    for (index, bytes) in bytes.chunks(PAGE).enumerate() {
                        let page = chunk * CHUNK_PAGES as usize + index;
                        checksums[page * 4..][..4].copy_from_slice(&bytes[PAGE_DATA..]);
                        if let Err(error) = self.sound_page(first + page as u64, bytes) {
                            is_sound = false;
                            flow = damaged(error);
                            if flow.is_break() {
                                break;
                            }
                        }
                    }
                    flow
                })
                .await?;
            outcome.delivered += batch.delivered;
            outcome.stats.add(&batch.stats);
            // A break of `damaged` does not count as a stop.
            if flow.is_break() {
                return Ok(outcome);
            }
            outcome.end = batch.end;
            if !outcome.is_complete() {
                return Ok(outcome);
            }
            all_checksums.update(&checksums);
        }
        let found = all_checksums.finalize();
        match self.data.header.checksums_crc {
            Some(stored) if is_sound && found != stored => {
                let reason = format!(
                    "each page is sound, and their checksums come to {found:08x} instead of {stored:08x}: not all are those that were written"
                );
                let _ = damaged(FormatError::damaged(&self.data.path, None, reason));
            }
            _ => {}
        }
        Ok(outcome)
    }
}
