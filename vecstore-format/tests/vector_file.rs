//! Vector files: reading returns what was written, and each fault of a file has its own error.

use half::f16;
use io_core::testing::{Faults, FaultyBackend, MemoryBackend};
use io_core::{
    BackendInfo, DeviceBudget, Executor, FileInfo, FileSession, FileSystem, OpenOptions, ReadControl,
    ReadError, ReadOutcome, ReadRequest, StopFlag, VectorReader,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use vecstore_format::vector_file::{
    RECORD_BYTES_MAX, VECTOR_FILE_FIELDS_BYTES, VectorFile, VectorFileError, VectorFileHeader,
    VectorFileWriter,
};
use vecstore_format::{Element, ElementType, FileIdentity, FormatError};

const PATH: &str = "vectors";

fn write<T: Element>(memory: &MemoryBackend, options: &OpenOptions, vectors: &[Vec<T>], dim: u32) {
    memory
        .run(|| async {
            let writer = memory.create(Path::new(PATH), options).await.unwrap();
            let mut writer = VectorFileWriter::new(writer, T::TYPE, dim).unwrap();
            for vector in vectors {
                writer.push_vector(vector).await.unwrap();
            }
            writer.finish().await.unwrap();
        })
        .unwrap();
}

fn read_all<T: Element>(memory: &MemoryBackend, options: &OpenOptions) -> Vec<Vec<T>> {
    memory
        .run(|| async {
            let file = VectorFile::open(memory.open(Path::new(PATH), options).await.unwrap()).await.unwrap();
            let points: Vec<u32> = (0..file.header().count as u32).rev().collect();
            let mut vectors = vec![Vec::new(); points.len()];
            let view = file.view::<T>().unwrap();
            view.read(&points, &ReadControl::default(), |index, vector| {
                vectors[points[index] as usize] = vector.to_vec();
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
            vectors
        })
        .unwrap()
}

/// The fault of the file itself.
fn of_file(error: FormatError) -> VectorFileError {
    match error {
        FormatError::VectorFile(error) => error,
        error => panic!("{error}"),
    }
}

fn open_error(memory: &MemoryBackend) -> VectorFileError {
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            of_file(VectorFile::open(reader).await.map(|file| file.reader().file().len).unwrap_err())
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
        let options = OpenOptions::default().with_direct(direct);
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
        let header = VectorFileHeader::new(ElementType::F32, dim, 10_000);
        let stride = u64::from(header.stride());
        let fits = stride <= 4096 && 4096 % stride <= 512;
        let straddles = (0..10_000).any(|point| {
            let at = header.offset(point);
            at / 4096 != (at + stride - 1) / 4096
        });
        if fits {
            prop_assert!(!straddles);
        }
        let packed = 4096 + 10_000 * (stride + 4);
        prop_assert!(header.file_bytes() <= packed + packed / 7 + 4096, "{} for {packed}", header.file_bytes());
        for point in 0..9_999 {
            prop_assert!(header.offset(point) + stride <= header.offset(point + 1), "records overlap");
        }
    }
}

#[test]
fn layout_by_hand() {
    let glove = VectorFileHeader::new(ElementType::F32, 100, 0);
    assert_eq!((glove.records_per_block, glove.block_bytes), (10, 4096));
    assert_eq!((glove.offset(9), glove.offset(10)), (4096 + 3600, 8192));
    let large = VectorFileHeader::new(ElementType::F32, 768, 0);
    assert_eq!(
        (large.records_per_block, large.block_bytes),
        (1, 3072),
        "a quarter of each page would be waste"
    );
    let page = VectorFileHeader::new(ElementType::F32, 1024, 3);
    assert_eq!((page.offset(2), page.file_bytes()), (4096 + 8192, 4 * 4096 + 3 * 4));
}

#[test]
fn wrong_magic_is_named() {
    let memory = three_vectors();
    patched(&memory, 0, b"PNG", false);
    assert!(matches!(open_error(&memory), VectorFileError::WrongMagic { .. }));
    memory.put(Path::new(PATH), b"hello".to_vec());
    assert!(matches!(open_error(&memory), VectorFileError::WrongMagic { .. }));
    memory.put(Path::new(PATH), vec![0; 9000]);
    assert!(matches!(open_error(&memory), VectorFileError::WrongMagic { .. }), "an unfinished file");
}

#[test]
fn version_and_endianness_are_named() {
    let memory = three_vectors();
    patched(&memory, 8, &9u32.to_le_bytes(), true);
    assert!(matches!(open_error(&memory), VectorFileError::WrongVersion { found: 9, .. }));
    let memory = three_vectors();
    patched(&memory, 12, &0x0A0B_0C0Du32.to_be_bytes(), true);
    assert!(matches!(open_error(&memory), VectorFileError::WrongEndianness { .. }));
}

#[test]
fn absurd_lengths_of_records_are_named() {
    let create = |element, dim| {
        let memory = MemoryBackend::new(1);
        memory
            .run(|| async {
                let writer = memory.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
                VectorFileWriter::new(writer, element, dim).map(drop)
            })
            .unwrap()
    };
    for dim in [0u32, 65_537, u32::MAX] {
        let memory = three_vectors();
        patched(&memory, 20, &dim.to_le_bytes(), true);
        let error = open_error(&memory);
        let bytes = 4 * u64::from(dim);
        assert!(
            matches!(error, VectorFileError::BadRecordLength { bytes: found, .. } if found == bytes),
            "{error}"
        );
        let created = create(ElementType::F32, dim);
        assert!(
            matches!(created, Err(VectorFileError::BadRecordLength { bytes: found, .. }) if found == bytes)
        );
    }
    // The limit counts bytes, because a code may be longer than the vector has components.
    assert_eq!(RECORD_BYTES_MAX, 262_144);
    for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
        let most = RECORD_BYTES_MAX as u32 / element.bytes();
        assert!(create(element, most).is_ok() && create(element, most + 1).is_err(), "{element}");
    }
}

/// The longest record, and the int8 code of the longest vector, which has 16 bytes more than components.
#[test]
fn the_longest_records_are_read_back() {
    for len in [4 * 65_536usize, 65_520 + 16] {
        let memory = MemoryBackend::new(1);
        let record: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        write(&memory, &OpenOptions::default(), &[record.clone(), record.clone()], len as u32);
        assert_eq!(read_all::<u8>(&memory, &OpenOptions::default()), [record.clone(), record]);
    }
}

#[test]
fn truncated_and_overlong_files_are_named() {
    let whole = three_vectors().get(Path::new(PATH)).unwrap();
    assert_eq!(whole.len(), 4096 + 4096 + 12);
    for len in [0, 5, 8, 60, 84, 4095, 4096, 4096 + 24, 8192, whole.len() - 1] {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), whole[..len].to_vec());
        let error = open_error(&memory);
        assert!(
            matches!(error, VectorFileError::Truncated { found, .. } if found == len as u64),
            "{len}: {error}"
        );
    }
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), [whole.as_slice(), b"x"].concat());
    assert!(matches!(open_error(&memory), VectorFileError::TrailingBytes { .. }));
}

