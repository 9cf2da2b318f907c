//! The methods, under the names that they have in a schema.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A method that turns vectors into codes. In JSON: `"int8"`, `{"int8_global": {"quantile": 0.99}}`,
/// `{"product": {"compression": 16}}` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Quantization {
    /// A byte a component, with the range of each vector.
    #[default]
    Int8,
    /// A byte a component, with one range for all vectors.
    Int8Global {
        /// The part of the components that is within the range. The rest is cut off. The default is 0.99.
        #[serde(default)]
        quantile: Quantile,
    },
    /// Half a byte a component, with the range of each vector.
    Int4,
    /// A byte for several components: the nearest of 256 centroids.
    Product {
        /// Bytes of the vector as `f32` for a byte of the code: 4, 8, 16, 32 or 64. The default is 16.
        #[serde(default)]
        compression: Compression,
    },
    /// A bit a component: the side of the mean on which it lies.
    Binary,
    /// Four bits a component, rotated, with an error bound.
    Rotated4,
    /// Two bits a component, rotated, with an error bound.
    Rotated2,
    /// A bit a component, rotated, with an error bound.
    Rotated1,
}

impl Quantization {
    /// Every method, with its parameter at the default.
    pub const ALL: [Self; 8] = [
        Self::Int8,
        Self::Int8Global { quantile: Quantile::DEFAULT },
        Self::Int4,
        Self::Product { compression: Compression::X16 },
        Self::Binary,
        Self::Rotated4,
        Self::Rotated2,
        Self::Rotated1,
    ];

    /// Its name, without a parameter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int8Global { .. } => "int8_global",
            Self::Int4 => "int4",
            Self::Product { .. } => "product",
            Self::Binary => "binary",
            Self::Rotated4 => "rotated4",
            Self::Rotated2 => "rotated2",
            Self::Rotated1 => "rotated1",
        }
    }

    /// Candidates to rescore for each hit wanted, if a search does not say: 16 at most.
    ///
    /// With so many, these codes find 98 % of what the vectors would find. `benches/RESULTS.md` has the
    /// figures. `binary`, `rotated1` and `product` at x32 and x64 find less if there are few components.
    #[must_use]
    pub fn oversampling(self) -> f32 {
        match self {
            Self::Int8 | Self::Int4 | Self::Rotated4 => 2.0,
            Self::Int8Global { .. } => 4.0,
            Self::Rotated2 => 8.0,
            Self::Product { compression } => match compression {
                Compression::X4 => 2.0,
                Compression::X8 => 4.0,
                Compression::X16 | Compression::X32 | Compression::X64 => 16.0,
            },
            Self::Binary | Self::Rotated1 => 16.0,
        }
    }

    /// Maximum of candidates to rescore while bounds leave undecided which points are the hits, if a search
    /// does not say. `None` if bounds are not certain. A search then rescores only as many as
    /// [`Quantization::oversampling`] says.
    #[must_use]
    pub fn candidates_max(self) -> Option<usize> {
        self.has_certain_bounds().then_some(1000)
    }

    /// Whether the bounds of scores always hold. Those of other codes hold for most scores, or there are
    /// none.
    #[must_use]
    pub fn has_certain_bounds(self) -> bool {
        self == Self::Int8
    }
}

impl fmt::Display for Quantization {
    /// Writes `rotated4` or `product=16`, as it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int8Global { quantile } => write!(f, "{}={}", self.name(), quantile.get()),
            Self::Product { compression } => write!(f, "{}={}", self.name(), u32::from(*compression)),
            _ => f.write_str(self.name()),
        }
    }
}

/// A text that names no method.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownQuantizationError {
    /// No such name.
    #[error("unknown quantization {name:?}: use one of {}", Quantization::ALL.map(Quantization::name).join(", "))]
    Name {
        /// The name given.
        name: String,
    },
    /// A parameter that is no number, or for a method that has none.
    #[error("{method} takes no parameter {parameter:?}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter given.
        parameter: String,
    },
    /// A parameter out of its range.
    #[error(transparent)]
    Invalid(#[from] QuantizationParameterError),
}

impl FromStr for Quantization {
    type Err = UnknownQuantizationError;

    /// Parses a name, and behind an equals sign its parameter, unless that is the default: `int8`,
    /// `int8_global=0.999`, `product=32`.
    fn from_str(text: &str) -> Result<Self, UnknownQuantizationError> {
        let (name, parameter) =
            text.split_once('=').map_or((text, None), |(name, parameter)| (name, Some(parameter)));
        let unknown = || UnknownQuantizationError::Name { name: name.to_owned() };
        let method = Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(unknown)?;
        let Some(parameter) = parameter else { return Ok(method) };
        let wrong =
            || UnknownQuantizationError::Parameter { method: method.name(), parameter: parameter.to_owned() };
        Ok(match method {
            Self::Int8Global { .. } => {
                Self::Int8Global { quantile: parameter.parse::<f32>().map_err(|_| wrong())?.try_into()? }
            }
            Self::Product { .. } => {
                Self::Product { compression: parameter.parse::<u32>().map_err(|_| wrong())?.try_into()? }
            }
            _ => return Err(wrong()),
        })
    }
}

