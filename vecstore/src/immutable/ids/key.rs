//! The two kinds of ids, and their table entries.

use crate::point::PointId;
use std::fmt::Debug;
use std::hash::Hash;

/// The number or UUID of an id.
pub(super) trait IdKey: Copy + Ord + Hash + Send + Sync + Debug {
    const SORTED: usize;
    const HASH: usize = Self::SORTED + 1;
    const SLOTS: usize = Self::SORTED + 2;
    /// The bytes of the key, then those of the point.
    type Entry: AsRef<[u8]>;
    const ENTRY_BYTES: usize;
    fn entry(self, point: u32) -> Self::Entry;
    fn parse(entry: &[u8]) -> (Self, u32);
    fn id(self) -> PointId;
}

macro_rules! id_key {
    ($type:ty, $variant:ident, $section:literal, $entry:literal) => {
        impl IdKey for $type {
            const SORTED: usize = $section;
            type Entry = [u8; $entry];
            const ENTRY_BYTES: usize = $entry;

            fn entry(self, point: u32) -> Self::Entry {
                let mut entry = [0; $entry];
                entry[..$entry - 4].copy_from_slice(&self.to_le_bytes());
                entry[$entry - 4..].copy_from_slice(&point.to_le_bytes());
                entry
            }

            fn parse(entry: &[u8]) -> (Self, u32) {
                let (key, point) = entry.split_at($entry - 4);
                let key = <$type>::from_le_bytes(key.try_into().expect("a key's bytes"));
                (key, u32::from_le_bytes(point.try_into().expect("a point's bytes")))
            }

            fn id(self) -> PointId {
                PointId::$variant(self)
            }
        }
    };
}

id_key!(u64, Num, 3, 12);
id_key!(u128, Uuid, 6, 20);
