//! The record of a node: its links, and blocks with the codes of the points that they lead to.
//!
//! ```text
//! record: links, u32 each | blocks of 32 codes, as `NeighbourCodec` encodes them
//! ```
//!
//! All records of a graph have one length, with room for the most links that a node may have. A link that is
//! not used leads to the node itself, which a search has always seen.

use vecstore_quant::{Distance, NEIGHBOURS_MAX, NeighbourCodec, NeighbourScorer};

const LINK_BYTES: usize = size_of::<u32>();
/// Deviations that estimates add to what is likely. From a half to one and a half, a search of a given recall
/// expands about as many nodes. With fewer deviations it must keep more points, and with more of them fewer.
const DEVIATIONS: f32 = 1.0;

/// A link of a record leads to no point. The file of the record is damaged, or another program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link leads to {link}, and there are {points} points")]
pub struct LinkedRecordError {
    /// The link.
    pub link: u32,
    /// Number of points.
    pub points: u32,
}

/// The layout of the records of a graph, and the codec of their blocks.
#[derive(Clone, Debug)]
pub struct LinkedLayout {
    codec: NeighbourCodec,
    blocks: usize,
}

impl LinkedLayout {
    /// The layout of a graph whose nodes have at most `links_max` links, over prepared vectors of `dim`
    /// components. The seed decides the codes.
    ///
    /// # Panics
    ///
    /// If the dimension is 0 or above [`vecstore_quant::DIM_MAX`].
    #[must_use]
    pub fn new(distance: Distance, dim: usize, links_max: usize, seed: u64) -> Self {
        let blocks = links_max.div_ceil(NEIGHBOURS_MAX).max(1);
        Self { codec: NeighbourCodec::new(distance, dim, seed), blocks }
    }

    /// Bytes of a record of such a layout.
    #[must_use]
    pub const fn bytes_of(dim: usize, links_max: usize) -> usize {
        let blocks = links_max.div_ceil(NEIGHBOURS_MAX);
        let blocks = if blocks == 0 { 1 } else { blocks };
        blocks * (NEIGHBOURS_MAX * LINK_BYTES + NeighbourCodec::bytes_of(dim))
    }

    /// The codec of the blocks. It rotates vectors for [`LinkedLayout::encode`].
    #[must_use]
    pub fn codec(&self) -> &NeighbourCodec {
        &self.codec
    }

    /// A query for the records of nodes, from a prepared vector. Its estimates are a deviation above what is
    /// likely.
    ///
    /// # Panics
    ///
    /// If the vector is not of the layout's dimension.
    #[must_use]
    pub fn query(&self, prepared: &[f32]) -> NeighbourScorer {
        self.codec.query(prepared, DEVIATIONS)
    }

    /// The most links of a record.
    #[must_use]
    pub fn links_max(&self) -> usize {
        self.blocks * NEIGHBOURS_MAX
    }

