//! Checks that the index of a segment fits its points.

use super::verifier::Verifier;
use crate::build::VALUE_LINKS_MIN;
use crate::error::Error;
use crate::immutable::cells::{CellsData, encode_block};
use crate::immutable::graph::LINKS_SECTION;
use crate::immutable::ids::id_record;
use crate::immutable::outcome::ended;
use crate::immutable::segment::{CELL_CODES, GRAPH, GraphIndex, IDS, LINKED, SegmentReader};
use crate::point::PointId;
use io_core::ReadStats;
use std::ops::Range;
use vecstore_format::links;
use vecstore_quant::NEIGHBOURS_MAX;

/// Blocks of cells that are checked at a time.
const BLOCKS: usize = 32;

impl Verifier<'_> {
    /// Checks the links of some points, and their linked records. `ids` and `codes` are those of the points.
    pub(super) async fn compare_graph(
        &mut self,
        segment: &SegmentReader,
        index: &GraphIndex,
        points: &[u32],
        (ids, codes): (&[PointId], &[u8]),
    ) -> Result<(), Error> {
        let (data, schema) = (&segment.data, &segment.data.schema);
        let (dir, control) = (&data.dir, self.control.clone());
        let pages = segment.graph.as_ref().expect("loaded cold");
        let ranges: Vec<_> = points.iter().map(|&point| index.graph.record_range(point)).collect();
        let (mut links, mut wrong) = (vec![Vec::new(); points.len()], Vec::new());
        let sink = |index: usize, record: &[u8]| {
            if links::decode(record, data.points, &mut links[index]).is_none() {
                wrong.push(points[index]);
            }
            Ok(())
        };
        ended(pages.read(LINKS_SECTION, &ranges, &control, sink).await?)?;
        for point in wrong {
            self.unfit(dir, GRAPH, format!("the links of point {point} are none"));
        }
        let (Some(linked), Some(file)) = (&index.linked, &segment.linked) else { return Ok(()) };
        // The graph's file may also have links of values, and a record does not. The links beyond those of
        // the graph are not compared: nothing depends on which ones they are.
        let has_values = u64::from(data.points) >= VALUE_LINKS_MIN
            && schema.indexes.values().any(|kind| !kind.is_number());
        let record_bytes = data.codec.record_bytes();
        let (mut other_links, mut other_codes, mut other_ids) = (Vec::new(), Vec::new(), Vec::new());
        let sink = |index: usize, record: &[u8]| {
            let (point, known) = (points[index], &links[index]);
            let record = linked.split(record);
            let shared = linked.layout.links(record.links).take_while(|link| known.contains(link)).count();
            let least = if has_values { known.len().min(1) } else { known.len() };
            if shared < least {
                other_links.push(point);
            }
            if record.code != &codes[index * record_bytes..][..record_bytes] {
                other_codes.push(point);
            }
            if record.id != &id_record(ids[index])[..record.id.len()] {
                other_ids.push(point);
            }
        };
        file.read(points, &control, sink).await?;
        for point in other_links {
            let reason = format!("the record of point {point} does not begin with links of {GRAPH}");
            self.unfit(dir, LINKED, reason);
        }
        for point in other_codes {
            self.unfit(dir, LINKED, format!("the code of point {point} is not that of its vector"));
        }
        for point in other_ids {
            self.unfit(dir, LINKED, format!("the id of point {point} is not that of {IDS}"));
        }
        Ok(())
    }

    /// Checks the codes of all cells.
    pub(super) async fn compare_cells(
        &mut self,
        segment: &SegmentReader,
        cells: &CellsData,
    ) -> Result<(), Error> {
        let (data, control) = (&segment.data, self.control.clone());
        let (layout, map) = (&cells.layout, &cells.map);
        let (rotated_dim, block_bytes) = (layout.codec().rotated_dim(), layout.block_bytes());
        let file = segment.cells.as_ref().expect("loaded cold");
        let blocks = (0..map.len() as u32).flat_map(|cell| {
            let points = map.points(cell);
            let block = move |first: u32| (cell, first..points.end.min(first + NEIGHBOURS_MAX as u32));
            map.points(cell).step_by(NEIGHBOURS_MAX).map(block)
        });
        let blocks: Vec<(u32, Range<u32>)> = blocks.collect();
        for (some, records) in blocks.chunks(BLOCKS).zip((0..).step_by(BLOCKS)) {
            let (first, end) = (some[0].1.start, some[some.len() - 1].1.end);
            let points: Vec<u32> = (first..end).collect();
            let mut rotated = vec![0.0; points.len() * rotated_dim];
            let vectors = segment.vectors(&points, &control, &mut ReadStats::default()).await?;
            for (mut vector, rotated) in vectors.into_iter().zip(rotated.chunks_exact_mut(rotated_dim)) {
                data.schema.distance.prepare(&mut vector);
                layout.codec().rotate(&vector, rotated);
            }
            let (mut expected, mut wrong) = (vec![0; block_bytes], Vec::new());
            let records: Vec<u32> = (records..records + some.len() as u32).collect();
            let sink = |index: usize, block: &[u8]| {
                let (cell, points) = &some[index];
                let at = |point: u32| (point - first) as usize * rotated_dim;
                encode_block(layout, map, *cell, &rotated[at(points.start)..at(points.end)], &mut expected);
                if block != expected {
                    wrong.push((*cell, points.clone()));
                }
            };
            file.read(&records, &control, sink).await?;
            for (cell, Range { start, end }) in wrong {
                let reason =
                    format!("the codes of points {start} to {} in cell {cell} are not theirs", end - 1);
                self.unfit(&data.dir, CELL_CODES, reason);
            }
        }
        Ok(())
    }
}
