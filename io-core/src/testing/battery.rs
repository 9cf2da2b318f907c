//! The harness runs the cases on each backend, over one file that all cases read.
//!
//! A backend has this `tests/battery.rs`, with `harness = false` for it in `Cargo.toml`:
//!
//! ```no_run
//! use io_core::OpenOptions;
//! use io_core::testing::{Battery, MemoryBackend};
//!
//! fn main() -> std::process::ExitCode {
//!     let dir = std::env::temp_dir(); // or where the file system under test is
//!     Battery::new(&dir)
//!         .paged("buffered", &MemoryBackend::new(1), &OpenOptions::default())
//!         .paged("direct", &MemoryBackend::new(1), &OpenOptions::direct())
//!         .run()
//! }
//! ```
//!
//! Each case is a test of its own. If the system refuses something that a subject needs, its cases are shown
//! as *ignored*. The reason is printed.

use super::cases::reader_cases;
use super::executor_cases::executor_cases;
use super::fault_cases::fault_cases;
use super::send_cases::send_cases;
use super::session_cases::{session_cases, session_fault_cases};
use super::terms_cases::{terms_cases, terms_fault_cases};
use super::write_cases::{write_cases, write_fault_cases};
use super::{Faults, FaultyBackend};
use crate::backend::{PageSink, PageSource, PagedReader, PagedWriter, SendFileSystem};
use crate::{
    BackendFactory, DynBackend, LocalBoxFuture, OpenError, OpenOptions, SendBackend, StartError, with_causes,
};
use libtest_mimic::{Arguments, Trial};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length in bytes of the file that the cases read. It is odd, so no block size divides it.
pub(super) const FILE_LEN: u64 = (3 << 20) + 1237;

/// The byte at `offset` of that file.
pub(super) fn byte_at(offset: u64) -> u8 {
    // The finalizer of splitmix64. A shift, a stale page or a zeroed buffer gives other bytes.
    let mut x = (offset / 8).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> (offset % 8 * 8)) as u8
}

/// A backend under test, and the options for opening its files.
#[derive(Clone, Debug)]
pub struct Subject<B> {
    /// The backend.
    pub backend: B,
    /// The options for opening files.
    pub options: OpenOptions,
    dir: Arc<tempfile::TempDir>,
}

