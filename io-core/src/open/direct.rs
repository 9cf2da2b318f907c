//! Reading and writing past the page cache, by the means of each system.

use crate::regular::Flags;
use std::fs::File;

/// Offsets, lengths and memory addresses are multiples of these.
#[derive(Clone, Copy)]
pub(super) struct Align {
    pub(super) offset: u32,
    pub(super) memory: u32,
}

pub(crate) use system::NAME;
pub(super) use system::{FLAGS, begin};

#[cfg(target_os = "linux")]
mod system {
    use super::{Align, File, Flags};
    use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

    /// The system's name for it.
    pub(crate) const NAME: &str = "O_DIRECT";
    /// The flags to open with. `None`: the system has no direct IO.
    pub(in super::super) const FLAGS: Option<Flags> = Some(OFlags::DIRECT.bits().cast_signed());

    /// Begins direct IO on an open file, and finds its alignment. The error is the reason of a refusal.
    pub(in super::super) fn begin(file: &File) -> Result<Align, String> {
        // Kernels before 6.1 do not report the alignment. A whole page suits every device.
        const PAGE: Align = Align { offset: 4096, memory: 4096 };
        let Ok(stat) = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
            return Ok(PAGE);
        };
        if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            return Ok(PAGE);
        }
        if stat.stx_dio_offset_align == 0 {
            return Err("statx says it has no direct IO for this file".to_owned());
        }
        Ok(Align { offset: stat.stx_dio_offset_align, memory: stat.stx_dio_mem_align })
    }
}

#[cfg(target_vendor = "apple")]
mod system {
    use super::{Align, File, Flags};

    /// The system's name for it.
    pub(crate) const NAME: &str = "F_NOCACHE";
    /// There is no flag for it. The open file is told.
    pub(in super::super) const FLAGS: Option<Flags> = Some(0);

    /// Begins direct IO on an open file. Nothing that is not aligned is refused.
    pub(in super::super) fn begin(file: &File) -> Result<Align, String> {
        rustix::fs::fcntl_nocache(file, true).map_err(|error| format!("fcntl says {error}"))?;
        Ok(Align { offset: 1, memory: 1 })
    }
}

#[cfg(windows)]
mod system {
    use super::{Align, File, Flags};

    /// The system's name for it.
    pub(crate) const NAME: &str = "FILE_FLAG_NO_BUFFERING";
    /// The flags to open with.
    pub(in super::super) const FLAGS: Option<Flags> = Some(0x2000_0000);

    /// No sector of a disk is longer than this.
    pub(in super::super) fn begin(_file: &File) -> Result<Align, String> {
        Ok(Align { offset: 4096, memory: 4096 })
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", windows)))]
mod system {
    use super::{Align, File, Flags};

    /// The usual name for it.
    pub(crate) const NAME: &str = "O_DIRECT";
    /// This system has no direct IO that this crate knows.
    pub(in super::super) const FLAGS: Option<Flags> = None;

    pub(in super::super) fn begin(_file: &File) -> Result<Align, String> {
        Err("this system has none".to_owned())
    }
}