/// The bytes of a file of these vectors with this identity.
fn identified(identity: Option<FileIdentity>, vectors: &[[f32; 2]]) -> Vec<u8> {
    let memory = MemoryBackend::new(1);
    memory
        .run(|| async {
            let writer = memory.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let mut writer = VectorFileWriter::with_identity(writer, ElementType::F32, 2, identity).unwrap();
            for vector in vectors {
                writer.push_vector(vector).await.unwrap();
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
    // As the format describes it, byte by byte.
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
        // The same vectors, so that only the identity differs.
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
        // The other file's checksums and their checksum, in this file.
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
                let file = VectorFile::open(reader).await.unwrap();
                let reader = memory.open(Path::new("other"), &options).await.unwrap();
                of_file(VectorFile::open_shared(reader, file.checksums()).await.map(drop).unwrap_err())
            })
            .unwrap();
        assert!(matches!(error, VectorFileError::OtherFile { found, .. } if found == other), "{error}");
    }
}

/// Version 2: without an identity, and with its checksum in that place.
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
    // Version 2 has zeros where version 3 has these fields.
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

/// The damage that `verify` reports for a file with these bytes, or the error of opening it.
fn verified(bytes: Vec<u8>) -> Vec<VectorFileError> {
    let memory = MemoryBackend::new(1);
    memory.put(Path::new(PATH), bytes);
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            match VectorFile::open(reader).await {
                Err(error) => vec![of_file(error)],
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
            let file = VectorFile::open(reader).await.unwrap();
            let mut delivered = 0;
            let mut read = async |points: &[u32]| {
                let sink = |_, _: &[u8]| {
                    delivered += 1;
                    ControlFlow::Continue(())
                };
                file.read(points, &ReadControl::default(), sink).await
            };
            assert_eq!(read(&[0, 2]).await.unwrap().delivered, 2);
            let error = of_file(read(&[1]).await.unwrap_err());
            assert!(
                matches!(error, VectorFileError::RecordDamaged { point: 1, offset: 4104, .. }),
                "{error}"
            );
            assert_eq!(delivered, 2);
            // Readers that share the checksums find it too.
            let again = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let shared = VectorFile::open_shared(again, file.checksums()).await.unwrap();
            let error = shared.read(&[1], &ReadControl::default(), |_, _| panic!("delivered")).await;
            assert!(matches!(of_file(error.unwrap_err()), VectorFileError::RecordDamaged { .. }));
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
        let error = open_error(&memory);
        assert!(matches!(error, VectorFileError::BadLayout { .. }), "field at {at}: {error}");
    }
    let memory = three_vectors();
    patched(&memory, 16, &77u32.to_le_bytes(), true);
    assert!(matches!(open_error(&memory), VectorFileError::UnknownElement { code: 77, .. }));
}

