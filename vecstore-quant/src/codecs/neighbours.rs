//! Codes of the neighbours of a node of a graph, one bit a component. One fast scan estimates the scores of
//! all neighbours. The idea is that of SymphonyQG (Gou et al., arXiv 2411.12229), and the codes are those of
//! RaBitQ (Gao and Long, arXiv 2405.12497).
//!
//! Let `v` be the node's vector, `u` a neighbour's, and `r = u - v`. All vectors are rotated alike. The code
//! of `u` is the side of zero of each component of `r`: a grid point `g` with components of plus or minus a
//! half. For any vector `p`, `<p, r>` is estimated as in [`super::rotated`]:
//!
//! ```text
//! <p, g> * f    where f = |r|² / <g, r>
//! ```
//!
//! The score of the node itself is known when its neighbours are scored. So only the rest of the query is
//! estimated, which is `p = q - t v` for some `t`:
//!
//! ```text
//! <q, u> = <q, v> + t <v, r> + <q - t v, r>
//!        ≈ <q, v> + t (<v, r> - f <v, g>) + f <q, g>
//! |q - u|² = |q - v|² + |r|² - 2 <q - v, r>
//!        ≈ |q - v|² + |r|² + 2 f <v, g> - 2 f <q, g>
//! ```
//!
//! Under a dot product, `t v` is the part of `q` along `v`, which makes the rest as short as possible. So `t`
//! is the score of the node over `|v|²`. Under a Euclidean distance, `t` is 1: a search ends near the query.
//!
//! The error of an estimate has a deviation of about `0.3 f |p|`. The sine of the angle between a random
//! direction and its code is `sqrt(1 - 2 / pi)`. The length of `g` is half the root of the dimension. A
//! scorer may add some deviations. Its estimates then say what a score may well be.
//!
//! So a neighbour needs two numbers beside its code. The factor multiplies `<q, g>`. The constant depends on
//! the node and the neighbour alone. Under a dot product it is divided by `|v|²`.
//!
//! ```text
//! block: 32 factors f32 | 32 constants f32 | the codes, as `kernels::blocks` lays them out
//! ```

use super::finite;
use super::rotation::Rotation;
use super::scalar::DIM_MAX;
use crate::distance::Distance;
use crate::kernels::{
    BLOCK_CODES, FastScan, GROUP_NIBBLES, Kernels, Line, TABLE_MAX, Weigh, block_bytes, put_nibble,
};

/// Neighbours of a node that have a code.
pub const NEIGHBOURS_MAX: usize = BLOCK_CODES;

/// Components in a nibble.
const PER_NIBBLE: usize = 4;
/// The deviation of an estimate, for a factor and a rest of the query of 1: `sqrt(1 - 2 / pi) / 2`.
const DEVIATION: f32 = 0.3014;
/// Bytes of the two numbers of each neighbour.
const PARAMS_BYTES: usize = BLOCK_CODES * 8;

/// Encodes the neighbours of nodes, and prepares queries that score them.
///
/// The seed decides everything, so there is no model to store.
#[derive(Clone, Debug)]
pub struct NeighbourCodec {
    distance: Distance,
    dim: usize,
    rotation: Rotation,
}

impl NeighbourCodec {
    /// A codec for prepared vectors of `dim` components.
    ///
    /// # Panics
    ///
    /// If the dimension is 0 or above [`DIM_MAX`].
    #[must_use]
    pub fn new(distance: Distance, dim: usize, seed: u64) -> Self {
        assert!((1..=DIM_MAX).contains(&dim), "vectors of codes have 1 to {DIM_MAX} components");
        let rotated_dim = dim.next_multiple_of(PER_NIBBLE * GROUP_NIBBLES);
        Self { distance, dim, rotation: Rotation::new(rotated_dim, seed) }
    }

    /// Components of a rotated vector: those of a vector, and more to fill a group of the block.
    #[must_use]
    pub fn rotated_dim(&self) -> usize {
        self.dim.next_multiple_of(PER_NIBBLE * GROUP_NIBBLES)
    }

