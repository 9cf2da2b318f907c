//! The size of a ring.

/// The size of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingOptions {
    /// Entries of the submission queue. One system call submits this many at most.
    pub entries: u32,
    /// Maximum of operations in flight, over all files. More operations wait, in their lane.
    pub in_flight_max: u32,
    /// Maximum of kernel threads for operations that block: syncs, and buffered writes that the file system
    /// cannot do otherwise. Before Linux 5.15 the kernel's own bound holds.
    pub workers_max: u32,
    /// Maximum of bytes in buffers that stay registered with the kernel. Direct operations on them take less
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

impl RingOptions {
    /// The same options, with [`RingOptions::entries`].
    #[must_use]
    pub fn with_entries(self, entries: u32) -> Self {
        Self { entries, ..self }
    }

    /// The same options, with [`RingOptions::in_flight_max`].
    #[must_use]
    pub fn with_in_flight_max(self, in_flight_max: u32) -> Self {
        Self { in_flight_max, ..self }
    }

    /// The same options, with [`RingOptions::workers_max`].
    #[must_use]
    pub fn with_workers_max(self, workers_max: u32) -> Self {
        Self { workers_max, ..self }
    }

    /// The same options, with [`RingOptions::registered_bytes_max`].
    #[must_use]
    pub fn with_registered_bytes_max(self, registered_bytes_max: u64) -> Self {
        Self { registered_bytes_max, ..self }
    }
}
