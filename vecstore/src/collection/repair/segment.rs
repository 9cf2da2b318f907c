//! Saves the points of a damaged segment.

use super::points::SavedPoint;
use super::records::{Proof, SalvagedRecords};
use super::{Salvage, read_json, unless_unread};
use crate::collection::files::deleted_path;
use crate::collection::manifest::{ManifestSegment, deleted_identity};
use crate::element;
use crate::error::Error;
use crate::immutable::deleted::load_deleted;
use crate::immutable::ids::{SalvagedIds, salvage_ids};
use crate::immutable::payload::PayloadData;
use crate::immutable::segment::{
    CODEC, CODES, IDS, PAYLOAD, SEGMENT_JSON, SegmentInfo, VECTORS, code_record_bytes, file_number,
    trained_codec, untrained_codec,
};
use crate::point::parse_payload;
use crate::point::{Payload, Point, PointId};
use crate::schema::{Quantization, Schema};
use io_core::{FileSystem, OpenOptions, ReadControl, ReadStats, with_causes};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::path::Path;
use vecstore_format::pages::{Pages, PagesKind};
use vecstore_format::{ElementType, FileIdentity};
use vecstore_format::{Expected, RandomId};
use vecstore_quant::Codec;

/// The number of points saved at a time, and their approximate bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 << 20;

/// A count of losses, and the reason for the first one.
#[derive(Default)]
pub(super) struct Losses {
    pub(super) count: u64,
    first: Option<String>,
}

impl Losses {
    pub(super) fn add(&mut self, reason: impl std::fmt::Display) {
        self.count += 1;
        self.first.get_or_insert_with(|| reason.to_string());
    }

    pub(super) fn note(self, what: &str, notes: &mut Vec<String>) {
        if let Some(first) = self.first {
            notes.push(format!("{first}; {what} for reasons such as this: {}", self.count));
        }
    }
}

/// The codes of a segment, and their codec.
struct Codes {
    codec: Box<dyn Codec>,
    records: SalvagedRecords,
}

/// The owner of a segment's files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The owner is unknown.
    Unknown,
    /// The segment with this id. `None` in old versions.
    Is(Option<RandomId>),
}

impl Owner {
    /// The identity of the segment's file at this path.
    pub(super) fn identity(&self, path: &Path) -> Option<FileIdentity> {
        let Self::Is(Some(id)) = self else { return None };
        Some(id.file(file_number(path.file_name()?.to_str()?)))
    }

    /// Checks that a file belongs to the segment.
    pub(super) fn check(&self, path: &Path, found: Option<FileIdentity>) -> Result<(), Error> {
        match self {
            Self::Unknown => Ok(()),
            Self::Is(_) => {
                let expected = Expected { identity: self.identity(path), header_crc: None };
                Ok(expected.check(path, found, 0)?)
            }
        }
    }
}

/// The vectors of a segment. Their codes are opened on first use.
struct Vectors<'a> {
    dir: &'a Path,
    owner: Owner,
    records: SalvagedRecords,
    codes: Option<Result<Codes, Error>>,
    /// Vectors for which only the codes are evidence.
    unproven: u64,
    mended: u64,
}