#[test]
fn the_wrong_element_type_and_unknown_points_are_named() {
    let memory = three_vectors();
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let file = VectorFile::open(reader).await.unwrap();
            let error = file.view::<u8>().map(drop).unwrap_err();
            let (found, wanted) = (ElementType::F32, ElementType::U8);
            assert!(
                matches!(error, VectorFileError::ElementMismatch { found: f, wanted: w, .. } if (f, w) == (found, wanted)),
                "{error}"
            );
            assert!(file.check_element(found).is_ok() && file.view::<f32>().is_ok());
            let control = ReadControl::default();
            let read = file.read(&[0, 3], &control, |_, _| panic!("delivered"));
            let error = of_file(read.await.unwrap_err());
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
            let mut writer = VectorFileWriter::new(writer, ElementType::F32, 2).unwrap();
            writer.push_vector(&[1.0f32, 2.0]).await.unwrap();
            let error = of_file(writer.push_vector(&[1.0f32]).await.unwrap_err());
            assert!(
                matches!(error, VectorFileError::WrongLength { point: 1, found: 4, stride: 8, .. }),
                "{error}"
            );
            let error = of_file(writer.push_vector(&[1u8; 8]).await.unwrap_err());
            assert!(matches!(error, VectorFileError::ElementMismatch { .. }), "{error}");
            assert_eq!(writer.finish().await.unwrap().count, 1);
        })
        .unwrap();
    assert_eq!(read_all::<f32>(&memory, &OpenOptions::default()), [[1.0, 2.0]]);
}

/// A reader that delivers at odd addresses, as readers from elsewhere may.
struct Odd<R>(R);

impl<R: VectorReader> VectorReader for Odd<R> {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let mut moved = Vec::new();
        self.0
            .read_vectors(requests, control, |index, bytes| {
                moved.resize(bytes.len() + 2, 0u8);
                let start = 1 - moved.as_ptr().addr() % 2;
                moved[start..start + bytes.len()].copy_from_slice(bytes);
                sink(index, &moved[start..start + bytes.len()])
            })
            .await
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        self.0.session(control)
    }

    fn file(&self) -> &FileInfo {
        self.0.file()
    }

    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn close(&self) -> std::io::Result<()> {
        self.0.close().await
    }
}

