//! Files of segments.

use super::{crafted, forged, refused, section, u32_at};
use crate::common::collections::{backend, open};
use crate::family::{DIR, PAGE, contents, family, on_disk, problems, read, with};
use io_core::StopFlag;
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, RecordParts, ScrollRequest, SearchRequest};
use vecstore::error::Error;

/// The content of another collection under our identity. Only comparing the files reveals it.
#[test]
fn a_file_of_other_contents_with_the_right_checksums_is_found() {
    let family = family();
    let donor = &family.sister.last().0;
    let cases = [
        ("vectors.vec", "the codes of point 0 are not those of its vector"),
        ("codes.vec", "the codes of point 0 are not those of its vector"),
        ("payload.pages", "the index of field n does not hold the values of the payloads"),
        ("fields.pages", "the index of field n does not hold the values of the payloads"),
    ];
    for (name, reason) in cases {
        let path = Path::new("segment-000001").join(name);
        let mut bytes = donor[&path].clone();
        let identity = if name.ends_with(".vec") { 56..80 } else { 24..48 };
        bytes[identity.clone()].copy_from_slice(&family.tree()[&path][identity]);
        let found = problems(&on_disk(&forged(family.tree(), &path, &bytes)));
        assert!(found.iter().any(|error| error.to_string().contains(reason)), "{name}: {found:?}");
        assert!(found.iter().all(|error| !error.to_string().contains("checksum")), "{name}: {found:?}");
    }
}

/// A linked record whose links lead elsewhere, or whose code or id is of another point, is whole, and not of
/// this segment.
#[test]
fn a_linked_record_that_does_not_belong_is_found() {
    if !crate::is_linked() {
        return;
    }
    let family = family();
    let path = Path::new("segment-000001/linked.vec");
    let sound = family.tree()[path].clone();
    let number = |at: usize| u32::from_le_bytes(sound[at..at + 4].try_into().unwrap());
    let (points, stride) = (number(24), number(32) as usize);
    let links: Vec<u32> =
        sound[PAGE..PAGE + 128].as_chunks().0.iter().map(|link| u32::from_le_bytes(*link)).collect();
    let other = (1..points).find(|point| !links.contains(point)).expect("a point has few links");
    let forge = |at: usize, new: &[u8], reason: &str| {
        let mut bytes = sound.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        let found = problems(&on_disk(&forged(family.tree(), path, &bytes)));
        assert!(found.iter().any(|error| error.to_string().contains(reason)), "{found:?}");
    };
    forge(PAGE, &other.to_le_bytes(), "the record of point 0 does not begin with links of graph.pages");
    let last = PAGE + stride - 1;
    forge(last - 16, &[!sound[last - 16]], "the code of point 0 is not that of its vector");
    forge(last, &[!sound[last]], "the id of point 0 is not that of ids.pages");
}

/// The codes of a cell that are not those of its points.
#[test]
fn codes_of_cells_that_do_not_belong_are_found() {
    if !crate::has_cells() {
        return;
    }
    let family = family();
    let path = Path::new("segment-000001/cells.vec");
    let sound = family.tree()[path].clone();
    let (blocks, stride) = (u32_at(&sound, 24), u32_at(&sound, 32) as usize);
    for block in [0, blocks as usize - 1] {
        let mut bytes = sound.clone();
        bytes[PAGE + block * stride] ^= 1;
        let found = problems(&on_disk(&forged(family.tree(), path, &bytes)));
        let expected =
            |error: &str| error.contains("the codes of points ") && error.contains(" are not theirs");
        assert!(found.iter().any(|error| expected(&error.to_string())), "block {block}: {found:?}");
    }
}

