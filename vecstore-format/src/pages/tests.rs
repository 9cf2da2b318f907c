use super::header::{page_crc, seed};
use super::salvage::mend_header;
use super::*;
use crate::crc::crc32;
use crate::{Expected, FileIdentity, FormatError};
use io_core::testing::MemoryBackend;
use io_core::{BatchEnd, DynBackend, Executor, FileSystem, OpenOptions, ReadControl};
use proptest::prelude::*;
use std::ops::{ControlFlow, Range};
use std::path::Path;

const PATH: &str = "a.pages";
const IDENTITY: FileIdentity = FileIdentity { owner: *b"sixteen bytes of", file: 7 };

fn written(sections: &[Vec<u8>]) -> MemoryBackend {
    written_as(sections, PagesKind::Payload, IDENTITY)
}

fn written_as(sections: &[Vec<u8>], kind: PagesKind, identity: FileIdentity) -> MemoryBackend {
    let memory = MemoryBackend::new(1);
    let backend = DynBackend::new(memory.clone());
    backend
        .run(|| async {
            let writer = backend.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let mut pages = PagesWriter::new(writer, kind, identity);
            for (index, section) in sections.iter().enumerate() {
                assert_eq!(pages.begin_section().await.unwrap(), index);
                for piece in section.chunks(1000) {
                    pages.write(piece).await.unwrap();
                }
                assert_eq!(pages.position(), section.len() as u64);
            }
            pages.finish().await.unwrap();
        })
        .unwrap();
    memory
}

async fn open(backend: &DynBackend, kind: PagesKind) -> Result<Pages, FormatError> {
    Pages::open_any(backend.open(Path::new(PATH), &OpenOptions::default()).await.unwrap(), kind).await
}

/// Collects all damage.
fn all(found: &mut Vec<FormatError>, error: FormatError) -> ControlFlow<()> {
    found.push(error);
    ControlFlow::Continue(())
}

/// The damage in a file of payloads with these bytes, which should be the expected file.
fn problems(bytes: Vec<u8>, expected: &Expected) -> Vec<FormatError> {
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), bytes);
    let backend = DynBackend::new(memory);
    backend
        .run(|| async {
            let reader = backend.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            match Pages::open(reader, PagesKind::Payload, expected).await {
                Err(error) => vec![error],
                Ok(pages) => {
                    let mut found = Vec::new();
                    pages.verify(&ReadControl::default(), |error| all(&mut found, error)).await.unwrap();
                    found
                }
            }
        })
        .unwrap()
}

fn at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

#[test]
fn every_page_is_of_this_file_and_none_other() {
    let sections = [vec![1; 9000], vec![2; 10]];
    let own = written(&sections).get(Path::new(PATH)).unwrap();
    let expected = Expected { identity: Some(IDENTITY), header_crc: Some(at(&own, PAGE_DATA)) };
    assert!(problems(own.clone(), &expected).is_empty());
    // As the format describes it, byte by byte.
    assert_eq!((&own[24..40], &own[40..48]), (&IDENTITY.owner[..], &7u64.to_le_bytes()[..]));
    let initial = crc32fast::hash(&[&own[24..48], &own[16..20]].concat());
    let mut checksums = Vec::new();
    for (number, page) in own.chunks(PAGE).enumerate() {
        assert_eq!(at(page, PAGE_DATA), crc32(initial ^ number as u32, &page[..PAGE_DATA]), "page {number}");
        checksums.extend_from_slice(&page[PAGE_DATA..]);
    }
    assert_eq!(at(&own, 48), crc32fast::hash(&checksums[4..]));

    // The same sections, so that only the identity or the kind differs.
    let others = [
        written_as(&sections, PagesKind::Payload, FileIdentity { file: 8, ..IDENTITY }),
        written_as(&sections, PagesKind::Payload, FileIdentity { owner: [1; 16], ..IDENTITY }),
        written_as(&sections, PagesKind::Fields, IDENTITY),
    ];
    for other in others {
        let other = other.get(Path::new(PATH)).unwrap();
        let page_of = |bytes: &[u8], page: usize| bytes[page * PAGE..][..PAGE].to_vec();
        for page in 0..own.len() / PAGE {
            let mut mixed = own.clone();
            mixed[page * PAGE..][..PAGE].copy_from_slice(&page_of(&other, page));
            let found = problems(mixed, &expected);
            assert_eq!(found.len(), 1, "page {page}: {found:?}");
            let is_named = match &found[0] {
                FormatError::Damaged { offset: Some(offset), .. } => *offset == (page * PAGE) as u64,
                FormatError::Misplaced { .. } | FormatError::Damaged { .. } => page == 0,
                _ => false,
            };
            assert!(is_named, "page {page}: {}", found[0]);
        }
        let found = problems(other, &expected);
        assert!(found.len() == 1, "{found:?}");
    }
    // A page in the place of another one of the same file.
    let mut swapped = own.clone();
    swapped[PAGE..2 * PAGE].copy_from_slice(&own[2 * PAGE..3 * PAGE]);
    assert_eq!(problems(swapped, &expected).len(), 1);
}