impl Salvage<'_> {
    async fn pages(&mut self, path: &Path, kind: PagesKind, owner: Owner) -> Result<Pages, Error> {
        let reader = self.backend.open(path, &OpenOptions::default()).await?;
        let (pages, note) = Pages::salvage(reader, kind).await?;
        owner.check(path, pages.data().identity())?;
        self.report.notes.extend(note);
        Ok(pages)
    }

    fn note_mended(&mut self, path: &Path, mended: u64, what: &str) {
        let bits = match mended {
            0 => return,
            1 => format!("a flipped bit of a {what} was put back"),
            _ => format!("a flipped bit in each of {mended} {what}s was put back"),
        };
        self.report.notes.push(format!("{}: {bits}", path.display()));
    }

    pub(super) async fn segment(
        &mut self,
        dir: &Path,
        listed: ManifestSegment,
        newer: &BTreeSet<PointId>,
    ) -> Result<(), Error> {
        let path = dir.join(SEGMENT_JSON);
        let info = read_json(&*self.directory, &path, SegmentInfo::decode, &mut self.report.notes);
        let info = unless_unread(info.and_then(|info| {
            if self.is_manifest_known {
                info.check(&path, listed.id)?;
            }
            Ok(info)
        }))?;
        let mut owner = match &info {
            _ if self.is_manifest_known => Owner::Is(listed.id),
            Ok(info) => Owner::Is(info.id),
            Err(_) => Owner::Unknown,
        };
        if let Err(error) = &info {
            let what = "what it says is taken from the segment's other files, as far as they are there";
            self.report.notes.push(format!("{}: {what}", with_causes(error)));
        }
        let ids = match unless_unread(self.ids(dir, owner).await)? {
            Ok((ids, identity)) => {
                // The other files must then at least belong to the same segment.
                owner = Owner::Is(identity.map(|identity| RandomId(identity.owner)));
                Ok(ids)
            }
            Err(error) => Err(error),
        };
        let known = match (&ids, &info) {
            (Ok(ids), _) => Some(ids.count),
            (Err(_), Ok(info)) => Some(info.points),
            (Err(_), Err(_)) => None,
        };
        let (path, kind) = (dir.join(VECTORS), (self.schema.element, self.schema.dim));
        let records =
            SalvagedRecords::open(self.backend, &path, kind, known, &owner, &mut self.report.notes).await;
        let records = unless_unread(records)?;
        let points = known.or_else(|| u32::try_from(records.as_ref().ok()?.count()).ok());
        let deleted = match listed.deleted {
            None => RoaringBitmap::new(),
            Some(number) => self.deleted(&deleted_path(dir, number), points, owner, listed).await?,
        };
        let live = u64::from(points.unwrap_or(0)).saturating_sub(deleted.len());
        // For points without an id, it is unknown whether the logs replace them.
        let is_replaced = |point: u32, id: &PointId| !deleted.contains(point) && newer.contains(id);
        let (ids, records) = match (ids, records) {
            (Ok(ids), Ok(records)) => (ids, records),
            (ids, records) => {
                let known = ids.iter().flat_map(|ids| &ids.ids);
                let lost = live - known.filter(|(point, id)| is_replaced(**point, id)).count() as u64;
                self.report.points_lost += lost;
                self.report.more_lost |= points.is_none();
                let lost = points.map_or("all".to_owned(), |_| lost.to_string());
                for error in ids.err().into_iter().chain(records.err()) {
                    let error = with_causes(&error);
                    self.report.notes.push(format!("{error}: {lost} points of the segment are lost"));
                }
                return Ok(());
            }
        };
        let payload = unless_unread(self.payloads(&dir.join(PAYLOAD), ids.count, owner).await)?;
        let (mut points_lost, mut payloads_lost) = (Losses::default(), Losses::default());
        let known = ids.ids.keys().filter(|&&point| !deleted.contains(point)).count() as u64;
        if known < live {
            let damage = ids.damage.map(|damage| with_causes(&damage).to_string());
            let reason = damage.unwrap_or_else(|| "their ids are missing".to_owned());
            points_lost = Losses { count: live - known, first: Some(reason) };
        } else if let Some(damage) = ids.damage {
            let damage = with_causes(&damage);
            self.report.notes.push(format!("{damage}: the same ids are elsewhere in the file too"));
        }
        let mut vectors = Vectors { dir, owner, records, codes: None, unproven: 0, mended: 0 };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (point, id) in ids.ids {
            if self.control.is_stopped() {
                return Err(Error::Stopped);
            }
            if deleted.contains(point) || newer.contains(&id) {
                continue;
            }
            let vector = match unless_unread(self.vector(point, ids.count, &mut vectors).await)? {
                Ok(vector) => vector,
                Err(error) => {
                    points_lost.add(with_causes(&error));
                    continue;
                }
            };
            let read = match &payload {
                Ok((pages, data)) => unless_unread(payload_of(point, pages, data).await)?
                    .map_err(|error| with_causes(&error).to_string()),
                Err(error) => Err(with_causes(error).to_string()),
            };
            let (payload, payload_bytes) = read.unwrap_or_else(|reason| {
                payloads_lost.add(reason);
                (Payload::new(), 0)
            });
            bytes += size_of_val(&*vector) + payload_bytes;
            let point = Point { id, vector, payload };
            batch.push(SavedPoint { point, payload_refused: None });
            if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                self.put(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.put(batch)?;
        let mended = payload.map_or(0, |(pages, _)| pages.mended());
        self.note_mended(&dir.join(PAYLOAD), mended, "page");
        self.note_mended(&dir.join(VECTORS), vectors.mended, "vector");
        if vectors.unproven > 0 {
            let what =
                "vectors are damaged; they were checked against their codes, which misses small changes";
            let path = dir.join(VECTORS);
            self.report.notes.push(format!(
                "{}: the checksums of {} {what}",
                path.display(),
                vectors.unproven
            ));
            self.report.more_lost = true;
        }
        self.report.points_lost += points_lost.count;
        self.report.payloads_lost += payloads_lost.count;
        points_lost.note("lost points", &mut self.report.notes);
        payloads_lost.note("lost payloads", &mut self.report.notes);
        Ok(())
    }

    /// The ids of a segment, and the identity of their file.
    async fn ids(&mut self, dir: &Path, owner: Owner) -> Result<(SalvagedIds, Option<FileIdentity>), Error> {
        let pages = self.pages(&dir.join(IDS), PagesKind::Ids, owner).await?;
        let ids = salvage_ids(&pages, &self.control).await;
        self.note_mended(&dir.join(IDS), pages.mended(), "page");
        Ok((ids?, pages.data().identity()))
    }

    async fn payloads(
        &mut self,
        path: &Path,
        count: u32,
        owner: Owner,
    ) -> Result<(Pages, PayloadData), Error> {
        let pages = self.pages(path, PagesKind::Payload, owner).await?;
        let count = u64::from(count);
        match PayloadData::of_points(&pages, count).await {
            Ok(data) => Ok((pages, data)),
            Err(error) => match PayloadData::by_walking(&pages, count, &self.control).await {
                Some(data) => {
                    let what = "where each payload begins was found by going from one to the next";
                    self.report.notes.push(format!("{}: {what}", with_causes(&error)));
                    Ok((pages, data))
                }
                None => Err(error),
            },
        }
    }

    async fn deleted(
        &mut self,
        path: &Path,
        points: Option<u32>,
        owner: Owner,
        listed: ManifestSegment,
    ) -> Result<RoaringBitmap, Error> {
        let read = async {
            let pages = self.pages(path, PagesKind::Deleted, Owner::Unknown).await?;
            let found = pages.data().identity();
            match owner {
                _ if self.is_manifest_known => pages.data().check(&listed.expected_deleted())?,
                // Without its salt, the file must at least belong to the segment.
                Owner::Is(id) => {
                    let identity = found.map(|found| deleted_identity(id, found.file));
                    pages.data().check(&Expected { identity, header_crc: None })?;
                }
                Owner::Unknown => {}
            }
            let points = match points {
                Some(points) => points,
                None => pages.read_array::<u64>(0).await?.first().map_or(0, |&points| points as u32),
            };
            Ok::<_, Error>((load_deleted(&pages, points).await?, pages.mended()))
        };
        Ok(match unless_unread(read.await)? {
            Ok((deleted, mended)) => {
                self.note_mended(path, mended, "page");
                deleted
            }
            Err(error) => {
                let what = "points of this segment that were deleted or replaced may be back";
                self.report.notes.push(format!("{}: {what}", with_causes(&error)));
                self.report.more_lost = true;
                RoaringBitmap::new()
            }
        })
    }

    async fn vector(&mut self, point: u32, count: u32, vectors: &mut Vectors<'_>) -> Result<Vec<f32>, Error> {
        let (record, proof) = vectors.records.read(point).await?;
        let vector = element::decode(self.schema.element, &record);
        if proof == Proof::Checksum {
            return Ok(vector);
        }
        match (self.fits_code(point, &vector, count, vectors).await, proof) {
            (Ok(false), _) => {
                let reason = format!("the vector of point {point} fits neither its checksum nor its codes");
                return Err(Error::damaged(&vectors.dir.join(VECTORS), None, reason));
            }
            (Err(error), Proof::Nothing) => return Err(error),
            // A lost page leaves zeros, and zeros fit the codes of many vectors.
            (Ok(true), Proof::Nothing)
                if is_short_code(&self.schema) || record.iter().all(|&byte| byte == 0) =>
            {
                let reason = format!(
                    "the vector of point {point} has lost its checksum, and its code fits many vectors"
                );
                return Err(Error::damaged(&vectors.dir.join(VECTORS), None, reason));
            }
            (_, Proof::Nothing) => vectors.unproven += 1,
            _ => vectors.mended += 1,
        }
        Ok(vector)
    }

    /// Whether the codes of a point are sound and match this vector.
    async fn fits_code(
        &mut self,
        point: u32,
        vector: &[f32],
        count: u32,
        vectors: &mut Vectors<'_>,
    ) -> Result<bool, Error> {
        if vectors.codes.is_none() {
            vectors.codes = Some(unless_unread(self.codes(vectors.dir, count, vectors.owner).await)?);
        }
        let nothing = |why: &str| {
            let reason = format!("nothing is left to check the vector of point {point} with{why}");
            Error::damaged(&vectors.dir.join(VECTORS), None, reason)
        };
        let Codes { codec, records } = match &vectors.codes {
            Some(Ok(codes)) => codes,
            Some(Err(error)) => return Err(nothing(&format!(": {}", with_causes(error)))),
            None => return Err(nothing("")),
        };
        let (code, proof) = records.read(point).await?;
        if proof == Proof::Nothing {
            return Err(nothing(""));
        }
        let (mut prepared, mut expected) = (vector.to_vec(), vec![0; codec.record_bytes()]);
        self.schema.distance.prepare(&mut prepared);
        codec.encode(&prepared, &mut expected);
        Ok(code[..expected.len()] == expected)
    }

    async fn codes(&mut self, dir: &Path, count: u32, owner: Owner) -> Result<Codes, Error> {
        let codec = match untrained_codec(&self.schema) {
            Some(codec) => codec,
            None => {
                let pages = self.pages(&dir.join(CODEC), PagesKind::Codec, owner).await?;
                trained_codec(&pages, &self.schema).await?
            }
        };
        let kind = (ElementType::U8, code_record_bytes(&self.schema, &*codec) as u32);
        // Faults of the codes are reported where they matter.
        let notes = &mut Vec::new();
        let path = dir.join(CODES);
        let records = SalvagedRecords::open(self.backend, &path, kind, Some(count), &owner, notes).await?;
        Ok(Codes { codec, records })
    }
}

/// Whether different vectors often have the same code. That is so below 32 bits. The codes of other methods
/// begin with parameters of the vector, and are longer.
fn is_short_code(schema: &Schema) -> bool {
    let bits = match schema.quantization {
        Quantization::Int8Global { .. } => schema.dim * 8,
        Quantization::Product { compression } => schema.dim.div_ceil(u32::from(compression) / 4) * 8,
        Quantization::Binary => schema.dim,
        Quantization::Int8
        | Quantization::Int4
        | Quantization::Rotated4
        | Quantization::Rotated2
        | Quantization::Rotated1 => return false,
    };
    bits < 32
}

/// Reads a payload. Also returns its length in bytes of JSON.
async fn payload_of(point: u32, pages: &Pages, data: &PayloadData) -> Result<(Payload, usize), Error> {
    let read = data.read(pages, &[point], &ReadControl::default(), &mut ReadStats::default()).await?;
    let payload = parse_payload(&read[0]).ok_or_else(|| {
        let reason = format!("the payload of point {point} is no JSON object");
        Error::damaged(pages.data().path(), None, reason)
    })?;
    Ok((payload, read[0].len()))
}
