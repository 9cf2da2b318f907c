use super::*;
use crate::{FormatError, PointId, RandomId};
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend, Executor};
use std::path::Path;

const VECTOR: [u8; 8] = *b"vector01";
const COLLECTION: RandomId = RandomId(*b"sixteen bytes of");

fn path() -> &'static Path {
    Path::new("/log")
}

fn body(id: u64, payload: &[u8]) -> Vec<u8> {
    let mut batch = BatchEncoder::default();
    batch.push(LogOp::Put { id: PointId::Num(id), payload, vector: &VECTOR });
    batch.push(LogOp::Delete { id: PointId::Uuid(u128::from(id)) });
    batch.finish().unwrap().unwrap()
}

/// Runs something on a log on a simulated disk.
fn on_log<T>(disk: &SimulatedDisk, act: impl AsyncFnOnce(LogWriter) -> T) -> T {
    let backend = DynBackend::new(disk.clone());
    backend
        .run(|| async { act(LogWriter::create(&backend, path(), COLLECTION, 7, 100).await.unwrap()).await })
        .unwrap()
}

/// The result of parsing a log.
#[derive(Debug)]
struct Parsed {
    header: LogHeader,
    /// The sequence number of each batch, and the id that it writes.
    batches: Vec<(u64, PointId)>,
    next_seq: u64,
    end: LogEnd,
}

fn parse(bytes: &[u8]) -> Result<Option<Parsed>, FormatError> {
    let Some(mut log) = LogReader::begin(LogBytes::of(path(), bytes), VECTOR.len())? else { return Ok(None) };
    let mut batches = Vec::new();
    while let Some((seq, ops)) = log.next_batch()? {
        batches.push((seq, ops[0].id()));
    }
    Ok(Some(Parsed { header: log.header(), batches, next_seq: log.next_seq(), end: log.end() }))
}

/// The remains of a damaged log: the sequence number of each batch, and the id that it writes.
fn salvage(bytes: &[u8]) -> (Vec<(u64, PointId)>, SalvagedLog<'_>) {
    let mut log = salvage_log(LogBytes::of(path(), bytes), VECTOR.len()).unwrap();
    let batches = log.batches.clone().into_iter();
    (batches.map(|batch| (batch.seq, log.points(batch).unwrap()[0].id())).collect(), log)
}

/// Where each record begins, and where the last one ends.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![HEADER_BYTES];
    while let Some(record) = record::RecordHeader::decode(&bytes[places[places.len() - 1]..])
        && record.kind != 0
    {
        places.push(places[places.len() - 1] + RECORD_HEADER_BYTES + record.body_len as usize);
    }
    places
}

/// A closed log of three synced batches.
fn closed() -> Vec<u8> {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        for id in 0..3 {
            assert_eq!(log.push(&body(id, b"{}")), 100 + id);
            log.write().await.unwrap();
            log.sync().await.unwrap();
        }
        log.close().await.unwrap();
    });
    disk.read(path()).unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = closed();
    let log = parse(&bytes).unwrap().unwrap();
    assert_eq!((log.header.number, log.header.first_seq, log.next_seq), (7, 100, 103));
    assert_eq!((log.header.collection, &bytes[40..56]), (Some(COLLECTION), &COLLECTION.0[..]));
    assert_eq!(log.end, LogEnd::Closed);
    let mut log = LogReader::begin(LogBytes::of(path(), &bytes), VECTOR.len()).unwrap().unwrap();
    for id in 0..3 {
        let put = LogOp::Put { id: PointId::Num(id), payload: b"{}", vector: &VECTOR };
        let delete = LogOp::Delete { id: PointId::Uuid(u128::from(id)) };
        assert_eq!(log.next_batch().unwrap(), Some((100 + id, vec![put, delete])));
    }
    assert_eq!(log.next_batch().unwrap(), None);
}

