//! Where codes lie: records of one length, one after the other, in memory as on disk.

/// Bytes of a record that a kernel for codes of 4, 2 or 1 bits handles at once.
///
/// Such a kernel reads a record in windows of this size: from where the code begins, one after the other; if the last is not
/// whole, it is moved to end where the record ends. The query has, for each window, `8 / bits` planes of as many `i8` as a
/// window has bytes: plane `p` is multiplied with bits `p * bits..` of each byte. Whoever lays it out puts 0 where a window
/// covers what is not code, or what an earlier window covered. So nothing is masked, and no rest is left over.
pub const WINDOW: usize = 32;

/// Records, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// All of them.
    pub bytes: &'a [u8],
    /// Bytes of one.
    pub stride: usize,
    /// Bytes of one before its code.
    pub skip: usize,
}

impl<'a> Records<'a> {
    /// The record of a point.
    #[inline]
    pub(super) fn get(self, point: u32) -> &'a [u8] {
        &self.bytes[point as usize * self.stride..][..self.stride]
    }

    /// The code of a point, of a length known from elsewhere.
    #[inline]
    pub(super) fn code(self, point: u32, len: usize) -> &'a [u8] {
        &self.get(point)[self.skip..][..len]
    }
}

/// The windows of a record that a query of `wanted` windows needs: the whole ones, and the one moved to the record's end.
#[inline]
pub(super) fn windows(record: &[u8], skip: usize, wanted: usize) -> (&[[u8; WINDOW]], Option<&[u8; WINDOW]>) {
    let (whole, _) = record[skip..].as_chunks();
    if whole.len() >= wanted {
        return (&whole[..wanted], None);
    }
    assert_eq!(whole.len() + 1, wanted, "a record as long as the query");
    (whole, Some(record.last_chunk().expect("a record has at least one window")))
}
