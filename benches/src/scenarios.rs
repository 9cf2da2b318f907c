//! The content of a report: the benches, the disks, and the memory.

/// A disk to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The disk of the benches, or of `BENCH_DIR`.
    Local {
        /// The cap on memory for the bench and the page cache of its files.
        memory_max_mib: Option<u64>,
    },
    /// A slow disk, which answers each request in a millisecond.
    Slow {
        /// Requests served at once.
        parallelism: u16,
        /// The cap on memory for the bench and the page cache of its files.
        memory_max_mib: Option<u64>,
        /// The kernel's read-ahead.
        read_ahead_kb: u32,
    },
}

impl Disk {
    /// Its name, for people and for file names.
    #[must_use]
    pub fn name(self) -> String {
        let (disk, memory_max_mib) = match self {
            Self::Local { memory_max_mib } => ("local disk".to_owned(), memory_max_mib),
            Self::Slow { parallelism, memory_max_mib, .. } => {
                (format!("slow disk, {parallelism} at once"), memory_max_mib)
            }
        };
        let memory = memory_max_mib.map(|mib| format!(", {mib} MiB of memory")).unwrap_or_default();
        disk + &memory
    }

    /// The options of `slow-disk run`. `None` for the local disk without a cap.
    #[must_use]
    pub fn options(self) -> Option<Vec<String>> {
        let (mut options, memory_max_mib) = match self {
            Self::Local { memory_max_mib: None } => return None,
            Self::Local { memory_max_mib } => (vec!["--local".to_owned()], memory_max_mib),
            Self::Slow { parallelism, memory_max_mib, read_ahead_kb } => {
                let mut options = vec!["--parallelism".to_owned(), parallelism.to_string()];
                if read_ahead_kb > 0 {
                    options.extend(["--read-ahead-kb".to_owned(), read_ahead_kb.to_string()]);
                }
                (options, memory_max_mib)
            }
        };
        if let Some(mib) = memory_max_mib {
            options.extend(["--memory-max-mib".to_owned(), mib.to_string()]);
        }
        Some(options)
    }

    /// Whether every machine has it.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

/// A bench and its disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The bench.
    pub name: &'static str,
    /// Whether it first makes data without a cap: `-- prepare`.
    pub prepares: bool,
    /// The disks, in order.
    pub disks: &'static [Disk],
}

/// The local disk, without a cap on memory.
const LOCAL: Disk = Disk::Local { memory_max_mib: None };

const fn slow(parallelism: u16, memory_max_mib: Option<u64>, read_ahead_kb: u32) -> Disk {
    Disk::Slow { parallelism, memory_max_mib, read_ahead_kb }
}

const fn of_the_processor(name: &'static str) -> Scenario {
    Scenario { name, prepares: false, disks: &[LOCAL] }
}

/// All scenarios, in the order of the page.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "backends", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario { name: "walks", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario { name: "hit_rates", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario {
        name: "rescoring",
        prepares: true,
        disks: &[slow(8, Some(512), 0), slow(32, Some(512), 0), slow(64, Some(512), 0)],
    },
    Scenario {
        name: "default_backend",
        prepares: true,
        // The kernel's usual read-ahead, since the command does not change it.
        disks: &[LOCAL, Disk::Local { memory_max_mib: Some(256) }, slow(8, None, 128)],
    },
    Scenario {
        name: "defragmentation",
        prepares: true,
        disks: &[Disk::Local { memory_max_mib: Some(128) }, slow(8, Some(128), 128)],
    },
    Scenario { name: "scroll", prepares: true, disks: &[slow(8, Some(96), 128)] },
    Scenario { name: "writes", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario { name: "peers", prepares: true, disks: &[slow(8, None, 0)] },
    of_the_processor("registered"),
    Scenario { name: "interference", prepares: false, disks: &[slow(8, None, 0)] },
    of_the_processor("structures"),
    of_the_processor("graph"),
    of_the_processor("merges"),
    of_the_processor("counts"),
    of_the_processor("codes"),
    of_the_processor("filters"),
];
