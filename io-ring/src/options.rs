//! How large a ring is.

/// How large a ring is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Entries of the submission queue: what one system call submits at most.
    pub entries: u32,
    /// Operations in flight at most, over all files. More wait, in their lane.
    pub in_flight_max: u32,
    /// Kernel threads at most for operations that block: syncs, and buffered writes that the file system
    /// cannot do otherwise. Before Linux 5.15 the kernel's own bound holds.
    pub workers_max: u32,
    /// Bytes of buffers at most that stay registered with the kernel. Direct operations on them take less
    /// CPU.
    ///
    /// Registered buffers are locked in memory. A ring takes at most a quarter of the user's limit (`ulimit
    /// -l`), since the user's other rings need some too. Before Linux 5.19 no buffer is registered.
    pub registered_bytes_max: u64,
}

impl Default for RingOptions {
    /// 256 entries, 4095 operations in flight, 8 workers, 32 MiB of registered buffers.
    fn default() -> Self {
        Self { entries: 256, in_flight_max: 4095, workers_max: 8, registered_bytes_max: 32 << 20 }
    }
}
