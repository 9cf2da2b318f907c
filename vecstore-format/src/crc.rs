//! CRC-32 as in zlib, going on from a finished one.

/// The checksum of `bytes` that goes on from the finished checksum `initial`.
pub(crate) fn crc32(initial: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(bytes);
    hasher.finalize()
}