    /// Bytes of the block of a node.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        Self::bytes_of(self.dim)
    }

    /// Bytes of the block of a node, for vectors of `dim` components.
    #[must_use]
    pub const fn bytes_of(dim: usize) -> usize {
        PARAMS_BYTES + block_bytes(dim.div_ceil(PER_NIBBLE))
    }

    /// Rotates a prepared vector, as [`NeighbourCodec::encode`] takes it. `rotated` has
    /// [`NeighbourCodec::rotated_dim`] components.
    ///
    /// # Panics
    ///
    /// If one of the lengths is wrong.
    pub fn rotate(&self, prepared: &[f32], rotated: &mut [f32]) {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        let (start, filled) = rotated.split_at_mut(self.dim);
        start.copy_from_slice(prepared);
        filled.fill(0.0);
        self.rotation.apply(rotated);
    }

    /// Writes one neighbour's part of a node's block, from the rotated vectors of both. `place` is its place
    /// among the neighbours. The block was all zeros there before; places that stay so get no sensible score.
    ///
    /// # Panics
    ///
    /// If the place is not below [`NEIGHBOURS_MAX`], or one of the lengths is wrong.
    pub fn encode(&self, node: &[f32], neighbour: &[f32], place: usize, block: &mut [u8]) {
        assert_eq!(block.len(), self.block_bytes(), "a block of the codec's length");
        assert_eq!(node.len(), self.rotated_dim(), "a rotated vector");
        assert!(place < NEIGHBOURS_MAX, "a place among {NEIGHBOURS_MAX} neighbours");
        let (params, codes) = block.split_at_mut(PARAMS_BYTES);
        let (factors, constants) = params.split_at_mut(PARAMS_BYTES / 2);
        let residual =
            Residual::new(node, neighbour, |nibble, value| put_nibble(codes, place, nibble, value));
        let (factor, constant) = residual.params(self.distance);
        factors[place * 4..][..4].copy_from_slice(&factor.to_le_bytes());
        constants[place * 4..][..4].copy_from_slice(&constant.to_le_bytes());
    }

    /// A query that scores blocks, from a prepared vector. Its estimates are `deviations` of their error
    /// above what is likely.
    ///
    /// # Panics
    ///
    /// If the vector is not of this dimension.
    #[must_use]
    pub fn query(&self, prepared: &[f32], deviations: f32) -> NeighbourScorer {
        let mut rotated = vec![0.0; self.rotated_dim()];
        self.rotate(prepared, &mut rotated);
        NeighbourScorer::new(self.distance, &rotated, deviations)
    }
}

/// Sums over the components of a residual.
struct Residual {
    norm_sq: f64,
    /// `<g, r>`
    grid: f64,
    /// `<v, g>`
    node_grid: f64,
    /// `<v, r>`
    node: f64,
    /// `|v|²`
    node_sq: f64,
}

impl Residual {
    /// Hands the nibbles of the code to `put`. Sums in a fixed order, so that a code is the same everywhere.
    fn new(node: &[f32], neighbour: &[f32], mut put: impl FnMut(usize, u8)) -> Self {
        /// Partial sums, so that a compiler can use vector registers.
        const PARTS: usize = PER_NIBBLE * GROUP_NIBBLES;
        assert_eq!(node.len(), neighbour.len(), "rotated vectors of one length");
        let mut sums = [[0.0f32; PARTS]; 5];
        let (node, neighbour) = (node.as_chunks::<PARTS>().0, neighbour.as_chunks::<PARTS>().0);
        for (group, (node, neighbour)) in node.iter().zip(neighbour).enumerate() {
            let mut is_above = [0u8; PARTS];
            for part in 0..PARTS {
                let (v, r) = (node[part], neighbour[part] - node[part]);
                let above = r > 0.0;
                is_above[part] = u8::from(above);
                let g = if above { 0.5 } else { -0.5 };
                sums[0][part] += r * r;
                sums[1][part] += g * r;
                sums[2][part] += g * v;
                sums[3][part] += v * r;
                sums[4][part] += v * v;
            }
            for (nibble, bits) in is_above.as_chunks::<PER_NIBBLE>().0.iter().enumerate() {
                let value = bits.iter().rev().fold(0, |value, bit| value << 1 | bit);
                put(group * GROUP_NIBBLES + nibble, value);
            }
        }
        let [norm_sq, grid, node_grid, node, node_sq] =
            sums.map(|parts| parts.into_iter().map(f64::from).sum::<f64>());
        Self { norm_sq, grid, node_grid, node, node_sq }
    }

    /// The factor of `<q, g>`, and the constant.
    fn params(&self, distance: Distance) -> (f32, f32) {
        // A neighbour at the node's own place has the node's score.
        let factor = if self.grid > 0.0 { self.norm_sq / self.grid } else { 0.0 };
        let (factor, constant) = match distance {
            // Nothing lies along a node at zero.
            Distance::Cosine | Distance::Dot if self.node_sq == 0.0 => (factor, 0.0),
            Distance::Cosine | Distance::Dot => {
                (factor, (self.node - factor * self.node_grid) / self.node_sq)
            }
            Distance::Euclid => (2.0 * factor, -self.norm_sq - 2.0 * factor * self.node_grid),
        };
        // Squares beyond the range of `f32` tell nothing. The estimate is then the score of the node.
        if factor.is_finite() && constant.is_finite() {
            (finite(factor), finite(constant))
        } else {
            (0.0, 0.0)
        }
    }
}

