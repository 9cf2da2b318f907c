use super::*;
use crate::error::Error;
use crate::identity::RandomId;
use crate::point::PointId;
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{BackendFactory, Directory, DynBackend};
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

fn parse(bytes: &[u8]) -> Result<Option<ParsedLog<'_>>, Error> {
    parse_log(path(), bytes, VECTOR.len())
}

/// A log of three synced batches that was closed.
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
    for (index, (seq, ops)) in log.batches.iter().enumerate() {
        let id = index as u64;
        assert_eq!(*seq, 100 + id);
        let put = LogOp::Put { id: PointId::Num(id), payload: b"{}", vector: &VECTOR };
        assert_eq!(ops, &[put, LogOp::Delete { id: PointId::Uuid(u128::from(id)) }]);
        assert_eq!(ops[0].id(), PointId::Num(id));
    }
}

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
                // Only the mark itself can be lost so, which held nothing.
                assert!(bit / 8 >= last, "bit {bit}");
                assert_eq!((log.batches.len(), log.next_seq), (3, 103));
                // Its checksum, which the log's random salt goes into, may end in zeros.
                let zeros = flipped.iter().rev().take_while(|&&byte| byte == 0).count();
                assert_eq!(log.end, LogEnd::Torn { offset: last as u64, bytes: (32 - zeros) as u64 });
            }
            Ok(None) => panic!("bit {bit}: a log with records counts as one that was never begun"),
        }
    }
}

#[test]
fn a_log_cut_anywhere_ends_before_the_cut() {
    let bytes = closed();
    let record = (bytes.len() - HEADER_BYTES - RECORD_HEADER_BYTES) / 3;
    for len in 0..bytes.len() {
        let log = parse(&bytes[..len]).unwrap();
        if len < HEADER_BYTES {
            assert!(log.is_none());
            continue;
        }
        let (log, records) = (log.unwrap(), (len - HEADER_BYTES) / record);
        assert_eq!(log.batches.len(), records.min(3), "{len}");
        let rest = len - HEADER_BYTES - records.min(3) * record;
        let offset = (len - rest) as u64;
        let end = match bytes[len - rest..len].iter().rposition(|&byte| byte != 0) {
            None if records > 3 => LogEnd::Closed,
            None => LogEnd::Open { len: offset },
            Some(last) => LogEnd::Torn { offset, bytes: last as u64 + 1 },
        };
        assert_eq!(log.end, end, "{len}");
    }
}

/// Records of one group may reach the disk in any order; those that were not synced are no damage.
#[test]
fn a_hole_in_an_unsynced_group_is_a_torn_end() {
    let disk = SimulatedDisk::new(1);
    let (second, third) = on_log(&disk, async |mut log| {
        log.push(&body(0, &[b' '; 2000]));
        log.write().await.unwrap();
        log.sync().await.unwrap();
        let second = log.len();
        log.push(&body(1, &[b' '; 2000]));
        log.push(&body(2, b""));
        log.write().await.unwrap();
        let third = log.len() - body(2, b"").len() as u64 - RECORD_HEADER_BYTES as u64;
        log.abandon().await;
        (second, third)
    });
    let mut bytes = disk.read(path()).unwrap();
    bytes[second as usize + 1000] ^= 1;
    let log = parse(&bytes).unwrap().unwrap();
    assert_eq!(log.batches.len(), 1);
    assert!(matches!(log.end, LogEnd::Torn { offset, .. } if offset == second));
    assert!(whole(&bytes, third), "the third record did reach the disk");
    // The first one was durable when the others were written: a hole there is damage, and named.
    bytes[HEADER_BYTES + 1000] ^= 1;
    let error = parse(&bytes).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset: Some(64), .. }), "{error}");
}

fn whole(bytes: &[u8], at: u64) -> bool {
    let header = parse(bytes).unwrap().unwrap().header;
    let record = record::RecordHeader::decode(&bytes[at as usize..]).unwrap();
    let body = &bytes[at as usize + RECORD_HEADER_BYTES..][..record.body_len as usize];
    record.expected_crc(header.salt, body) == record.crc
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
    assert_eq!(log.batches[0].1[0].id(), PointId::Num(1));
}

/// Zeros are written ahead of the records, so that most syncs need not make a new length durable.
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
    let len = on_log(&disk, async |mut log| {
        log.push(&body(0, b""));
        disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::TooLarge)));
        log.write().await.unwrap();
        log.sync().await.unwrap();
        let len = log.len();
        log.abandon().await;
        len
    });
    assert_eq!(disk.read(path()).unwrap().len() as u64, len);
}

/// A failed write may have reached the disk whole. What it leaves behind a shorter one in its place is no record.
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
    // As if both had failed and another batch, of the same length as the first one, was written instead of them.
    let mut instead = both;
    let record = record::RecordHeader::decode(&first[HEADER_BYTES..]).unwrap();
    let mut replaced = Vec::new();
    record::encode_record(&header, record, &body(7, b""), &mut replaced);
    instead[HEADER_BYTES..first.len()].copy_from_slice(&replaced);
    let log = parse(&instead).unwrap().unwrap();
    assert_eq!((log.batches.len(), log.batches[0].1[0].id()), (1, PointId::Num(7)));
    assert!(matches!(log.end, LogEnd::Torn { offset, .. } if offset == first.len() as u64));
    // Neither does repair take it.
    let log = salvage_log(&mut instead, VECTOR.len());
    assert_eq!((log.batches.len(), log.batches[0].1[0].id(), log.end_lost), (1, PointId::Num(7), true));
}

#[test]
fn salvage_puts_a_flipped_bit_back_wherever_it_is() {
    let bytes = closed();
    let whole = parse(&bytes).unwrap().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let log = salvage_log(&mut flipped, VECTOR.len());
        assert_eq!((log.header, &log.batches), (Some(whole.header), &whole.batches), "bit {bit}");
        assert_eq!((log.next_seq, log.end_lost, log.notes.len()), (Some(103), false, 1), "bit {bit}");
        assert!(flipped == bytes, "bit {bit}");
    }
}

/// Records behind a hole count up to where one of them says that the log was durable; further ones only in one piece.
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
        let log = salvage_log(&mut bytes, VECTOR.len());
        (log.batches.iter().map(|(seq, _)| seq - 100).collect::<Vec<u64>>(), log.end_lost)
    };
    assert_eq!(left(&[]), ((0..8).collect(), false));
    assert_eq!(left(&[0]), ((1..8).collect(), false));
    assert_eq!(left(&[1, 2]), (vec![0, 3, 4, 5, 6, 7], false));
    assert_eq!(left(&[3]), (vec![0, 1, 2, 4, 5, 6, 7], false));
    // Of those that were not durable yet, what is behind a hole may as well be what a failed write left.
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
    assert!(record::decode_batch(&u32::MAX.to_le_bytes(), 8).is_none(), "and asks for no memory");
}
