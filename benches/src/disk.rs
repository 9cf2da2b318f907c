//! What a disk was asked to do, as the kernel counts it.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// Counts of a disk since it came up, everybody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads, those merged by the kernel as one.
    pub reads: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl DiskCounts {
    /// Of the disk that a directory is on; `None` if it is on none that the kernel counts for, as in memory.
    #[must_use]
    pub fn of(dir: &Path) -> Option<Self> {
        let device = fs::metadata(dir).ok()?.st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Self::parse(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        const SECTOR: u64 = 512;
        let counts: Vec<u64> = stat.split_whitespace().map_while(|count| count.parse().ok()).collect();
        Some(Self {
            reads: *counts.first()?,
            bytes_read: SECTOR * counts.get(2)?,
            bytes_written: SECTOR * counts.get(6)?,
        })
    }

    /// What came since an earlier moment.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_fields_are_told_apart() {
        let stat = "  101  7  2048  33  55  9  4096  66  0  77  88  1 2 3 4 5 6\n";
        let counts = DiskCounts::parse(stat).unwrap();
        assert_eq!(counts, DiskCounts { reads: 101, bytes_read: 1 << 20, bytes_written: 2 << 20 });
        assert_eq!(DiskCounts::parse("1 2 3"), None);
    }
}
