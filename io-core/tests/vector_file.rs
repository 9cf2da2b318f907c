//! Vector files: what is written is read back, and every way a file can be wrong has its own error.

use half::f16;
use io_core::testing::MemoryBackend;
use io_core::{
    BackendFactory, Element, FileIdentity, OpenOptions, ReadControl, VECTOR_FILE_FIELDS_BYTES,
    VECTOR_FILE_HEADER_BYTES, VectorFile, VectorFileError, VectorFileHeader, VectorFileWriter, VectorReader,
};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::path::Path;

const PATH: &str = "vectors";

fn write<T: Element>(memory: &MemoryBackend, options: &OpenOptions, vectors: &[Vec<T>], dim: u32) {
    memory
        .run(|| async {
            let writer = memory.create(Path::new(PATH), options).await.unwrap();
            let mut writer = VectorFileWriter::<T, _>::new(writer, dim).unwrap();
            for vector in vectors {
                writer.push(vector).await.unwrap();
            }
            writer.finish().await.unwrap();
        })
        .unwrap();
}

fn read_all<T: Element>(memory: &MemoryBackend, options: &OpenOptions) -> Vec<Vec<T>> {
    memory
        .run(|| async {
            let file =
                VectorFile::<T, _>::open(memory.open(Path::new(PATH), options).await.unwrap()).await.unwrap();
            let points: Vec<u32> = (0..file.header().count as u32).rev().collect();
            let mut vectors = vec![Vec::new(); points.len()];
            file.read(&points, &ReadControl::default(), |index, vector| {
                vectors[points[index] as usize] = vector.to_vec();
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
            vectors
        })
        .unwrap()
}

fn open_error<T: Element + std::fmt::Debug>(memory: &MemoryBackend) -> VectorFileError {
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            VectorFile::<T, _>::open(reader).await.map(|file| file.reader().file().len).unwrap_err()
        })
        .unwrap()
}

fn patched(memory: &MemoryBackend, at: usize, bytes: &[u8], fix_checksum: bool) {
    let mut file = memory.get(Path::new(PATH)).unwrap();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    if fix_checksum {
        let crc = crc32fast::hash(&file[..80]);
        file[80..84].copy_from_slice(&crc.to_le_bytes());
    }
    memory.put(Path::new(PATH), file);
}

fn three_vectors() -> MemoryBackend {
    let memory = MemoryBackend::new(1);
    let vectors = [vec![1.0f32, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]];
    write(&memory, &OpenOptions::default(), &vectors, 2);
    memory
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(dim in 1u32..1500, count in 0usize..400, direct: bool, seed: u8) {
        let options = OpenOptions { direct, ..OpenOptions::default() };
        let bytes: Vec<Vec<u8>> = (0..count)
            .map(|point| (0..dim as usize).map(|i| (point * 31 + i * 7 + seed as usize) as u8).collect())
            .collect();
        let memory = MemoryBackend::new(7);
        write(&memory, &options, &bytes, dim);
        prop_assert_eq!(&read_all::<u8>(&memory, &options), &bytes);

        let memory = MemoryBackend::new(8);
        let floats: Vec<Vec<f32>> = bytes.iter().map(|v| v.iter().map(|&b| f32::from(b) / 7.0).collect()).collect();
        write(&memory, &options, &floats, dim);
        prop_assert_eq!(&read_all::<f32>(&memory, &options), &floats);

        let memory = MemoryBackend::new(9);
        let halves: Vec<Vec<f16>> =
            floats.iter().map(|v| v.iter().map(|&x| f16::from_f32(x)).collect()).collect();
        write(&memory, &options, &halves, dim);
        prop_assert_eq!(&read_all::<f16>(&memory, &options), &halves);
    }

    #[test]
    fn records_straddle_pages_only_where_padding_would_waste_more_than_an_eighth(dim in 1u32..3000) {
        let header = VectorFileHeader::new(io_core::ElementType::F32, dim, 10_000);
        let stride = u64::from(header.stride());
        let fits = stride <= 4096 && 4096 % stride <= 512;
        let straddles = (0..10_000).any(|point| {
            let at = header.offset(point);
            at / 4096 != (at + stride - 1) / 4096
        });
        if fits {
            prop_assert!(!straddles);
        }
        let packed = VECTOR_FILE_HEADER_BYTES + 10_000 * (stride + 4);
        prop_assert!(header.file_bytes() <= packed + packed / 7 + 4096, "{} for {packed}", header.file_bytes());
        for point in 0..9_999 {
            prop_assert!(header.offset(point) + stride <= header.offset(point + 1), "records overlap");
        }
    }
}