/// Any content with right checksums gives an answer or an error, and no panic.
#[test]
fn hostile_contents_with_the_right_checksums_never_panic() {
    let family = family();
    let paths: Vec<&PathBuf> = family
        .tree()
        .keys()
        .filter(|path| path.to_str().unwrap().starts_with("segment-") && !path.ends_with("segment.json"))
        .collect();
    let no_panic = |error: &Error, context: &str| {
        let text = error.to_string();
        assert!(!matches!(error, Error::WorkerLost | Error::Panicked { .. }), "{context}: {text}");
    };
    let (mut refused, mut answered) = (0, 0);
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = paths[random.usize(..paths.len())];
        let mut bytes = family.tree()[path].clone();
        // Changes all bytes but those that identify the file and tell its length.
        let first = if path.extension().unwrap() == "vec" {
            PAGE
        } else {
            PAGE * random.usize(1..bytes.len() / PAGE)
        };
        let is_dense = random.bool();
        for _ in 0..random.usize(1..8) {
            let at = first + random.usize(..(bytes.len() - first).min(if is_dense { 60 } else { PAGE - 4 }));
            let any = random.u8(..);
            bytes[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, any]).unwrap();
        }
        let context = format!("seed {seed}, {}", path.display());
        let disk = on_disk(&forged(family.tree(), path, &bytes));
        for problem in problems(&disk) {
            no_panic(&problem, &context);
        }
        let used = || {
            let collection = open(&disk, DIR)?;
            let request = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
            collection.scroll(request.clone()).wait()?;
            collection.scroll(ScrollRequest { order_by: Some("n".to_owned()), ..request }).wait()?;
            collection.search(SearchRequest::new(vec![1.0, 30.0, 3.0])).wait()?;
            collection.facet("t".to_owned(), None, 10).wait()?;
            collection.optimize(|_| {}).wait()?;
            collection.close()
        };
        match used() {
            Ok(()) => answered += 1,
            Err(error) => {
                no_panic(&error, &context);
                refused += 1;
            }
        }
        let repaired =
            Collection::repair(&backend(&disk), Path::new(DIR), Path::new("/r"), None, &StopFlag::new());
        if let Err(error) = repaired {
            no_panic(&error, &context);
        }
    }
    assert!(refused > 20 && answered > 20, "{refused} {answered}");
}

/// Files with too few sections, at any placement.
#[test]
fn a_missing_section_is_an_error() {
    let family = family();
    let all = ["vectors", "codes", "graph", "payload", "ids", "indexes"];
    for placement in ["cold", "cached", "pinned"] {
        let placed = crafted(family.tree(), "MANIFEST", |manifest| {
            manifest["schema"]["placement"] = all.iter().map(|part| (*part, placement)).collect();
        });
        let tree = with(family.tree(), Path::new("MANIFEST"), &placed);
        assert_eq!(read(&on_disk(&tree)).unwrap(), family.ours.last().1);
        let pages = crate::index_files()[0];
        for name in [pages, "ids.pages", "payload.pages", "fields.pages", "codec.pages"] {
            let path = Path::new("segment-000001").join(name);
            let sections = u32_at(&tree[&path], 20);
            for left in 0..sections {
                let mut bytes = tree[&path].clone();
                let end = section(&bytes, left as usize).0;
                bytes.truncate(end);
                bytes[20..24].copy_from_slice(&left.to_le_bytes());
                bytes[56 + left as usize * 16..PAGE - 4].fill(0);
                let found = refused(&forged(&tree, &path, &bytes), |collection| {
                    panic!("{name} with {left} sections, {placement}: opened: {:?}", contents(collection))
                });
                assert!(found.iter().any(|found| found.contains(name)), "{name}: {found:?}");
            }
        }
    }
}

/// Bytes behind the postings. If ignored, some deleted points would be back.
#[test]
fn postings_that_go_on_behind_their_count_are_an_error() {
    let family = family();
    let path = family.tree().keys().find(|path| path.to_str().unwrap().contains("1/deleted-")).unwrap();
    let mut bytes = family.tree()[path].clone();
    let (meta, _) = section(&bytes, 0);
    let count = u32_at(&bytes, meta + 8);
    assert!(count > 1);
    bytes[meta + 8..meta + 12].copy_from_slice(&(count - 1).to_le_bytes());
    let found = refused(&forged(family.tree(), path, &bytes), |_| panic!("opened"));
    assert!(found.len() == 1 && found[0].contains("its postings are none"), "{found:?}");
}

/// Vectors that are not finite, and their codes.
#[test]
fn a_vector_that_is_not_finite_is_found() {
    let family = family();
    let path = Path::new("segment-000001/vectors.vec");
    let mut bytes = family.tree()[path].clone();
    bytes[PAGE..PAGE + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let found = problems(&on_disk(&forged(family.tree(), path, &bytes)));
    let is_told = |error: &Error| error.to_string().contains("the vector of point 0 is not finite");
    assert!(found.iter().any(is_told), "{found:?}");
}
