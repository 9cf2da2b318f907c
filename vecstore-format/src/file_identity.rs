//! Which file a file is: checksums show that bytes are whole, and an identity shows whose bytes they are.

use std::fmt;

/// Tells a file apart from every other one, wherever it was copied from.
///
/// The owner is 16 random bytes, made once for everything that belongs together. A file that knows its
/// identity mixes it into each of its checksums, so that bytes of another file at the same place are no valid
/// bytes of this one.
///
/// ```
/// use vecstore_format::FileIdentity;
///
/// let vectors = FileIdentity { owner: [7; 16], file: 1 };
/// let codes = FileIdentity { owner: [7; 16], file: 2 };
/// assert_ne!(vectors.seed(), codes.seed());
/// assert_eq!(vectors.to_string(), "file 1 of 07070707070707070707070707070707");
/// assert_eq!(FileIdentity::from_bytes(vectors.to_bytes()), Some(vectors));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Random bytes of whatever the file belongs to.
    pub owner: [u8; 16],
    /// Tells the owner's files apart. No file is number 0 of an owner of zeros.
    pub file: u64,
}

impl FileIdentity {
    /// Bytes of an identity in a file.
    pub const BYTES: usize = 24;

    /// The owner, then the number, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.owner);
        bytes[16..].copy_from_slice(&self.file.to_le_bytes());
        bytes
    }

    /// What [`FileIdentity::to_bytes`] made; `None` of zeros, which a file without an identity has there.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (owner, file) = bytes.split_first_chunk().expect("more than 16 bytes");
        let file = u64::from_le_bytes(file.try_into().expect("eight bytes"));
        (bytes != [0; Self::BYTES]).then_some(Self { owner: *owner, file })
    }

    /// What the file's checksums start from: the crc32 of the identity. Two files of one owner whose numbers
    /// are below 2^32 never have the same; any other two have it by a chance of 1 in 2^32.
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