/// Another file was written under the same identity. Its pages are sound, but they are not the pages of this
/// file.
#[test]
fn the_header_sums_up_the_file() {
    let own = written(&[vec![1; 9000]]).get(Path::new(PATH)).unwrap();
    let other = written(&[vec![2; 9000]]).get(Path::new(PATH)).unwrap();
    let expected = Expected { identity: Some(IDENTITY), header_crc: Some(at(&own, PAGE_DATA)) };
    for page in 1..own.len() / PAGE {
        let mut mixed = own.clone();
        mixed[page * PAGE..][..PAGE].copy_from_slice(&other[page * PAGE..][..PAGE]);
        let found = problems(mixed, &expected);
        assert!(found.len() == 1 && found[0].to_string().contains("not all are those"), "{found:?}");
    }
    let found = problems(other, &expected);
    assert!(found.len() == 1 && found[0].to_string().contains("segment.json lists"), "{found:?}");
}

/// Version 1: no identity, and the list of sections in its place.
#[test]
fn the_version_before_is_read_and_passes_for_none_of_this() {
    let sections = [vec![1; 9000], vec![2; 10]];
    let mut old = written(&sections).get(Path::new(PATH)).unwrap();
    old[8] = 1;
    old.copy_within(56..56 + 2 * 16, 24);
    old[56..56 + 2 * 16].fill(0);
    for (number, page) in old.chunks_mut(PAGE).enumerate() {
        let crc = crc32(number as u32, &page[..PAGE_DATA]);
        page[PAGE_DATA..].copy_from_slice(&crc.to_le_bytes());
    }
    assert!(problems(old.clone(), &Expected::default()).is_empty());
    let found = problems(old.clone(), &Expected { identity: Some(IDENTITY), header_crc: None });
    assert!(matches!(found[..], [FormatError::Misplaced { .. }]), "{found:?}");
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), old);
    let backend = DynBackend::new(memory);
    let read = backend
        .run(|| async { open(&backend, PagesKind::Payload).await.unwrap().read_section(0).await.unwrap() })
        .unwrap();
    assert_eq!(read, sections[0]);
    // A new file in place of an old one.
    let new = written(&sections).get(Path::new(PATH)).unwrap();
    let found = problems(new, &Expected::default());
    assert!(matches!(found[..], [FormatError::Misplaced { .. }]), "{found:?}");
}

#[test]
fn a_flipped_bit_of_a_header_is_put_back_wherever_it_is() {
    let whole = written(&[vec![1; 100]]).get(Path::new(PATH)).unwrap()[..PAGE].to_vec();
    for bit in (0..80 * 8).chain((80 * 8..PAGE_DATA * 8).step_by(997)).chain(PAGE_DATA * 8..PAGE * 8) {
        let mut header = whole.clone();
        header[bit / 8] ^= 1 << (bit % 8);
        assert!(mend_header(&mut header, PagesKind::Payload) && header == whole, "bit {bit}");
    }
    assert!(!mend_header(&mut whole.clone(), PagesKind::Payload));
    let mut garbled = whole;
    garbled[30..40].fill(9);
    assert!(!mend_header(&mut garbled, PagesKind::Payload));
}