#[test]
fn layout_by_hand() {
    let glove = VectorFileHeader::new(io_core::ElementType::F32, 100, 0);
    assert_eq!((glove.records_per_block, glove.block_bytes), (10, 4096));
    assert_eq!((glove.offset(9), glove.offset(10)), (4096 + 3600, 8192));
    let large = VectorFileHeader::new(io_core::ElementType::F32, 768, 0);
    assert_eq!(
        (large.records_per_block, large.block_bytes),
        (1, 3072),
        "a quarter of each page would be waste"
    );
    let page = VectorFileHeader::new(io_core::ElementType::F32, 1024, 3);
    assert_eq!((page.offset(2), page.file_bytes()), (4096 + 8192, 4 * 4096 + 3 * 4));
}

#[test]
fn wrong_magic_is_named() {
    let memory = three_vectors();
    patched(&memory, 0, b"PNG", false);
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::WrongMagic { .. }));
    memory.put(Path::new(PATH), b"hello".to_vec());
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::WrongMagic { .. }));
    memory.put(Path::new(PATH), vec![0; 9000]);
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::WrongMagic { .. }), "an unfinished file");
}

#[test]
fn version_and_endianness_are_named() {
    let memory = three_vectors();
    patched(&memory, 8, &9u32.to_le_bytes(), true);
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::WrongVersion { found: 9, .. }));
    let memory = three_vectors();
    patched(&memory, 12, &0x0A0B_0C0Du32.to_be_bytes(), true);
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::WrongEndianness { .. }));
}

#[test]
fn absurd_dimensions_are_named() {
    for dim in [0u32, 65_537, u32::MAX] {
        let memory = three_vectors();
        patched(&memory, 20, &dim.to_le_bytes(), true);
        let error = open_error::<f32>(&memory);
        assert!(matches!(error, VectorFileError::BadDimension { dim: found, .. } if found == dim), "{error}");
        let created = memory
            .run(|| async {
                let writer = memory.create(Path::new("other"), &OpenOptions::default()).await.unwrap();
                VectorFileWriter::<f32, _>::new(writer, dim).map(drop)
            })
            .unwrap();
        assert!(matches!(created, Err(VectorFileError::BadDimension { .. })));
    }
}

#[test]
fn truncated_and_overlong_files_are_named() {
    let whole = three_vectors().get(Path::new(PATH)).unwrap();
    assert_eq!(whole.len(), 4096 + 4096 + 12);
    for len in [0, 5, 8, 60, 84, 4095, 4096, 4096 + 24, 8192, whole.len() - 1] {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), whole[..len].to_vec());
        let error = open_error::<f32>(&memory);
        assert!(
            matches!(error, VectorFileError::Truncated { found, .. } if found == len as u64),
            "{len}: {error}"
        );
    }
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), [whole.as_slice(), b"x"].concat());
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::TrailingBytes { .. }));
}

/// The bytes of a file of these vectors that is this one.
fn identified(identity: Option<FileIdentity>, vectors: &[[f32; 2]]) -> Vec<u8> {
    let memory = MemoryBackend::new(1);
    memory
        .run(|| async {
            let writer = memory.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let mut writer = VectorFileWriter::<f32, _>::with_identity(writer, 2, identity).unwrap();
            for vector in vectors {
                writer.push(vector).await.unwrap();
            }
            let header = writer.finish().await.unwrap();
            assert_eq!(header.identity, identity);
        })
        .unwrap();
    memory.get(Path::new(PATH)).unwrap()
}

const IDENTITY: FileIdentity = FileIdentity { owner: *b"sixteen bytes of", file: 1 };

