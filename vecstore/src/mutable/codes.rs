//! int8 codes of the points in memory. They bound the scores, so a search scores few vectors.
//!
//! Scoring a code takes a quarter of the bytes, in one pass. A vector under cosine takes two passes.

use crate::element;
use crate::schema::Schema;
use roaring::RoaringBitmap;
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_quant::Distance;
use vecstore_quant::{Codec, Quantization, train};

/// Points scored at a time: their scores and records stay in the first caches.
const BATCH: usize = 64;
/// The int8 code of each slot. Of all codecs, only int8 has a bound that always holds.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    codec: Arc<dyn Codec>,
    distance: Distance,
    element: ElementType,
    records: Vec<u8>,
    /// The lengths of the prepared vectors.
    lengths: Vec<f32>,
    /// A vector on the way to its code.
    prepared: Vec<f32>,
}

impl Codes {
    /// `None` for u8, whose vectors are as short as codes.
    pub(super) fn new(schema: &Schema) -> Option<Self> {
        let (distance, element, dim) = (schema.distance, schema.element, schema.dim as usize);
        (element != ElementType::U8).then(|| Self {
            codec: train(Quantization::Int8, distance, dim, &[], 0, 0).into(),
            distance,
            element,
            records: Vec::new(),
            lengths: Vec::new(),
            prepared: vec![0.0; dim],
        })
    }

    /// Encodes the vector of an existing slot, or of the next one.
    pub(super) fn set(&mut self, slot: u32, vector: &[u8]) {
        element::decode_into(self.element, vector, &mut self.prepared);
        self.distance.prepare(&mut self.prepared);
        let (slot, record_bytes) = (slot as usize, self.codec.record_bytes());
        if slot == self.lengths.len() {
            self.records.resize(self.records.len() + record_bytes, 0);
            self.lengths.push(0.0);
        }
        self.codec.encode(&self.prepared, &mut self.records[slot * record_bytes..][..record_bytes]);
        self.lengths[slot] = length(&self.prepared);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.records.len() + self.lengths.len() * size_of::<f32>()
    }

    /// Calls `each` for each point, with an upper bound of the score that [`vecstore_quant::OriginalScorer`]
    /// computes of its vector.
    pub(super) fn at_most(
        &self,
        points: &RoaringBitmap,
        prepared_query: &[f32],
        mut each: impl FnMut(u32, f32),
    ) {
        let scorer = self.codec.query(prepared_query);
        let query_length = length(prepared_query);
        // Rounding of a sum over the components, relative to the sum of their sizes.
        let rounding = (prepared_query.len() + 8) as f32 * f32::EPSILON;
        let record_bytes = self.codec.record_bytes();
        let (mut batch, mut scores) = ([0; BATCH], [0.0; BATCH]);
        let mut points = points.iter();
        loop {
            let batch = fill(&mut batch, &mut points);
            if batch.is_empty() {
                return;
            }
            scorer.score_many(&self.records, batch, &mut scores);
            for (&slot, &score) in batch.iter().zip(&scores) {
                let (record, length) = (
                    &self.records[slot as usize * record_bytes..][..record_bytes],
                    self.lengths[slot as usize],
                );
                let bound = scorer.bound(record, score).expect("int8 has a bound");
                let added_up = match self.distance {
                    Distance::Cosine | Distance::Dot => query_length * length,
                    Distance::Euclid => score.abs() + bound,
                };
                let at_most = score + bound + rounding * added_up;
                each(slot, if bound.is_finite() { at_most } else { f32::INFINITY });
            }
        }
    }
}

