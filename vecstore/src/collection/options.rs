//! Options for opening a collection.

use crate::error::InputError;
use io_core::OpenOptions;

/// Options for opening a collection. They are not stored on disk.
#[derive(Clone, Debug)]
pub struct CollectionOptions {
    /// Options for the files of segments. A file's placement may override them.
    pub open: OpenOptions,
    /// Threads that read, each with an executor of its own, up to [`CORES_MAX`](Self::CORES_MAX). With 0,
    /// reads go through [`Collection::reader`](super::Collection::reader) on threads of the caller.
    pub cores: usize,
    /// Reads that each of these threads executes at once, from 1 to
    /// [`READS_PER_CORE_MAX`](Self::READS_PER_CORE_MAX).
    pub reads_per_core: usize,
    /// Refuse writes and change nothing on disk. Several processes may open a collection like this, if none
    /// writes.
    pub read_only: bool,
    /// Seal, merge and vacuum in the background. If false, only
    /// [`Collection::optimize`](super::Collection::optimize), [`Collection::seal`](super::Collection::seal)
    /// and [`Collection::settle`](super::Collection::settle) do this work.
    ///
    /// The work gives way to searches and writes. It runs on threads of low CPU and IO priority (Linux only),
    /// in [`Lane::Background`](io_core::Lane), with few bytes in flight. It takes idle cores and the idle
    /// disk, and a tenth of busy cores. Writes wait for it once memory or the log holds several times the
    /// points that one sealing takes.
    pub background: bool,
    /// The mutable segment is sealed once it holds this many points...
    pub seal_points: usize,
    /// ...or this many bytes of vectors, their codes and payloads...
    pub seal_bytes: usize,
    /// ...or once its log has this many bytes. Deletions and replaced points add to the log.
    pub seal_log_bytes: u64,
    /// With more segments than this (1 or more), some are merged before anything else is sealed. Writes wait
    /// for that.
    ///
    /// Background work keeps the number at most one above this. If a collection is opened with more segments,
    /// it first merges them. There are two exceptions: no two segments fit into one of
    /// [`CollectionOptions::segment_points_max`], or [`CollectionOptions::background`] is off.
    ///
    /// A point is rewritten about once each time the collection doubles, up to `seal_points * 2^segments_max`
    /// points. Beyond that, it is rewritten more often.
    pub segments_max: usize,
    /// The most points of a merged segment.
    pub segment_points_max: u32,
    /// A segment with a larger part of deleted points is rewritten, together with other such segments. During
    /// writes, vacuum and sealing take turns.
    pub vacuum_ratio: f64,
}

impl CollectionOptions {
    /// The most threads that read.
    pub const CORES_MAX: usize = 1024;
    /// The most reads that each of them executes at once.
    pub const READS_PER_CORE_MAX: usize = 1024;

    pub(crate) fn check(&self) -> Result<(), InputError> {
        let wrong = |name, value: String, allowed| Err(InputError::Param { name, value, allowed });
        if self.cores > Self::CORES_MAX {
            return wrong("cores", self.cores.to_string(), "from 0 to 1024");
        }
        if !(1..=Self::READS_PER_CORE_MAX).contains(&self.reads_per_core) {
            return wrong("reads_per_core", self.reads_per_core.to_string(), "from 1 to 1024");
        }
        if !(0.0..=1.0).contains(&self.vacuum_ratio) {
            return wrong("vacuum_ratio", self.vacuum_ratio.to_string(), "from 0 to 1");
        }
        let counts = [
            ("seal_points", self.seal_points as u64),
            ("seal_bytes", self.seal_bytes as u64),
            ("seal_log_bytes", self.seal_log_bytes),
            ("segments_max", self.segments_max as u64),
            ("segment_points_max", u64::from(self.segment_points_max)),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => wrong(name, "0".to_owned(), "1 or more"),
            None => Ok(()),
        }
    }
}

impl Default for CollectionOptions {
    /// Buffered IO, one thread for each core of the machine, 4 reads at once on each, writable, optimized in
    /// the background. Sealed at 20,000 points, 64 MiB or 256 MiB of log. Up to 8 segments of up to 8 million
    /// points. Vacuumed at a fifth of deleted points.
    fn default() -> Self {
        Self {
            open: OpenOptions::default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from).min(Self::CORES_MAX),
            reads_per_core: 4,
            read_only: false,
            background: true,
            seal_points: 20_000,
            seal_bytes: 64 << 20,
            seal_log_bytes: 256 << 20,
            segments_max: 8,
            segment_points_max: 8_000_000,
            vacuum_ratio: 0.2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_has_a_range_that_its_error_names() {
        let default = CollectionOptions::default;
        let refused = |options: CollectionOptions| options.check().unwrap_err().to_string();
        let cores = "cores is 1025; it must be from 0 to 1024";
        assert_eq!(refused(CollectionOptions { cores: 1025, ..default() }), cores);
        for reads_per_core in [0, 1025, usize::MAX] {
            let said = format!("reads_per_core is {reads_per_core}; it must be from 1 to 1024");
            assert_eq!(refused(CollectionOptions { reads_per_core, ..default() }), said);
        }
        for vacuum_ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let said = format!("vacuum_ratio is {vacuum_ratio}; it must be from 0 to 1");
            assert_eq!(refused(CollectionOptions { vacuum_ratio, ..default() }), said);
        }
        for (name, options) in [
            ("seal_points", CollectionOptions { seal_points: 0, ..default() }),
            ("seal_bytes", CollectionOptions { seal_bytes: 0, ..default() }),
            ("seal_log_bytes", CollectionOptions { seal_log_bytes: 0, ..default() }),
            ("segments_max", CollectionOptions { segments_max: 0, ..default() }),
            ("segment_points_max", CollectionOptions { segment_points_max: 0, ..default() }),
        ] {
            assert_eq!(refused(options), format!("{name} is 0; it must be 1 or more"));
        }
        let largest = CollectionOptions {
            cores: 1024,
            reads_per_core: 1024,
            seal_points: usize::MAX,
            seal_bytes: usize::MAX,
            seal_log_bytes: u64::MAX,
            segments_max: usize::MAX,
            segment_points_max: u32::MAX,
            ..default()
        };
        assert_eq!(largest.check(), Ok(()));
    }
}
