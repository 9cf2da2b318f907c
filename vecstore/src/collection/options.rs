//! How a collection is opened.

use crate::error::InputError;
use io_core::OpenOptions;

/// How a collection is opened. Nothing of it is kept on disk.
#[derive(Clone, Debug)]
pub struct CollectionOptions {
    /// How the files of segments are opened, where their placement does not say otherwise.
    pub open: OpenOptions,
    /// Threads that read, each with an executor of its own, up to [`CORES_MAX`](Self::CORES_MAX). With none, reads go through
    /// [`Collection::reader`](super::Collection::reader) on threads of yours.
    pub cores: usize,
    /// Reads that each of these threads has under way at once, from 1 to
    /// [`READS_PER_CORE_MAX`](Self::READS_PER_CORE_MAX).
    pub reads_per_core: usize,
    /// Take no writes and change nothing on disk. Several processes may have a collection open so, if none writes.
    pub read_only: bool,
    /// Seal, merge and vacuum in the background. Otherwise only [`Collection::optimize`](super::Collection::optimize)
    /// does.
    ///
    /// Either goes after searches and writes: on threads of a low CPU and IO priority (Linux only), in
    /// [`Lane::Background`](io_core::Lane), with few bytes under way at once. It takes cores and the disk as far as they
    /// are idle, and a tenth of the cores where they are not. Writes wait for it when several times what is to be sealed is
    /// in memory, or in its log.
    pub background: bool,
    /// The mutable segment is sealed when it holds this many points...
    pub seal_points: usize,
    /// ...or this many bytes of vectors, their codes and payloads...
    pub seal_bytes: usize,
    /// ...or when its log has this many bytes, which deletions and points that are replaced over and over add to.
    pub seal_log_bytes: u64,
    /// More segments than this, 1 or more, are merged before anything more is sealed, and writes wait for that.
    ///
    /// In the background there is never more than one segment above this. A collection that is opened with more is
    /// brought there first. There are two exceptions: no two of the segments fit into one of
    /// [`CollectionOptions::segment_points_max`], and [`CollectionOptions::background`] is off.
    ///
    /// A point is written anew about once each time the collection doubles, as long as it holds no more than
    /// `seal_points * 2^segments_max` points; beyond that, more often.
    pub segments_max: usize,
    /// Merging makes no segment of more points than this.
    pub segment_points_max: u32,
    /// A segment with more than this part of its points deleted is written anew, together with others of which that is true.
    /// While writes go on, vacuum and sealing take turns.
    pub vacuum_ratio: f64,
}

impl CollectionOptions {
    /// Most threads that read.
    pub const CORES_MAX: usize = 1024;
    /// Most reads that each of them has under way at once.
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
    /// Buffered, a thread a core of the machine, 4 reads at once on each, writable, optimized in the background;
    /// sealed at 20,000 points, 64 MiB or 256 MiB of log; up to 8 segments of up to 8 million points; vacuumed at a
    /// fifth.
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