/// Estimates the scores of all neighbours of a node for one query.
#[derive(Clone, Debug)]
pub struct NeighbourScorer {
    distance: Distance,
    tables: Vec<[u8; 16]>,
    /// The value of one step of an entry.
    step: f32,
    /// What `<q, g>` is beside the steps.
    base: f32,
    /// `|q|²`
    norm_sq: f32,
    /// What is added to `<q, g>`, for a rest of the query of length 1.
    margin: f32,
    scan: FastScan,
    weigh: Weigh,
}

impl NeighbourScorer {
    fn new(distance: Distance, rotated: &[f32], deviations: f32) -> Self {
        let (parts, _) = rotated.as_chunks::<PER_NIBBLE>();
        let range = |part: &[f32; PER_NIBBLE]| part.iter().map(|x| x.abs()).sum::<f32>();
        let widest = parts.iter().map(range).fold(0.0, f32::max);
        let step = widest / f32::from(TABLE_MAX);
        // From steps to whole numbers. A query of zeros, or beyond the range of `f32`, has no steps.
        let per_step = if step > 0.0 && step.is_finite() { step.recip() } else { 0.0 };
        let tables = parts.iter().map(|part| table(part, per_step)).collect();
        let base = -0.5 * parts.iter().map(range).sum::<f32>();
        let norm_sq = parts.iter().flatten().map(|x| x * x).sum();
        let margin = deviations * DEVIATION;
        let Kernels { fast_scan: scan, weigh, .. } = *Kernels::get();
        Self { distance, tables, step, base, norm_sq, margin, scan, weigh }
    }

    /// Whether estimates mean anything. They do not if the query is so long that its square, or the sums of
    /// its rotated components, leave the range of `f32`.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.base.is_finite() && self.norm_sq.is_finite()
    }

    /// The length of what is left of the query beside a node with this score. An upper limit of it under a
    /// dot product, because the length of the node is not known.
    fn rest(&self, node_score: f32) -> f32 {
        let square = match self.distance {
            Distance::Cosine => self.norm_sq - node_score * node_score,
            Distance::Dot => self.norm_sq,
            Distance::Euclid => -node_score,
        };
        square.max(0.0).sqrt()
    }

    /// Writes estimates of the scores of a node's neighbours, with the deviations that the query adds.
    /// `node_score` is the score of the node itself. Returns a bit for each estimate above the threshold, the
    /// lowest for the first neighbour.
    ///
    /// # Panics
    ///
    /// If the block is not of [`NeighbourCodec::block_bytes`].
    pub fn estimate(
        &self,
        block: &[u8],
        node_score: f32,
        threshold: f32,
        scores: &mut [f32; NEIGHBOURS_MAX],
    ) -> u32 {
        let (params, codes) = block.split_at(PARAMS_BYTES);
        let mut sums = [0; BLOCK_CODES];
        (self.scan)(codes, &self.tables, &mut sums);
        let along = match self.distance {
            Distance::Cosine | Distance::Dot => node_score,
            Distance::Euclid => 1.0,
        };
        let base = self.base + self.margin * self.rest(node_score);
        let line = Line { start: node_score, along, step: self.step, base };
        let (params, _) = params.as_chunks::<4>();
        let (params, _) = params.as_chunks::<BLOCK_CODES>();
        (self.weigh)(&line, &params[0], &params[1], &sums, threshold, scores)
    }

    /// Writes how much of each estimate of the same block is the deviations that the query adds.
    ///
    /// # Panics
    ///
    /// If the block is shorter than [`NeighbourCodec::block_bytes`].
    pub fn deviations(&self, block: &[u8], node_score: f32, deviations: &mut [f32; NEIGHBOURS_MAX]) {
        let margin = self.margin * self.rest(node_score);
        let (factors, _) = block[..PARAMS_BYTES / 2].as_chunks::<4>();
        for (deviation, factor) in deviations.iter_mut().zip(factors) {
            *deviation = f32::from_le_bytes(*factor) * margin;
        }
    }
}

