//! JSON files for programs and people. The last line is a checksum:
//!
//! ```text
//! { ... }
//! crc32 0123abcd
//! ```
//!
//! The checksum covers all bytes before its line.

use crate::FormatError;
use crate::bit_flip::flipped_bit;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

const LAST_LINE: usize = "crc32 01234567\n".len();

/// Encodes a value as such a file.
///
/// # Panics
/// If the value has a map whose keys are not strings.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).expect("no map with keys that are no strings");
    text.push('\n');
    let crc = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("crc32 {crc:08x}\n"));
    text.into_bytes()
}

/// Appends a checksum line that makes the bytes valid.
#[must_use]
pub fn with_crc(text: &[u8]) -> Vec<u8> {
    let line = format!("crc32 {:08x}\n", crc32fast::hash(text));
    [text, line.as_bytes()].concat()
}

/// Decodes the value in such a file.
///
/// # Errors
/// [`FormatError::Damaged`].
pub fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, FormatError> {
    let damaged = |reason: String| FormatError::damaged(path, None, reason);
    let Some((text, last)) = bytes.len().checked_sub(LAST_LINE).map(|at| bytes.split_at(at)) else {
        return Err(damaged(format!("{} bytes are too few even for its checksum", bytes.len())));
    };
    let found = crc32fast::hash(text);
    if last != format!("crc32 {found:08x}\n").as_bytes() {
        let last = String::from_utf8_lossy(last);
        return Err(damaged(format!("its checksum is crc32 {found:08x}, and its last line is {last:?}")));
    }
    serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))
}

/// Puts back a flipped bit. Returns true if there was one and no other damage.
pub fn mend(bytes: &mut [u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(LAST_LINE) else { return false };
    let (text, last) = bytes.split_at_mut(at);
    let found = crc32fast::hash(text);
    let line = format!("crc32 {found:08x}\n");
    let bits = last.iter().zip(line.bytes()).map(|(&is, should)| (is ^ should).count_ones());
    if bits.sum::<u32>() == 1 {
        last.copy_from_slice(line.as_bytes());
        return true;
    }
    let stored = std::str::from_utf8(last)
        .ok()
        .and_then(|last| u32::from_str_radix(last.strip_prefix("crc32 ")?.trim_end(), 16).ok())
        .filter(|stored| last == format!("crc32 {stored:08x}\n").as_bytes());
    match stored.and_then(|stored| flipped_bit(found, stored, text.len())) {
        Some(bit) if bit < text.len() * 8 => {
            text[bit / 8] ^= 1 << (bit % 8);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let bytes = encode(&vec![1, 2, 3]);
        assert_eq!(decode::<Vec<u32>>(Path::new("x"), &bytes).unwrap(), [1, 2, 3]);
        assert!(!mend(&mut bytes.clone()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Vec<u32>>(Path::new("x"), &flipped).is_err(), "bit {bit}");
            let mut mended = flipped.clone();
            assert!(mend(&mut mended) && mended == bytes, "bit {bit}");
            let other = (bit + 9) % (bytes.len() * 8);
            flipped[other / 8] ^= 1 << (other % 8);
            assert!(!mend(&mut flipped), "bits {bit} and {other}");
        }
        for len in 0..bytes.len() {
            assert!(decode::<Vec<u32>>(Path::new("x"), &bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(decode::<String>(Path::new("x"), &bytes).unwrap_err().to_string().contains("invalid type"));
    }
}
