//! Verifying: reading every byte of a collection, checking each checksum, and that the files say the same.

use super::files::{
    FileName, LOCK, MANIFEST, deleted_path, log_path, parse, parse_deleted, segment_path, torn_path,
};
use super::manifest::{Manifest, ManifestSegment};
use super::open::{check_done_logs, check_leftovers, check_op, check_segment_dir, lock};
use super::overlap::{LiveIds, Overlap, overlaps};
use crate::element;
use crate::error::Error;
use crate::field::{FieldKind, Key};
use crate::immutable::build::parse_payload;
use crate::immutable::deleted::load_deleted;
use crate::immutable::ended;
use crate::immutable::fields::FieldsReader;
use crate::immutable::graph::LINKS_SECTION;
use crate::immutable::records::Records;
use crate::immutable::segment::{
    CODEC, CODES, FIELDS, GRAPH, IDS, PAYLOAD, SEGMENT_JSON, SegmentData, SegmentInfo, SegmentReader,
    VECTORS, file_number, untrained_codec,
};
use crate::mutable::fields::keys_of_fields;
use crate::schema::{Placement, Placements, Schema};
use io_core::{BackendFactory, Directory, DynBackend, OpenOptions, ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_format::links;
use vecstore_format::log::{LogBytes, LogEnd, LogReader};
use vecstore_format::pages::{Pages, PagesKind};
use vecstore_format::{Expected, RandomId};

/// Points that are checked at a time.
const BATCH: u32 = 1024;
/// Problems of a file that are told.
const PROBLEMS_MAX: usize = 100;

/// What verifying found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Points of segments whose vector, codes, payload, ids and links were compared.
    pub points: u64,
    /// What is wrong: each names its file, and where in it. Of a file with very many problems the first 100 are told, and
    /// that there are more; its rest is not read.
    pub problems: Vec<Error>,
    /// What kept files from being read, such as permissions: nobody knows whether those are damaged.
    pub unread: Vec<Error>,
    /// What is not wrong, but worth knowing.
    pub notes: Vec<String>,
}

/// Reads every byte of a collection. Call it inside the backend's `run`; the collection must not be open for writing.
///
/// # Errors
/// [`Error::InUse`]; [`Error::NotACollection`]; [`Error::Stopped`]. Damage is no error of this call.
pub(super) async fn verify(backend: &DynBackend, dir: &Path, stop: &StopFlag) -> Result<VerifyReport, Error> {
    let directory = backend.directory();
    let mut verifier = Verifier {
        backend,
        directory: Arc::clone(&directory),
        control: ReadControl::with_stop(stop.clone()),
        report: VerifyReport::default(),
        told: BTreeMap::new(),
    };
    let path = dir.join(MANIFEST);
    // What is no collection gets no lock file.
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

struct Verifier<'a> {
    backend: &'a DynBackend,
    directory: Arc<dyn Directory>,
    control: ReadControl,
    report: VerifyReport,
    /// How many problems of a file there were.
    told: BTreeMap<PathBuf, usize>,
}

