//! Repair: what is intact of a damaged collection goes into a new one, and what is lost is said.
//!
//! Codes, graph and indexes are made anew, so damage to them loses nothing. A point is lost when its id or its vector is
//! damaged, or when a damaged part of the log held it; where only its payload is damaged it is kept without one.

use super::files::{FileName, MANIFEST, deleted_path, log_path, parse, segment_path};
use super::manifest::{Manifest, ManifestSegment};
use super::open::lock;
use super::options::CollectionOptions;
use super::{Collection, Durability, Selection};
use crate::element;
use crate::error::Error;
use crate::immutable::build::parse_payload;
use crate::immutable::deleted::load_deleted;
use crate::immutable::ids::IdTable;
use crate::immutable::payload::PayloadData;
use crate::immutable::segment::{
    CODES, IDS, PAYLOAD, Records, SEGMENT_JSON, SegmentInfo, VECTORS, split_code,
};
use crate::log::{LogOp, salvage_log};
use crate::pages::{Pages, PagesKind};
use crate::point::{Payload, Point, PointId};
use crate::quantization::encode_into;
use crate::schema::Schema;
use io_core::{
    BackendFactory, Directory, DynBackend, ElementType, OpenOptions, ReadControl, ReadStats, StopFlag,
    VectorFileError,
};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Points that are taken over at a time.
const BATCH: u32 = 512;

/// What a repair saved and what it could not.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Points in the new collection.
    pub points: u64,
    /// Points whose id or vector is damaged.
    pub points_lost: u64,
    /// Points whose payload is damaged, which have none now.
    pub payloads_lost: u64,
    /// What was wrong, and what came of it.
    pub notes: Vec<String>,
}

/// Salvages a collection into a new one. Call it inside the backend's `run`.
pub(super) async fn repair(
    backend: &DynBackend,
    dir: &Path,
    target: &Path,
    stop: &StopFlag,
) -> Result<RepairReport, Error> {
    let directory = backend.directory();
    directory.list(dir)?;
    let _lock = lock(&*directory, dir, true)?;
    let mut report = RepairReport::default();
    let manifest = match Manifest::read(&*directory, dir) {
        Ok(manifest) => manifest,
        Err(error) => without_manifest(&*directory, dir, error, &mut report)?,
    };
    let options = CollectionOptions { cores: 1, ..CollectionOptions::default() };
    let new = Collection::create(backend, target, &manifest.schema, &options)?;
    let saved = save_all(backend, &directory, dir, &manifest, &new, report, stop).await;
    new.close()?;
    if saved.is_err() {
        // What there is of it is not what was asked for, and the damaged one is as it was.
        directory.remove_dir_all(target)?;
    }
    saved
}

async fn save_all(
    backend: &DynBackend,
    directory: &Arc<dyn Directory>,
    dir: &Path,
    manifest: &Manifest,
    new: &Collection,
    report: RepairReport,
    stop: &StopFlag,
) -> Result<RepairReport, Error> {
    let mut salvage = Salvage {
        backend,
        directory: Arc::clone(directory),
        schema: manifest.schema.clone(),
        control: ReadControl::with_stop(stop.clone()),
        new,
        report,
    };
    let logs = salvage.read_logs(dir, manifest)?;
    let vector_bytes = salvage.schema.dim as usize * salvage.schema.element.bytes() as usize;
    let mut batches = Vec::new();
    for (path, bytes) in &logs {
        let (log, ended) = salvage_log(path, bytes, vector_bytes);
        if let Some(error) = ended {
            let what = "what this log holds from there on is lost";
            salvage.report.notes.push(format!("{error}: {what}"));
        }
        batches.extend(log.into_iter().flat_map(|log| log.batches).map(|(_, ops)| ops));
    }
    // What the logs put or delete is not taken from segments: there it is older.
    let newer: BTreeSet<PointId> = batches.iter().flatten().map(LogOp::id).collect();
    for segment in &manifest.segments {
        salvage.segment(&segment_path(dir, segment.number), *segment, &newer).await?;
    }
    for ops in batches {
        salvage.replay(ops)?;
    }
    let mut report = salvage.report;
    new.sync().wait()?;
    report.points = new.count(None).wait()?;
    Ok(report)
}

