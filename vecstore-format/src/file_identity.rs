//! The identity of a file. Checksums show that bytes are whole, and an identity shows which file they belong
//! to.

use std::fmt;

/// Tells a file apart from every other file, even after a copy to another place.
///
/// The owner is 16 random bytes, made once for all files that belong together. A file with an identity mixes
/// it into each of its checksums. Bytes of another file at the same place therefore do not pass.
///
/// ```
/// use vecstore_format::FileIdentity;
///
/// let vectors = FileIdentity { owner: [7; 16], file: 1 };
/// let codes = FileIdentity { owner: [7; 16], file: 2 };
/// assert_ne!(vectors.seed(), codes.seed());
/// assert_eq!(vectors.to_string(), "file 1 of 07070707070707070707070707070707");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Random bytes of the segment or collection that owns the file.
    pub owner: [u8; 16],
    /// Tells the owner's files apart. An owner of zeros has no file number 0.
    pub file: u64,
}

impl FileIdentity {
    /// Length of an encoded identity, in bytes.
    pub const BYTES: usize = 24;

    /// Encodes the owner, then the number, little-endian.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.owner);
        bytes[16..].copy_from_slice(&self.file.to_le_bytes());
        bytes
    }

    /// Decodes [`FileIdentity::to_bytes`]. `None` for zeros, which a file without an identity has there.
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (owner, file) = bytes.split_first_chunk().expect("more than 16 bytes");
        let file = u64::from_le_bytes(file.try_into().expect("eight bytes"));
        (bytes != [0; Self::BYTES]).then_some(Self { owner: *owner, file })
    }

    /// The start value of the file's checksums: the crc32 of the identity. Two files of one owner with
    /// numbers below 2^32 never have the same seed. Any other two have the same one with a probability of
    /// 2^-32.
    #[must_use]
    pub fn seed(&self) -> u32 {
        crc32fast::hash(&self.to_bytes())
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {} of {:032x}", self.file, u128::from_be_bytes(self.owner))
    }
}
