//! The codes of a cell: a block for each 32 points, relative to the centroid.

use vecstore_quant::{Distance, NEIGHBOURS_MAX, NeighbourCodec, NeighbourScorer};

/// Deviations that estimates add to what is likely, as in linked graphs.
const DEVIATIONS: f32 = 1.0;

/// Lays out the codes of cells. The codec is that of linked graphs, with the centroid in the place of a node.
#[derive(Clone, Debug)]
pub struct CellLayout {
    codec: NeighbourCodec,
}

impl CellLayout {
    /// The layout for prepared vectors of `dim` components. The seed decides the codes.
    ///
    /// # Panics
    ///
    /// If the dimension is 0 or above [`vecstore_quant::DIM_MAX`].
    #[must_use]
    pub fn new(distance: Distance, dim: usize, seed: u64) -> Self {
        Self { codec: NeighbourCodec::new(distance, dim, seed) }
    }

    /// The codec of the blocks. It rotates vectors for [`CellLayout::encode`].
    #[must_use]
    pub fn codec(&self) -> &NeighbourCodec {
        &self.codec
    }

    /// Bytes of a block, for vectors of `dim` components.
    #[must_use]
    pub const fn bytes_of(dim: usize) -> usize {
        NeighbourCodec::bytes_of(dim)
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.codec.block_bytes()
    }

    /// Blocks of a cell with this many points.
    #[must_use]
    pub fn blocks(points: u32) -> u32 {
        points.div_ceil(NEIGHBOURS_MAX as u32)
    }

    /// Writes a block from rotated vectors: the centroid of the cell, and up to 32 points one after the
    /// other.
    ///
    /// # Panics
    ///
    /// If there are more points, or one of the lengths is wrong.
    pub fn encode(&self, centroid: &[f32], points: &[f32], block: &mut [u8]) {
        block.fill(0);
        for (place, point) in points.chunks_exact(self.codec.rotated_dim()).enumerate() {
            self.codec.encode(centroid, point, place, block);
        }
    }

    /// A query for blocks, from a prepared vector. Its estimates are a deviation above what is likely.
    ///
    /// # Panics
    ///
    /// If the vector is not of the layout's dimension.
    #[must_use]
    pub fn query(&self, prepared: &[f32]) -> NeighbourScorer {
        self.codec.query(prepared, DEVIATIONS)
    }
}
