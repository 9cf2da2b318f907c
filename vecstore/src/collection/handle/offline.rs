//! Operations without an open collection: verifying, repairing, restoring.

use super::lifecycle::Collection;
use crate::collection::files::whole_path;
use crate::collection::manifest::Manifest;
use crate::collection::repair::{self, RepairReport};
use crate::collection::verify::{self, VerifyReport};
use crate::collection::{open, snapshot};
use crate::error::Error;
use crate::schema::Schema;
use crate::threads::spawn;
use io_core::{DynBackend, Executor, FileSystem, StopFlag};
use std::path::Path;

impl Collection {
    /// Reads every byte of a collection, checks each checksum, and checks that the files agree. Blocks.
    /// Several callers may verify and read the collection at the same time. No owner may have it open for
    /// writing.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::NotACollection`]; [`Error::Stopped`] once `stop` is raised. The report has
    /// the damage, and the errors that prevented reading a file.
    pub fn verify(backend: &DynBackend, dir: &Path, stop: &StopFlag) -> Result<VerifyReport, Error> {
        let (backend, dir, stop) = (backend.clone(), whole_path(dir)?, stop.clone());
        let verifying =
            spawn(&backend.clone(), "verify", move || backend.run(|| verify::verify(&backend, &dir, &stop)))?;
        verifying.join()??
    }

    /// Saves the intact part of a damaged collection into a new one, in a directory that does not exist yet.
    /// The damaged one is only read. The new one gets its name once it is complete and durable. Blocks.
    ///
    /// `schema` is used only if neither the manifest nor any segment has an intact one.
    ///
    /// # Errors
    /// - [`Error::NotACollection`], [`Error::NoSchema`], [`Error::InUse`], [`Error::Exists`],
    ///   [`Error::Inside`], [`Error::Stopped`]
    /// - the error that prevents reading the damaged one, such as missing permissions
    /// - the error that prevents writing the new one
    pub fn repair(
        backend: &DynBackend,
        dir: &Path,
        target: &Path,
        schema: Option<&Schema>,
        stop: &StopFlag,
    ) -> Result<RepairReport, Error> {
        let (backend, dir, target, stop) =
            (backend.clone(), whole_path(dir)?, whole_path(target)?, stop.clone());
        let schema = schema.cloned();
        let repairing = spawn(&backend.clone(), "repair", move || {
            backend.run(|| repair::repair(&backend, &dir, &target, schema.as_ref(), &stop))
        })?;
        repairing.join()??
    }

    /// Makes a collection from a snapshot, in a directory that does not exist yet. The snapshot stays.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Collection::snapshot`] and [`Collection::open`]; [`Error::Stopped`] once `stop` is raised.
    pub fn restore(backend: &DynBackend, snapshot: &Path, dir: &Path, stop: &StopFlag) -> Result<(), Error> {
        let (snapshot, dir) = (&*whole_path(snapshot)?, &*whole_path(dir)?);
        let directory = backend.directory();
        Manifest::read(&*directory, snapshot)?;
        // No process may write to the snapshot meanwhile.
        let _lock = open::lock(&*directory, snapshot, true)?;
        let manifest = Manifest::read(&*directory, snapshot)?;
        snapshot::restore(&*directory, snapshot, &manifest, dir, stop)
    }
}