/// A caller that breaks after enough damage ends the reading. The outcome does not say that a flag stopped
/// it.
#[test]
fn enough_of_what_is_damaged_is_no_stop() {
    let mut damaged = written(&[vec![1; 9000]]).get(Path::new(PATH)).unwrap();
    damaged[PAGE..].fill(0xA5);
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), damaged);
    let backend = DynBackend::new(memory);
    let (found, outcome) = backend
        .run(|| async {
            let pages = open(&backend, PagesKind::Payload).await.unwrap();
            let mut found = Vec::new();
            let first = |error| {
                found.push(error);
                ControlFlow::Break(())
            };
            let outcome = pages.verify(&ReadControl::default(), first).await.unwrap();
            (found, outcome)
        })
        .unwrap();
    assert_eq!((found.len(), outcome.end), (1, BatchEnd::Complete), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back_pinned_or_not(
        lens in prop::collection::vec(0usize..20_000, 1..5),
        cuts in prop::collection::vec((0.0f64..1.0, 1usize..9000), 1..20),
    ) {
        let sections: Vec<Vec<u8>> = lens
            .iter()
            .map(|&len| (0..len).map(|i| (i * 7 + len) as u8).collect())
            .collect();
        let backend = DynBackend::new(written(&sections));
        backend.run(|| async {
            let mut pages = open(&backend, PagesKind::Payload).await.unwrap();
            for pinned in [false, true] {
                if pinned {
                    pages.pin().await.unwrap();
                }
                for (index, section) in sections.iter().enumerate() {
                    prop_assert_eq!(&pages.read_section(index).await.unwrap(), section);
                    let ranges: Vec<Range<u64>> = cuts
                        .iter()
                        .filter(|_| !section.is_empty())
                        .map(|(at, len)| {
                            let start = (at * section.len() as f64) as u64;
                            start..(start + *len as u64).min(section.len() as u64)
                        })
                        .collect();
                    let mut found = vec![Vec::new(); ranges.len()];
                    let sink = |index: usize, bytes: &[u8]| {
                        found[index] = bytes.to_vec();
                        Ok(())
                    };
                    pages.read(index, &ranges, &ReadControl::default(), sink).await.unwrap();
                    for (range, found) in ranges.iter().zip(&found) {
                        prop_assert_eq!(found, &section[range.start as usize..range.end as usize]);
                    }
                }
            }
            Ok(())
        }).unwrap()?;
    }
}

#[test]
fn records_do_not_straddle_pages_needlessly() {
    let backend = DynBackend::new(MemoryBackend::new(1));
    backend
        .run(|| async {
            let writer = backend.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let mut pages = PagesWriter::new(writer, PagesKind::Payload, IDENTITY);
            pages.begin_section().await.unwrap();
            let mut starts = Vec::new();
            for len in [2000, 1800, 1000, 3000, 5000, 200] {
                pages.align_record(len).await.unwrap();
                starts.push(pages.position());
                pages.write(&vec![1; len]).await.unwrap();
            }
            // 292 bytes of the first page are left unused. 3092 bytes would be too many to waste.
            assert_eq!(starts, [0, 2000, 4092, 5092, 8184 + 1908 - 2000, 13_092]);
            pages.finish().await.unwrap();
        })
        .unwrap();
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let sections = [(0..5000).map(|i| i as u8).collect(), vec![9; 10]];
    let whole = written(&sections).get(Path::new(PATH)).unwrap();
    assert_eq!(whole.len(), 4 * PAGE);
    for bit in (0..PAGE * 8)
        .step_by(7)
        .chain(PAGE * 8..(PAGE + 40) * 8)
        .chain((2 * PAGE * 8..whole.len() * 8).step_by(101))
    {
        let memory = MemoryBackend::new(1);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        memory.put(Path::new(PATH), flipped);
        let backend = DynBackend::new(memory);
        backend
            .run(|| async {
                let offset = (bit / 8 / PAGE * PAGE) as u64;
                match open(&backend, PagesKind::Payload).await {
                    Err(error) => assert_eq!(offset, 0, "bit {bit}: {error}"),
                    Ok(pages) => {
                        let mut found = Vec::new();
                        pages.verify(&ReadControl::default(), |error| all(&mut found, error)).await.unwrap();
                        assert_eq!(found.len(), 1, "bit {bit}: {found:?}");
                        let named =
                            matches!(found[0], FormatError::Damaged { offset: Some(at), .. } if at == offset);
                        assert!(named, "bit {bit}: {}", found[0]);
                        let reads =
                            [pages.read_section(0).await.is_err(), pages.read_section(1).await.is_err()];
                        assert_eq!(reads, [offset < 3 * PAGE as u64, offset == 3 * PAGE as u64]);
                    }
                }
            })
            .unwrap();
    }
}