#[test]
fn checksums_are_of_this_file_and_none_other() {
    let vectors = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let own = identified(Some(IDENTITY), &vectors);
    assert!(verified(own.clone()).is_empty());
    // As the format says, byte by byte.
    assert_eq!((&own[56..72], &own[72..80]), (&IDENTITY.owner[..], &1u64.to_le_bytes()[..]));
    let seed = crc32fast::hash(&own[56..80]);
    let crc = |initial, bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(initial);
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    for point in 0..3 {
        let record = &own[4096 + point * 8..][..8];
        assert_eq!(own[8192 + point * 4..][..4], crc(seed ^ point as u32, record), "record {point}");
    }
    assert_eq!(own[44..48], crc(seed, &own[8192..]));
    assert_eq!(own[80..84], crc(0, &own[..80]));

    let others = [
        None,
        Some(FileIdentity { file: 2, ..IDENTITY }),
        Some(FileIdentity { owner: *b"Sixteen bytes of", ..IDENTITY }),
    ];
    for other in others {
        // The same vectors, so that nothing but the identity can tell.
        let other = identified(other, &vectors);
        assert_eq!(own[4096..8192], other[4096..8192]);
        let with = |range: std::ops::Range<usize>| {
            let mut mixed = own.clone();
            mixed[range.clone()].copy_from_slice(&other[range]);
            verified(mixed)
        };
        let found = with(0..4096);
        assert!(matches!(found[..], [VectorFileError::ChecksumsDamaged { .. }]), "a header: {found:?}");
        let found = with(8192..8204);
        assert!(matches!(found[..], [VectorFileError::ChecksumsDamaged { .. }]), "a table: {found:?}");
        // Its checksums and their checksum, but in this file.
        let mut mixed = own.clone();
        mixed[8192..].copy_from_slice(&other[8192..]);
        mixed[44..48].copy_from_slice(&crc(seed, &other[8192..]));
        let header = crc(0, &mixed[..80]);
        mixed[80..84].copy_from_slice(&header);
        let found = verified(mixed);
        let records = found.iter().filter(|found| matches!(found, VectorFileError::RecordDamaged { .. }));
        assert_eq!(records.count(), 3, "records: {found:?}");
    }
}

#[test]
fn checksums_of_another_file_are_refused() {
    let own = identified(Some(IDENTITY), &[[1.0, 2.0]]);
    let memory = MemoryBackend::new(1);
    let other = FileIdentity { file: 2, ..IDENTITY };
    for (other, vector) in [(Some(other), [1.0, 2.0]), (None, [1.0, 2.0]), (Some(IDENTITY), [1.0, 3.0])] {
        memory.put(Path::new(PATH), own.clone());
        memory.put(Path::new("other"), identified(other, &[vector]));
        let error = memory
            .run(|| async {
                let options = OpenOptions::default();
                let reader = memory.open(Path::new(PATH), &options).await.unwrap();
                let file = VectorFile::<f32, _>::open(reader).await.unwrap();
                let reader = memory.open(Path::new("other"), &options).await.unwrap();
                VectorFile::<f32, _>::open_shared(reader, file.checksums()).await.map(drop).unwrap_err()
            })
            .unwrap();
        assert!(matches!(error, VectorFileError::OtherFile { found, .. } if found == other), "{error}");
    }
}

/// Version 2: without an identity, and with its checksum where that is now.
fn version_2(mut file: Vec<u8>) -> Vec<u8> {
    file[8..12].copy_from_slice(&2u32.to_le_bytes());
    file[56..84].fill(0);
    let crc = crc32fast::hash(&file[..56]);
    file[56..60].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn the_version_before_is_read() {
    let vectors = [[1.0, 2.0], [3.0, 4.0]];
    let old = version_2(identified(None, &vectors));
    assert!(verified(old.clone()).is_empty());
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), old.clone());
    assert_eq!(read_all::<f32>(&memory, &OpenOptions::default()), vectors);
    let fields = old[..VECTOR_FILE_FIELDS_BYTES].try_into().unwrap();
    let header = VectorFileHeader::decode(&fields, &Path::new(PATH).into(), old.len() as u64).unwrap();
    assert_eq!((header.version, header.identity, header.encode()), (2, None, fields));
    // What is a field now was zeros.
    for byte in 60..84 {
        let mut flipped = old.clone();
        flipped[byte] ^= 1;
        let found = verified(flipped);
        let at = |found: &VectorFileError| match found {
            VectorFileError::PaddingDamaged { offset, .. } => *offset,
            other => panic!("{other}"),
        };
        assert_eq!(found.iter().map(at).collect::<Vec<_>>(), [byte as u64]);
    }
}

/// What `verify` says of a file with these bytes, or why it does not open.
fn verified(bytes: Vec<u8>) -> Vec<VectorFileError> {
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), bytes);
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            match VectorFile::<f32, _>::open(reader).await {
                Err(error) => vec![error],
                Ok(file) => {
                    let mut found = Vec::new();
                    let all = |damage| {
                        found.push(damage);
                        ControlFlow::Continue(())
                    };
                    file.verify(&ReadControl::default(), all).await.unwrap();
                    found
                }
            }
        })
        .unwrap()
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let whole = three_vectors().get(Path::new(PATH)).unwrap();
    assert!(verified(whole.clone()).is_empty());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = verified(flipped);
        assert_eq!(found.len(), 1, "bit {bit}: {found:?}");
        let record = bit / 8 >= 4096 && bit / 8 < 4096 + 24;
        match found[0] {
            VectorFileError::RecordDamaged { point, offset, .. } => {
                assert!(
                    record && point == (bit as u64 / 8 - 4096) / 8 && offset == 4096 + point * 8,
                    "{bit}"
                );
            }
            VectorFileError::PaddingDamaged { offset, .. } => assert_eq!(offset, bit as u64 / 8),
            VectorFileError::ChecksumsDamaged { offset, .. } => {
                // The table, or its checksum in the header, which the header's own checksum covers.
                assert!(bit / 8 >= 8192 && offset == 8192, "{bit}");
            }
            _ => assert!(bit / 8 < VECTOR_FILE_FIELDS_BYTES, "bit {bit}: {}", found[0]),
        }
    }
}

