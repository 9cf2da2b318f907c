//! Files that the manifest does not name. They are removed once it is known that nothing needs them.

use super::replay::list_logs;
use crate::collection::files::{
    FileName, MANIFEST, MANIFEST_NEW, NUMBER_END, SNAPSHOT_NEW, TORN_NEW, log_path, parse, parse_deleted,
};
use crate::collection::manifest::Manifest;
use crate::error::Error;
use crate::immutable::deleted::deleted_seq_next;
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo};
use crate::schema::Schema;
use io_core::{
    Directory, DirectoryError, DynBackend, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader,
    with_causes,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore_format::log::{FIRST_RECORD_BYTES, LogBytes, LogEnd, LogReader, first_record};
use vecstore_format::pages::{Pages, PagesKind};

/// Checks that segments hold all writes of the logs that the manifest no longer names. Opening for writing
/// removes these logs.
pub(in crate::collection) async fn check_done_logs(
    backend: &DynBackend,
    dir: &Path,
    manifest: &Manifest,
) -> Result<(), Error> {
    let directory = backend.directory();
    let mut logs = list_logs(&*directory, dir)?;
    logs.retain(|&number, _| number < manifest.log_first);
    for (number, log_bytes) in logs {
        let path = log_path(dir, number);
        let reader = backend.open(&path, &OpenOptions::default()).await?;
        let len = reader.file().len.min(FIRST_RECORD_BYTES as u64) as u32;
        let mut first = None;
        let sink = |_, bytes: &[u8]| {
            first = first_record(bytes);
            ControlFlow::Continue(())
        };
        reader.read_vectors(&[ReadRequest::new(0, len)], &ReadControl::default(), sink).await?;
        let closed = reader.close().await;
        closed.map_err(|error| DirectoryError::new("close", &path, error))?;
        if first.is_none_or(|seq| seq < manifest.seq_first) {
            continue;
        }
        if let Some(seq) = first_write(&directory, &path, log_bytes, &manifest.schema)? {
            let reason = format!(
                "it calls log {number} done with (log_first is {}), which begins with write {seq}, and only writes before {} are in segments",
                manifest.log_first, manifest.seq_first
            );
            return Err(Error::damaged(&dir.join(MANIFEST), None, reason));
        }
    }
    Ok(())
}

/// The first write that a log holds or may hold. A log whose first write failed holds none: it has remains of
/// that write, or only the mark of a clean end.
fn first_write(
    directory: &Arc<dyn Directory>,
    path: &Path,
    log_bytes: u64,
    schema: &Schema,
) -> Result<Option<u64>, Error> {
    let vector_bytes = schema.dim as usize * schema.element.bytes() as usize;
    let bytes = LogBytes::open(directory, path, log_bytes);
    let Some(mut log) = LogReader::begin(bytes, vector_bytes)? else { return Ok(None) };
    if let Some((seq, _)) = log.next_batch()? {
        return Ok(Some(seq));
    }
    let is_in_doubt = matches!(log.end(), LogEnd::Torn { in_doubt: true, .. });
    Ok(is_in_doubt.then(|| log.next_seq()))
}

/// Checks that no leftover holds a write from `seq_next` on, where the logs end. A leftover is of a run that
/// crashed, and the named files hold all that was written. If a leftover holds more, the manifest is an older
/// one.
pub(in crate::collection) async fn check_leftovers(
    backend: &DynBackend,
    dir: &Path,
    manifest: &Manifest,
    seq_next: u64,
) -> Result<(), Error> {
    let directory = backend.directory();
    let newer = |path: PathBuf, own: u64| {
        let reason = format!(
            "it does not name {}, which holds writes up to {}, and what it names ends with write {}: it is an older one, or that is not of this collection",
            path.display(),
            own - 1,
            seq_next - 1
        );
        Error::damaged(&dir.join(MANIFEST), None, reason)
    };
    for entry in directory.list(dir)? {
        let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) else { continue };
        let path = dir.join(&entry.name);
        let named = manifest.segments.iter().find(|segment| segment.number == number);
        let Some(named) = named else {
            let json = path.join(SEGMENT_JSON);
            // Without a sound `segment.json`, its build did not finish.
            let info = directory.read(&json).ok().and_then(|bytes| SegmentInfo::decode(&json, &bytes).ok());
            if let Some(info) = info.filter(|info| info.seq_next > seq_next) {
                return Err(newer(path, info.seq_next));
            }
            continue;
        };
        for file in directory.list(&path)? {
            let deleted = file.name.to_str().and_then(parse_deleted);
            if deleted.is_none() || deleted == named.deleted {
                continue;
            }
            let path = path.join(file.name);
            let reader = backend.open(&path, &OpenOptions::default()).await?;
            let Ok(pages) = Pages::open_any(reader, PagesKind::Deleted).await else { continue };
            let own = deleted_seq_next(&pages).await.ok().flatten();
            pages.close().await?;
            if let Some(own) = own.filter(|&own| own > seq_next) {
                return Err(newer(path, own));
            }
        }
    }
    Ok(())
}

/// Removes what an interrupted run left behind: files and segments with names of ours that the manifest does
/// not list. The report lists what could not be removed. The number of such a leftover is never used again.
pub(super) fn remove_leftovers(
    directory: &dyn Directory,
    dir: &Path,
    manifest: &mut Manifest,
) -> Result<Vec<String>, Error> {
    // Every write needs this name for the next manifest.
    let new = dir.join(MANIFEST_NEW);
    match directory.remove_file(&new) {
        Err(source) if !source.is_not_found() => return Err(Error::InTheWay { path: new, source }),
        _ => {}
    }
    // An earlier run may have ended before its new manifest's name was durable. A power cut could then bring
    // the older manifest back, without the files that are removed here.
    directory.sync_dir(dir)?;
    let (mut not_removed, mut number_next) = (Vec::new(), manifest.number_next);
    let mut told = |removed: Result<(), DirectoryError>, number: Option<u64>, hinders: &str| {
        let Err(error) = removed else { return };
        not_removed
            .push(format!("{}: an earlier run left it, and {hinders}; remove it", with_causes(&error)));
        // No new file gets this number.
        let number = number.filter(|&number| number < NUMBER_END);
        number_next = number_next.max(number.map_or(0, |number| number + 1));
    };
    let nothing = "it does no harm";
    for entry in directory.list(dir)? {
        let path = dir.join(&entry.name);
        let Some(name) = entry.name.to_str() else { continue };
        match parse(name) {
            // Segments hold its writes, or it was never begun.
            Some(FileName::Log(number)) if manifest.logs.iter().all(|log| log.number != number) => {
                told(directory.remove_file(&path), None, nothing);
            }
            Some(FileName::Log(_) | FileName::Torn(_)) => {}
            Some(FileName::Segment(number)) => {
                let Some(segment) = manifest.segments.iter().find(|segment| segment.number == number) else {
                    told(directory.remove_dir_all(&path), Some(number), nothing);
                    continue;
                };
                for file in directory.list(&path)? {
                    let deleted = file.name.to_str().and_then(parse_deleted);
                    if deleted.is_some() && deleted != segment.deleted {
                        told(directory.remove_file(&path.join(file.name)), deleted, nothing);
                    }
                }
            }
            None if name == TORN_NEW => {
                let hinders = "opening fails as long as it is there and the end of a log is in doubt";
                told(directory.remove_file(&path), None, hinders);
            }
            None if name == SNAPSHOT_NEW => {
                told(directory.remove_dir_all(&path), None, "no snapshot is made as long as it is there");
            }
            None => {}
        }
    }
    manifest.number_next = number_next;
    Ok(not_removed)
}