/// Makes do without a manifest: every segment that says what it is, and every log.
fn without_manifest(
    directory: &dyn Directory,
    dir: &Path,
    error: Error,
    report: &mut RepairReport,
) -> Result<Manifest, Error> {
    let mut numbers = Vec::new();
    let mut schema: Option<Schema> = None;
    for entry in directory.list(dir)? {
        if let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) {
            let path = segment_path(dir, number).join(SEGMENT_JSON);
            let info = directory.read(&path).map_err(Error::from);
            match info.and_then(|bytes| SegmentInfo::decode(&path, &bytes)) {
                Ok(info) => {
                    schema = Some(info.schema);
                    numbers.push(number);
                }
                Err(error) => report.notes.push(format!("{error}: this segment is left out")),
            }
        }
    }
    // Without a schema nobody knows how long a vector is.
    let mut manifest = Manifest::new(schema.ok_or(error)?);
    let notes = "every segment that is there was taken, also one that a newer one may have replaced, and no file of deleted points";
    report.notes.push(format!("{} is damaged: {notes}", dir.join(MANIFEST).display()));
    manifest.log_first = 0;
    manifest.segments = numbers.into_iter().map(|number| ManifestSegment { number, deleted: None }).collect();
    Ok(manifest)
}

struct Salvage<'a> {
    backend: &'a DynBackend,
    directory: Arc<dyn Directory>,
    schema: Schema,
    control: ReadControl,
    new: &'a Collection,
    report: RepairReport,
}

