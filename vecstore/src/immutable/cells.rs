//! The cells of an immutable segment.
//!
//! Sections of `cells.pages`:
//!
//! | section | what it is |
//! |---|---|
//! | 0 | points u64, cells u64, reach f32 |
//! | 1 | the centroid of each cell, its components f32 |
//! | 2 | the spread of each cell f32 |
//! | 3 | the end of each cell u32: one more than its last point |
//!
//! `cells.vec` has the blocks of all cells, one cell after the other. [`CellLayout`] describes a block.
//!
//! All of `cells.pages` is in memory. The blocks are in memory or on disk, as the schema places the graph.

use crate::error::Error;
use crate::immutable::pinned::PinnedBytes;
use crate::immutable::records::Records;
use crate::immutable::segment::load_records;
use crate::schema::{Placement, Schema};
use std::ops::Range;
use vecstore_format::pages::{Pages, PagesWriter};
use vecstore_format::vector_file::RecordChecksums;
use vecstore_index::cells::{CellLayout, CellMap, CellParts};

/// The layout of the blocks of a schema's cells.
pub(crate) fn cell_layout(schema: &Schema) -> CellLayout {
    CellLayout::new(schema.distance, schema.dim as usize, schema.hnsw.seed)
}

/// Writes a block of a cell, from rotated vectors of its points.
pub(crate) fn encode_block(layout: &CellLayout, map: &CellMap, cell: u32, rotated: &[f32], block: &mut [u8]) {
    let mut centroid = vec![0.0; layout.codec().rotated_dim()];
    layout.codec().rotate(map.centroid(cell), &mut centroid);
    layout.encode(&centroid, rotated, block);
}

/// Writes where the cells of a segment are. Returns the checksum of the file's header.
pub(crate) async fn write_cells(mut pages: PagesWriter, parts: &CellParts) -> Result<u32, Error> {
    let CellParts { centroids, spreads, ends, reach } = parts;
    pages.begin_section().await?;
    for number in [u64::from(ends.last().copied().unwrap_or(0)), ends.len() as u64] {
        pages.write(&number.to_le_bytes()).await?;
    }
    pages.write(&reach.to_le_bytes()).await?;
    for section in [
        bytemuck::cast_slice::<f32, u8>(centroids),
        bytemuck::cast_slice(spreads),
        bytemuck::cast_slice(ends),
    ] {
        pages.begin_section().await?;
        pages.write(section).await?;
    }
    Ok(pages.finish().await?)
}

/// Reads what [`write_cells`] wrote.
pub(crate) async fn read_cells(pages: &Pages, schema: &Schema) -> Result<CellMap, Error> {
    let damaged = |reason: String| Error::damaged(pages.data().path(), None, reason);
    let section = async |number| pages.read_section(number).await;
    let numbers = async |number| {
        let bytes = section(number).await?;
        let (words, rest) = bytes.as_chunks::<4>();
        if rest.is_empty() {
            Ok(words.to_vec())
        } else {
            Err(damaged(format!("section {number} has {} bytes", bytes.len())))
        }
    };
    let floats = async |number| {
        Ok::<_, Error>(numbers(number).await?.into_iter().map(f32::from_le_bytes).collect::<Vec<_>>())
    };
    let head = section(0).await?;
    let (longs, reach) = head.as_chunks::<8>();
    let (&[points, cells], Ok(reach)) = (longs, <[u8; 4]>::try_from(reach)) else {
        return Err(damaged(format!("section 0 has {} bytes instead of 20", head.len())));
    };
    let ends: Vec<u32> = numbers(3).await?.into_iter().map(u32::from_le_bytes).collect();
    let parts = CellParts {
        centroids: floats(1).await?,
        spreads: floats(2).await?,
        ends,
        reach: f32::from_le_bytes(reach),
    };
    let (found, last) = (parts.ends.len() as u64, u64::from(parts.ends.last().copied().unwrap_or(0)));
    if (found, last) != (u64::from_le_bytes(cells), u64::from_le_bytes(points)) {
        return Err(damaged(format!(
            "it lists {found} cells of {last} points, and says otherwise at its start"
        )));
    }
    CellMap::new(schema.distance, schema.dim as usize, parts).map_err(|error| damaged(error.to_string()))
}

/// The cells of a segment, as far as they are in memory. All cores share them.
#[derive(Debug)]
pub(crate) struct CellsData {
    pub(crate) map: CellMap,
    pub(crate) layout: CellLayout,
    /// The first block of each cell, and the number of all blocks.
    first_blocks: Vec<u32>,
    blocks: Blocks,
}

#[derive(Debug)]
enum Blocks {
    Pinned(PinnedBytes),
    OnDisk(RecordChecksums),
}

/// The first block of each cell, and the number of all blocks.
fn first_blocks(map: &CellMap) -> Vec<u32> {
    let mut next = 0;
    let mut first = vec![0];
    first.extend((0..map.len() as u32).map(|cell| {
        next += CellLayout::blocks(map.points(cell).len() as u32);
        next
    }));
    first
}

impl CellsData {
    /// Takes the blocks of an open file, whose checksums are loaded.
    pub(crate) async fn load(
        file: &Records,
        map: CellMap,
        layout: CellLayout,
        placement: Placement,
    ) -> Result<Self, Error> {
        let first_blocks = first_blocks(&map);
        let count = first_blocks[map.len()];
        file.check(u64::from(count), layout.block_bytes() as u32)?;
        let blocks = match placement {
            Placement::Pinned => Blocks::Pinned(load_records(file, layout.block_bytes(), count).await?),
            Placement::Cold | Placement::Cached => Blocks::OnDisk(file.file().checksums().clone()),
        };
        Ok(Self { map, layout, first_blocks, blocks })
    }

    /// The blocks of a cell.
    pub(crate) fn blocks(&self, cell: u32) -> Range<u32> {
        self.first_blocks[cell as usize]..self.first_blocks[cell as usize + 1]
    }

    /// The bytes of a cell's blocks, if they are in memory.
    pub(crate) fn pinned(&self, cell: u32) -> Option<&[u8]> {
        let Blocks::Pinned(bytes) = &self.blocks else { return None };
        let (blocks, block_bytes) = (self.blocks(cell), self.layout.block_bytes());
        Some(&bytes[blocks.start as usize * block_bytes..blocks.end as usize * block_bytes])
    }

    /// The checksums of blocks that are on disk.
    pub(crate) fn on_disk(&self) -> Option<&RecordChecksums> {
        match &self.blocks {
            Blocks::Pinned(_) => None,
            Blocks::OnDisk(checksums) => Some(checksums),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let blocks = match &self.blocks {
            Blocks::Pinned(bytes) => bytes.len(),
            Blocks::OnDisk(checksums) => checksums.memory_bytes(),
        };
        self.map.memory_bytes() + size_of_val(self.first_blocks.as_slice()) + blocks
    }
}