/// The table of a nibble: for each choice of components, their sum in steps above the least sum.
#[inline]
fn table(&[a, b, c, d]: &[f32; PER_NIBBLE], per_step: f32) -> [u8; 16] {
    let least = (a.min(0.0) + b.min(0.0)) + (c.min(0.0) + d.min(0.0));
    let (low, high) = ([0.0, a, b, a + b], [0.0, c, d, c + d]);
    let mut steps = [0.0; 16];
    for (row, high) in steps.as_chunks_mut::<4>().0.iter_mut().zip(high) {
        for (step, low) in row.iter_mut().zip(low) {
            *step = (low + high - least) * per_step + 0.5;
        }
    }
    // The cast saturates.
    steps.map(|steps| steps.min(f32::from(TABLE_MAX)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn random_vector(random: &mut SplitMix64, dim: usize, distance: Distance) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dim).map(|_| random.normal()).collect();
        distance.prepare(&mut vector);
        vector
    }

    fn near(random: &mut SplitMix64, vector: &[f32], distance: Distance, spread: f32) -> Vec<f32> {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = spread * length / (vector.len() as f32).sqrt();
        let mut vector: Vec<f32> = vector.iter().map(|x| x + scale * random.normal()).collect();
        distance.prepare(&mut vector);
        vector
    }

    fn rotated(codec: &NeighbourCodec, vector: &[f32]) -> Vec<f32> {
        let mut rotated = vec![0.0; codec.rotated_dim()];
        codec.rotate(vector, &mut rotated);
        rotated
    }

    fn block(codec: &NeighbourCodec, node: &[f32], neighbours: &[Vec<f32>]) -> Vec<u8> {
        let (node, mut block) = (rotated(codec, node), vec![0; codec.block_bytes()]);
        for (place, neighbour) in neighbours.iter().enumerate() {
            codec.encode(&node, &rotated(codec, neighbour), place, &mut block);
        }
        block
    }

    /// Estimates are unbiased over seeds. Their error is that of RaBitQ: the rest of the query times the
    /// residual times the tangent between residual and code, over the root of the dimension.
    #[test]
    fn estimates_are_unbiased_and_as_exact_as_rabitq() {
        for (distance, dim) in Distance::ALL.into_iter().flat_map(|d| [(d, 50), (d, 128), (d, 384)]) {
            let mut random = SplitMix64::new(1, dim as u64);
            let node = random_vector(&mut random, dim, distance);
            let neighbours: Vec<_> = (0..32).map(|_| near(&mut random, &node, distance, 0.8)).collect();
            let query = near(&mut random, &node, distance, 0.9);
            let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let (mut error_sum, mut error_sq, mut expected_sq) = (0.0f64, 0.0f64, 0.0f64);
            const SEEDS: u64 = 40;
            for seed in 0..SEEDS {
                let codec = NeighbourCodec::new(distance, dim, seed);
                let mut scores = [0.0; NEIGHBOURS_MAX];
                let (own, norm) = (distance.score(&query, &node), length(&node));
                codec.query(&query, 0.0).estimate(&block(&codec, &node, &neighbours), own, 0.0, &mut scores);
                for (&score, neighbour) in scores.iter().zip(&neighbours) {
                    let along = if distance == Distance::Euclid { 1.0 } else { own / (norm * norm) };
                    let rest: Vec<f32> = query.iter().zip(&node).map(|(q, v)| q - along * v).collect();
                    let residual: Vec<f32> = neighbour.iter().zip(&node).map(|(u, v)| u - v).collect();
                    let factor = if distance == Distance::Euclid { 2.0 } else { 1.0 };
                    // The tangent for normal components: their squared mean magnitude is 2 / pi.
                    let tangent = (std::f32::consts::PI / 2.0 - 1.0).sqrt();
                    let deviation = factor * length(&rest) * length(&residual) * tangent
                        / (codec.rotated_dim() as f32).sqrt();
                    let error = f64::from(score - distance.score(&query, neighbour));
                    error_sum += error / f64::from(deviation);
                    error_sq += error * error;
                    expected_sq += f64::from(deviation) * f64::from(deviation);
                }
            }
            let count = (SEEDS * 32) as f64;
            let ratio = (error_sq / expected_sq).sqrt();
            assert!((0.8..1.15).contains(&ratio), "{distance}, {dim}: {ratio} of the expected error");
            // Neighbours of a seed share its rotation, so their errors are not independent.
            let mean = error_sum / count;
            assert!(mean.abs() < 0.2, "{distance}, {dim}: mean error {mean}");
        }
    }

    /// Beside the deviations that the previous test finds.
    #[test]
    fn a_query_adds_deviations_of_the_error() {
        for (distance, spread) in Distance::ALL.into_iter().flat_map(|d| [(d, 0.5), (d, 1.0)]) {
            let mut random = SplitMix64::new(6, 0);
            let node = random_vector(&mut random, 384, distance);
            let neighbours: Vec<_> = (0..32).map(|_| near(&mut random, &node, distance, 0.8)).collect();
            let query = near(&mut random, &node, distance, spread);
            let codec = NeighbourCodec::new(distance, 384, 1);
            let block = block(&codec, &node, &neighbours);
            let own = distance.score(&query, &node);
            let [likely, above] = [0.0, 2.0].map(|deviations| {
                let mut scores = [0.0; NEIGHBOURS_MAX];
                codec.query(&query, deviations).estimate(&block, own, 0.0, &mut scores);
                scores
            });
            let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            // A dot product counts the whole query.
            let along = match distance {
                Distance::Cosine => own,
                Distance::Dot => 0.0,
                Distance::Euclid => 1.0,
            };
            let rest: Vec<f32> = query.iter().zip(&node).map(|(q, v)| q - along * v).collect();
            let factor = if distance == Distance::Euclid { 2.0 } else { 1.0 };
            for ((likely, above), neighbour) in likely.iter().zip(&above).zip(&neighbours) {
                let residual: Vec<f32> = neighbour.iter().zip(&node).map(|(u, v)| u - v).collect();
                let tangent = (std::f32::consts::PI / 2.0 - 1.0).sqrt();
                let deviation = factor * length(&rest) * length(&residual) * tangent / 384f32.sqrt();
                let added = (above - likely) / deviation;
                assert!((1.8..2.2).contains(&added), "{distance}, {spread}: {added} deviations of 2");
            }
        }
    }

    #[test]
    fn a_copy_of_the_node_has_its_score() {
        for distance in Distance::ALL {
            let mut random = SplitMix64::new(2, 0);
            let (node, query) =
                (random_vector(&mut random, 40, distance), random_vector(&mut random, 40, distance));
            let codec = NeighbourCodec::new(distance, 40, 3);
            let mut scores = [0.0; NEIGHBOURS_MAX];
            let block = block(&codec, &node, std::slice::from_ref(&node));
            codec.query(&query, 0.0).estimate(&block, 0.25, 0.0, &mut scores);
            assert_eq!(scores[0], 0.25, "{distance}");
        }
    }

    /// All kernels choose the same entries, so an estimate is the same on every machine.
    #[test]
    fn every_kernel_gives_the_same_estimates() {
        let mut random = SplitMix64::new(5, 0);
        let codec = NeighbourCodec::new(Distance::Cosine, 100, 1);
        let node = random_vector(&mut random, 100, Distance::Cosine);
        let neighbours: Vec<_> = (0..20).map(|_| near(&mut random, &node, Distance::Cosine, 1.0)).collect();
        let block = block(&codec, &node, &neighbours);
        let query = codec.query(&random_vector(&mut random, 100, Distance::Cosine), 0.0);
        let estimates: Vec<_> =
            Kernels::all()
                .into_iter()
                .map(|kernels| {
                    let mut scores = [0.0; NEIGHBOURS_MAX];
                    NeighbourScorer { scan: kernels.fast_scan, weigh: kernels.weigh, ..query.clone() }
                        .estimate(&block, 0.5, 0.0, &mut scores);
                    scores
                })
                .collect();
        assert!(estimates.iter().all(|scores| *scores == estimates[0]));
    }

    #[test]
    fn zeros_and_extremes_have_no_nan() {
        for distance in [Distance::Dot, Distance::Euclid] {
            let codec = NeighbourCodec::new(distance, 8, 1);
            for (magnitude, node) in
                [0.0, 1e-30, 1e15, 1e30, 1e38].into_iter().flat_map(|x| [(x, 0.0), (x, x), (x, -x)])
            {
                let block = block(&codec, &[node; 8], &[vec![magnitude; 8], vec![0.0; 8]]);
                for query in [[0.0; 8], [magnitude; 8]] {
                    if !codec.query(&query, 0.0).is_sound() {
                        assert!(magnitude >= 1e30);
                        continue;
                    }
                    let mut scores = [0.0; NEIGHBOURS_MAX];
                    codec.query(&query, 0.0).estimate(&block, 0.0, 0.0, &mut scores);
                    assert!(scores[..2].iter().all(|score| !score.is_nan()), "{distance} {magnitude}");
                }
            }
        }
    }
}
