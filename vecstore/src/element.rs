//! Vectors in the element type of a collection: checked and encoded when written, decoded when read.

use crate::error::InputError;
use crate::point::PointId;
use half::f16;
use vecstore_format::ElementType;
use vecstore_quant::OriginalScorer;

/// Appends a vector's bytes in the element type, little-endian.
pub(crate) fn encode(
    id: PointId,
    vector: &[f32],
    element: ElementType,
    out: &mut Vec<u8>,
) -> Result<(), InputError> {
    for (component, &value) in vector.iter().enumerate() {
        let not_finite = |element| InputError::NotFinite { id, component, value, element };
        if !value.is_finite() {
            return Err(not_finite(""));
        }
        match element {
            ElementType::F32 => out.extend_from_slice(&value.to_le_bytes()),
            ElementType::F16 => {
                let half = f16::from_f32(value);
                if !half.is_finite() {
                    return Err(not_finite("f16"));
                }
                out.extend_from_slice(&half.to_le_bytes());
            }
            ElementType::U8 => {
                if !(0.0..=255.0).contains(&value) || value.fract() != 0.0 {
                    return Err(InputError::NotAByte { id, component, value });
                }
                out.push(value as u8);
            }
        }
    }
    Ok(())
}

/// Decodes the components of a vector.
pub(crate) fn decode(element: ElementType, bytes: &[u8]) -> Vec<f32> {
    let mut vector = vec![0.0; bytes.len() / element.bytes() as usize];
    decode_into(element, bytes, &mut vector);
    vector
}

/// As [`decode`], into a vector of the same length.
pub(crate) fn decode_into(element: ElementType, bytes: &[u8], vector: &mut [f32]) {
    match element {
        ElementType::F32 => {
            for (component, bytes) in vector.iter_mut().zip(bytes.as_chunks().0) {
                *component = f32::from_le_bytes(*bytes);
            }
        }
        ElementType::F16 => {
            for (component, bytes) in vector.iter_mut().zip(bytes.as_chunks().0) {
                *component = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        ElementType::U8 => {
            for (component, &byte) in vector.iter_mut().zip(bytes) {
                *component = f32::from(byte);
            }
        }
    }
}

/// The score of a vector's bytes. They must be aligned for their type.
#[inline]
pub(crate) fn score(element: ElementType, bytes: &[u8], scorer: &OriginalScorer) -> f32 {
    match element {
        ElementType::F32 => scorer.score_f32(bytemuck::cast_slice(bytes)),
        ElementType::F16 => scorer.score_f16(bytemuck::cast_slice(bytes)),
        ElementType::U8 => scorer.score_u8(bytes),
    }
}

/// Vectors of one dimension in memory, in their element type.
#[derive(Clone, Debug)]
pub(crate) struct Vectors {
    element: ElementType,
    dim: usize,
    /// Aligned for every element type.
    words: Vec<f32>,
    /// Words of a vector.
    stride: usize,
}

impl Vectors {
    pub(crate) fn new(element: ElementType, dim: usize) -> Self {
        let stride = (dim * element.bytes() as usize).div_ceil(4);
        Self { element, dim, words: Vec::new(), stride }
    }

    /// `len` vectors of zeros.
    pub(crate) fn with_len(element: ElementType, dim: usize, len: usize) -> Self {
        let mut vectors = Self::new(element, dim);
        vectors.words = vec![0.0; len * vectors.stride];
        vectors
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len() / self.stride
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let index = self.len();
        self.words.resize(self.words.len() + self.stride, 0.0);
        self.set(index, bytes);
    }

    pub(crate) fn set(&mut self, index: usize, bytes: &[u8]) {
        let words = &mut self.words[index * self.stride..][..self.stride];
        bytemuck::cast_slice_mut::<f32, u8>(words)[..bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn bytes(&self, index: usize) -> &[u8] {
        let words = &self.words[index * self.stride..][..self.stride];
        &bytemuck::cast_slice::<f32, u8>(words)[..self.dim * self.element.bytes() as usize]
    }

    pub(crate) fn score(&self, index: usize, scorer: &OriginalScorer) -> f32 {
        score(self.element, self.bytes(index), scorer)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PointId = PointId::Num(3);

    #[test]
    fn vectors_come_back_and_what_does_not_fit_is_named() {
        let vector = [1.0, 0.0, 255.0, 7.0, 9.0];
        for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
            let mut bytes = Vec::new();
            encode(ID, &vector, element, &mut bytes).unwrap();
            assert_eq!(bytes.len(), 5 * element.bytes() as usize);
            assert_eq!(decode(element, &bytes), vector);
            let mut vectors = Vectors::new(element, 5);
            vectors.push(&bytes);
            vectors.push(&bytes);
            vectors.set(0, &vec![0; bytes.len()]);
            assert_eq!((vectors.len(), vectors.bytes(1)), (2, bytes.as_slice()));
            let scorer = OriginalScorer::new(vecstore_quant::Distance::Dot, &[1.0, 0.0, 1.0, 0.0, 0.0]);
            assert_eq!((vectors.score(0, &scorer), vectors.score(1, &scorer)), (0.0, 256.0));
        }
        let error =
            |element, value| encode(ID, &[0.0, value], element, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error(ElementType::F32, f32::NAN), "point 3: component 1 is NaN, which is not finite");
        assert_eq!(
            error(ElementType::F16, 70_000.0),
            "point 3: component 1 is 70000, which is not finite as f16"
        );
        for value in [-1.0, 0.5, 256.0] {
            assert!(error(ElementType::U8, value).contains("whole numbers from 0 to 255"));
        }
    }
}
