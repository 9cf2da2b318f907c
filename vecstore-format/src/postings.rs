//! Postings: ascending numbers of points, bit-packed in blocks. A table allows skipping blocks.
//!
//! ```text
//! |skips: for each whole block (last u32, bits u8)| blocks of 16 * bits bytes | the rest: varint deltas |
//! ```
//!
//! A block is 128 numbers, in the layout of `BitPacker4x`. Each number is stored as its distance to the
//! number before, minus one. The first number of a block refers to the last one of the block before, or to -1
//! in the first block. The start of a block follows from the bits of the blocks before it. The count of
//! numbers is stored elsewhere.

use bitpacking::{BitPacker, BitPacker4x};
use roaring::RoaringBitmap;

/// Numbers in a block.
const BLOCK: usize = BitPacker4x::BLOCK_LEN;
const SKIP_BYTES: usize = 5;
/// The most bytes that a number takes, including its part of the table.
pub const NUMBER_BYTES_MAX: u64 = 5;

/// Bytes that are not postings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no postings")]
pub struct PostingsError;

/// Packs ascending and distinct numbers.
#[must_use]
pub fn encode(numbers: &[u32]) -> Vec<u8> {
    let packer = BitPacker4x::new();
    let (blocks, rest) = numbers.as_chunks::<BLOCK>();
    let mut bytes = Vec::with_capacity(numbers.len());
    let mut packed = Vec::new();
    let mut before = None;
    for block in blocks {
        let bits = packer.num_bits_strictly_sorted(before, block);
        let start = packed.len();
        packed.resize(start + BitPacker4x::compressed_block_size(bits), 0);
        packer.compress_strictly_sorted(before, block, &mut packed[start..], bits);
        let last = block[BLOCK - 1];
        bytes.extend_from_slice(&last.to_le_bytes());
        bytes.push(bits);
        before = Some(last);
    }
    bytes.append(&mut packed);
    for &number in rest {
        let mut delta = before.map_or(number, |before| number - before - 1);
        while delta >= 0x80 {
            bytes.push(delta as u8 | 0x80);
            delta >>= 7;
        }
        bytes.push(delta as u8);
        before = Some(number);
    }
    bytes
}

/// Packed numbers.
#[derive(Clone, Copy, Debug)]
pub struct Postings<'a> {
    skips: &'a [[u8; SKIP_BYTES]],
    /// The blocks, then the rest.
    packed: &'a [u8],
    count: usize,
}

impl<'a> Postings<'a> {
    /// Postings of `count` numbers.
    ///
    /// # Errors
    /// [`PostingsError`] if the bytes do not have the length of `count` numbers.
    pub fn parse(bytes: &'a [u8], count: usize) -> Result<Self, PostingsError> {
        let (skips, packed) = bytes.split_at_checked(count / BLOCK * SKIP_BYTES).ok_or(PostingsError)?;
        let skips = skips.as_chunks().0;
        let blocks: usize = skips.iter().map(|&skip| Ok(parse_skip(skip)?.1)).sum::<Result<_, _>>()?;
        // Nothing may follow. Each number of the rest ends with a byte that lacks the highest bit.
        let rest = packed.get(blocks..).ok_or(PostingsError)?;
        let ends = rest.iter().filter(|&&byte| byte < 0x80).count();
        if ends != count % BLOCK || rest.last().is_some_and(|&last| last >= 0x80) {
            return Err(PostingsError);
        }
        Ok(Self { skips, packed, count })
    }

    /// Decodes all numbers.
    ///
    /// # Errors
    /// [`PostingsError`].
    pub fn to_bitmap(self) -> Result<RoaringBitmap, PostingsError> {
        let mut numbers = Vec::new();
        let mut cursor = self.cursor();
        while cursor.fill()? {
            numbers.extend_from_slice(cursor.loaded());
            cursor.used = cursor.len;
        }
        RoaringBitmap::from_sorted_iter(numbers).map_err(|_| PostingsError)
    }

