//! Checks a collection: the files that its manifest names, and whether the parts fit each other.

use super::report::VerifyReport;
use super::verifier::Verifier;
use crate::collection::files::{
    FileName, LOCK, MANIFEST, deleted_path, log_path, parse, segment_path, torn_path,
};
use crate::collection::manifest::{Manifest, ManifestSegment};
use crate::collection::open::{check_done_logs, check_leftovers, lock};
use crate::collection::overlap::{LiveIds, Overlap, overlaps};
use crate::error::Error;
use crate::immutable::deleted::load_deleted;
use crate::immutable::segment::IDS;
use io_core::{DynBackend, FileSystem, OpenOptions, ReadControl, StopFlag};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vecstore_format::log::LogBytes;
use vecstore_format::pages::{Pages, PagesKind};

/// Reads every byte of a collection. Call it inside the backend's `run`. The collection must not be open for
/// writing.
///
/// # Errors
/// [`Error::InUse`]; [`Error::NotACollection`]; [`Error::Stopped`]. Damage is not an error of this call.
pub(in crate::collection) async fn verify(
    backend: &DynBackend,
    dir: &Path,
    stop: &StopFlag,
) -> Result<VerifyReport, Error> {
    let directory = backend.directory();
    let mut verifier = Verifier {
        backend,
        directory: Arc::clone(&directory),
        control: ReadControl::new().with_stop(stop.clone()),
        report: VerifyReport::default(),
        told: BTreeMap::new(),
    };
    let path = dir.join(MANIFEST);
    // Checks this before locking, so that no lock file is made in other directories.
    if !directory.list(dir)?.iter().any(|entry| entry.name == MANIFEST) {
        return match Manifest::missing(&*directory, dir)? {
            error @ Error::NotACollection { .. } => Err(error),
            missing => {
                verifier.report.problems.push(missing);
                Ok(verifier.report)
            }
        };
    }
    let _lock = lock(&*directory, dir, true)?;
    let read = verifier.note(directory.read(&path).map_err(Error::from))?;
    let Some(bytes) = read else { return Ok(verifier.report) };
    verifier.report.files += 1;
    verifier.report.bytes += bytes.len() as u64;
    match Manifest::decode(&path, &bytes) {
        Err(error) => {
            verifier.report.problems.push(error);
            verifier.report.notes.push(
                "without its manifest nothing says what belongs to the collection, so nothing else was read"
                    .to_owned(),
            );
        }
        Ok(manifest) => verifier.collection(dir, &manifest).await?,
    }
    Ok(verifier.report)
}

impl Verifier<'_> {
    async fn collection(&mut self, dir: &Path, manifest: &Manifest) -> Result<(), Error> {
        let done = check_done_logs(self.backend, dir, manifest).await;
        self.note(done)?;
        let mut logs = BTreeMap::new();
        for entry in self.directory.list(dir)? {
            let name = entry.name.to_string_lossy().into_owned();
            let known = match parse(&name) {
                Some(FileName::Log(number)) if number >= manifest.log_first => {
                    logs.insert(number, entry.len).is_none()
                }
                Some(FileName::Torn(number)) => {
                    self.report.problems.push(in_doubt(dir, number));
                    true
                }
                Some(FileName::Segment(number)) => manifest.segments.iter().any(|s| s.number == number),
                _ => name == MANIFEST || name == LOCK,
            };
            if !known {
                self.report
                    .notes
                    .push(format!("{} does not belong to the collection", dir.join(name).display()));
            }
        }
        let mut sound = Vec::new();
        for segment in &manifest.segments {
            if self.segment(&segment_path(dir, segment.number), *segment, &manifest.schema).await? {
                sound.push(*segment);
            }
        }
        let compared = self.overlaps(dir, &sound).await;
        self.note(compared)?;
        let lost = manifest.begun().filter(|number| !logs.contains_key(number));
        self.report.problems.extend(lost.map(|number| Error::log_lost(&log_path(dir, number))));
        let mut due = Some(manifest.seq_first);
        for (number, len) in logs {
            self.check_stop()?;
            let path = log_path(dir, number);
            self.report.files += 1;
            self.report.bytes += len;
            let bytes = LogBytes::open(&self.directory, &path, len);
            let read = self.log(bytes, number, due, manifest);
            due = self.note(read)?.flatten();
        }
        // The end of a damaged log is unknown.
        if let Some(seq_next) = due {
            let checked = check_leftovers(self.backend, dir, manifest, seq_next).await;
            self.note(checked)?;
        }
        Ok(())
    }

    /// Checks that no point is in two of the sound segments.
    async fn overlaps(&mut self, dir: &Path, segments: &[ManifestSegment]) -> Result<(), Error> {
        let mut opened = Vec::with_capacity(segments.len());
        for listed in segments {
            let dir = segment_path(dir, listed.number);
            let open = async |path: &Path, kind| {
                let reader = self.backend.open(path, &OpenOptions::default()).await?;
                Ok::<_, Error>(Pages::open_any(reader, kind).await?)
            };
            let pages = open(&dir.join(IDS), PagesKind::Ids).await?;
            let deleted = match listed.deleted {
                None => RoaringBitmap::new(),
                Some(number) => {
                    let pages = open(&deleted_path(&dir, number), PagesKind::Deleted).await?;
                    let meta: Vec<u64> = pages.read_array(0).await?;
                    let deleted =
                        load_deleted(&pages, meta.first().map_or(0, |&points| points as u32)).await?;
                    pages.close().await?;
                    deleted
                }
            };
            opened.push(LiveIds::new(pages, deleted).await?);
        }
        for Overlap { segments: [a, b], id } in overlaps(&mut opened, &self.control).await? {
            let path = segment_path(dir, segments[b].number).join(IDS);
            let reason =
                format!("point {id} is also in segment {}, and deleted in neither", segments[a].number);
            self.report.problems.push(Error::damaged(&path, None, reason));
        }
        for ids in opened {
            ids.close().await?;
        }
        Ok(())
    }
}

/// The note that a copy of a log was kept because its end was in doubt.
fn in_doubt(dir: &Path, number: u64) -> Error {
    let reason = format!(
        "its end was no whole record when it was opened, perhaps of an acknowledged write, and was left out; the log as it was is kept in {}: remove that once nobody needs it",
        torn_path(dir, number).display()
    );
    Error::damaged(&log_path(dir, number), None, reason)
}