/// A mark follows each batch, and another one ends the log.
#[test]
fn a_flipped_bit_in_a_closed_log_is_never_taken_for_an_end() {
    let bytes = closed();
    let last = bytes.len() - RECORD_HEADER_BYTES;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match parse(&flipped) {
            Err(_) => assert!(bit / 8 < last, "bit {bit}"),
            Ok(Some(log)) => {
                // Only the last mark can be lost like this, and the mark before it, which the last one does
                // not cover.
                assert!(bit / 8 >= last - RECORD_HEADER_BYTES, "bit {bit}");
                assert_eq!((log.batches.len(), log.next_seq), (3, 103));
                let offset = if bit / 8 >= last { last } else { last - RECORD_HEADER_BYTES };
                // A checksum may end in zeros, because it depends on the log's random salt.
                let zeros = flipped.iter().rev().take_while(|&&byte| byte == 0).count();
                let bytes = (bytes.len() - offset - zeros) as u64;
                assert_eq!(log.end, LogEnd::Torn { offset: offset as u64, bytes, in_doubt: false });
            }
            Ok(None) => panic!("bit {bit}: a log with records counts as one that was never begun"),
        }
    }
}

#[test]
fn a_log_cut_anywhere_ends_before_the_cut() {
    let bytes = closed();
    let places = places(&bytes);
    assert_eq!(places.len(), 3 * 2 + 2, "three batches, a mark after each, a last one");
    for len in 0..bytes.len() {
        let log = parse(&bytes[..len]).unwrap();
        if len < HEADER_BYTES {
            assert!(log.is_none());
            continue;
        }
        let (log, whole) = (log.unwrap(), places.partition_point(|&place| place <= len) - 1);
        assert_eq!(log.batches.len(), whole.div_ceil(2), "{len}");
        let offset = places[whole];
        match bytes[offset..len].iter().rposition(|&byte| byte != 0) {
            None => assert_eq!(log.end, LogEnd::Open { len: offset as u64 }, "{len}"),
            Some(last) => {
                let LogEnd::Torn { offset: found, bytes, .. } = log.end else {
                    panic!("{len}: {:?}", log.end)
                };
                assert_eq!((found, bytes), (offset as u64, last as u64 + 1), "{len}");
            }
        }
    }
}

/// A log with a synced batch, and two unsynced ones that were written together.
fn unsynced(payload: &[u8]) -> Vec<u8> {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        log.push(&body(0, payload));
        log.write().await.unwrap();
        log.sync().await.unwrap();
        log.push(&body(1, payload));
        log.push(&body(2, b"{}"));
        log.write().await.unwrap();
        log.abandon().await;
    });
    disk.read(path()).unwrap()
}

/// Records of one group reach the disk in any order. Unsynced ones are not damage.
#[test]
fn a_lost_sector_in_an_unsynced_group_is_a_torn_end() {
    let whole = unsynced(&[b'x'; 2000]);
    let [first, _mark, second, third, end] = places(&whole)[..] else { panic!("four records") };
    for sector in second / 512..=third / 512 {
        let mut bytes = whole.clone();
        let start = (sector * 512).max(second);
        bytes[start..(sector * 512 + 512).min(end)].fill(0);
        let log = parse(&bytes).unwrap().unwrap();
        let place = if start < third { second } else { third };
        assert_eq!(log.batches.len(), 1 + usize::from(place == third), "sector {sector}");
        let LogEnd::Torn { offset, in_doubt, .. } = log.end else { panic!("sector {sector}: {:?}", log.end) };
        assert_eq!((offset, in_doubt), (place as u64, false), "sector {sector}");
    }
    // The first record was durable when the others were written. A hole in it is damage, and the error names
    // it.
    let mut bytes = whole;
    bytes[first + 512..first + 1024].fill(0);
    let error = parse(&bytes).unwrap_err();
    assert!(matches!(error, FormatError::Damaged { offset: Some(64), .. }), "{error}");
}

