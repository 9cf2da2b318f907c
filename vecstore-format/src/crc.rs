//! CRC-32 as in zlib, continued from a finished checksum.

/// Continues the finished checksum `initial` over `bytes`.
pub(crate) fn crc32(initial: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(bytes);
    hasher.finalize()
}
