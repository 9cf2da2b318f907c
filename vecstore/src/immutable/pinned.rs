//! Memory for the parts of a segment that are pinned.

use crate::error::Error;
use io_core::DirectoryError;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};
use std::path::Path;

/// Bytes from the start of a page, zeros at first. A search reads them here and there. So they are in huge
/// pages where the system has any: the processor then needs fewer entries in its table of pages.
#[derive(Debug)]
pub(crate) struct PinnedBytes(MmapMut);

impl PinnedBytes {
    /// Memory for what is in a file.
    pub(crate) fn zeroed(len: usize, path: &Path) -> Result<Self, Error> {
        let bytes = MmapMut::map_anon(len);
        let bytes = bytes.map_err(|error| DirectoryError::new("get memory for", path, error))?;
        // Everything works without.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Self(bytes))
    }
}

impl Deref for PinnedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PinnedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_zeros_and_aligned() {
        let path = Path::new("codes.vec");
        for len in [0, 1, 5 << 20] {
            let mut bytes = PinnedBytes::zeroed(len, path).unwrap();
            assert!(bytes.len() == len && bytes.iter().all(|&byte| byte == 0));
            assert!(bytes.as_ptr().cast::<[u64; 8]>().is_aligned());
            bytes.fill(7);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
        let error = PinnedBytes::zeroed(isize::MAX as usize, path).unwrap_err().to_string();
        assert!(error.starts_with("cannot get memory for codes.vec"), "{error}");
    }
}