/// The lost part of a record may have had one set bit only. It is then no flipped bit: a crash loses such
/// parts, and opening must not fail.
#[test]
fn a_lost_sector_with_one_set_bit_is_in_doubt() {
    let mut batch = BatchEncoder::default();
    batch.push(LogOp::Delete { id: PointId::Num(1) });
    let delete = batch.finish().unwrap().unwrap();
    let mut tried = 0;
    for padding in 0..512 {
        let disk = SimulatedDisk::new(1);
        on_log(&disk, async |mut log| {
            log.push(&body(0, &vec![b'x'; padding]));
            log.write().await.unwrap();
            log.sync().await.unwrap();
            log.push(&delete);
            log.write().await.unwrap();
            log.abandon().await;
        });
        let mut bytes = disk.read(path()).unwrap();
        let [_, _mark, second, end] = places(&bytes)[..] else { panic!("three records") };
        let lost = end - 8;
        if !lost.is_multiple_of(512) {
            continue;
        }
        assert_eq!(bytes[lost..end], 1u64.to_le_bytes());
        bytes[lost..end].fill(0);
        let log = parse(&bytes).unwrap().unwrap();
        let LogEnd::Torn { offset, in_doubt, .. } = log.end else { panic!("{:?}", log.end) };
        assert_eq!((offset, in_doubt, log.batches.len()), (second as u64, true, 1));
        tried += 1;
    }
    assert_eq!(tried, 1);
}

/// No crash leaves such bytes. They are damage if one flipped bit explains them, and in doubt otherwise.
#[test]
fn a_record_that_no_crash_leaves_is_never_just_cut_off() {
    let whole = unsynced(b"{\"short\": 1}");
    let [first, _mark, second, third, end] = places(&whole)[..] else { panic!("four records") };
    for bit in second * 8..end * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = parse(&bytes).unwrap_err();
        let place = if bit / 8 < third { second } else { third } as u64;
        assert!(
            matches!(error, FormatError::Damaged { offset: Some(at), .. } if at == place),
            "bit {bit}: {error}"
        );
    }
    for (place, next) in [(second, third), (third, end)] {
        for at in place..next - 3 {
            let mut bytes = whole.clone();
            bytes[at..at + 3].iter_mut().for_each(|byte| *byte = byte.wrapping_add(77));
            // The length of a record tells how much of the room after it belongs to it.
            let is_len = at < place + 4;
            let end = parse(&bytes).unwrap().unwrap().end;
            let LogEnd::Torn { offset, in_doubt, .. } = end else { panic!("{at}: {end:?}") };
            assert_eq!(offset, place as u64);
            assert!(in_doubt || is_len, "byte {at}");
        }
    }
    let mut bytes = whole;
    bytes[first + 40] ^= 3;
    let error = parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("offset 64") && error.contains("says that it was durable"), "{error}");
}

#[test]
fn a_write_that_failed_leaves_no_trace_once_the_next_one_succeeds() {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        assert_eq!(log.push(&body(0, b"")), 100);
        disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::Io)));
        assert!(log.write().await.is_err());
        disk.set_fault(None);
        assert_eq!(log.push(&body(1, b"")), 100);
        log.write().await.unwrap();
        log.sync().await.unwrap();
        log.abandon().await;
    });
    let bytes = disk.read(path()).unwrap();
    let log = parse(&bytes).unwrap().unwrap();
    assert_eq!((log.batches.len(), log.next_seq), (1, 101));
    assert!(matches!(log.end, LogEnd::Open { .. }), "{:?}", log.end);
    assert_eq!(log.batches[0].1, PointId::Num(1));
}

/// The writer writes zeros ahead of the records, so most syncs need not make a new length durable.
#[test]
fn the_file_grows_ahead_of_its_records_and_is_cut_when_it_is_closed() {
    let disk = SimulatedDisk::new(1);
    let len = on_log(&disk, async |mut log| {
        let mut lengths = std::collections::BTreeSet::new();
        for id in 0..100 {
            log.push(&body(id, b""));
            log.write().await.unwrap();
            log.sync().await.unwrap();
            let bytes = disk.read(path()).unwrap();
            assert!(bytes[log.len() as usize..].iter().all(|&byte| byte == 0));
            let open = parse(&bytes).unwrap().unwrap();
            assert_eq!((open.batches.len() as u64, open.end), (id + 1, LogEnd::Open { len: log.len() }));
            lengths.insert(bytes.len());
        }
        assert_eq!(lengths.len(), 1, "of one length for all of them");
        let len = log.len();
        log.close().await.unwrap();
        len
    });
    let bytes = disk.read(path()).unwrap();
    assert_eq!(bytes.len() as u64, len + RECORD_HEADER_BYTES as u64);
    assert_eq!(parse(&bytes).unwrap().unwrap().end, LogEnd::Closed);
}

