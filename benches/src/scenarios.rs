//! What a report is made of: which benches, on which disks, with how much memory.

/// A disk to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The one the benches are on, or that `BENCH_DIR` names.
    Local,
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
        match self {
            Self::Local => "local disk".to_owned(),
            Self::Slow { parallelism, memory_max_mib, .. } => {
                let memory = memory_max_mib.map(|mib| format!(", {mib} MiB of memory")).unwrap_or_default();
                format!("slow disk, {parallelism} at once{memory}")
            }
        }
    }

    /// As the options of `slow-disk run`; none for the local one.
    #[must_use]
    pub fn options(self) -> Option<Vec<String>> {
        let Self::Slow { parallelism, memory_max_mib, read_ahead_kb } = self else { return None };
        let mut options = vec!["--parallelism".to_owned(), parallelism.to_string()];
        if let Some(mib) = memory_max_mib {
            options.extend(["--memory-max-mib".to_owned(), mib.to_string()]);
        }
        if read_ahead_kb > 0 {
            options.extend(["--read-ahead-kb".to_owned(), read_ahead_kb.to_string()]);
        }
        Some(options)
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

const fn slow(parallelism: u16, memory_max_mib: Option<u64>, read_ahead_kb: u32) -> Disk {
    Disk::Slow { parallelism, memory_max_mib, read_ahead_kb }
}

const fn of_the_processor(name: &'static str) -> Scenario {
    Scenario { name, prepares: false, disks: &[Disk::Local] }
}

/// Everything, in the order of the page.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "backends", prepares: false, disks: &[Disk::Local, slow(8, None, 0)] },
    Scenario { name: "hit_rates", prepares: false, disks: &[Disk::Local, slow(8, None, 0)] },
    Scenario {
        name: "rescoring",
        prepares: true,
        disks: &[slow(8, Some(512), 0), slow(32, Some(512), 0), slow(64, Some(512), 0)],
    },
    Scenario { name: "defragmentation", prepares: true, disks: &[slow(8, Some(128), 128)] },
    Scenario { name: "scroll", prepares: true, disks: &[slow(8, Some(96), 128)] },
    Scenario { name: "writes", prepares: false, disks: &[Disk::Local, slow(8, None, 0)] },
    of_the_processor("registered"),
    Scenario { name: "interference", prepares: false, disks: &[slow(8, None, 0)] },
    of_the_processor("structures"),
    of_the_processor("graph"),
    of_the_processor("codes"),
    of_the_processor("filters"),
];
