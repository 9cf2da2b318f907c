//! Ids of points.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The id of a point: a number or a UUID. Numbers order before UUIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PointId {
    /// A number.
    Num(u64),
    /// The 128 bits of a UUID, most significant first.
    Uuid(u128),
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Num(id) => id.fmt(f),
            Self::Uuid(id) => Uuid::from_u128(*id).fmt(f),
        }
    }
}

/// A text that is not a point id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no point id: give a number from 0 to 18446744073709551615, or a UUID")]
pub struct PointIdError {
    text: String,
}

impl FromStr for PointId {
    type Err = PointIdError;

    fn from_str(text: &str) -> Result<Self, PointIdError> {
        // Digits are a number, even if they could be a UUID without hyphens.
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Self::Num).map_err(|_| PointIdError { text: text.to_owned() })
        } else {
            let id = Uuid::try_parse(text).map_err(|_| PointIdError { text: text.to_owned() })?;
            Ok(Self::Uuid(id.as_u128()))
        }
    }
}

impl From<u64> for PointId {
    fn from(id: u64) -> Self {
        Self::Num(id)
    }
}

impl Serialize for PointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Num(id) => serializer.serialize_u64(*id),
            Self::Uuid(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for PointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a point id: a number or a UUID in a string")]
        enum NumOrText {
            Num(u64),
            Text(String),
        }
        match NumOrText::deserialize(deserializer)? {
            NumOrText::Num(id) => Ok(Self::Num(id)),
            NumOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_or_uuids_in_text_and_json() {
        let uuid = PointId::Uuid(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
        let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(uuid.to_string(), text);
        assert_eq!(text.parse(), Ok(uuid));
        assert_eq!("67E5504410B1426F9247BB680E5FE0C8".parse(), Ok(uuid));
        assert_eq!("18446744073709551615".parse(), Ok(PointId::Num(u64::MAX)));
        for bad in ["", "-1", "18446744073709551616", "67e55044", "x"] {
            let error = bad.parse::<PointId>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        let ids = vec![PointId::Num(7), uuid];
        let json = serde_json::to_string(&ids).unwrap();
        assert_eq!(json, format!("[7,\"{text}\"]"));
        assert_eq!(serde_json::from_str::<Vec<PointId>>(&json).unwrap(), ids);
        assert!(serde_json::from_str::<PointId>("-1").is_err());
        assert!(PointId::Num(u64::MAX) < PointId::Uuid(0));
    }
}
