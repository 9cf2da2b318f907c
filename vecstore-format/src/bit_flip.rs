//! Finds one flipped bit by its effect on a CRC-32. Only repair puts bits back. All other code refuses bytes
//! that do not match their checksum.
//!
//! CRC-32 is linear. A flipped bit changes the checksum by a value that depends only on the bit's distance
//! from the end. A search over all distances therefore finds the bit. No two bits have the same effect in
//! data as short as a file here.

const POLYNOMIAL: u32 = 0xEDB8_8320;

/// The bit whose flip explains why `stored` differs from `found`, the checksum computed over `bytes` bytes.
/// Bits are counted from the lowest bit of the first byte. The 32 bits after the last byte are those of the
/// stored checksum.
#[must_use]
pub fn flipped_bit(found: u32, stored: u32, bytes: usize) -> Option<usize> {
    let difference = found ^ stored;
    if difference.is_power_of_two() {
        return Some(bytes * 8 + difference.trailing_zeros() as usize);
    }
    let mut effect = POLYNOMIAL;
    (0..bytes * 8).rev().find(|_| {
        let this = effect == difference;
        effect = effect >> 1 ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
        this
    })
}

/// Puts back a flipped bit of bytes that end with their checksum. `found` is the checksum computed over the
/// bytes before it. Returns true if the bytes are sound afterwards. Otherwise they are unchanged.
pub(crate) fn mend(bytes: &mut [u8], found: u32) -> bool {
    let Some((data, stored)) = bytes.split_last_chunk::<4>() else { return false };
    let stored = u32::from_le_bytes(*stored);
    match flipped_bit(found, stored, data.len()) {
        _ if found == stored => true,
        Some(bit) => {
            bytes[bit / 8] ^= 1 << (bit % 8);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_put_back_whatever_the_initial_value() {
        for initial in [0, 7, u32::MAX] {
            let crc = |bytes: &[u8]| {
                let mut hasher = crc32fast::Hasher::new_with_initial(initial);
                hasher.update(bytes);
                hasher.finalize()
            };
            let data: Vec<u8> = (0..300u32).map(|i| (i * i) as u8).collect();
            let whole = [&data[..], &crc(&data).to_le_bytes()].concat();
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let found = crc(&flipped[..300]);
                assert!(mend(&mut flipped, found) && flipped == whole, "bit {bit}");
                // Two flipped bits are too many, and are left alone.
                let other = (bit * 31 + 17) % (whole.len() * 8);
                if other != bit {
                    let mut flipped = whole.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    flipped[other / 8] ^= 1 << (other % 8);
                    let (found, before) = (crc(&flipped[..300]), flipped.clone());
                    assert!(!mend(&mut flipped, found) && flipped == before, "bits {bit} and {other}");
                }
            }
        }
        assert!(!mend(&mut [1, 2, 3], 0));
        assert!(mend(&mut 5u32.to_le_bytes(), 5));
    }
}
