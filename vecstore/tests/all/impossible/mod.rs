//! Crafted manifests, logs and files of segments: their checksums are right, and their content is impossible.

mod index;
mod log;
mod manifest;
mod segment;

use crate::common::collections::open;
use crate::family::{DIR, PAGE, Tree, family, on_disk, problems, with};
use serde_json::{Value, json};
use std::path::Path;
use vecstore::collection::Collection;
use vecstore::error::{Error, FormatError};

/// A JSON file of the collection after a change, with a right checksum.
fn crafted(tree: &Tree, path: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = &tree[Path::new(path)];
    let text = std::str::from_utf8(bytes).unwrap();
    let mut value: Value = serde_json::from_str(text.rsplit_once("\ncrc32 ").unwrap().0).unwrap();
    change(&mut value);
    let text = format!("{value:#}\n");
    format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn crc(initial: u32, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

/// Corrects all checksums of a file for the identity in its header, as FORMAT.md describes. Returns the
/// header's checksum.
fn sealed(bytes: &mut [u8]) -> u32 {
    if bytes.starts_with(b"VECTFILE") {
        let seed = crc32fast::hash(&bytes[56..80]);
        let (count, stride) = (u32_at(bytes, 24) as usize, u32_at(bytes, 32) as usize);
        let (per_block, block) = (u32_at(bytes, 36) as usize, u32_at(bytes, 40) as usize);
        let table = bytes.len() - 4 * count;
        for record in 0..count {
            let at = PAGE + record / per_block * block + record % per_block * stride;
            let crc = crc(seed ^ record as u32, &bytes[at..at + stride]);
            bytes[table + 4 * record..][..4].copy_from_slice(&crc);
        }
        let crc_of_table = crc(seed, &bytes[table..]);
        bytes[44..48].copy_from_slice(&crc_of_table);
        let header = crc(0, &bytes[..80]);
        bytes[80..84].copy_from_slice(&header);
        return u32_at(bytes, 80);
    }
    let seed = crc32fast::hash(&[&bytes[24..48], &bytes[16..20]].concat());
    let mut checksums = Vec::new();
    for (number, page) in bytes.chunks_mut(PAGE).enumerate().skip(1) {
        let crc = crc(seed ^ number as u32, &page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc);
        checksums.extend_from_slice(&crc);
    }
    bytes[48..52].copy_from_slice(&crc(0, &checksums));
    let header = crc(seed, &bytes[..PAGE - 4]);
    bytes[PAGE - 4..PAGE].copy_from_slice(&header);
    u32_at(bytes, PAGE - 4)
}

/// A collection with other bytes in a file of a segment, and with right checksums.
fn forged(tree: &Tree, path: &Path, bytes: &[u8]) -> Tree {
    let mut bytes = bytes.to_vec();
    let header = sealed(&mut bytes);
    let mut tree = with(tree, path, &bytes);
    let json = path.parent().unwrap().join("segment.json");
    let name = path.file_name().unwrap().to_str().unwrap();
    if !name.starts_with("deleted-") {
        let listed = crafted(&tree, json.to_str().unwrap(), |all| all["files"][name] = json!(header));
        tree.insert(json, listed);
    }
    tree
}

#[test]
fn forging_is_done_right() {
    let family = family();
    for path in family.tree().keys().filter(|path| path.starts_with("segment-000001")) {
        if !path.ends_with("segment.json") {
            let bytes = &family.tree()[path];
            assert_eq!(forged(family.tree(), path, bytes)[path], *bytes, "{}", path.display());
        }
    }
}

/// The offset and the length of a section in a file of pages.
fn section(bytes: &[u8], section: usize) -> (usize, usize) {
    let at = 56 + section * 16;
    (u32_at(bytes, at) as usize * PAGE, u32_at(bytes, at + 8) as usize)
}

/// The faults of a collection. Opening it or using its indexes must also be an error.
fn refused(tree: &Tree, use_indexes: impl Fn(&Collection) -> Vec<Error>) -> Vec<String> {
    let disk = on_disk(tree);
    let errors = match open(&disk, DIR) {
        Ok(collection) => use_indexes(&collection),
        Err(error) => vec![error],
    };
    for error in &errors {
        assert!(matches!(error, Error::Format(FormatError::Damaged { .. })), "{error}");
    }
    problems(&disk).iter().map(ToString::to_string).collect()
}