/// The next points, as many as there are places, or all that are left.
fn fill<'a>(places: &'a mut [u32], points: &mut impl Iterator<Item = u32>) -> &'a [u32] {
    let mut count = 0;
    for (place, point) in places.iter_mut().zip(points) {
        *place = point;
        count += 1;
    }
    &places[..count]
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::PointId;
    use proptest::prelude::*;
    use vecstore_quant::OriginalScorer;

    fn schema(dim: usize, distance: Distance, element: ElementType) -> Schema {
        Schema { distance, element, ..Schema::new(dim as u32) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// No vector scores above its bound, whatever its size and mean.
        #[test]
        fn no_score_is_above_what_it_is_at_most(
            dim in 1usize..80,
            seed: u64,
            exponents in (-42i32..38, -42i32..38),
            shift in prop_oneof![Just(0.0f32), -3f32..3.0],
            count in 1usize..150,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut vector = |exponent: i32| -> Vec<f32> {
                let size = 10f64.powi(exponent);
                (0..dim).map(|_| (size * f64::from(random.f32() - 0.5 + shift)) as f32).collect()
            };
            let query = vector(exponents.0);
            for element in [ElementType::F32, ElementType::F16] {
                let exponent = if element == ElementType::F16 { exponents.1 % 4 } else { exponents.1 };
                for distance in Distance::ALL {
                    let mut codes = Codes::new(&schema(dim, distance, element)).unwrap();
                    let scorer = OriginalScorer::new(distance, &query);
                    let mut scores = Vec::new();
                    for slot in 0..count as u32 {
                        // Each is replaced once.
                        let mut bytes = Vec::new();
                        element::encode(PointId::Num(0), &vector(exponent), element, &mut bytes).unwrap();
                        codes.set(slot, &bytes);
                        let mut bytes = Vec::new();
                        element::encode(PointId::Num(0), &vector(exponent), element, &mut bytes).unwrap();
                        codes.set(slot, &bytes);
                        let mut vectors = element::Vectors::new(element, dim);
                        vectors.push(&bytes);
                        scores.push(vectors.score(0, &scorer));
                    }
                    let odd: RoaringBitmap = (0..count as u32).filter(|slot| slot % 2 == 1).collect();
                    let mut seen = Vec::new();
                    codes.at_most(&odd, scorer.query(), |slot, at_most| seen.push((slot, at_most)));
                    prop_assert_eq!(seen.iter().map(|seen| seen.0).collect::<RoaringBitmap>(), odd.clone());
                    prop_assert_eq!(seen.len() as u64, odd.len());
                    for (slot, at_most) in seen {
                        let score = scores[slot as usize];
                        prop_assert!(score.is_nan() && at_most == f32::INFINITY || score <= at_most,
                            "{distance}: {score}, at most {at_most}");
                    }
                }
            }
        }
    }

    /// A component too small for the code counts when the query is long.
    #[test]
    fn short_vectors_and_queries_beside_long_ones_are_not_ruled_out() {
        let steps: Vec<f32> =
            (0..2000).map(|i| if i < 2 { 1.0 } else { 5e-5 } * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let signs: Vec<f32> = steps.iter().map(|x| 1e-25 * x.signum()).collect();
        for (query, stored) in
            [(vec![1e-41, -1e-41], vec![1e10, -1e10]), (vec![1e14, -1e14], vec![1e-43, 0.0]), (steps, signs)]
        {
            let scorer = OriginalScorer::new(Distance::Dot, &query);
            let mut codes = Codes::new(&schema(query.len(), Distance::Dot, ElementType::F32)).unwrap();
            codes.set(0, bytemuck::cast_slice(&stored));
            codes.at_most(&RoaringBitmap::from([0]), scorer.query(), |_, at_most| {
                assert!(at_most >= scorer.score_f32(&stored), "{at_most}");
            });
        }
    }

    /// An infinite bound would pass the tests above.
    #[test]
    fn what_a_vector_scores_at_most_is_near_its_score() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut vector = || -> Vec<f32> { (0..256).map(|_| random.f32() - 0.5).collect() };
        for distance in Distance::ALL {
            let scorer = OriginalScorer::new(distance, &vector());
            let mut codes = Codes::new(&schema(256, distance, ElementType::F32)).unwrap();
            let stored = vector();
            codes.set(0, bytemuck::cast_slice(&stored));
            let mut given = None;
            codes.at_most(&RoaringBitmap::from([0]), scorer.query(), |_, at_most| given = Some(at_most));
            // A code is off by half a step at most, which is a 510th of the range. The errors of 256
            // components do not all have one direction.
            let size = if distance == Distance::Cosine { 1.0 } else { 256.0 / 12.0 };
            let above = (given.unwrap() - scorer.score_f32(&stored)) / size;
            assert!((0.0..0.03).contains(&above), "{distance}: {above}");
        }
    }
}
