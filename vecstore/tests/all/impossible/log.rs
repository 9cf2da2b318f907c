//! Logs.

use super::{crc, u32_at};
use crate::common::collections::open;
use crate::family::{DIR, family, on_disk, problems, with};
use std::path::Path;

/// Corrects the checksums of a log's records.
fn sealed_log(log: &mut [u8]) {
    let salt: [u8; 8] = log[16..24].try_into().unwrap();
    let (mut at, mut previous) = (64, u32_at(log, 60).to_le_bytes());
    while at + 32 <= log.len() && u32_at(log, at + 24) != 0 {
        let end = at + 32 + u32_at(log, at) as usize;
        log[at + 28..at + 32].copy_from_slice(&previous);
        let mut hashed = log[at..end].to_vec();
        hashed[4..8].copy_from_slice(&salt[4..]);
        previous = crc(u32_at(&salt, 0), &hashed);
        log[at + 4..at + 8].copy_from_slice(&previous);
        at = end;
    }
}

/// Records with right checksums and impossible points. `verify` finds what opening refuses.
#[test]
fn a_log_with_impossible_points_is_found() {
    let family = family();
    let path = Path::new("log-000004.wal");
    let whole = &family.tree()[path];
    let mut again = whole.clone();
    sealed_log(&mut again);
    assert_eq!(again, *whole);
    let payload = whole.windows(2).position(|bytes| bytes == b"{\"").unwrap();
    let payload_len = u32_at(whole, payload - 4) as usize;
    let text = std::str::from_utf8(&whole[payload..payload + payload_len]).unwrap();
    let swapped = text.replace("\"n\"", "\"?\"").replace("\"t\"", "\"n\"").replace("\"?\"", "\"t\"");
    let no_json = text.replace('{', "[");
    let not_a_number = [text.as_bytes(), &1f32.to_le_bytes(), &f32::NAN.to_le_bytes()].concat();
    let infinite = [text.as_bytes(), &f32::NEG_INFINITY.to_le_bytes()].concat();
    let cases = [
        (swapped.as_bytes(), "in field n, which is indexed as integer"),
        (no_json.as_bytes(), "its payload is no JSON object"),
        (&not_a_number[..], "component 1 is NaN"),
        (&infinite[..], "component 0 is -inf"),
    ];
    for (record, reason) in cases {
        let mut log = whole.clone();
        log[payload..payload + record.len()].copy_from_slice(record);
        sealed_log(&mut log);
        let disk = on_disk(&with(family.tree(), path, &log));
        let found = problems(&disk);
        let error = open(&disk, DIR).map(drop).unwrap_err().to_string();
        assert!(error.contains("log-000004.wal") && error.contains(reason), "{reason}: {error}");
        assert!(found.len() == 1 && found[0].to_string() == error, "{reason}: {found:?}");
    }
}