#[test]
fn a_disk_without_room_for_the_zeros_still_takes_the_record() {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        log.push(&body(0, b""));
        disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::TooLarge)));
        log.write().await.unwrap();
        assert_eq!(disk.read(path()).unwrap().len() as u64, log.len());
        log.sync().await.unwrap();
        log.abandon().await;
    });
    assert_eq!(parse(&disk.read(path()).unwrap()).unwrap().unwrap().batches.len(), 1);
}

/// A failed write may have reached the disk whole. A shorter write then takes its place. The bytes left
/// behind it are not a record.
#[test]
fn what_a_failed_write_left_does_not_continue_the_next() {
    let disk = SimulatedDisk::new(1);
    let (first, both) = on_log(&disk, async |mut log| {
        log.push(&body(0, b""));
        log.push(&body(1, b""));
        log.write().await.unwrap();
        let len = log.len() as usize;
        log.abandon().await;
        let bytes = disk.read(path()).unwrap()[..len].to_vec();
        (bytes[..HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2].to_vec(), bytes)
    });
    let header = parse(&both).unwrap().unwrap().header;
    // As if both writes had failed, and another batch of the first one's length was written in their place.
    let mut instead = both;
    let record = record::RecordHeader::decode(&first[HEADER_BYTES..]).unwrap();
    let mut replaced = Vec::new();
    record::encode_record(&header, record, &body(7, b""), &mut replaced);
    instead[HEADER_BYTES..first.len()].copy_from_slice(&replaced);
    let log = parse(&instead).unwrap().unwrap();
    assert_eq!(log.batches, [(100, PointId::Num(7))]);
    assert!(matches!(log.end, LogEnd::Torn { offset, .. } if offset == first.len() as u64));
    // Repair does not take it either.
    let (batches, log) = salvage(&instead);
    assert_eq!((batches, log.end_lost), (vec![(100, PointId::Num(7))], true));
}

#[test]
fn salvage_puts_a_flipped_bit_back_wherever_it_is() {
    let bytes = closed();
    let whole = parse(&bytes).unwrap().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (batches, log) = salvage(&flipped);
        assert_eq!((log.header, &batches), (Some(whole.header), &whole.batches), "bit {bit}");
        assert_eq!((log.next_seq, log.end_lost, log.notes.len()), (Some(103), false, 1), "bit {bit}");
    }
}

/// Behind a hole, records count up to the length that one of them states as durable. Beyond it, they count
/// only if no further hole comes.
#[test]
fn salvage_goes_on_behind_damage_as_far_as_the_log_was_durable() {
    let disk = SimulatedDisk::new(1);
    let ends = on_log(&disk, async |mut log| {
        let mut ends = vec![log.len() as usize];
        for id in 0..8 {
            log.push(&body(id, b"{}"));
            log.write().await.unwrap();
            if id == 3 {
                log.sync().await.unwrap();
            }
            ends.push(log.len() as usize);
        }
        log.abandon().await;
        ends
    });
    let bytes = disk.read(path()).unwrap();
    let left = |garbled: &[usize]| {
        let mut bytes = bytes.clone();
        for &record in garbled {
            bytes[ends[record] + 40..ends[record] + 50].fill(0xAA);
        }
        let (batches, log) = salvage(&bytes);
        (batches.iter().map(|(seq, _)| seq - 100).collect::<Vec<u64>>(), log.end_lost)
    };
    assert_eq!(left(&[]), ((0..8).collect(), false));
    assert_eq!(left(&[0]), ((1..8).collect(), false));
    assert_eq!(left(&[1, 2]), (vec![0, 3, 4, 5, 6, 7], false));
    assert_eq!(left(&[3]), (vec![0, 1, 2, 4, 5, 6, 7], false));
    // Without proof that they were durable, records behind a hole may be the remains of a failed write.
    assert_eq!(left(&[4]), (vec![0, 1, 2, 3], true));
    assert_eq!(left(&[1, 6]), (vec![0, 2, 3, 4, 5], true));
}

