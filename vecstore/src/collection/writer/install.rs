//! Publishes a manifest with new segments or logs, and removes the files that no manifest names any more.

use super::thread::{SEGMENTS, Writer};
use crate::build::Origin;
use crate::collection::files::{deleted_path, log_path, segment_path};
use crate::collection::manifest::{Manifest, ManifestSegment, deleted_identity};
use crate::collection::state::SegmentEntry;
use crate::error::Error;
use crate::immutable::deleted::write_deleted;
use crate::immutable::segment::SegmentData;
use io_core::{FileSystem, OpenOptions};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;
use vecstore_format::pages::{PagesKind, PagesWriter};
use vecstore_format::random_u64;

/// New segments, and the segments that they replace.
pub(in crate::collection) struct Installation {
    pub(in crate::collection) replaced: Vec<Replaced>,
    pub(in crate::collection) segments: Vec<(Arc<SegmentData>, Vec<Origin>)>,
}

/// What a new segment replaces, and the points taken from it.
pub(in crate::collection) enum Replaced {
    Frozen { log_next: u64 },
    Segment { number: u64, live: RoaringBitmap },
}

impl Writer {
    /// Replaces segments by those that were built from them.
    pub(super) async fn install(&mut self, installation: Installation) -> Result<(), Error> {
        // The files below also hold deletions of later writes, so those writes must be durable first.
        self.sync().await?;
        let (version, seq_next) = {
            let state = self.shared.state.read();
            (state.version.clone(), state.seq + 1)
        };
        let mut manifest = self.manifest.clone();
        let mut frozen = version.frozen.clone();
        let mut kept = version.segments.clone();
        // Points that were deleted from the replaced segments while the new ones were built.
        let mut gone = Vec::with_capacity(installation.replaced.len());
        for replaced in &installation.replaced {
            match replaced {
                Replaced::Frozen { log_next } => {
                    let entry = frozen.remove(0);
                    assert_eq!(entry.log_next, *log_next, "segments are sealed in their order");
                    (manifest.log_first, manifest.seq_first) = (entry.log_next, entry.seq_next);
                    manifest.logs.retain(|log| log.number >= entry.log_next);
                    gone.push((*entry.deleted).clone());
                }
                Replaced::Segment { number, live } => {
                    let place = kept.iter().position(|entry| entry.data.number == *number);
                    let entry = kept.remove(place.expect("only the optimizer removes segments"));
                    gone.push(&*entry.deleted & live);
                }
            }
        }
        for (data, origins) in &installation.segments {
            let is_gone = |origin: &Origin| gone[origin.source as usize].contains(origin.point);
            let deleted = (0..data.points).zip(origins).filter(|(_, origin)| is_gone(origin));
            let deleted: RoaringBitmap = deleted.map(|(point, _)| point).collect();
            kept.push(SegmentEntry { data: Arc::clone(data), deleted: Arc::new(deleted) });
        }
        let mut new_files = Vec::new();
        let written = self.write_deleted(&kept, seq_next, &mut manifest, &mut new_files).await;
        let old = match written.and_then(|()| self.publish(manifest)) {
            Ok(old) => old,
            Err(error) => {
                // The new manifest may be in place, so its files stay.
                if self.may_remove() {
                    let directory = self.shared.backend.directory();
                    new_files.iter().for_each(|path| drop(directory.remove_file(path)));
                }
                return Err(error);
            }
        };
        self.deleted_written = kept.iter().map(|entry| (entry.data.number, entry.deleted.len())).collect();
        {
            let mut state = self.shared.state.write();
            // Only this thread changes them, so they have not changed since they were copied.
            state.version.frozen = frozen;
            state.segments_peak = state.segments_peak.max(kept.len());
            state.version.segments = kept;
            state.background_error = None;
        }
        self.remove_replaced(&old);
        self.reader.close_replaced().await;
        self.shared.tell_replaced();
        Ok(())
    }

    /// Writes the deleted points of segments to files, where they changed, and enters these in the manifest.
    async fn write_deleted(
        &self,
        segments: &[SegmentEntry],
        seq_next: u64,
        manifest: &mut Manifest,
        new_files: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let directory = self.shared.backend.directory();
        let mut listed = Vec::with_capacity(segments.len());
        for entry in segments {
            let (number, id) = (entry.data.number, entry.data.id);
            let known = self.manifest.segments.iter().find(|segment| segment.number == number);
            // Points are only ever added to the deleted ones.
            let unchanged = self.deleted_written.get(&number).copied().unwrap_or(0) == entry.deleted.len();
            if unchanged {
                let as_before = known.copied();
                listed.push(as_before.unwrap_or(ManifestSegment {
                    number,
                    id,
                    deleted: None,
                    deleted_salt: None,
                }));
                continue;
            }
            let new = manifest.number_next;
            self.check_number(new, SEGMENTS)?;
            manifest.number_next += 1;
            let path = deleted_path(&entry.data.dir, new);
            self.shared.check_place()?;
            let writer = self.shared.backend.create(&path, &OpenOptions::default()).await?;
            // Listed for removal only once it was created: an existing file belongs to another owner.
            new_files.push(path);
            // Without a segment id, only the salt identifies the file. 0 would mean "no identity".
            let salt = random_u64().max(1);
            let pages = PagesWriter::new(writer, PagesKind::Deleted, deleted_identity(id, salt));
            write_deleted(pages, entry.data.points, &entry.deleted, seq_next).await?;
            directory.sync_dir(&entry.data.dir)?;
            listed.push(ManifestSegment { number, id, deleted: Some(new), deleted_salt: Some(salt) });
        }
        manifest.segments = listed;
        Ok(())
    }

    /// Replaces the manifest, and returns the old one.
    pub(super) fn publish(&mut self, manifest: Manifest) -> Result<Manifest, Error> {
        let (directory, dir) = (self.shared.backend.directory(), &self.shared.dir);
        self.shared.check_place()?;
        manifest.prepare(&*directory, dir)?;
        self.shared.check_place()?;
        Manifest::replace(&*directory, dir).map_err(|error| self.shared.stop_writing(error))?;
        Ok(std::mem::replace(&mut self.manifest, manifest))
    }

    /// Removes the files that the manifest does not name any more. The next opening tries again what fails.
    fn remove_replaced(&self, old: &Manifest) {
        let (directory, dir) = (self.shared.backend.directory(), &self.shared.dir);
        if self.shared.check_place().is_err() {
            return;
        }
        for log in old.logs.iter().filter(|log| log.number < self.manifest.log_first) {
            let _ = directory.remove_file(&log_path(dir, log.number));
        }
        for segment in &old.segments {
            let path = segment_path(dir, segment.number);
            match self.manifest.segments.iter().find(|kept| kept.number == segment.number) {
                None => drop(directory.remove_dir_all(&path)),
                Some(kept) if kept.deleted != segment.deleted => {
                    if let Some(number) = segment.deleted {
                        let _ = directory.remove_file(&deleted_path(&path, number));
                    }
                }
                Some(_) => {}
            }
        }
    }
}