/// A number that a method is not defined for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizationParameterError {
    /// A quantile that leaves no range.
    #[error("a quantile of {0}: use one above 0.5, up to 1")]
    Quantile(f32),
    /// A compression that product codes do not have.
    #[error("a compression of {0}: use one of 4, 8, 16, 32, 64")]
    Compression(u32),
}

/// The part of all components that a range for all vectors covers: above 0.5, up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Quantile(f32);

/// A quantile is never NaN.
impl Eq for Quantile {}

impl Quantile {
    pub(crate) const DEFAULT: Self = Self(0.99);

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl Default for Quantile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<f32> for Quantile {
    type Error = QuantizationParameterError;

    fn try_from(quantile: f32) -> Result<Self, Self::Error> {
        if quantile > 0.5 && quantile <= 1.0 {
            Ok(Self(quantile))
        } else {
            Err(QuantizationParameterError::Quantile(quantile))
        }
    }
}

impl From<Quantile> for f32 {
    fn from(quantile: Quantile) -> Self {
        quantile.0
    }
}

/// How many times shorter product codes are than their vectors of `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Compression {
    /// A byte for each component.
    X4,
    /// A byte for 2 components.
    X8,
    /// A byte for 4 components.
    #[default]
    X16,
    /// A byte for 8 components.
    X32,
    /// A byte for 16 components.
    X64,
}

impl Compression {
    /// Every compression.
    pub const ALL: [Self; 5] = [Self::X4, Self::X8, Self::X16, Self::X32, Self::X64];

    /// Components that share a byte.
    pub(crate) fn components(self) -> usize {
        1 << self as usize
    }
}

impl TryFrom<u32> for Compression {
    type Error = QuantizationParameterError;

    fn try_from(compression: u32) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|&known| u32::from(known) == compression)
            .ok_or(QuantizationParameterError::Compression(compression))
    }
}

impl From<Compression> for u32 {
    fn from(compression: Compression) -> Self {
        4 << compression as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_as_in_a_schema() {
        let global = Quantization::Int8Global { quantile: Quantile(0.995) };
        for (method, json) in [
            (Quantization::Int8, r#""int8""#),
            (global, r#"{"int8_global":{"quantile":0.995}}"#),
            (Quantization::Int4, r#""int4""#),
            (Quantization::Product { compression: Compression::X64 }, r#"{"product":{"compression":64}}"#),
            (Quantization::Binary, r#""binary""#),
            (Quantization::Rotated4, r#""rotated4""#),
            (Quantization::Rotated2, r#""rotated2""#),
            (Quantization::Rotated1, r#""rotated1""#),
        ] {
            assert_eq!(serde_json::to_string(&method).unwrap(), json);
            assert_eq!(serde_json::from_str::<Quantization>(json).unwrap(), method);
        }
        let product = serde_json::from_str(r#"{"product":{}}"#);
        assert_eq!(product.ok(), Some(Quantization::Product { compression: Compression::X16 }));
        let global = serde_json::from_str(r#"{"int8_global":{}}"#);
        assert_eq!(global.ok(), Some(Quantization::Int8Global { quantile: Quantile(0.99) }));
        assert_eq!(Compression::ALL.map(u32::from), [4, 8, 16, 32, 64]);
        assert_eq!(Compression::ALL.map(Compression::components), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn what_is_no_method_says_what_to_use() {
        let error = |json| serde_json::from_str::<Quantization>(json).unwrap_err().to_string();
        assert!(error(r#"{"product":{"compression":5}}"#).contains("use one of 4, 8, 16, 32, 64"));
        assert!(error(r#"{"int8_global":{"quantile":0.5}}"#).contains("above 0.5, up to 1"));
        assert!(error(r#"{"int8_global":{"quantile":1.01}}"#).contains("1.01"));
        assert!(error(r#"{"product":{"factor":16}}"#).contains("factor"));
        assert!(error(r#""int3""#).contains("rotated4"));
        assert!(Quantile::try_from(f32::NAN).is_err());
    }

    #[test]
    fn names_come_back() {
        for method in Quantization::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
            assert_eq!(method.name().parse(), Ok(method));
        }
        let product = Quantization::Product { compression: Compression::X32 };
        assert_eq!(("product=32".parse(), product.to_string()), (Ok(product), "product=32".to_owned()));
        let error = |text: &str| text.parse::<Quantization>().unwrap_err().to_string();
        assert!(error("int5").contains("\"int5\"") && error("int5").contains("rotated4"));
        assert_eq!(error("int8=3"), "int8 takes no parameter \"3\"");
        assert_eq!(error("product=x"), "product takes no parameter \"x\"");
        assert!(error("product=5").contains("4, 8, 16, 32, 64"));
    }
}