impl<B: BackendFactory> Subject<B> {
    /// The file that all cases read.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("pattern")
    }

    /// A new path, for a case that writes.
    pub(super) fn new_path(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.dir.path().join(format!("new-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Runs a case on the backend's executor.
    pub(super) fn run<F: Future>(&self, main: impl FnOnce() -> F) -> F::Output {
        self.backend.run(main).expect("the executor started before")
    }

    /// Opens the file that all cases read.
    pub(super) async fn open(&self) -> B::Reader {
        self.backend.open(&self.file(), &self.options).await.expect("the file opened before")
    }

    /// The same backend and options, with faults.
    pub(super) fn faulty(&self, faults: Faults) -> Subject<FaultyBackend<B>> {
        Subject {
            backend: FaultyBackend::new(self.backend.clone(), faults),
            options: self.options.clone(),
            dir: Arc::clone(&self.dir),
        }
    }
}

/// A named case for subjects of type `Subject<B>`.
pub(super) type Case<B> = (&'static str, fn(&Subject<B>));

/// The conformance battery over one or more subjects.
pub struct Battery {
    dir: Arc<tempfile::TempDir>,
    trials: Vec<Trial>,
}

impl Battery {
    /// A battery with its files in a new directory below `dir`. The directory is removed at the end.
    ///
    /// # Panics
    /// If the directory or the file to read cannot be made.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("the directory for the battery's files");
        let dir =
            tempfile::Builder::new().prefix("battery-").tempdir_in(dir).expect("a directory to test in");
        let pattern: Vec<u8> = (0..FILE_LEN).map(byte_at).collect();
        std::fs::write(dir.path().join("pattern"), pattern).expect("the file to read");
        Self { dir: Arc::new(dir), trials: Vec::new() }
    }

    /// Adds the promises that every reader and writer must keep, also through [`DynBackend`].
    #[must_use]
    pub fn any<B: BackendFactory>(mut self, label: &str, backend: &B, options: &OpenOptions) -> Self {
        let subject = self.subject(backend, options);
        let refused = refusal(&subject, label);
        self.add(label, &reader_cases(), &subject, refused);
        self.add(label, &session_cases(), &subject, refused);
        self.add(label, &terms_cases(), &subject, refused);
        self.add(label, &write_cases(), &subject, refused);
        let chosen = self.subject(&DynBackend::new(backend.clone()), options);
        self.add(&format!("{label}, chosen at run time"), &reader_cases(), &chosen, refused);
        self.add(&format!("{label}, chosen at run time"), &session_cases(), &chosen, refused);
        self.add(&format!("{label}, chosen at run time"), &terms_cases(), &chosen, refused);
        self
    }

    /// Adds the promises through [`SendBackend`], for backends whose files may move between threads.
    #[must_use]
    pub fn send<B>(mut self, label: &str, backend: &B, options: &OpenOptions) -> Self
    where
        B: BackendFactory + SendFileSystem,
    {
        let subject = self.subject(&SendBackend::new(backend.clone()), options);
        let refused = refusal(&subject, label);
        let label = format!("{label}, chosen at run time, Send");
        self.add(&label, &reader_cases(), &subject, refused);
        self.add(&label, &session_cases(), &subject, refused);
        self.add(&label, &terms_cases(), &subject, refused);
        self.add(&label, &write_cases(), &subject, refused);
        self.add(&label, &send_cases(), &subject, refused);
        self
    }

    /// Adds all of [`Battery::any`], and the same behind a fault wrapper that injects nothing. Adds the
    /// promises about faults too. They need a backend made of a page source and a page sink.
    #[must_use]
    pub fn paged<B, S, K>(self, label: &str, backend: &B, options: &OpenOptions) -> Self
    where
        B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
        S: PageSource,
        K: PageSink,
    {
        let mut battery = self.any(label, backend, options);
        let subject = battery.subject(backend, options);
        let refused = refusal(&subject, label);
        battery.add(label, &fault_cases(), &subject, refused);
        battery.add(label, &session_fault_cases(), &subject, refused);
        battery.add(label, &terms_fault_cases(), &subject, refused);
        battery.add(label, &write_fault_cases(), &subject, refused);
        let no_faults = subject.faulty(Faults::default());
        battery.add(&format!("{label}, fault rate 0"), &reader_cases(), &no_faults, refused);
        battery.add(&format!("{label}, fault rate 0"), &session_cases(), &no_faults, refused);
        battery.add(&format!("{label}, fault rate 0"), &terms_cases(), &no_faults, refused);
        battery.add(&format!("{label}, fault rate 0"), &write_cases(), &no_faults, refused);
        battery
    }

    /// Adds the promises of a backend with a runtime. `own_runtime` runs a future in that runtime, started
    /// without the backend, as a user may do.
    #[must_use]
    pub fn executor<B: BackendFactory>(
        mut self,
        label: &str,
        backend: &B,
        options: &OpenOptions,
        own_runtime: fn(LocalBoxFuture<'static, ()>),
    ) -> Self {
        let subject = self.subject(backend, options);
        let refused = refusal(&subject, label);
        for (name, case) in executor_cases() {
            let subject = subject.clone();
            self.push(label, backend.name(), name, refused, move || case(&subject, own_runtime));
        }
        self
    }

    /// Runs the cases that the command line selects, and reports as `cargo test` does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let code = libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code();
        drop(self.dir);
        code
    }

    fn subject<B: BackendFactory>(&self, backend: &B, options: &OpenOptions) -> Subject<B> {
        Subject { backend: backend.clone(), options: options.clone(), dir: Arc::clone(&self.dir) }
    }

    fn add<B: BackendFactory>(
        &mut self,
        label: &str,
        cases: &[Case<B>],
        subject: &Subject<B>,
        refused: bool,
    ) {
        for &(name, case) in cases {
            let subject = subject.clone();
            self.push(label, subject.backend.name(), name, refused, move || case(&subject));
        }
    }

    fn push(
        &mut self,
        label: &str,
        backend: &str,
        case: &str,
        refused: bool,
        run: impl FnOnce() + Send + 'static,
    ) {
        let trial = Trial::test(format!("{backend} [{label}] {case}"), move || {
            run();
            Ok(())
        });
        self.trials.push(trial.with_ignored_flag(refused));
    }
}

/// Whether the system refuses something that the subject needs. Prints the reason to standard error. After
/// any other failure the cases run, and fail.
#[allow(clippy::print_stderr, reason = "a skip must be seen, whatever captures the tests' output")]
fn refusal<B: BackendFactory>(subject: &Subject<B>, label: &str) -> bool {
    let opened = subject
        .backend
        .run(|| async { subject.backend.open(&subject.file(), &subject.options).await.map(drop) });
    let reason = match opened {
        Err(error @ (StartError::IoUringRefused { .. } | StartError::LockedMemory { .. })) => {
            with_causes(&error).to_string()
        }
        Ok(Err(error @ (OpenError::DirectRefused { .. } | OpenError::Unsupported { .. }))) => {
            with_causes(&error).to_string()
        }
        _ => return false,
    };
    eprintln!("SKIPPED: {} [{label}]: {reason}", subject.backend.name());
    true
}
