//! Turns page writes into physical writes, as a pure function without IO.

use crate::{IoGeometry, PageWrite, PlanError};

/// One physical write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedWrite {
    /// First byte, aligned.
    pub offset: u64,
    /// Bytes, aligned.
    pub len: u32,
}

impl PlannedWrite {
    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// The physical writes of a batch of page writes. They are sorted by offset. Contiguous ones are merged, and
/// long ones are split.
#[derive(Clone, Debug, Default)]
pub struct WritePlan {
    /// Offset, length and caller's index of each write that has bytes, by offset.
    order: Vec<(u64, usize, usize)>,
    writes: Vec<PlannedWrite>,
}

impl WritePlan {
    /// Plans a batch, and replaces the previous plan. Empty writes are left out.
    ///
    /// # Errors
    /// [`PlanError::Misaligned`] if the file needs aligned writes. [`PlanError::Overlap`] if the result would
    /// depend on the order of two writes.
    pub fn build(&mut self, writes: &[PageWrite<'_>], geometry: &IoGeometry) -> Result<(), PlanError> {
        self.order.clear();
        self.writes.clear();
        for (index, write) in writes.iter().enumerate() {
            let (offset, len, align) = (write.offset, write.bytes.len(), u64::from(geometry.offset_align));
            if !offset.is_multiple_of(align) || !(len as u64).is_multiple_of(align) {
                return Err(PlanError::Misaligned { index, offset, len, align: geometry.offset_align });
            }
            if len > 0 {
                self.order.push((offset, len, index));
            }
        }
        self.order.sort_unstable();
        let mut previous: Option<(u64, usize)> = None;
        for &(offset, len, index) in &self.order {
            if let Some((_, first)) = previous.filter(|(end, _)| *end > offset) {
                return Err(PlanError::Overlap { first, second: index, offset });
            }
            push(&mut self.writes, offset, len as u64, geometry.read_size_max);
            previous = Some((offset + len as u64, index));
        }
        Ok(())
    }

    /// The physical writes, by offset.
    #[must_use]
    pub fn writes(&self) -> &[PlannedWrite] {
        &self.writes
    }

    /// Fills `buffer` with the bytes that belong at `offset` of the file.
    pub(crate) fn gather(&self, writes: &[PageWrite<'_>], offset: u64, buffer: &mut [u8]) {
        let end = offset + buffer.len() as u64;
        let first = self.order.partition_point(|&(start, len, _)| start + len as u64 <= offset);
        for &(start, len, index) in self.order[first..].iter().take_while(|(start, ..)| *start < end) {
            let (from, to) = (start.max(offset), (start + len as u64).min(end));
            buffer[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&writes[index].bytes[(from - start) as usize..(to - start) as usize]);
        }
    }
}

/// Appends bytes to the physical writes: to the last one as far as it may grow, and then to new ones.
fn push(writes: &mut Vec<PlannedWrite>, mut offset: u64, mut len: u64, size_max: u32) {
    if let Some(last) = writes.last_mut().filter(|last| last.end() == offset) {
        let grow = len.min(u64::from(size_max - last.len));
        last.len += grow as u32;
        offset += grow;
        len -= grow;
    }
    while len > 0 {
        let piece = len.min(u64::from(size_max)) as u32;
        writes.push(PlannedWrite { offset, len: piece });
        offset += u64::from(piece);
        len -= u64::from(piece);
    }
}
