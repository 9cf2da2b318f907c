//! The kernel's statistics of a disk.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// Counts of a disk since boot, of all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads, with merged ones counted as one.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl DiskCounts {
    /// The counts of the disk of a directory. `None` if the kernel has no statistics for it, as for memory.
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

    /// The difference to an earlier moment.
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
