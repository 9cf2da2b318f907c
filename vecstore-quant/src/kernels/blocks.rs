//! Codes of four bits a part, laid out so that one instruction looks up a part of many codes. After André et
//! al., "Quicker ADC" (2018); FAISS calls it fast scan.
//!
//! A code is a number of *nibbles*. A query has a table of 16 entries for each nibble. The sum of a code is
//! the sum of the entries that its nibbles choose. A nibble holds one component of four bits, or four of one
//! bit, or a centroid's number.
//!
//! A *block* holds [`BLOCK_CODES`] codes. It is a sequence of groups, and a group holds [`GROUP_NIBBLES`]
//! nibbles of all codes:
//!
//! ```text
//! group: codes 0 to 15, then codes 16 to 31
//!        each half: four lanes of 16 bytes, a byte a code
//!        lane l: nibble l in the low bits, nibble 4 + l in the high bits
//! ```
//!
//! So the tables of the low nibbles lie in the order of the lanes, and those of the high nibbles too.

/// Codes in a block.
pub const BLOCK_CODES: usize = 32;
/// Nibbles of each code in a group.
pub const GROUP_NIBBLES: usize = 8;
/// Bytes of a group.
pub const GROUP_BYTES: usize = BLOCK_CODES * GROUP_NIBBLES / 2;
/// The largest entry of a table. Four entries fit in a byte, so kernels widen once for four look-ups.
pub const TABLE_MAX: u8 = 63;

/// Codes of a lane.
pub(super) const LANE: usize = 16;
/// Lanes of half a group.
pub(super) const LANES: usize = GROUP_NIBBLES / 2;
/// Groups whose sums fit in `u16`. A group adds at most [`GROUP_NIBBLES`] entries to a sum.
pub(super) const GROUPS_MAX: usize = u16::MAX as usize / (GROUP_NIBBLES * TABLE_MAX as usize);

/// Writes the entries that some codes have in the tables of a query to `sums`.
///
/// Panics if the block is not of whole groups, or if there are more or fewer tables than nibbles. Every entry
/// is at most [`TABLE_MAX`]; with larger ones, the sums are wrong.
pub type FastScan = fn(block: &[u8], tables: &[[u8; 16]], sums: &mut [u32; BLOCK_CODES]);

/// What turns the sum of a code into a score, for all codes of a block: `start + (along * constant + factor *
/// (step * sum + base))`, each step rounded to `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The score that the others are relative to.
    pub start: f32,
    /// The factor of the constants.
    pub along: f32,
    /// The value of one step of a sum.
    pub step: f32,
    /// The value of a sum of 0.
    pub base: f32,
}

/// Writes the scores of a block's codes. Returns a bit for each that is above the threshold, the lowest for
/// the first code. NaN is above nothing.
pub type Weigh = fn(
    line: &Line,
    factors: &[[u8; 4]; BLOCK_CODES],
    constants: &[[u8; 4]; BLOCK_CODES],
    sums: &[u32; BLOCK_CODES],
    threshold: f32,
    scores: &mut [f32; BLOCK_CODES],
) -> u32;

/// Bytes of a block whose codes have this many nibbles.
#[must_use]
pub const fn block_bytes(nibbles: usize) -> usize {
    nibbles.div_ceil(GROUP_NIBBLES) * GROUP_BYTES
}

/// Writes a nibble of a code into a block. The nibble was 0 before.
///
/// # Panics
///
/// If the block has no such nibble.
pub fn put_nibble(block: &mut [u8], code: usize, nibble: usize, value: u8) {
    assert!(code < BLOCK_CODES && value < 16, "a nibble of one of the codes");
    let (group, lane) = (nibble / GROUP_NIBBLES, nibble % LANES);
    let at = group * GROUP_BYTES + code / LANE * (GROUP_BYTES / 2) + lane * LANE + code % LANE;
    let is_high = nibble % GROUP_NIBBLES >= LANES;
    block[at] |= if is_high { value << 4 } else { value };
}

/// The groups of a block with their tables.
#[inline]
pub(super) fn groups<'a>(
    block: &'a [u8],
    tables: &'a [[u8; 16]],
) -> (&'a [[u8; GROUP_BYTES]], &'a [[[u8; 16]; GROUP_NIBBLES]]) {
    let (groups, bytes_left) = block.as_chunks();
    let (tables, tables_left) = tables.as_chunks();
    let whole = bytes_left.is_empty() && tables_left.is_empty() && groups.len() == tables.len();
    assert!(whole, "whole groups, and a table for each nibble");
    (groups, tables)
}
