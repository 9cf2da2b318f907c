//! The limits of the block device under a file.

use std::fs::File;
use std::path::PathBuf;

/// The longest read that the device takes in one piece, in bytes, if it is known.
///
/// The kernel splits a longer direct read, and glommio may then hang (DataDog/glommio issues 633 and 635).
pub(crate) fn read_bytes_max(file: &File) -> Option<u32> {
    use std::os::linux::fs::MetadataExt;
    let device = file.metadata().ok()?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has its queue one level up.
    let queues = [device.join("queue/max_sectors_kb"), device.join("../queue/max_sectors_kb")];
    let text = queues.iter().find_map(|queue| std::fs::read_to_string(queue).ok())?;
    text.trim().parse::<u32>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_no_block_device_has_no_maximum() {
        let file = File::open("/proc/self/status").expect("procfs is there");
        assert_eq!(read_bytes_max(&file), None);
    }
}