#[test]
fn records_are_aligned_for_their_components_whatever_the_reader() {
    fn check<T: Element + PartialEq + std::fmt::Debug>(vectors: &[Vec<T>]) {
        let memory = MemoryBackend::new(1);
        let options = OpenOptions::default();
        write(&memory, &options, vectors, vectors[0].len() as u32);
        memory
            .run(|| async {
                let reader = Odd(memory.open(Path::new(PATH), &options).await.unwrap());
                let file = VectorFile::open(reader).await.unwrap();
                let points: Vec<u32> = (0..vectors.len() as u32).collect();
                let control = ReadControl::default();
                let outcome = file.read(&points, &control, |index, record| {
                    assert!(record.as_ptr().addr().is_multiple_of(size_of::<T>()), "record {index}");
                    assert_eq!(record, bytemuck::cast_slice::<T, u8>(&vectors[index]), "record {index}");
                    ControlFlow::Continue(())
                });
                assert_eq!(outcome.await.unwrap().delivered, vectors.len());
                let view = file.view::<T>().unwrap();
                let outcome = view.read(&points, &control, |index, vector| {
                    assert_eq!(vector, vectors[index]);
                    ControlFlow::Continue(())
                });
                assert_eq!(outcome.await.unwrap().delivered, vectors.len());
            })
            .unwrap();
    }
    let numbers = || (0..5).map(|point| (0..7).map(move |i| point * 7 + i));
    check(&numbers().map(|row| row.map(|i| i as f32).collect()).collect::<Vec<_>>());
    check(&numbers().map(|row| row.map(|i| f16::from_f32(i as f32)).collect()).collect::<Vec<_>>());
    check(&numbers().map(|row| row.map(|i| i as u8).collect()).collect::<Vec<_>>());
}

/// A walk by what it reads is the same in whatever order its reads complete. All of them are in flight
/// together.
#[test]
fn runs_come_in_the_order_in_which_they_were_asked_for() {
    const POINTS: u32 = 97;
    const IN_FLIGHT: usize = 6;
    // Records without gaps, and four in each page, which is a gap behind every fourth.
    for dim in [8, 1000] {
        let vectors: Vec<Vec<u8>> = (0..POINTS).map(|point| vec![point as u8; dim]).collect();
        let mut in_flight_max = 0;
        for seed in 0..20 {
            let memory = MemoryBackend::new(seed);
            let options = OpenOptions::default().with_gap_max(0);
            write(&memory, &options, &vectors, dim as u32);
            let backend = FaultyBackend::new(memory, Faults { seed, delay: 0.5, ..Faults::default() });
            backend
                .run(|| async {
                    let reader = backend.open(Path::new(PATH), &options).await.unwrap();
                    let file = VectorFile::open(reader).await.unwrap();
                    let mut reads = file.in_order(ReadControl::default());
                    assert!(reads.next().await.unwrap().is_none(), "nothing was asked for");
                    let (mut expected, mut next) = (VecDeque::new(), 0);
                    for turn in 0..100 {
                        while reads.len() < IN_FLIGHT {
                            let run = next..(next + 1 + next % 7).min(POINTS);
                            reads.push(run.clone()).unwrap();
                            expected.push_back(run);
                            next = (next * 31 + 7) % POINTS;
                        }
                        let run = reads.next().await.unwrap().unwrap();
                        let points: Vec<u32> = run.iter().map(|(point, _)| point).collect();
                        let wanted = expected.pop_front().unwrap();
                        assert_eq!(points, wanted.collect::<Vec<u32>>(), "seed {seed}, turn {turn}");
                        for (point, record) in run.iter() {
                            assert_eq!(record, vectors[point as usize], "seed {seed}, turn {turn}");
                        }
                        // What was read decides what is read next.
                        next = (next + points[0] / 9) % POINTS;
                    }
                    assert_eq!((reads.len(), reads.is_empty()), (IN_FLIGHT - 1, false));
                    while let Some(run) = reads.next().await.unwrap() {
                        let points = run.iter().map(|(point, _)| point);
                        assert!(points.eq(expected.pop_front().unwrap()), "seed {seed}");
                    }
                    assert!(reads.is_empty() && expected.is_empty());
                    assert!(reads.stats().reads > 0);
                })
                .unwrap();
            in_flight_max = in_flight_max.max(backend.log().in_flight_max());
        }
        assert_eq!(in_flight_max, IN_FLIGHT as u64, "records of {dim} bytes");
    }
}

