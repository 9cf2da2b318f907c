//! Checks a segment: first each file by itself, then whether the files form a segment.

use super::verifier::Verifier;
use crate::collection::files::{deleted_path, parse_deleted};
use crate::collection::manifest::ManifestSegment;
use crate::collection::open::check_segment_dir;
use crate::error::Error;
use crate::immutable::deleted::load_deleted;
use crate::immutable::outcome::ended;
use crate::immutable::records::Records;
use crate::immutable::segment::{
    CELL_CODES, CELLS, CODEC, CODES, FIELDS, GRAPH, IDS, LINKED, PAYLOAD, SEGMENT_JSON, SegmentData,
    SegmentInfo, SegmentReader, VECTORS, file_number, untrained_codec,
};
use crate::schema::{IndexParts, Placement, Placements, Schema};
use io_core::{FileSystem, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use vecstore_format::pages::{Pages, PagesKind};
use vecstore_format::{ElementType, Expected, RandomId};

impl Verifier<'_> {
    /// Checks a segment. Returns true if it is sound.
    pub(super) async fn segment(
        &mut self,
        dir: &Path,
        listed: ManifestSegment,
        schema: &Schema,
    ) -> Result<bool, Error> {
        let listed_files =
            check_segment_dir(&*self.directory, dir).and_then(|()| Ok(self.directory.list(dir)?));
        let Some(names) = self.note(listed_files)? else { return Ok(false) };
        let has_codec = untrained_codec(schema).is_none();
        let (index_pages, index_records): (_, &[&str]) = match schema.index_parts() {
            IndexParts::CompactGraph => ((GRAPH, PagesKind::Graph), &[]),
            IndexParts::LinkedGraph => ((GRAPH, PagesKind::Graph), &[LINKED]),
            IndexParts::Cells => ((CELLS, PagesKind::Cells), &[CELL_CODES]),
        };
        for entry in &names {
            let name = entry.name.to_string_lossy();
            let deleted = parse_deleted(&name);
            let known = [SEGMENT_JSON, VECTORS, CODES, index_pages.0, IDS, PAYLOAD, FIELDS].contains(&&*name)
                || name == CODEC && has_codec
                || index_records.contains(&&*name)
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
        // First checks each file by itself, even if others are damaged.
        let before = self.faults();
        let path = dir.join(SEGMENT_JSON);
        let json = self.directory.read(&path).map_err(Error::from);
        let info = json.and_then(|bytes| {
            let info = SegmentInfo::decode(&path, &bytes)?;
            info.check(&path, listed.id)?;
            Ok(info)
        });
        let info = self.note(info)?;
        // Without `segment.json`, the manifest still gives the identity.
        let expected = |name: &str| match &info {
            Some(info) => info.expected(&path, name),
            None => {
                let identity = listed.id.map(|id| id.file(file_number(name)));
                Ok(Expected { identity, header_crc: None })
            }
        };
        let files =
            [index_pages, (IDS, PagesKind::Ids), (PAYLOAD, PagesKind::Payload), (FIELDS, PagesKind::Fields)];
        for (name, kind) in files.into_iter().chain(has_codec.then_some((CODEC, PagesKind::Codec))) {
            if let Some(expected) = self.note(expected(name))? {
                let checked = self.pages(&dir.join(name), kind, &expected).await;
                self.note(checked)?;
            }
        }
        let files = [(VECTORS, schema.element), (CODES, ElementType::U8)];
        for (name, element) in
            files.into_iter().chain(index_records.iter().map(|&name| (name, ElementType::U8)))
        {
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
        // Then checks that the files agree. Damaged files would not.
        if sound {
            self.together(dir, (listed.number, listed.id), schema).await?;
        }
        Ok(self.faults() == before)
    }

    /// Checks that files which are sound by themselves form a segment.
    async fn together(
        &mut self,
        dir: &Path,
        which: (u64, Option<RandomId>),
        schema: &Schema,
    ) -> Result<(), Error> {
        // Reads from disk, whatever the placement. Pinned parts would hide the disk.
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

    /// Checks a file of deleted points. `points` is the number of the segment's points, if known.
    async fn deleted(&mut self, path: &Path, points: Option<u32>, expected: &Expected) -> Result<(), Error> {
        let before = self.report.problems.len();
        self.pages(path, PagesKind::Deleted, expected).await?;
        let Some(points) = points.filter(|_| self.report.problems.len() == before) else { return Ok(()) };
        let reader = self.backend.open(path, &OpenOptions::default()).await?;
        let pages = Pages::open(reader, PagesKind::Deleted, expected).await?;
        load_deleted(&pages, points).await?;
        Ok(pages.close().await?)
    }
}
