//! Dividing the points of a segment into cells, and writing the codes of these.

use super::builder::SegmentBuilder;
use super::read::Collected;
use super::source::Source;
use crate::background::{BackgroundWriter, pool};
use crate::error::Error;
use crate::immutable::cells::{cell_layout, encode_block};
use crate::immutable::segment::IndexData;
use crate::schema::Schema;
use rayon::prelude::*;
use std::ops::Range;
use vecstore_format::vector_file::VectorFileWriter;
use vecstore_format::{ElementType, FileIdentity};
use vecstore_index::cells::{CellLayout, CellMap, CellParts, CellVectors, CellsBefore, divide, merge};
use vecstore_quant::{CodeScores, Distance, NEIGHBOURS_MAX, ScalarCodes};

/// The points that a cell should have. With more of them, a search scans more codes. With fewer, centroids
/// take more memory, and more of a cell's blocks is empty.
const POINTS_EACH: usize = 160;

/// The vectors that codes stand for.
struct Decoded<'a>(&'a ScalarCodes);

impl CellVectors for Decoded<'_> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, point: u32, vector: &mut [f32]) {
        self.0.decode_into(point, vector);
    }

    fn score_centroids(&self, point: u32, centroids: &ScalarCodes, some: &[u32], scores: &mut [f32]) {
        CodeScores::new(Distance::Euclid, self.0).score_others(point, centroids, some, scores);
    }
}

impl SegmentBuilder<'_> {
    /// Divides points into cells. Also returns the order in which the cells have them. If points have
    /// cells already, the new ones come from these.
    pub(super) fn divide(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        codes: &ScalarCodes,
        groups: &[usize],
    ) -> Result<(CellMap, Vec<u32>), Error> {
        let Schema { distance, hnsw, .. } = self.schema;
        let vectors = Decoded(codes);
        let before = cells_before(sources, points);
        pool()?.install(|| {
            let stop = || self.is_stopped();
            let cells = match &before {
                Some((of_points, ends)) => {
                    merge(&vectors, groups, CellsBefore { of_points, ends }, POINTS_EACH, hnsw.seed, &stop)
                }
                None => divide(&vectors, groups, POINTS_EACH, hnsw.seed, &stop),
            };
            let cells = cells.map_err(|_| Error::Stopped)?;
            let starts = [0].iter().chain(&cells.ends);
            let ranges: Vec<Range<u32>> = starts.zip(&cells.ends).map(|(&start, &end)| start..end).collect();
            let spread = |(range, centroid): (Range<u32>, &[f32])| {
                let mut vector = vec![0.0; codes.dim()];
                let squares = cells.points[range.start as usize..range.end as usize].iter().map(|&point| {
                    codes.decode_into(point, &mut vector);
                    // Squares may leave the range of `f32`.
                    let differences = vector.iter().zip(centroid).map(|(&x, &c)| f64::from(x) - f64::from(c));
                    differences.map(|x| x * x).sum::<f64>()
                });
                let spread = (squares.sum::<f64>() / range.len() as f64).sqrt();
                spread.min(f64::from(f32::MAX)) as f32
            };
            let spreads = ranges.into_par_iter().zip(cells.centroids.par_chunks(codes.dim())).map(spread);
            let parts = CellParts {
                spreads: spreads.collect(),
                centroids: cells.centroids.clone(),
                ends: cells.ends.clone(),
                reach: 0.0,
            };
            let map = CellMap::new(*distance, codes.dim(), parts);
            let mut map = map.map_err(|error| Error::damaged(self.dir, None, error.to_string()))?;
            let scores = CodeScores::new(*distance, codes);
            map.learn_reach(&vectors, &cells, |a, b| scores.score(a, b), &|| self.is_stopped());
            if self.is_stopped() { Err(Error::Stopped) } else { Ok((map, cells.points)) }
        })
    }
}

fn cell_map<'a>(source: &'a Source<'_>) -> Option<&'a CellMap> {
    match source {
        Source::Immutable { segment, .. } => match &segment.data.index {
            IndexData::Cells(cells) => Some(&cells.map),
            IndexData::Graph(_) => None,
        },
        Source::Mutable { .. } => None,
    }
}