/// The number of a page is part of its checksum. A sound page in the place of one whose number differs in one
/// bit looks like a page with a flipped bit.
#[test]
fn a_page_in_the_place_of_another_is_not_mended() {
    let sections = [(0..60_000).map(|i| (i / 7) as u8).collect::<Vec<u8>>()];
    let whole = written(&sections).get(Path::new(PATH)).unwrap();
    let page = |number: usize| number * PAGE..(number + 1) * PAGE;
    let count = whole.len() / PAGE;
    assert_eq!(count, 16);
    let salvaged = |bytes: Vec<u8>, number: usize| {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), bytes);
        let backend = DynBackend::new(memory);
        let read = backend.run(|| async {
            let reader = backend.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let (pages, _) = Pages::salvage(reader, PagesKind::Payload).await.unwrap();
            let at = (number - 1) * PAGE_DATA;
            let range = at as u64..(at + 1) as u64;
            let read =
                pages.read(0, std::slice::from_ref(&range), &ReadControl::default(), |_, _| Ok(())).await;
            (read.is_ok(), pages.mended())
        });
        read.unwrap()
    };
    for (from, to) in (1..count).flat_map(|from| (1..count).map(move |to| (from, to))) {
        let mut bytes = whole.clone();
        bytes.copy_within(page(from), to * PAGE);
        assert_eq!(salvaged(bytes, to), (from == to, 0), "page {from} in the place of {to}");
    }
    // A flipped bit elsewhere is put back.
    for bit in [40, 1000, PAGE * 8 - 1] {
        let mut bytes = whole.clone();
        bytes[3 * PAGE + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(salvaged(bytes, 3), (true, 1), "bit {bit}");
    }
}

#[test]
fn what_is_no_such_file_is_named() {
    let whole = written(&[vec![1; 100]]).get(Path::new(PATH)).unwrap();
    let error = |bytes: Vec<u8>, kind| {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), bytes);
        let backend = DynBackend::new(memory);
        let opened = backend.run(|| async { open(&backend, kind).await.map(drop) }).unwrap();
        opened.unwrap_err().to_string()
    };
    assert!(error(whole.clone(), PagesKind::Ids).contains("kind 3 instead of Ids"));
    assert!(error(vec![], PagesKind::Payload).contains("0 bytes are too few"));
    assert!(error(vec![0; PAGE], PagesKind::Payload).contains("it starts with"));
    assert!(error(whole[..PAGE].to_vec(), PagesKind::Payload).contains("its sections end at 8192"));
    let longer = [whole.as_slice(), &[0; PAGE]].concat();
    assert!(error(longer, PagesKind::Payload).contains("12288 bytes long"));
    let mut newer = whole;
    newer[8] = 3;
    let initial = seed(Some(IDENTITY), PagesKind::Payload as u32);
    let crc = page_crc(initial, 0, &newer[..PAGE_DATA]).to_le_bytes();
    newer[PAGE_DATA..PAGE].copy_from_slice(&crc);
    assert!(error(newer, PagesKind::Payload).contains("version 3"));
}
