//! Stands in for a lost manifest.

use super::{RepairReport, read_json, unless_unread};
use crate::collection::files::{FileName, parse, parse_deleted, segment_path};
use crate::collection::manifest::{Manifest, ManifestSegment};
use crate::error::Error;
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo};
use crate::schema::Schema;
use io_core::{Directory, with_causes};
use std::path::Path;

/// Replaces a lost manifest by a list of every segment and every log.
pub(super) fn without_manifest(
    directory: &dyn Directory,
    dir: &Path,
    given: Option<&Schema>,
    error: Error,
    report: &mut RepairReport,
) -> Result<Manifest, Error> {
    let mut segments = Vec::new();
    let mut schema: Option<Schema> = None;
    for entry in directory.list(dir)? {
        if let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) {
            let path = segment_path(dir, number);
            // Its errors are reported when the segment is saved.
            let info = read_json(directory, &path.join(SEGMENT_JSON), SegmentInfo::decode, &mut Vec::new());
            let info = unless_unread(info)?;
            schema = info.ok().map(|info| info.schema).or(schema);
            let files = directory.list(&path)?;
            let deleted = files.iter().filter_map(|file| parse_deleted(file.name.to_str()?)).max();
            segments.push(ManifestSegment { number, id: None, deleted, deleted_salt: None });
        }
    }
    let schema = schema.or_else(|| given.cloned());
    let note = format!(
        "{}: every segment that is there was taken, also one that a newer one may have replaced, with its newest file of deleted points",
        with_causes(&error)
    );
    let no_schema = || Error::NoSchema { path: dir.to_owned(), source: Box::new(error) };
    let mut manifest = Manifest::new(schema.ok_or_else(no_schema)?);
    report.notes.push(note);
    report.more_lost = true;
    // Accepts any log.
    (manifest.id, manifest.log_first) = (None, 0);
    manifest.segments = segments;
    Ok(manifest)
}