#[test]
fn a_damaged_record_is_an_error_and_never_delivered() {
    let memory = three_vectors();
    let mut bytes = memory.get(Path::new(PATH)).unwrap();
    bytes[4096 + 8] ^= 1;
    memory.put(Path::new(PATH), bytes);
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let file = VectorFile::<f32, _>::open(reader).await.unwrap();
            let mut delivered = 0;
            let mut read = async |points: &[u32]| {
                let sink = |_, _: &[f32]| {
                    delivered += 1;
                    ControlFlow::Continue(())
                };
                file.read(points, &ReadControl::default(), sink).await
            };
            assert_eq!(read(&[0, 2]).await.unwrap().delivered, 2);
            let error = read(&[1]).await.unwrap_err();
            assert!(
                matches!(error, VectorFileError::RecordDamaged { point: 1, offset: 4104, .. }),
                "{error}"
            );
            assert_eq!(delivered, 2);
            // Readers of the same file share the checksums, and find it as well.
            let again = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let shared = VectorFile::<f32, _>::open_shared(again, file.checksums()).await.unwrap();
            let error = shared.read(&[1], &ReadControl::default(), |_, _| panic!("delivered")).await;
            assert!(matches!(error, Err(VectorFileError::RecordDamaged { .. })));
        })
        .unwrap();
}

#[test]
fn two_records_that_changed_places_are_found() {
    let mut bytes = three_vectors().get(Path::new(PATH)).unwrap();
    let (first, second) = bytes[4096..4112].split_at_mut(8);
    first.swap_with_slice(second);
    assert_eq!(verified(bytes).len(), 2);
}

#[test]
fn impossible_layouts_do_not_get_past_the_header() {
    let fields: [(usize, &[u8]); 5] = [
        (24, &u64::MAX.to_le_bytes()),
        (32, &9u32.to_le_bytes()),
        (36, &0u32.to_le_bytes()),
        (40, &1u32.to_le_bytes()),
        (48, &5000u64.to_le_bytes()),
    ];
    for (at, bytes) in fields {
        let memory = three_vectors();
        patched(&memory, at, bytes, true);
        let error = open_error::<f32>(&memory);
        assert!(matches!(error, VectorFileError::BadLayout { .. }), "field at {at}: {error}");
    }
    let memory = three_vectors();
    patched(&memory, 16, &77u32.to_le_bytes(), true);
    assert!(matches!(open_error::<f32>(&memory), VectorFileError::UnknownElement { code: 77, .. }));
}

#[test]
fn the_wrong_element_type_and_unknown_points_are_named() {
    let memory = three_vectors();
    assert!(matches!(open_error::<u8>(&memory), VectorFileError::ElementMismatch { .. }));
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let file = VectorFile::<f32, _>::open(reader).await.unwrap();
            let error =
                file.read(&[0, 3], &ReadControl::default(), |_, _| panic!("delivered")).await.unwrap_err();
            assert!(
                matches!(error, VectorFileError::NoSuchPoint { index: 1, point: 3, count: 3, .. }),
                "{error}"
            );
        })
        .unwrap();
}

#[test]
fn a_vector_of_the_wrong_length_is_refused_and_the_file_goes_on() {
    let memory = MemoryBackend::new(1);
    memory
        .run(|| async {
            let writer = memory.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let mut writer = VectorFileWriter::<f32, _>::new(writer, 2).unwrap();
            writer.push(&[1.0, 2.0]).await.unwrap();
            let error = writer.push(&[1.0]).await.unwrap_err();
            assert!(
                matches!(error, VectorFileError::WrongLength { point: 1, found: 1, dim: 2, .. }),
                "{error}"
            );
            assert_eq!(writer.finish().await.unwrap().count, 1);
        })
        .unwrap();
    assert_eq!(read_all::<f32>(&memory, &OpenOptions::default()), [[1.0, 2.0]]);
}