/// The cell of each point, and the end of each source's cells. `None` if no source has cells.
fn cells_before(sources: &[Source<'_>], points: &Collected) -> Option<(Vec<u32>, Vec<u32>)> {
    let maps: Vec<Option<&CellMap>> = sources.iter().map(cell_map).collect();
    let ends = maps.iter().flatten().scan(0, |end, map| {
        *end += map.len() as u32;
        Some(*end)
    });
    let ends: Vec<u32> = ends.collect();
    let mut firsts = [0].iter().chain(&ends);
    let maps: Vec<Option<(u32, &CellMap)>> =
        maps.iter().map(|map| map.and_then(|map| Some((*firsts.next()?, map)))).collect();
    let of_points = points.origins.iter().map(|origin| match maps[origin.source as usize] {
        Some((first, map)) => first + map.of(origin.point),
        None => CellsBefore::NONE,
    });
    (!ends.is_empty()).then(|| (of_points.collect(), ends))
}

/// Writes the blocks of cells, from the vectors of all points in their order.
pub(super) struct CellsWriter<'a> {
    map: &'a CellMap,
    layout: CellLayout,
    file: VectorFileWriter<BackgroundWriter>,
    /// The cell of the next block, and the first point of this block.
    next: (u32, u32),
    /// Rotated vectors of the points from there on.
    rotated: Vec<f32>,
}

impl<'a> CellsWriter<'a> {
    pub(super) fn new(
        schema: &Schema,
        map: &'a CellMap,
        file: BackgroundWriter,
        identity: FileIdentity,
    ) -> Result<Self, Error> {
        let layout = cell_layout(schema);
        let bytes = layout.block_bytes() as u32;
        let file = VectorFileWriter::with_identity(file, ElementType::U8, bytes, Some(identity))?;
        Ok(Self { map, layout, file, next: (0, 0), rotated: Vec::new() })
    }

    /// Takes the prepared vectors of the next points.
    pub(super) async fn push(&mut self, prepared: &[f32], dim: usize) -> Result<(), Error> {
        let Self { map, layout, next, rotated, .. } = self;
        let (rotated_dim, before) = (layout.codec().rotated_dim(), rotated.len());
        rotated.resize(before + prepared.len() / dim * rotated_dim, 0.0);
        pool()?.install(|| {
            let vectors =
                prepared.par_chunks_exact(dim).zip(rotated[before..].par_chunks_exact_mut(rotated_dim));
            vectors.for_each(|(vector, rotated)| layout.codec().rotate(vector, rotated));
        });
        let (first, end) = (next.1, next.1 + (rotated.len() / rotated_dim) as u32);
        let mut blocks: Vec<(u32, Range<u32>)> = Vec::new();
        while (next.0 as usize) < map.len() {
            let of_cell = map.points(next.0).end;
            let block = next.1..of_cell.min(next.1 + NEIGHBOURS_MAX as u32);
            if block.end > end {
                break;
            }
            *next = (next.0 + u32::from(block.end == of_cell), block.end);
            blocks.push((if block.end == of_cell { next.0 - 1 } else { next.0 }, block));
        }
        let mut bytes = vec![0; blocks.len() * layout.block_bytes()];
        pool()?.install(|| {
            let blocks = blocks.par_iter().zip(bytes.par_chunks_exact_mut(layout.block_bytes()));
            blocks.for_each(|((cell, points), block)| {
                let at = |point: u32| (point - first) as usize * rotated_dim;
                encode_block(layout, map, *cell, &rotated[at(points.start)..at(points.end)], block);
            });
        });
        for block in bytes.chunks_exact(layout.block_bytes()) {
            self.file.push(block).await?;
        }
        let done = (self.next.1 - first) as usize * rotated_dim;
        self.rotated.drain(..done);
        Ok(())
    }

    /// Returns the checksum of the file's header.
    pub(super) async fn finish(self) -> Result<u32, Error> {
        Ok(self.file.finish().await?.crc())
    }
}