impl Verifier<'_> {
    /// Notes what is wrong with a file, unless so much of it was told already.
    fn problem(&mut self, path: &Path, error: Error) -> ControlFlow<()> {
        let told = self.told.entry(path.to_owned()).or_default();
        *told += 1;
        if *told <= PROBLEMS_MAX {
            self.report.problems.push(error);
            return ControlFlow::Continue(());
        }
        if *told == PROBLEMS_MAX + 1 {
            let reason = format!("there is more wrong with it than these {PROBLEMS_MAX} problems");
            self.report.problems.push(Error::damaged(path, None, reason));
        }
        ControlFlow::Break(())
    }

    /// Notes that a file of a segment does not fit the others.
    fn unfit(&mut self, dir: &Path, name: &str, reason: String) {
        let path = dir.join(name);
        let _ = self.problem(&path, Error::damaged(&path, None, reason));
    }

    /// Notes what is wrong; only being stopped ends everything.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Stopped) => Err(Error::Stopped),
            Err(error) => {
                let report = &mut self.report;
                let list = if error.is_damage() { &mut report.problems } else { &mut report.unread };
                list.push(error);
                Ok(None)
            }
        }
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// What was wrong so far, or not read.
    fn faults(&self) -> usize {
        self.report.problems.len() + self.report.unread.len()
    }

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
        // Where a log is damaged nobody knows where it ends.
        if let Some(seq_next) = due {
            let checked = check_leftovers(self.backend, dir, manifest, seq_next).await;
            self.note(checked)?;
        }
        Ok(())
    }

    /// Checks a log, which was begun or is of an attempt to do so, and returns the sequence number that the next one has to begin with, if this one tells.
    fn log(
        &mut self,
        bytes: LogBytes<'_>,
        number: u64,
        due: Option<u64>,
        manifest: &Manifest,
    ) -> Result<Option<u64>, Error> {
        let path = &bytes.path().to_owned();
        let vector_bytes = manifest.schema.dim as usize * manifest.schema.element.bytes() as usize;
        let Some(mut log) = LogReader::begin(bytes, vector_bytes)? else {
            let begun = manifest.begun().any(|begun| begun == number);
            return if begun { Err(Error::log_lost(path)) } else { Ok(due) };
        };
        let header = log.header();
        if !manifest.admit(path, number, &header, log.has_batches()?)? {
            self.report.notes.push(format!("{}: it was created and never begun", path.display()));
            return Ok(due);
        }
        let due = due.unwrap_or(header.first_seq);
        if header.first_seq != due {
            let reason = format!("it begins with write {}, where write {due} is due", header.first_seq);
            self.report.problems.push(Error::damaged(path, 0, reason));
        }
        while let Some((_, ops)) = log.next_batch()? {
            self.check_stop()?;
            for op in ops {
                check_op(path, &op, &manifest.schema)?;
            }
        }
        match log.end() {
            LogEnd::Closed => {}
            LogEnd::Open { .. } => {
                self.report
                    .notes
                    .push(format!("{}: it was not closed, and ends with a whole record", path.display()));
            }
            LogEnd::Torn { offset, bytes, .. } => {
                let reason = format!(
                    "its last {bytes} bytes are no whole record: a write that was under way, or damage; opening leaves them out"
                );
                self.report.problems.push(Error::damaged(path, offset, reason));
            }
        }
        Ok(Some(log.next_seq()))
    }

    /// Checks that no point is in two segments, of those that are sound.
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

    /// Checks a segment, and says whether it is sound.
    async fn segment(&mut self, dir: &Path, listed: ManifestSegment, schema: &Schema) -> Result<bool, Error> {
        let listed_files =
            check_segment_dir(&*self.directory, dir).and_then(|()| Ok(self.directory.list(dir)?));
        let Some(names) = self.note(listed_files)? else { return Ok(false) };
        let has_codec = untrained_codec(schema).is_none();
        for entry in &names {
            let name = entry.name.to_string_lossy();
            let deleted = parse_deleted(&name);
            let known = [SEGMENT_JSON, VECTORS, CODES, GRAPH, IDS, PAYLOAD, FIELDS].contains(&&*name)
                || name == CODEC && has_codec
                || deleted.is_some_and(|number| Some(number) == listed.deleted);
            if !known {
                self.report
                    .notes
                    .push(format!("{} does not belong to the collection", dir.join(&*name).display()));
            } else {
                self.report.files += 1;
                self.report.bytes += entry.len;
            }
        }
        // First each file by itself, whatever is wrong with the others.
        let before = self.faults();
        let path = dir.join(SEGMENT_JSON);
        let json = self.directory.read(&path).map_err(Error::from);
        let info = json.and_then(|bytes| {
            let info = SegmentInfo::decode(&path, &bytes)?;
            info.check(&path, listed.id)?;
            Ok(info)
        });
        let info = self.note(info)?;
        // What the manifest says of a file is less, but there.
        let expected = |name: &str| match &info {
            Some(info) => info.expected(&path, name),
            None => {
                let identity = listed.id.map(|id| id.file(file_number(name)));
                Ok(Expected { identity, header_crc: None })
            }
        };
        let files = [
            (GRAPH, PagesKind::Graph),
            (IDS, PagesKind::Ids),
            (PAYLOAD, PagesKind::Payload),
            (FIELDS, PagesKind::Fields),
        ];
        for (name, kind) in files.into_iter().chain(has_codec.then_some((CODEC, PagesKind::Codec))) {
            if let Some(expected) = self.note(expected(name))? {
                let checked = self.pages(&dir.join(name), kind, &expected).await;
                self.note(checked)?;
            }
        }
        for (name, element) in [(VECTORS, schema.element), (CODES, ElementType::U8)] {
            if let Some(expected) = self.note(expected(name))? {
                let checked = self.records(&dir.join(name), element, &expected).await;
                self.note(checked)?;
            }
        }
        let sound = self.faults() == before;
        if let Some(number) = listed.deleted {
            let (path, points) = (deleted_path(dir, number), info.as_ref().map(|info| info.points));
            let checked = self.deleted(&path, points, &listed.expected_deleted()).await;
            self.note(checked)?;
        }
        // Then whether they say the same, which those that are damaged do not.
        if sound {
            self.together(dir, (listed.number, listed.id), schema).await?;
        }
        Ok(self.faults() == before)
    }

    /// Checks that files which are sound by themselves make a segment.
    async fn together(
        &mut self,
        dir: &Path,
        which: (u64, Option<RandomId>),
        schema: &Schema,
    ) -> Result<(), Error> {
        // From disk, whatever the placement: what is in memory was read from there.
        let placement = Placements {
            vectors: Placement::Cold,
            codes: Placement::Cold,
            graph: Placement::Cold,
            payload: Placement::Cold,
            ids: Placement::Cold,
            indexes: Placement::Cold,
        };
        let (schema, options) = (Schema { placement, ..schema.clone() }, OpenOptions::default());
        let loaded = SegmentData::load(self.backend, dir, which, &schema, &options).await;
        let Some(data) = self.note(loaded)? else { return Ok(()) };
        let opened = SegmentReader::open(self.backend, Arc::new(data), &options).await;
        if let Some(reader) = self.note(opened)? {
            let compared = self.compare(&reader).await;
            self.note(compared)?;
            let closed = reader.close().await;
            self.note(closed)?;
        }
        Ok(())
    }

    async fn pages(&mut self, path: &Path, kind: PagesKind, expected: &Expected) -> Result<(), Error> {
        let reader = self.backend.open(path, &OpenOptions::default()).await?;
        let pages = Pages::open(reader, kind, expected).await?;
        let control = self.control.clone();
        ended(pages.verify(&control, |error| self.problem(path, error.into())).await?)?;
        Ok(pages.close().await?)
    }

    async fn records(&mut self, path: &Path, element: ElementType, expected: &Expected) -> Result<(), Error> {
        let records = Records::open(self.backend, path, &OpenOptions::default(), element, None).await?;
        records.file().check(expected)?;
        let control = self.control.clone();
        ended(records.file().verify(&control, |error| self.problem(path, error.into())).await?)?;
        records.close().await
    }

    /// Checks a file of deleted points, of a segment of so many points if that is known.
    async fn deleted(&mut self, path: &Path, points: Option<u32>, expected: &Expected) -> Result<(), Error> {
        let before = self.report.problems.len();
        self.pages(path, PagesKind::Deleted, expected).await?;
        let Some(points) = points.filter(|_| self.report.problems.len() == before) else { return Ok(()) };
        let reader = self.backend.open(path, &OpenOptions::default()).await?;
        let pages = Pages::open(reader, PagesKind::Deleted, expected).await?;
        load_deleted(&pages, points).await?;
        Ok(pages.close().await?)
    }

    /// Checks that the files of a segment say the same about each point.
    async fn compare(&mut self, segment: &SegmentReader) -> Result<(), Error> {
        let (data, schema) = (&segment.data, &segment.data.schema);
        let (control, mut stats) = (self.control.clone(), ReadStats::default());
        let dir = &data.dir;
        let codes = segment.codes.as_ref().expect("loaded cold");
        let graph = segment.graph.as_ref().expect("loaded cold");
        let mut vector = vec![0.0; schema.dim as usize];
        // What the index of each field has to come to.
        let mut values = vec![FieldValues::default(); schema.indexes.len()];
        let mut first = 0;
        while first < data.points {
            let points: Vec<u32> = (first..data.points.min(first + BATCH)).collect();
            let ids = segment.ids_of(&points, &control, &mut stats).await?;
            let found = segment.find(&ids, &control, &mut stats).await?;
            for ((&point, &id), found) in points.iter().zip(&ids).zip(found) {
                if found != Some(point) {
                    let reason = format!("point {point} has the id {id}, which leads to {found:?}");
                    self.unfit(dir, IDS, reason);
                }
            }
            let record_bytes = data.codec.record_bytes();
            let mut expected = vec![0; points.len() * record_bytes];
            let (mut not_finite, mut wrong) = (Vec::new(), Vec::new());
            let sink = |index: usize, bytes: &[u8]| {
                element::decode_into(schema.element, bytes, &mut vector);
                if !vector.iter().all(|component| component.is_finite()) {
                    not_finite.push(points[index]);
                }
                schema.distance.prepare(&mut vector);
                data.codec.encode(&vector, &mut expected[index * record_bytes..][..record_bytes]);
            };
            segment.vectors.read(&points, &control, sink).await?;
            for point in not_finite {
                self.unfit(dir, VECTORS, format!("the vector of point {point} is not finite"));
            }
            let sink = |index: usize, record: &[u8]| {
                if record != &expected[index * record_bytes..][..record_bytes] {
                    wrong.push(points[index]);
                }
            };
            codes.read(&points, &control, sink).await?;
            for point in wrong {
                self.unfit(dir, CODES, format!("the codes of point {point} are not those of its vector"));
            }
            for some in segment.payload_batches(&points) {
                for (&point, payload) in some.iter().zip(segment.payloads(some, &control, &mut stats).await?)
                {
                    let keys = parse_payload(&payload)
                        .and_then(|payload| keys_of_fields(&payload, &schema.indexes).ok());
                    let Some(keys) = keys else {
                        let reason =
                            format!("the payload of point {point} is no JSON object that fits the schema");
                        self.unfit(dir, PAYLOAD, reason);
                        continue;
                    };
                    for (values, keys) in values.iter_mut().zip(keys) {
                        keys.iter().for_each(|key| values.add(key, point));
                    }
                }
            }
            let ranges: Vec<_> = points.iter().map(|&point| data.graph.record_range(point)).collect();
            let (mut links, mut wrong) = (Vec::new(), Vec::new());
            let sink = |index: usize, record: &[u8]| {
                if links::decode(record, data.points, &mut links).is_none() {
                    wrong.push(points[index]);
                }
                Ok(())
            };
            ended(graph.read(LINKS_SECTION, &ranges, &control, sink).await?)?;
            for point in wrong {
                self.unfit(dir, GRAPH, format!("the links of point {point} are none"));
            }
            self.report.points += points.len() as u64;
            first += BATCH;
        }
        for ((field, kind), values) in schema.indexes.iter().zip(values) {
            if let Some(wrong) = compare_index(segment, (field, *kind), &values, &control).await? {
                self.unfit(dir, FIELDS, format!("the index of field {field} {wrong}"));
            }
        }
        let in_order =
            data.ids.in_order(&segment.ids, None, data.points as usize, &control, &mut stats).await?;
        let complete = in_order.len() == data.points as usize && in_order.is_sorted_by(|a, b| a.0 < b.0);
        if !complete {
            self.unfit(dir, IDS, "the sorted tables do not hold each id once".to_owned());
        }
        Ok(())
    }
}