#[test]
fn other_versions_and_nonsense_are_named() {
    let mut bytes = closed();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    assert!(parse(&bytes).unwrap_err().to_string().contains("version 9"));
    assert!(parse(&[7; 100]).unwrap_err().to_string().contains("header"));
    assert!(parse(&[7; 64]).unwrap().is_none());
    assert!(decode_batch(&u32::MAX.to_le_bytes(), 8).is_none(), "and asks for no memory");
}

/// Whenever a writer is killed, the zeros it leaves are room. More zeros were something else.
#[test]
fn zeros_are_a_loss_where_there_are_more_than_a_writer_leaves() {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        // Sizes below the least room, between the limits, and above the most.
        for (id, bytes) in [10, 9_000, 5_000, 40_000, 300_000, 2_000_000, 10, 10].into_iter().enumerate() {
            log.push(&body(id as u64, &vec![b'x'; bytes]));
            log.write().await.unwrap();
            log.sync().await.unwrap();
            let (end, bytes) = (log.len() as usize, disk.read(path()).unwrap());
            let (batches, left) = salvage(&bytes);
            assert_eq!((batches.len(), left.is_closed, left.end_lost), (id + 1, false, false), "{end}");
            assert!(left.notes.is_empty(), "{end}: {:?}", left.notes);
            for (zeros, is_lost) in
                [(0, false), (end.clamp(1 << 14, 1 << 20), false), (end.clamp(1 << 14, 1 << 20) + 1, true)]
            {
                let room = [&bytes[..end], &vec![0; zeros]].concat();
                let (_, left) = salvage(&room);
                assert_eq!(
                    (left.end_lost, left.notes.len()),
                    (is_lost, usize::from(is_lost)),
                    "{end}, {zeros}"
                );
            }
        }
        log.close().await.unwrap();
    });
    // Bytes behind the end of a closed log belong to nothing.
    let mut closed = disk.read(path()).unwrap();
    closed.resize(closed.len() + (3 << 20), 0);
    let (_, left) = salvage(&closed);
    assert_eq!((left.is_closed, left.end_lost, left.notes.len()), (true, false, 0));
}

/// Counting on from a number must never overflow, even if the number is crafted.
#[test]
fn numbers_that_no_write_has_are_refused() {
    let sealed = |first_seq: u64, seqs: &[u64]| {
        let header = LogHeader { salt: 1, number: 7, first_seq, collection: Some(COLLECTION) };
        let (mut bytes, mut previous) = (header.encode().to_vec(), header.crc());
        for &seq in seqs {
            let record =
                record::RecordHeader { body_len: 0, crc: 0, seq, synced_len: 0, kind: KIND_BATCH, previous };
            previous = record::encode_record(&header, record, &body(seq, b""), &mut bytes);
        }
        bytes
    };
    let place = |first_seq: u64, seqs: &[u64]| match parse(&sealed(first_seq, seqs)) {
        Ok(log) => Ok(log.unwrap().next_seq),
        Err(FormatError::Damaged { offset, .. }) => Err(offset.unwrap()),
        Err(error) => panic!("{error}"),
    };
    let (last, header) = (NUMBER_END - 1, HEADER_BYTES as u64);
    for first in [0, NUMBER_END + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(place(first, &[]), Err(32), "{first}");
        assert_eq!(place(first, &[first, first.wrapping_add(1)]), Err(32), "{first}");
        let bytes = sealed(first, &[first]);
        let (batches, log) = salvage(&bytes);
        assert_eq!((log.header, log.salt, batches), (None, Some(1), vec![(first, PointId::Num(first))]));
    }
    assert_eq!(place(1, &[1, 2]), Ok(3));
    assert_eq!(place(NUMBER_END, &[]), Ok(NUMBER_END));
    assert_eq!(place(last, &[last]), Ok(NUMBER_END));
    assert_eq!(place(NUMBER_END, &[NUMBER_END]), Err(header));
    let second = (sealed(last, &[last])).len() as u64;
    assert_eq!(place(last, &[last, NUMBER_END]), Err(second));
}

