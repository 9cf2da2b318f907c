//! Random ids, and other random numbers that tell files apart.

use crate::FileIdentity;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// 64 random bits, as unpredictable as the keys of a hash map.
///
/// The operating system gives each thread its keys. A forked process inherits them, so the process id and the
/// time are hashed too.
#[must_use]
pub fn random_u64() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
    hasher.finish()
}

/// The id of a collection or segment, different from all others anywhere. Copies have the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RandomId(pub [u8; 16]);

impl RandomId {
    /// Stands for no id, in files of versions without ids.
    pub const NONE: Self = Self([0; 16]);

    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        let id = u128::from(random_u64()) << 64 | u128::from(random_u64());
        Self(id.to_be_bytes())
    }

    /// The identity of the owner's file with this number.
    #[must_use]
    pub fn file(self, file: u64) -> FileIdentity {
        FileIdentity { owner: self.0, file }
    }
}

impl fmt::Display for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RandomId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RandomId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = u128::from_str_radix(&text, 16).ok().map(|id| Self(id.to_be_bytes()));
        // Only one spelling is accepted: 32 digits in lower case, and not the zeros that stand for no id.
        id.filter(|id| *id != Self::NONE && id.to_string() == text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no id of 32 hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_all_different_and_come_back_from_json() {
        let ids: BTreeSet<RandomId> = (0..1000).map(|_| RandomId::random()).collect();
        assert_eq!(ids.len(), 1000);
        // Every bit takes both values. By chance, a bit of 1000 ids is constant once in 2^992 runs.
        let ones = ids.iter().fold([0; 16], |ones, id| std::array::from_fn(|i| ones[i] | id.0[i]));
        let zeros = ids.iter().fold([0; 16], |zeros, id| std::array::from_fn(|i| zeros[i] | !id.0[i]));
        assert_eq!((ones, zeros), ([0xFF; 16], [0xFF; 16]));
        for id in ids {
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json.len(), 34);
            assert_eq!(serde_json::from_str::<RandomId>(&json).unwrap(), id);
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = RandomId([0xAB; 16]).to_string();
        let parse = |text: &str| serde_json::from_str::<RandomId>(&format!("{text:?}"));
        assert!(parse(&id).is_ok());
        for wrong in
            [&id[1..], &format!("0{id}"), &id.to_uppercase(), &format!("+{}", &id[1..]), &"0".repeat(32), ""]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
