//! The type of a record's components.

use half::f16;
use std::fmt;

/// How a component of a vector is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Unsigned byte.
    U8,
}

impl ElementType {
    const ALL: [Self; 3] = [Self::F32, Self::F16, Self::U8];

    /// Size of one component in bytes. Its alignment is the same.
    #[must_use]
    pub fn bytes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }

    /// The number of the type in files.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
            Self::U8 => 3,
        }
    }

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.code() == code)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
        })
    }
}

/// A name of no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown element type {name:?}: use one of f32, f16, u8")]
pub struct UnknownElementError {
    name: String,
}

impl std::str::FromStr for ElementType {
    type Err = UnknownElementError;

    fn from_str(name: &str) -> Result<Self, UnknownElementError> {
        let found = Self::ALL.into_iter().find(|element| element.to_string() == name);
        found.ok_or_else(|| UnknownElementError { name: name.to_owned() })
    }
}

/// A component type that vector files can hold.
pub trait Element: bytemuck::Pod {
    /// The type's entry in the header.
    const TYPE: ElementType;
}

impl Element for f32 {
    const TYPE: ElementType = ElementType::F32;
}

impl Element for f16 {
    const TYPE: ElementType = ElementType::F16;
}

impl Element for u8 {
    const TYPE: ElementType = ElementType::U8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_back() {
        for element in ElementType::ALL {
            assert_eq!(element.to_string().parse(), Ok(element));
            assert_eq!(ElementType::from_code(element.code()), Some(element));
        }
        assert_eq!(ElementType::from_code(0), None);
        let error = "f64".parse::<ElementType>().unwrap_err().to_string();
        assert_eq!(error, "unknown element type \"f64\": use one of f32, f16, u8");
        assert_eq!([f32::TYPE.bytes(), f16::TYPE.bytes(), u8::TYPE.bytes()], [4, 2, 1]);
    }
}
