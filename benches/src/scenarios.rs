//! What a report is made of: which benches, on which disks, with how much memory.

/// A disk to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The one the benches are on, or that `BENCH_DIR` names.
    Local {
        /// Of the bench and of the page cache of its files.
        memory_max_mib: Option<u64>,
    },
    /// A slow one, which answers each request in a millisecond.
    Slow {
        /// Requests served at once.
        parallelism: u16,
        /// Of the bench and of the page cache of its files.
        memory_max_mib: Option<u64>,
        /// What the kernel reads ahead.
        read_ahead_kb: u32,
    },
}

impl Disk {
    /// For people and for the names of files.
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

    /// As the options of `slow-disk run`; none for the local one with all of its memory.
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

    /// Whether it is there on any machine.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

/// A bench and the disks it is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The bench.
    pub name: &'static str,
    /// Whether it makes something first, outside of any cap: `-- prepare`.
    pub prepares: bool,
    /// In this order.
    pub disks: &'static [Disk],
}

/// The local disk, and all of the memory.
const LOCAL: Disk = Disk::Local { memory_max_mib: None };

const fn slow(parallelism: u16, memory_max_mib: Option<u64>, read_ahead_kb: u32) -> Disk {
    Disk::Slow { parallelism, memory_max_mib, read_ahead_kb }
}

const fn of_the_processor(name: &'static str) -> Scenario {
    Scenario { name, prepares: false, disks: &[LOCAL] }
}

/// Everything, in the order of the page.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "backends", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario { name: "hit_rates", prepares: false, disks: &[LOCAL, slow(8, None, 0)] },
    Scenario {
        name: "rescoring",
        prepares: true,
        disks: &[slow(8, Some(512), 0), slow(32, Some(512), 0), slow(64, Some(512), 0)],
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
    of_the_processor("codes"),
    of_the_processor("filters"),
];
