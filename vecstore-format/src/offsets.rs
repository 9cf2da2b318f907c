//! Where records of different lengths begin: ascending 64-bit numbers, bit-packed, with random access.
//!
//! ```text
//! |for each block: base u64, bits u8| blocks of 16 * bits bytes |
//! ```
//!
//! A block is 128 numbers, each as its distance from the base, in the layout of `BitPacker4x`. Zeros fill the
//! last block.

use bitpacking::{BitPacker, BitPacker4x};

const BLOCK: usize = BitPacker4x::BLOCK_LEN;
const ENTRY_BYTES: usize = 9;

/// Packs ascending numbers.
///
/// # Panics
/// If two of 128 successive numbers differ by 2³² or more.
#[must_use]
pub fn encode(numbers: &[u64]) -> Vec<u8> {
    let packer = BitPacker4x::new();
    let (mut bytes, mut packed) = (Vec::new(), Vec::new());
    for block in numbers.chunks(BLOCK) {
        let base = block[0];
        let mut distances = [0; BLOCK];
        for (distance, number) in distances.iter_mut().zip(block) {
            *distance =
                u32::try_from(number - base).expect("the records of a block are shorter than 4 GiB together");
        }
        let bits = packer.num_bits(&distances);
        let start = packed.len();
        packed.resize(start + BitPacker4x::compressed_block_size(bits), 0);
        packer.compress(&distances, &mut packed[start..], bits);
        bytes.extend_from_slice(&base.to_le_bytes());
        bytes.push(bits);
    }
    bytes.append(&mut packed);
    bytes
}

/// Packed numbers in memory.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// Base, bits, and the start of the block in `packed`.
    blocks: Vec<(u64, u8, usize)>,
    packed: Vec<u8>,
}

impl Offsets {
    /// `None` if the bytes are not the offsets of `count` records.
    #[must_use]
    pub fn parse(bytes: &[u8], count: usize) -> Option<Self> {
        let (entries, packed) = bytes.split_at_checked(count.div_ceil(BLOCK).checked_mul(ENTRY_BYTES)?)?;
        let mut start = 0;
        let mut blocks = Vec::with_capacity(entries.len() / ENTRY_BYTES);
        for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
            let (base, bits) = entry.split_at(8);
            let bits = bits[0];
            if bits > 32 {
                return None;
            }
            blocks.push((u64::from_le_bytes(base.try_into().ok()?), bits, start));
            start += BitPacker4x::compressed_block_size(bits);
        }
        (start == packed.len()).then(|| Self { blocks, packed: packed.to_vec() })
    }

    /// The number at an index.
    ///
    /// # Panics
    /// If the index is too large.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        let (base, bits, start) = self.blocks[index / BLOCK];
        let mut distances = [0; BLOCK];
        BitPacker4x::new().decompress(&self.packed[start..], &mut distances, bits);
        base.wrapping_add(u64::from(distances[index % BLOCK]))
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.packed.len() + size_of_val(self.blocks.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_number_is_found(steps in prop::collection::vec(0u64..20_000_000, 0..1000), start: u32) {
            let mut at = u64::from(start) << 20;
            let numbers: Vec<u64> = steps.iter().map(|step| { at += step; at }).collect();
            let bytes = encode(&numbers);
            let offsets = Offsets::parse(&bytes, numbers.len()).unwrap();
            for (index, &number) in numbers.iter().enumerate() {
                prop_assert_eq!(offsets.get(index), number);
            }
            prop_assert!(Offsets::parse(&[&bytes[..], &[0]].concat(), numbers.len()).is_none());
        }

        #[test]
        fn nonsense_is_nothing_or_numbers(bytes in prop::collection::vec(any::<u8>(), 0..2000), count in 0usize..1000) {
            if let Some(offsets) = Offsets::parse(&bytes, count) {
                (0..count).for_each(|index| { let _ = offsets.get(index); });
            }
        }
    }
}
