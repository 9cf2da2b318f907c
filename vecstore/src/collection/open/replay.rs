//! Reads the logs: the points that are not in segments yet.

use super::report::{CutOff, OpenReport};
use crate::collection::files::{FileName, NUMBER_END, log_path, parent, parse, torn_path};
use crate::collection::manifest::{Manifest, ManifestLog};
use crate::element;
use crate::error::Error;
use crate::field::Key;
use crate::field::keys_of_fields;
use crate::mutable::{MutableSegment, PreparedPoint};
use crate::point::PointId;
use crate::point::parse_payload;
use crate::schema::Schema;
use io_core::Directory;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use vecstore_format::log::{LogBytes, LogEnd, LogOp, LogReader};

/// A log without the mark of a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::collection) struct UnclosedLog {
    pub(in crate::collection) number: u64,
    /// Bytes of whole records and the header.
    pub(in crate::collection) len: u64,
}

/// The content of the logs.
pub(super) struct Replay {
    pub(super) mutable: MutableSegment,
    /// Every point that a log puts or deletes.
    pub(super) touched: BTreeSet<PointId>,
    pub(super) seq: u64,
    pub(super) report: OpenReport,
    pub(super) unclosed: Vec<UnclosedLog>,
    pub(super) log_bytes: u64,
    /// The logs that were read.
    pub(super) begun: Vec<ManifestLog>,
}

impl Replay {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self {
            mutable: MutableSegment::new(&manifest.schema),
            touched: BTreeSet::new(),
            seq: manifest.seq_first - 1,
            report: OpenReport::default(),
            unclosed: Vec::new(),
            log_bytes: 0,
            begun: Vec::new(),
        }
    }

    /// Reads all logs whose writes are not in segments yet.
    pub(super) fn read_logs(
        &mut self,
        directory: &Arc<dyn Directory>,
        dir: &Path,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let mut logs = list_logs(&**directory, dir)?;
        logs.retain(|&number, _| number >= manifest.log_first);
        if let Some(lost) = manifest.begun().find(|number| !logs.contains_key(number)) {
            return Err(Error::log_lost(&log_path(dir, lost)));
        }
        for (&number, &len) in &logs {
            let path = log_path(dir, number);
            let bytes = LogBytes::open(directory, &path, len);
            let begun = self.read_log(&path, number, bytes, manifest)?;
            // The manifest names a log once its header is durable. A log without a header may be of a failed
            // attempt.
            if !begun && manifest.begun().any(|begun| begun == number) {
                return Err(Error::log_lost(&path));
            }
        }
        Ok(())
    }

    /// Reads a log; says whether it was ever begun.
    fn read_log(
        &mut self,
        path: &Path,
        number: u64,
        bytes: LogBytes<'_>,
        manifest: &Manifest,
    ) -> Result<bool, Error> {
        let schema = &manifest.schema;
        let file_bytes = bytes.len();
        self.log_bytes += file_bytes;
        let vector_bytes = schema.dim as usize * schema.element.bytes() as usize;
        let Some(mut log) = LogReader::begin(bytes, vector_bytes)? else {
            if file_bytes > 0 {
                let cut_off = CutOff { log: path.to_owned(), offset: 0, bytes: file_bytes, copy: None };
                self.report.cut_off.push(cut_off);
            }
            return Ok(false);
        };
        let header = log.header();
        if !manifest.admit(path, number, &header, log.has_records()?)? {
            return Ok(false);
        }
        if number >= NUMBER_END {
            let reason = format!("no log has a number above {}", NUMBER_END - 1);
            return Err(Error::damaged(path, None, reason));
        }
        self.begun.push(ManifestLog { number, salt: header.salt });
        if header.first_seq != self.seq + 1 {
            let reason = format!(
                "it begins with write {}, and the logs before it end with {}: there is one missing, or a part of one",
                header.first_seq, self.seq
            );
            return Err(Error::damaged(path, 0, reason));
        }
        while let Some((seq, ops)) = log.next_batch()? {
            for op in ops {
                self.apply(path, op, schema)?;
            }
            self.seq = seq;
            self.report.writes_replayed += 1;
        }
        let len = match log.end() {
            LogEnd::Closed => return Ok(true),
            LogEnd::Open { len } => len,
            LogEnd::Torn { offset, bytes, in_doubt } => {
                let copy = in_doubt.then(|| torn_path(parent(path), number));
                self.report.cut_off.push(CutOff { log: path.to_owned(), offset, bytes, copy });
                offset
            }
        };
        self.unclosed.push(UnclosedLog { number, len });
        Ok(true)
    }

    fn apply(&mut self, path: &Path, op: LogOp<'_>, schema: &Schema) -> Result<(), Error> {
        self.touched.insert(op.id());
        match op {
            LogOp::Delete { id } => {
                self.mutable.delete(id);
            }
            LogOp::Put { id, payload, vector } => {
                let keys = check_op(path, &op, schema)?;
                self.mutable.put(PreparedPoint { id, vector: vector.into(), payload: payload.into(), keys });
            }
        }
        Ok(())
    }
}

/// Checks what a log does to a point, as it was checked when it was written. Returns the values of the
/// indexed fields.
pub(in crate::collection) fn check_op(
    path: &Path,
    op: &LogOp<'_>,
    schema: &Schema,
) -> Result<Vec<Vec<Key>>, Error> {
    let LogOp::Put { id, payload, vector } = op else { return Ok(Vec::new()) };
    let damaged = |what: String| Error::damaged(path, None, format!("point {id}: {what}"));
    let components = element::decode(schema.element, vector).into_iter().enumerate();
    if let Some((component, value)) = components.into_iter().find(|(_, value)| !value.is_finite()) {
        return Err(damaged(format!("component {component} is {value}, which is not finite")));
    }
    let payload =
        parse_payload(payload).ok_or_else(|| damaged("its payload is no JSON object".to_owned()))?;
    keys_of_fields(&payload, &schema.indexes).map_err(|(field, kind, wrong)| {
        damaged(format!("{} in field {field}, which is indexed as {kind}", wrong.found))
    })
}

/// The numbers of all logs, and their lengths in bytes.
pub(super) fn list_logs(directory: &dyn Directory, dir: &Path) -> Result<BTreeMap<u64, u64>, Error> {
    let mut logs = BTreeMap::new();
    for entry in directory.list(dir)? {
        if let Some(FileName::Log(number)) = entry.name.to_str().and_then(parse) {
            logs.insert(number, entry.len);
        }
    }
    Ok(logs)
}
