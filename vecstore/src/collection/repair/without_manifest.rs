//! Stands in for a lost manifest.

use super::{RepairReport, read_json, unless_unread};
use crate::collection::files::{FileName, parse, parse_deleted, segment_path};
use crate::collection::manifest::{Manifest, ManifestSegment};
use crate::error::Error;
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo, VECTORS};
use crate::schema::Schema;
use io_core::{Directory, DirectoryEntry, with_causes};
use std::path::{Path, PathBuf};
use vecstore_format::vector_file::{VECTOR_FILE_FIELDS_BYTES, VectorFileHeader};

/// Replaces a lost manifest by a list of every segment and every log.
pub(super) fn without_manifest(
    directory: &dyn Directory,
    dir: &Path,
    given: Option<&Schema>,
    error: Error,
    report: &mut RepairReport,
) -> Result<Manifest, Error> {
    let mut segments = Vec::new();
    let (mut schema, mut headers): (Option<Schema>, _) = (None, Vec::new());
    for entry in directory.list(dir)? {
        if let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) {
            let path = segment_path(dir, number);
            // Its errors are reported when the segment is saved.
            let info = read_json(directory, &path.join(SEGMENT_JSON), SegmentInfo::decode, &mut Vec::new());
            let info = unless_unread(info)?;
            schema = info.ok().map(|info| info.schema).or(schema);
            let files = directory.list(&path)?;
            headers.extend(whole_header(directory, &path.join(VECTORS), &files));
            let deleted = files.iter().filter_map(|file| parse_deleted(file.name.to_str()?)).max();
            segments.push(ManifestSegment { number, id: None, deleted, deleted_salt: None });
        }
    }
    if let (None, Some(given)) = (&schema, given) {
        check_given(given, &headers)?;
    }
    let schema = schema.or_else(|| given.cloned());
    let note = format!(
        "{}: all segments were used, each with its newest file of deleted points; some may be old, so replaced points may be back",
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

/// The header of a segment's vectors, if the file has one that is whole.
fn whole_header(
    directory: &dyn Directory,
    path: &Path,
    files: &[DirectoryEntry],
) -> Option<(PathBuf, VectorFileHeader)> {
    let len = files.iter().find(|file| file.name == VECTORS)?.len;
    // Other errors are reported when the segment is saved.
    let fields = directory.read_at(path, 0, VECTOR_FILE_FIELDS_BYTES).ok()?;
    let header = VectorFileHeader::decode(fields.as_slice().try_into().ok()?, &path.into(), len).ok()?;
    Some((path.to_owned(), header))
}

/// Fails if the given schema does not fit a whole header. By such a schema, each vector would count as lost.
fn check_given(given: &Schema, headers: &[(PathBuf, VectorFileHeader)]) -> Result<(), Error> {
    for (path, header) in headers {
        if (given.dim, given.element) != (header.dim, header.element) {
            return Err(Error::SchemaMisfit {
                path: path.clone(),
                given: format!("dim {} and element {}", given.dim, given.element),
                found: format!("dim {} and element {}", header.dim, header.element),
            });
        }
    }
    Ok(())
}
