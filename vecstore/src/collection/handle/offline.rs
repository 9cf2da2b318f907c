//! What needs no open collection: verifying, repairing, restoring.

use super::lifecycle::Collection;
use crate::collection::files::whole_path;
use crate::collection::manifest::Manifest;
use crate::collection::repair::{self, RepairReport};
use crate::collection::verify::{self, VerifyReport};
use crate::collection::{open, snapshot};
use crate::error::Error;
use crate::schema::Schema;
use crate::threads::spawn;
use io_core::{BackendFactory, DynBackend, StopFlag};
use std::path::Path;

impl Collection {
    /// Reads every byte of a collection, checks each checksum and that the files say the same. Blocks. Several may do so, and
    /// read the collection, at once; nobody may have it open for writing.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::NotACollection`]; [`Error::Stopped`] once `stop` is raised. Damage is in the report,
    /// and so is what could not be read.
    pub fn verify(backend: &DynBackend, dir: &Path, stop: &StopFlag) -> Result<VerifyReport, Error> {
        let (backend, dir, stop) = (backend.clone(), whole_path(dir)?, stop.clone());
        let verifying =
            spawn(&backend.clone(), "verify", move || backend.run(|| verify::verify(&backend, &dir, &stop)))?;
        verifying.join()??
    }

    /// Puts what is intact of a damaged collection into a new one, in a directory that does not exist yet. The damaged one
    /// is only read. The new one gets its name when it is complete and durable. Blocks.
    ///
    /// `schema` is gone by where neither the manifest nor any segment says it any more.
    ///
    /// # Errors
    /// [`Error::NotACollection`]; [`Error::NoSchema`]; [`Error::InUse`]; [`Error::Exists`]; [`Error::Inside`];
    /// [`Error::Stopped`]; whatever keeps the damaged one from being read, such as permissions, or the new one from being
    /// written.
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

    /// Makes a collection in a directory that does not exist yet from a snapshot, which stays. Blocks.
    ///
    /// # Errors
    /// As [`Collection::snapshot`] and [`Collection::open`]; [`Error::Stopped`] once `stop` is raised.
    pub fn restore(backend: &DynBackend, snapshot: &Path, dir: &Path, stop: &StopFlag) -> Result<(), Error> {
        let (snapshot, dir) = (&*whole_path(snapshot)?, &*whole_path(dir)?);
        let directory = backend.directory();
        Manifest::read(&*directory, snapshot)?;
        // Nobody is to write to the snapshot meanwhile.
        let _lock = open::lock(&*directory, snapshot, true)?;
        let manifest = Manifest::read(&*directory, snapshot)?;
        snapshot::restore(&*directory, snapshot, &manifest, dir, stop)
    }
}
