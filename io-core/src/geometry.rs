//! The limits of physical reads and writes of one open file.

/// Alignment and size limits of physical reads and writes, in bytes.
///
/// The planner obeys them. Callers of [`VectorReader`](crate::VectorReader) never see them and may ask for
/// any range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoGeometry {
    /// Physical offsets and lengths are multiples of this power of two. It is 1 for buffered files, and the
    /// device's logical block for `O_DIRECT`.
    pub offset_align: u32,
    /// Buffers start at a multiple of this power of two in memory.
    pub memory_align: u32,
    /// No physical read or write is longer than this. It is a multiple of `offset_align`.
    pub read_size_max: u32,
    /// Two neighbours become one read if at most this many unwanted bytes lie between them.
    pub gap_max: u32,
}

impl IoGeometry {
    /// The geometry of page-cache reads: any offset, any length.
    #[must_use]
    pub fn buffered(read_size_max: u32, gap_max: u32) -> Self {
        Self { offset_align: 1, memory_align: 1, read_size_max, gap_max }
    }

    /// The same geometry for offsets and lengths that are multiples of `offset_align`, and for memory at
    /// multiples of `memory_align`.
    #[must_use]
    pub fn aligned(self, offset_align: u32, memory_align: u32) -> Self {
        Self { offset_align, memory_align, ..self }
    }

    /// Checks that the planner can work with this geometry. The error is the reason.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !self.offset_align.is_power_of_two() || !self.memory_align.is_power_of_two() {
            return Err("alignments must be powers of two");
        }
        if self.read_size_max == 0 || !self.read_size_max.is_multiple_of(self.offset_align) {
            return Err("read_size_max must be a positive multiple of the offset alignment");
        }
        Ok(())
    }

    /// The largest aligned offset that is not above `offset`.
    pub(crate) fn align_down(&self, offset: u64) -> u64 {
        offset & !(u64::from(self.offset_align) - 1)
    }

    /// The smallest aligned offset that is not below `offset`.
    ///
    /// # Panics
    /// If the result does not fit in a `u64`. Offsets inside a file always fit.
    pub(crate) fn align_up(&self, offset: u64) -> u64 {
        offset.next_multiple_of(u64::from(self.offset_align))
    }
}