/// Records how many bytes each read asked for.
fn counted<'a>(bytes: &'a [u8], reads: &'a std::cell::RefCell<Vec<usize>>) -> LogBytes<'a> {
    LogBytes::new(
        path(),
        bytes.len() as u64,
        Box::new(move |offset, len| {
            reads.borrow_mut().push(len);
            Ok(bytes[offset as usize..][..len].to_vec())
        }),
    )
}

/// Memory holds one piece or the longest record, and each byte is read about once.
#[test]
fn a_long_log_is_read_in_pieces() {
    let disk = SimulatedDisk::new(1);
    on_log(&disk, async |mut log| {
        for id in 0..40 {
            log.push(&body(id, &vec![b'x'; if id == 20 { 3 << 20 } else { 200_000 }]));
            log.write().await.unwrap();
            log.sync().await.unwrap();
        }
        log.close().await.unwrap();
    });
    let bytes = disk.read(path()).unwrap();
    let reads = std::cell::RefCell::default();
    let mut log = LogReader::begin(counted(&bytes, &reads), VECTOR.len()).unwrap().unwrap();
    while log.next_batch().unwrap().is_some() {}
    assert_eq!((log.next_seq(), log.end()), (140, LogEnd::Closed));
    let mut log = salvage_log(counted(&bytes, &reads), VECTOR.len()).unwrap();
    assert_eq!(log.batches.len(), 40);
    assert_eq!(log.points(log.batches[20]).unwrap()[0].id(), PointId::Num(20));
    let reads = reads.take();
    let longest = (3 << 20) + 200;
    assert!(reads.iter().all(|&len| len < longest), "{reads:?}");
    // Replaying reads once. Salvaging reads three times: for the content, for records, and to decode them.
    assert!(
        reads.iter().sum::<usize>() < 7 * bytes.len(),
        "{} of {}",
        reads.iter().sum::<usize>(),
        bytes.len()
    );
}

/// A hole that no build leaves is refused before all of it is read.
#[test]
fn more_zeros_than_any_log_has_are_refused_unread() {
    let mut bytes = closed();
    bytes.truncate(bytes.len() - RECORD_HEADER_BYTES);
    let (content, read) = (bytes.len(), std::cell::Cell::new(0u64));
    let of_len = |len: u64| {
        let bytes = &bytes;
        let read = &read;
        LogBytes::new(
            path(),
            len,
            Box::new(move |offset, len| {
                read.set(read.get() + len as u64);
                let start = bytes.len().min(offset as usize);
                let mut piece = bytes[start..bytes.len().min(start + len)].to_vec();
                piece.resize(len, 0);
                Ok(piece)
            }),
        )
    };
    let parse = |len: u64| {
        let mut log = LogReader::begin(of_len(len), VECTOR.len()).unwrap().unwrap();
        while log.next_batch()?.is_some() {}
        Ok::<_, FormatError>(log.end())
    };
    assert_eq!(parse(content as u64 + bytes::ZEROS_MAX).unwrap(), LogEnd::Open { len: content as u64 });
    read.set(0);
    let error = parse(20 << 30).unwrap_err().to_string();
    assert!(error.contains("more zeros") && error.contains("`repair`"), "{error}");
    assert!(read.get() < 2 * bytes::ZEROS_MAX, "{} bytes read", read.get());
    let log = salvage_log(of_len(20 << 30), VECTOR.len()).unwrap();
    assert_eq!((log.batches.len(), log.end_lost, log.notes.len()), (3, true, 1));
    assert!(read.get() < 4 * bytes::ZEROS_MAX, "{} bytes read", read.get());
}