/// Whatever else reads from the same device waits for the runs in flight, and they go on meanwhile.
#[test]
fn a_batch_beside_runs_in_order_ends_with_a_device_of_one_read() {
    let vectors: Vec<Vec<u8>> = (0..50).map(|point| vec![point; 1000]).collect();
    for seed in 0..20 {
        let memory = MemoryBackend::new(seed);
        let options = OpenOptions::default().on_device(&DeviceBudget::new(1, 1 << 20));
        write(&memory, &options, &vectors, 1000);
        let backend = FaultyBackend::new(memory, Faults { seed, delay: 0.5, ..Faults::default() });
        backend
            .run(|| async {
                let reader = backend.open(Path::new(PATH), &options).await.unwrap();
                let file = VectorFile::open(reader).await.unwrap();
                let control = ReadControl::default();
                let mut reads = file.in_order(control.clone());
                for point in 0..50 {
                    while reads.len() < 3 {
                        let run = (point + reads.len() as u32) % 50;
                        reads.push(run..run + 1).unwrap();
                    }
                    let points = [point];
                    let batch = file.read(&points, &control, |_, record| {
                        assert_eq!(record, vectors[point as usize]);
                        ControlFlow::Continue(())
                    });
                    assert_eq!(reads.beside(batch).await.unwrap().delivered, 1);
                    let run = reads.next().await.unwrap().unwrap();
                    assert!(run.iter().eq([(point, &vectors[point as usize][..])]));
                }
            })
            .unwrap();
    }
}

#[test]
fn runs_in_order_have_the_faults_of_batches() {
    let memory = three_vectors();
    // The second byte of the second vector.
    patched(&memory, 4096 + 8 + 1, &[9], false);
    memory
        .run(|| async {
            let reader = memory.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
            let file = VectorFile::open(reader).await.unwrap();
            let mut reads = file.in_order(ReadControl::default());
            reads.push(0..1).unwrap();
            assert!(reads.next().await.unwrap().is_some());
            let VectorFileError::NoSuchPoint { index: 1, point: 3, count: 3, .. } =
                reads.push(2..4).unwrap_err()
            else {
                panic!("a point that the file does not have");
            };
            reads.push(2..3).unwrap();
            assert!(reads.next().await.unwrap().is_some());
            reads.push(0..3).unwrap();
            match of_file(reads.next().await.unwrap_err()) {
                VectorFileError::RecordDamaged { point: 1, .. } => {}
                other => panic!("{other}"),
            }

            let stop = StopFlag::new();
            let control = ReadControl::default().with_stop(stop.clone());
            let mut reads = file.in_order(control);
            reads.push(0..1).unwrap();
            stop.stop();
            assert!(reads.next().await.unwrap().is_none());
            assert!(!reads.is_empty(), "the read was stopped, not taken");
        })
        .unwrap();
}

/// In either version, a flipped bit anywhere in a header is put back.
#[test]
fn a_flipped_bit_of_a_header_is_put_back() {
    let file = Path::new(PATH).into();
    let new = identified(Some(IDENTITY), &[[1.0, 2.0]]);
    for (whole, fields) in [(new, VECTOR_FILE_FIELDS_BYTES), (version_2(identified(None, &[[1.0, 2.0]])), 60)]
    {
        let whole: [u8; VECTOR_FILE_FIELDS_BYTES] = whole[..VECTOR_FILE_FIELDS_BYTES].try_into().unwrap();
        assert_eq!(VectorFileHeader::mended(&whole, &file), None);
        for bit in 0..fields * 8 {
            let mut flipped = whole;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(VectorFileHeader::mended(&flipped, &file), Some(whole), "bit {bit}");
        }
        let mut garbled = whole;
        garbled[20..30].fill(0xAA);
        assert_eq!(VectorFileHeader::mended(&garbled, &file), None);
    }
}

/// At compile time: files over readers and writers that may move are themselves such, with their futures.
#[test]
fn files_may_move_where_their_backend_may() {
    use io_core::{SendPageWriter, SendVectorReader, SendWrites};
    type Reader = VectorFile<Box<dyn SendVectorReader>>;
    type Writer = VectorFileWriter<Box<dyn SendPageWriter>, SendWrites>;

    fn shared<T: Send + Sync>() {}
    shared::<Reader>();
    shared::<Writer>();

    fn moves<T: Send>(_future: T) {}
    let _futures = |file: &Reader, writer: &mut Writer, control: &ReadControl| {
        moves(file.read(&[1, 2], control, |_, _| ControlFlow::Continue(())));
        moves(writer.push(&[0; 4]));
    };
}