impl Salvage<'_> {
    async fn open_pages(&self, path: &Path, kind: PagesKind) -> Result<Pages, Error> {
        Pages::open(self.backend.open(path, &OpenOptions::default()).await?, kind).await
    }

    async fn segment(
        &mut self,
        dir: &Path,
        listed: ManifestSegment,
        newer: &BTreeSet<PointId>,
    ) -> Result<(), Error> {
        let deleted = match listed.deleted {
            None => RoaringBitmap::new(),
            Some(number) => self.deleted(&deleted_path(dir, number)).await?,
        };
        let ids = async {
            let pages = self.open_pages(&dir.join(IDS), PagesKind::Ids).await?;
            let table = IdTable::load(&pages).await?;
            Ok::<_, Error>((pages, table))
        };
        let (ids_pages, ids) = match ids.await {
            Ok(ids) => ids,
            Err(error) => {
                self.report
                    .notes
                    .push(format!("{error}: without ids none of the segment's points can be saved"));
                return Ok(());
            }
        };
        let (vectors, checked) = match self.vectors(&dir.join(VECTORS)).await {
            Ok(vectors) => vectors,
            Err(error) => {
                self.report.points_lost += ids.len() - deleted.len();
                self.report.notes.push(format!("{error}: none of the segment's vectors can be saved"));
                return Ok(());
            }
        };
        // Where the vectors cannot be checked by themselves, their codes tell whether they are what they were.
        let codes = if checked {
            None
        } else {
            let (path, options) = (dir.join(CODES), OpenOptions::default());
            match Records::open(self.backend, &path, &options, ElementType::U8, None).await {
                Ok(codes) => Some(codes),
                Err(error) => {
                    self.report.points_lost += ids.len() - deleted.len();
                    self.report.notes.push(format!("{error}: nothing is left to check the vectors with"));
                    return Ok(());
                }
            }
        };
        let payload = async {
            let pages = self.open_pages(&dir.join(PAYLOAD), PagesKind::Payload).await?;
            let data = PayloadData::load(&pages).await?;
            Ok::<_, Error>((pages, data))
        };
        let payload = match payload.await {
            Ok((pages, data)) if data.len() == ids.len() => Some((pages, data)),
            Ok(_) => None,
            Err(error) => {
                self.report.notes.push(format!("{error}: the segment's payloads are lost"));
                None
            }
        };
        let count = ids.len() as u32;
        let mut first = 0;
        while first < count {
            let mut points = Vec::new();
            for point in (first..count.min(first + BATCH)).filter(|point| !deleted.contains(*point)) {
                if self.control.is_stopped() {
                    return Err(Error::Stopped);
                }
                let saved = async {
                    let mut stats = ReadStats::default();
                    let id = ids.ids_of(&ids_pages, &[point], &self.control, &mut stats).await?[0];
                    if newer.contains(&id) {
                        return Ok(None);
                    }
                    let vector = self.vector(point, &vectors, codes.as_ref(), dir).await?;
                    Ok::<_, Error>(Some((id, vector)))
                };
                let (id, vector) = match saved.await {
                    Ok(Some(saved)) => saved,
                    Ok(None) => continue,
                    Err(error) => {
                        self.report.points_lost += 1;
                        self.report.notes.push(format!("{error}: a point is lost"));
                        continue;
                    }
                };
                let payload = match &payload {
                    Some((pages, data)) => self.payload(id, point, pages, data).await,
                    None => None,
                };
                self.report.payloads_lost += u64::from(payload.is_none());
                points.push(Point { id, vector, payload: payload.unwrap_or_default() });
            }
            self.put(points)?;
            first += BATCH;
        }
        Ok(())
    }

    async fn deleted(&mut self, path: &Path) -> Result<RoaringBitmap, Error> {
        let read = async {
            let pages = self.open_pages(path, PagesKind::Deleted).await?;
            let points: Vec<u64> = pages.read_array(0).await?;
            load_deleted(&pages, points.first().map_or(0, |&points| points as u32)).await
        };
        Ok(match read.await {
            Ok(deleted) => deleted,
            Err(error) => {
                let what = "points of this segment that were deleted or replaced may be back";
                self.report.notes.push(format!("{error}: {what}"));
                RoaringBitmap::new()
            }
        })
    }

    /// The vectors, and whether their checksums are there.
    async fn vectors(&mut self, path: &Path) -> Result<(Records, bool), Error> {
        let (options, element) = (OpenOptions::default(), self.schema.element);
        match Records::open(self.backend, path, &options, element, None).await {
            Ok(records) => Ok((records, true)),
            Err(error @ Error::VectorFile(VectorFileError::ChecksumsDamaged { .. })) => {
                self.report.notes.push(format!(
                    "{error}: vectors are checked against their codes instead, which misses small changes"
                ));
                Ok((Records::open_unchecked(self.backend, path, &options, element).await?, false))
            }
            Err(error) => Err(error),
        }
    }

    async fn vector(
        &self,
        point: u32,
        vectors: &Records,
        codes: Option<&Records>,
        dir: &Path,
    ) -> Result<Vec<f32>, Error> {
        let mut vector = Vec::new();
        let sink = |_: usize, bytes: &[u8]| vector = element::decode(self.schema.element, bytes);
        vectors.read(&[point], &self.control, sink).await?;
        if let Some(codes) = codes {
            let (mut prepared, mut code) = (vector.clone(), vec![0; vector.len()]);
            self.schema.distance.prepare(&mut prepared);
            let params = encode_into(&prepared, &mut code);
            let mut same = false;
            let sink = |_: usize, record: &[u8]| same = split_code(record) == (params, &code[..]);
            codes.read(&[point], &self.control, sink).await?;
            if !same {
                let reason = format!("the vector of point {point} does not fit its codes");
                return Err(Error::damaged(&dir.join(VECTORS), None, reason));
            }
        }
        Ok(vector)
    }

    async fn payload(
        &mut self,
        id: PointId,
        point: u32,
        pages: &Pages,
        data: &PayloadData,
    ) -> Option<Payload> {
        let mut stats = ReadStats::default();
        let read = data.read(pages, &[point], &self.control, &mut stats).await;
        match read.map(|payloads| parse_payload(&payloads[0])) {
            Ok(Some(payload)) => Some(payload),
            Ok(None) => {
                self.report.notes.push(format!("the payload of point {id} is no JSON object: it is lost"));
                None
            }
            Err(error) => {
                self.report.notes.push(format!("{error}: the payload of point {id} is lost"));
                None
            }
        }
    }

    fn put(&mut self, points: Vec<Point>) -> Result<(), Error> {
        self.new.upsert(points, Durability::Written).wait().map(drop)
    }

    /// The logs that can be read at all.
    fn read_logs(&mut self, dir: &Path, manifest: &Manifest) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
        let names = self.directory.list(dir)?.into_iter().filter_map(|entry| parse(entry.name.to_str()?));
        let mut numbers: Vec<u64> = names
            .filter_map(|name| match name {
                FileName::Log(number) if number >= manifest.log_first => Some(number),
                _ => None,
            })
            .collect();
        numbers.sort_unstable();
        let mut logs = Vec::new();
        for number in numbers {
            let path = log_path(dir, number);
            match self.directory.read(&path) {
                Ok(bytes) => logs.push((path, bytes)),
                Err(error) => self.report.notes.push(format!("{error}: what this log holds is lost")),
            }
        }
        Ok(logs)
    }

    fn replay(&mut self, ops: Vec<LogOp<'_>>) -> Result<(), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                LogOp::Delete { id } => deletes.push(id),
                LogOp::Put { id, payload, vector } => {
                    let payload = parse_payload(payload);
                    self.report.payloads_lost += u64::from(payload.is_none());
                    let vector = element::decode(self.schema.element, vector);
                    puts.push(Point { id, vector, payload: payload.unwrap_or_default() });
                }
            }
        }
        self.put(puts)?;
        self.new.delete(Selection::Ids(deletes), Durability::Written).wait().map(drop)
    }
}