/// That a log was kept as it was, since its end was in doubt.
fn in_doubt(dir: &Path, number: u64) -> Error {
    let reason = format!(
        "its end was no whole record when it was opened, perhaps of an acknowledged write, and was left out; the log as it was is kept in {}: remove that once nobody needs it",
        torn_path(dir, number).display()
    );
    Error::damaged(&log_path(dir, number), None, reason)
}

/// The values of a field in all points.
#[derive(Clone, Debug, Default)]
struct FieldValues {
    /// Each as a number, added up in any order, so that nothing has to be kept: that those of two different indexes come to the same is
    /// as unlikely as that of two random numbers.
    sum: u64,
    /// The points with a value.
    present: RoaringBitmap,
}

impl FieldValues {
    fn add(&mut self, key: &Key, point: u32) {
        let mut hasher = DefaultHasher::new();
        (key, point).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
        self.present.insert(point);
    }
}

/// What is wrong with an index, if it does not say what the payloads do. That terms and numbers are in order was checked when it
/// was loaded.
async fn compare_index(
    segment: &SegmentReader,
    (field, kind): (&str, FieldKind),
    expected: &FieldValues,
    control: &ReadControl,
) -> Result<Option<&'static str>, Error> {
    let fields = FieldsReader { data: &segment.data.fields, pages: &segment.fields, control };
    let (mut found, mut stats) = (FieldValues::default(), ReadStats::default());
    let mut is_ordered = true;
    if kind.is_number() {
        let (mut from, mut before) = (0, None);
        while let Some(page) = fields.numbers(field, 0, u64::MAX, from, 64, &mut stats).await? {
            let points: Vec<u32> = page.entries.iter().map(|(_, point)| *point).collect();
            let ids = segment.ids_of(&points, control, &mut stats).await?;
            for (&(number, point), id) in page.entries.iter().zip(ids) {
                found.add(&Key::Number(number), point);
                is_ordered &= before.replace((number, id)).is_none_or(|before| before <= (number, id));
            }
            from = page.next;
        }
    } else {
        for (term, points) in fields.all_terms(field, &mut stats).await? {
            let key = Key::Term(term);
            points.iter().for_each(|point| found.add(&key, point));
        }
    }
    Ok(if found.sum != expected.sum {
        Some("does not hold the values of the payloads")
    } else if *fields.present(field) != expected.present {
        Some("does not list the points with a value")
    } else if !is_ordered {
        Some("has points of a number in another order than that of their ids")
    } else {
        None
    })
}