    /// A cursor before the first number.
    fn cursor(self) -> PostingsCursor<'a> {
        let Self { skips, packed, count } = self;
        PostingsCursor {
            skips,
            packed,
            rest_count: count % BLOCK,
            before: None,
            block: [0; BLOCK],
            used: 0,
            len: 0,
        }
    }

    /// The numbers that are also in `set`. If the set is small, whole blocks are skipped.
    ///
    /// # Errors
    /// [`PostingsError`].
    pub fn intersect(self, set: &RoaringBitmap) -> Result<RoaringBitmap, PostingsError> {
        let mut both = RoaringBitmap::new();
        let mut cursor = self.cursor();
        for number in set {
            match cursor.advance_to(number)? {
                Some(found) if found == number => {
                    both.push(number);
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(both)
    }
}

trait Push {
    fn push(&mut self, number: u32);
}

impl Push for RoaringBitmap {
    fn push(&mut self, number: u32) {
        let ascending = self.try_push(number);
        debug_assert!(ascending.is_ok(), "pushed in order");
    }
}

/// Walks postings once, forward.
#[derive(Clone, Debug)]
struct PostingsCursor<'a> {
    skips: &'a [[u8; SKIP_BYTES]],
    packed: &'a [u8],
    /// Count of numbers after the last whole block.
    rest_count: usize,
    /// The last number before the next load.
    before: Option<u32>,
    block: [u32; BLOCK],
    /// Numbers of the block that the cursor has passed.
    used: usize,
    len: usize,
}

impl PostingsCursor<'_> {
    fn loaded(&self) -> &[u32] {
        &self.block[self.used..self.len]
    }

    /// The first number from the cursor on that is at least `target`. The cursor stays before it.
    fn advance_to(&mut self, target: u32) -> Result<Option<u32>, PostingsError> {
        loop {
            if self.used < self.len && self.block[self.len - 1] >= target {
                self.used += self.loaded().partition_point(|&number| number < target);
                return Ok(Some(self.block[self.used]));
            }
            self.used = self.len;
            while let Some((&skip, skips)) = self.skips.split_first() {
                let (last, bytes) = parse_skip(skip)?;
                if last >= target {
                    break;
                }
                self.packed = self.packed.get(bytes..).ok_or(PostingsError)?;
                (self.skips, self.before) = (skips, Some(last));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Loads the next numbers if none are left. Returns true if there are any.
    fn fill(&mut self) -> Result<bool, PostingsError> {
        if self.used < self.len {
            return Ok(true);
        }
        (self.used, self.len) = (0, 0);
        if let Some((&skip, skips)) = self.skips.split_first() {
            let (last, bytes) = parse_skip(skip)?;
            let (block, packed) = self.packed.split_at_checked(bytes).ok_or(PostingsError)?;
            let bits = skip[4];
            BitPacker4x::new().decompress_strictly_sorted(self.before, block, &mut self.block, bits);
            let ascending = self.block.is_sorted() && self.before.is_none_or(|b| b < self.block[0]);
            if !ascending || self.block[BLOCK - 1] != last {
                return Err(PostingsError);
            }
            (self.skips, self.packed, self.before, self.len) = (skips, packed, Some(last), BLOCK);
            return Ok(true);
        }
        while self.len < self.rest_count {
            let last = self.packed.iter().take(5).position(|&byte| byte < 0x80).ok_or(PostingsError)?;
            let (bytes, packed) = self.packed.split_at(last + 1);
            self.packed = packed;
            let delta = bytes.iter().rev().fold(0, |delta, &byte| delta << 7 | u64::from(byte & 0x7F));
            let number = self.before.map_or(delta, |before| u64::from(before) + 1 + delta);
            let number = u32::try_from(number).map_err(|_| PostingsError)?;
            self.block[self.len] = number;
            self.len += 1;
            self.before = Some(number);
        }
        self.rest_count = 0;
        Ok(self.len > 0)
    }
}

/// The last number of a block and its length in bytes.
fn parse_skip(skip: [u8; SKIP_BYTES]) -> Result<(u32, usize), PostingsError> {
    let [a, b, c, d, bits] = skip;
    if bits > 32 {
        return Err(PostingsError);
    }
    Ok((u32::from_le_bytes([a, b, c, d]), BitPacker4x::compressed_block_size(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sets() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![
            prop::collection::btree_set(any::<u32>(), 0..600),
            prop::collection::btree_set(0u32..2000, 0..1500),
            (0u32..1000, 1usize..2000).prop_map(|(from, len)| (from..from + len as u32).collect()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_found(set in sets(), targets in prop::collection::btree_set(any::<u32>(), 0..50)) {
            let numbers: Vec<u32> = set.iter().copied().collect();
            let bytes = encode(&numbers);
            let postings = Postings::parse(&bytes, numbers.len()).unwrap();
            prop_assert_eq!(postings.to_bitmap().unwrap().iter().collect::<Vec<_>>(), &numbers[..]);
            let mut cursor = postings.cursor();
            for target in targets.iter().copied().chain(numbers.iter().step_by(37).copied()).collect::<BTreeSet<_>>() {
                prop_assert_eq!(cursor.advance_to(target).unwrap(), set.range(target..).next().copied());
            }
            let wanted: RoaringBitmap = targets.iter().copied().chain(numbers.iter().step_by(50).copied()).collect();
            let both: Vec<u32> = wanted.iter().filter(|number| set.contains(number)).collect();
            prop_assert_eq!(postings.intersect(&wanted).unwrap().iter().collect::<Vec<_>>(), both);
            // One byte more or less is refused, and so is a missing number.
            for more in [0, 0x80] {
                prop_assert!(Postings::parse(&[&bytes[..], &[more]].concat(), numbers.len()).is_err());
            }
            prop_assert!(bytes.is_empty() || Postings::parse(&bytes[..bytes.len() - 1], numbers.len()).is_err());
            prop_assert!(bytes.len() as u64 <= numbers.len() as u64 * NUMBER_BYTES_MAX);
        }

        #[test]
        fn nonsense_is_an_error_or_a_set(bytes in prop::collection::vec(any::<u8>(), 0..3000), count in 0usize..2000) {
            if let Ok(postings) = Postings::parse(&bytes, count) {
                let _ = postings.to_bitmap();
                let _ = postings.cursor().advance_to(1 << 20);
            }
        }
    }

    #[test]
    fn runs_take_next_to_nothing() {
        let run: Vec<u32> = (1000..1000 + 128 * 8).collect();
        // The first block holds a distance of 1000. All other distances are zero.
        assert_eq!(encode(&run).len(), 8 * SKIP_BYTES + 10 * 16);
        assert_eq!(encode(&[5]), [5]);
        assert!(encode(&[]).is_empty());
    }
}
