//! Codes lie in records of one length, one after the other, in memory and on disk.

/// Bytes of a record that a kernel for codes of 4, 2 or 1 bits handles at once.
///
/// Such a kernel reads a record in windows of this size, one after the other from the beginning of the code.
/// If the last window is not whole, it is moved to end where the record ends.
///
/// For each window, the query has `8 / bits` planes of as many `i8` as a window has bytes. Plane `p` is
/// multiplied with bits `p * bits..` of each byte. The query has 0 for bytes that are not code, and for bytes
/// that an earlier window covered. So kernels mask nothing, and no rest is left over.
pub const WINDOW: usize = 32;

/// Records, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// All records.
    pub bytes: &'a [u8],
    /// Bytes of one record.
    pub stride: usize,
    /// Bytes of a record before its code.
    pub skip: usize,
}

impl<'a> Records<'a> {
    /// The record of a point.
    #[inline]
    pub(super) fn get(self, point: u32) -> &'a [u8] {
        &self.bytes[point as usize * self.stride..][..self.stride]
    }

    /// The code of a point. The caller knows its length.
    #[inline]
    pub(super) fn code(self, point: u32, len: usize) -> &'a [u8] {
        &self.get(point)[self.skip..][..len]
    }
}

/// The windows of a record that a query of `wanted` windows needs. They are the whole ones, and the one that
/// is moved to the record's end.
#[inline]
pub(super) fn windows(record: &[u8], skip: usize, wanted: usize) -> (&[[u8; WINDOW]], Option<&[u8; WINDOW]>) {
    let (whole, _) = record[skip..].as_chunks();
    if whole.len() >= wanted {
        return (&whole[..wanted], None);
    }
    assert_eq!(whole.len() + 1, wanted, "a record as long as the query");
    (whole, Some(record.last_chunk().expect("a record has at least one window")))
}