    /// Bytes of a record, a multiple of 64.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.links_max() * LINK_BYTES + self.blocks * self.codec.block_bytes()
    }

    /// Writes the record of a node. `rotated` writes the vector of a point, rotated by
    /// [`NeighbourCodec::rotate`], into a slice of [`NeighbourCodec::rotated_dim`] components.
    ///
    /// # Panics
    ///
    /// If there are more links than [`LinkedLayout::links_max`], or the record has another length.
    pub fn encode(&self, node: u32, links: &[u32], rotated: impl Fn(u32, &mut [f32]), record: &mut [u8]) {
        assert_eq!(record.len(), self.record_bytes(), "a record of the layout's length");
        assert!(links.len() <= self.links_max(), "at most {} links", self.links_max());
        let (places, blocks) = record.split_at_mut(self.links_max() * LINK_BYTES);
        let all = links.iter().copied().chain(std::iter::repeat(node));
        for (place, link) in places.chunks_exact_mut(LINK_BYTES).zip(all) {
            place.copy_from_slice(&link.to_le_bytes());
        }
        let mut own = vec![0.0; self.codec.rotated_dim()];
        let mut neighbour = own.clone();
        rotated(node, &mut own);
        blocks.fill(0);
        let blocks = blocks.chunks_exact_mut(self.codec.block_bytes());
        for (links, block) in links.chunks(NEIGHBOURS_MAX).zip(blocks) {
            for (place, &link) in links.iter().enumerate() {
                rotated(link, &mut neighbour);
                self.codec.encode(&own, &neighbour, place, block);
            }
        }
    }

    /// Checks that the links of a record lead to points. A search must not expand a record that fails.
    ///
    /// # Errors
    ///
    /// The first link that does not.
    pub fn check(&self, record: &[u8], points: u32) -> Result<(), LinkedRecordError> {
        match self.links(record).find(|&link| link >= points) {
            Some(link) => Err(LinkedRecordError { link, points }),
            None => Ok(()),
        }
    }

    /// The links of a record. Places that are not used lead to the node itself.
    ///
    /// # Panics
    ///
    /// If the record is shorter than [`LinkedLayout::record_bytes`].
    #[inline]
    pub fn links<'r>(&self, record: &'r [u8]) -> impl ExactSizeIterator<Item = u32> + use<'r> {
        let (links, _) = record[..self.links_max() * LINK_BYTES].as_chunks::<LINK_BYTES>();
        links.iter().map(|link| u32::from_le_bytes(*link))
    }

    /// Hands each link to `sink` whose point has an estimated score above the threshold, with the estimate.
    /// `node_score` is the score of the node itself.
    ///
    /// # Panics
    ///
    /// If the record is not of [`LinkedLayout::record_bytes`], or the scorer is of another codec.
    #[inline]
    pub fn estimate(
        &self,
        scorer: &NeighbourScorer,
        record: &[u8],
        node_score: f32,
        threshold: f32,
        mut sink: impl FnMut(u32, f32),
    ) {
        let mut scores = [0.0; NEIGHBOURS_MAX];
        for (links, block) in self.blocks(record) {
            let mut above = scorer.estimate(block, node_score, threshold, &mut scores);
            while above != 0 {
                let place = above.trailing_zeros() as usize;
                sink(u32::from_le_bytes(links[place]), scores[place]);
                above &= above - 1;
            }
        }
    }

    /// Hands each link to `sink` with an estimated score and the deviation that it is above what is likely.
    /// `node_score` is the score of the node itself.
    ///
    /// # Panics
    ///
    /// As [`LinkedLayout::estimate`].
    pub fn estimate_all(
        &self,
        scorer: &NeighbourScorer,
        record: &[u8],
        node_score: f32,
        mut sink: impl FnMut(u32, f32, f32),
    ) {
        let (mut scores, mut deviations) = ([0.0; NEIGHBOURS_MAX], [0.0; NEIGHBOURS_MAX]);
        for (links, block) in self.blocks(record) {
            let _ = scorer.estimate(block, node_score, f32::NEG_INFINITY, &mut scores);
            scorer.deviations(block, node_score, &mut deviations);
            for (link, (score, deviation)) in links.iter().zip(scores.iter().zip(&deviations)) {
                sink(u32::from_le_bytes(*link), *score, *deviation);
            }
        }
    }

    /// The links of a record in blocks, each with its codes.
    #[inline]
    fn blocks<'r>(
        &self,
        record: &'r [u8],
    ) -> impl Iterator<Item = (&'r [[u8; LINK_BYTES]; NEIGHBOURS_MAX], &'r [u8])> + use<'r> {
        let (links, blocks) = record.split_at(self.links_max() * LINK_BYTES);
        let (links, _) = links.as_chunks::<LINK_BYTES>();
        let (links, _) = links.as_chunks::<NEIGHBOURS_MAX>();
        links.iter().zip(blocks.chunks_exact(self.codec.block_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vecstore_quant::SplitMix64;

    /// Vectors, and the same rotated.
    fn vectors(codec: &NeighbourCodec, dim: usize, count: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let mut random = SplitMix64::new(1, 0);
        let vectors: Vec<Vec<f32>> = (0..count)
            .map(|_| {
                let mut vector: Vec<f32> = (0..dim).map(|_| random.normal()).collect();
                Distance::Cosine.prepare(&mut vector);
                vector
            })
            .collect();
        let rotated = vectors.iter().map(|vector| {
            let mut rotated = vec![0.0; codec.rotated_dim()];
            codec.rotate(vector, &mut rotated);
            rotated
        });
        let rotated = rotated.collect();
        (vectors, rotated)
    }

    #[test]
    fn links_and_estimates_come_back() {
        for (links_max, count) in [(32, 20), (32, 32), (8, 5), (40, 33), (64, 64), (64, 0)] {
            let layout = LinkedLayout::new(Distance::Cosine, 96, links_max, 7);
            assert!(layout.links_max() >= links_max && layout.record_bytes().is_multiple_of(64));
            let (vectors, rotated) = vectors(layout.codec(), 96, 100);
            let links: Vec<u32> = (0..count).map(|link| link * 3 % 99 + 1).collect();
            let mut record = vec![0xA5; layout.record_bytes()];
            layout.encode(
                0,
                &links,
                |point, vector| vector.copy_from_slice(&rotated[point as usize]),
                &mut record,
            );
            let found: Vec<u32> = layout.links(&record).collect();
            assert_eq!(found[..links.len()], links);
            assert!(found[links.len()..].iter().all(|&link| link == 0));
            assert_eq!(layout.check(&record, 100), Ok(()));

            let query = &vectors[50];
            let own = Distance::Cosine.score(query, &vectors[0]);
            let mut scored = Vec::new();
            layout.estimate(
                &layout.codec().query(query, 0.0),
                &record,
                own,
                f32::NEG_INFINITY,
                |link, score| {
                    scored.push((link, score));
                },
            );
            assert_eq!(scored.len(), layout.links_max());
            let mut all = Vec::new();
            let (likely, above) = (layout.codec().query(query, 0.0), layout.codec().query(query, 2.0));
            layout.estimate_all(&above, &record, own, |link, score, deviation| {
                all.push((link, score, deviation));
            });
            let links_of = |all: &[(u32, f32, f32)]| all.iter().map(|all| all.0).collect::<Vec<u32>>();
            assert_eq!(links_of(&all), found);
            let mut place = 0;
            layout.estimate(&likely, &record, own, f32::NEG_INFINITY, |_, expected| {
                let (_, score, deviation) = all[place];
                assert!((score - deviation - expected).abs() < 1e-5, "{score} - {deviation} for {expected}");
                place += 1;
            });
            for (&(link, score), &expected) in scored.iter().zip(&links) {
                assert_eq!(link, expected);
                // About seven standard deviations at this dimension.
                let exact = Distance::Cosine.score(query, &vectors[link as usize]);
                assert!((score - exact).abs() < 0.75, "{score} for {exact}");
            }
        }
    }

    #[test]
    fn links_beyond_the_points_are_found() {
        let layout = LinkedLayout::new(Distance::Cosine, 8, 4, 7);
        let (_, rotated) = vectors(layout.codec(), 8, 10);
        let mut record = vec![0; layout.record_bytes()];
        layout.encode(
            1,
            &[2, 9, 3],
            |point, vector| vector.copy_from_slice(&rotated[point as usize]),
            &mut record,
        );
        assert_eq!(layout.check(&record, 10), Ok(()));
        assert_eq!(layout.check(&record, 9), Err(LinkedRecordError { link: 9, points: 9 }));
    }
}
