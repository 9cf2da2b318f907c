//! The minimal perfect hash from ids to slots: `ph`'s FMPH. Its hash function is our own, so it never
//! changes.
//!
//! It takes about 2.8 bits a key. Keys outside of its set mostly get a slot too, so callers compare the key
//! at the slot.

use ph::BuildSeededHasher;
use ph::fmph::{BuildConf, Function};
use std::hash::{Hash, Hasher};

/// A family of hash functions for keys of 64 and 128 bits (the lower half first). Its results are part of the
/// file format:
///
/// ```text
/// fold(a, b) = the two halves of the 128-bit product a * b, xored
/// s     = fold(seed ^ SECRET[0], SECRET[1])
/// state = salt, then for each word: state = fold(state ^ word ^ SECRET[1], s ^ SECRET[2])
/// hash  = fold(state ^ SECRET[0], s | 1)
/// ```
///
/// Some keys have equal hashes under every seed: `fold(0, b)` is 0 and `fold(u64::MAX, b)` is `u64::MAX` for
/// any `b`. Whoever knows the salt can choose such keys.
#[derive(Clone, Copy, Debug)]
struct FrozenHash {
    salt: u64,
}

struct FrozenHasher {
    seed: u64,
    state: u64,
}

const SECRET: [u64; 3] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB, 0x8EBC_6AF0_9C88_C6E3];

/// Folds a product of 128 bits to 64.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl BuildSeededHasher for FrozenHash {
    type Hasher = FrozenHasher;

    #[inline]
    fn build_hasher(&self, seed: u64) -> FrozenHasher {
        FrozenHasher { seed: fold(seed ^ SECRET[0], SECRET[1]), state: self.salt }
    }
}

impl Hasher for FrozenHasher {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("ids are hashed as numbers");
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.state = fold(self.state ^ number ^ SECRET[1], self.seed ^ SECRET[2]);
    }

    #[inline]
    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        fold(self.state ^ SECRET[0], self.seed | 1)
    }
}

/// A minimal perfect hash.
pub struct PerfectHash(Function<FrozenHash>);

impl std::fmt::Debug for PerfectHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerfectHash").field("keys", &self.0.len()).finish()
    }
}

impl PerfectHash {
    /// Builds the hash of keys of 64 or 128 bits (`u64`, `u128`). `None` if two keys are equal, or if no seed
    /// tells them apart with this salt. Another salt then does. Uses rayon's pool.
    ///
    /// # Panics
    /// If a key hashes anything but numbers of 64 and 128 bits.
    #[must_use]
    pub fn build<K: Hash + Clone + Send + Sync>(keys: &[K], salt: u64) -> Option<Self> {
        let conf = BuildConf::hash(FrozenHash { salt });
        Function::try_with_conf_stats(
            ph::fmph::keyset::SliceSourceWithRefs::<K, u8>::new(keys),
            conf,
            &mut (),
        )
        .map(Self)
    }

    /// The slot of a key, below the number of keys. A key outside of the set has any slot or none.
    #[must_use]
    #[inline]
    pub fn slot<K: Hash>(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }

    /// Encodes the hash.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.write_bytes());
        self.0.write(&mut bytes).expect("a vector takes any bytes");
        bytes
    }

    /// Decodes [`PerfectHash::write`] for `keys` keys and the salt it was built with. `None` if the bytes do
    /// not fit.
    #[must_use]
    pub fn read(mut bytes: &[u8], keys: u64, salt: u64) -> Option<Self> {
        // The library trusts the lengths it finds, so they are checked here. A level's length counts words of
        // 64 bits.
        let mut rest = bytes;
        let levels = vbyte(&mut rest)?;
        let mut words = 0u64;
        for _ in 0..levels {
            words = words.checked_add(vbyte(&mut rest)?)?;
        }
        if words.checked_mul(8)? != rest.len() as u64 {
            return None;
        }
        let function = Function::read_with_hasher(&mut bytes, FrozenHash { salt }).ok()?;
        (function.len() as u64 == keys).then_some(Self(function))
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.write_bytes()
    }
}

/// A number as the library writes it: seven bits a byte, lowest first.
fn vbyte(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: Hash + Clone + Send + Sync>(keys: &[K]) -> PerfectHash {
        let salt = keys.len() as u64;
        let built = PerfectHash::build(keys, salt).unwrap();
        let bytes = built.write();
        let read = PerfectHash::read(&bytes, keys.len() as u64, salt).unwrap();
        let mut seen = vec![false; keys.len()];
        for key in keys {
            let slot = read.slot(key).unwrap();
            assert_eq!(built.slot(key), Some(slot));
            assert!(!std::mem::replace(&mut seen[slot as usize], true), "two keys in slot {slot}");
        }
        read
    }

    #[test]
    fn every_key_has_a_slot_of_its_own() {
        check::<u64>(&[]);
        check(&[7u64]);
        let sequential: Vec<u64> = (0..50_000).collect();
        let bits = check(&sequential).memory_bytes() as f64 * 8.0 / 50_000.0;
        assert!(bits < 3.1, "{bits} bits a key");
        check(&(0..20_000u64).map(|i| i << 40).collect::<Vec<_>>());
        check(&(0..20_000u64).map(|i| i.wrapping_mul(SECRET[0])).collect::<Vec<_>>());
        check(&(0..20_000u128).map(|i| i << 64 | 5).collect::<Vec<_>>());
        assert!(PerfectHash::build(&[1u64, 2, 1], 0).is_none());
    }

    #[test]
    fn keys_that_no_seed_tells_apart_differ_with_another_salt() {
        for (salt, high) in [(0, 0x1234), (0, u64::MAX), (77, 5)] {
            let key = |low: u64, high: u64| u128::from(high) << 64 | u128::from(low);
            let pair = [key(salt ^ SECRET[1], high), key(!(salt ^ SECRET[1]), !high)];
            for seed in 0..100 {
                let hash = |key| FrozenHash { salt }.hash_one(key, seed);
                assert_eq!(hash(pair[0]), hash(pair[1]));
            }
            assert!(PerfectHash::build(&pair, salt).is_none());
            assert!(PerfectHash::build(&pair, salt + 1).is_some());
        }
    }

    /// Files depend on these values, so they must never change.
    #[test]
    fn the_hash_is_frozen() {
        let hash = |number: u64| FrozenHash { salt: 0 }.hash_one(number, 3);
        assert_eq!((hash(0), hash(1)), FROZEN);
        assert_eq!(FrozenHash { salt: 0 }.hash_one(1u128 << 64 | 2, 3), FROZEN_128);
        assert_eq!(FrozenHash { salt: 0x0123_4567_89AB_CDEF }.hash_one(1u128 << 64 | 2, 3), FROZEN_SALTED);
    }

    // Computed by a program in another language, from the description above.
    const FROZEN: (u64, u64) = (2896209461415547041, 6032464662850058729);
    const FROZEN_128: u64 = 13625277928033468743;
    const FROZEN_SALTED: u64 = 7002154866219011112;

    #[test]
    fn nonsense_is_refused_before_the_library_sees_it() {
        let bytes = PerfectHash::build(&(0..1000u64).collect::<Vec<_>>(), 5).unwrap().write();
        assert!(PerfectHash::read(&bytes, 1000, 5).is_some());
        assert!(PerfectHash::read(&bytes, 999, 5).is_none());
        for len in 0..bytes.len() {
            assert!(PerfectHash::read(&bytes[..len], 1000, 5).is_none());
        }
        assert!(PerfectHash::read(&[0xFF; 20], 1000, 5).is_none());
        assert!(PerfectHash::read(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], 1000, 5).is_none());
    }
}
