//! The links of a point of a graph, packed into a record.
//!
//! ```text
//! record: |count u16|width u8|first u32|(count - 1) distances of width bits, lowest bit first|
//!         |0 u16|                                                             where there are no links
//! ```
//!
//! Links are ascending. A distance is the difference to the link before, minus one.

const RECORD_HEADER: usize = 7;

/// Packs the links of a point and appends the record to `out`. Links are ascending, and at most 65,535.
pub fn encode(links: &[u32], out: &mut Vec<u8>) {
    out.extend_from_slice(&(links.len() as u16).to_le_bytes());
    let Some(&first) = links.first() else { return };
    let distances = links.windows(2).map(|pair| pair[1] - pair[0] - 1);
    let width = distances.clone().max().map_or(0, |max| 32 - max.leading_zeros());
    out.push(width as u8);
    out.extend_from_slice(&first.to_le_bytes());
    let (mut buffer, mut bits) = (0u64, 0);
    for distance in distances {
        buffer |= u64::from(distance) << bits;
        bits += width;
        while bits >= 8 {
            out.push(buffer as u8);
            buffer >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(buffer as u8);
    }
}

/// Unpacks a record into `links`. `None` if it is not a record, or if a link is not below `end`.
#[must_use]
pub fn decode(record: &[u8], end: u32, links: &mut Vec<u32>) -> Option<()> {
    links.clear();
    let (count, rest) = record.split_first_chunk::<2>()?;
    let count = u16::from_le_bytes(*count);
    if count == 0 {
        return Some(());
    }
    let (&[width, a, b, c, d], mut packed) = rest.split_first_chunk::<{ RECORD_HEADER - 2 }>()?;
    let width = u32::from(width);
    if width > 32 || packed.len() < (usize::from(count - 1) * width as usize).div_ceil(8) {
        return None;
    }
    let mut link = u64::from(u32::from_le_bytes([a, b, c, d]));
    links.push(link as u32);
    let (mut buffer, mut bits, mask) = (0u64, 0, (1u64 << width) - 1);
    for _ in 1..count {
        while bits < width {
            let (&byte, rest) = packed.split_first()?;
            packed = rest;
            buffer |= u64::from(byte) << bits;
            bits += 8;
        }
        link += (buffer & mask) + 1;
        buffer >>= width;
        bits -= width;
        links.push(link as u32);
    }
    (link < u64::from(end)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn packed_links_come_back(links in prop::collection::btree_set(prop_oneof![any::<u32>(), 0u32..300], 0..100)) {
            let links: Vec<u32> = links.into_iter().filter(|&link| link < u32::MAX).collect();
            let (mut record, mut found) = (Vec::new(), Vec::new());
            encode(&links, &mut record);
            decode(&record, u32::MAX, &mut found).unwrap();
            prop_assert_eq!(&found, &links);
            if let Some(&last) = links.last() {
                prop_assert!(decode(&record, last, &mut found).is_none(), "a link to nowhere");
                prop_assert!(decode(&record[..record.len() - 1], u32::MAX, &mut found).is_none());
            }
        }

        #[test]
        fn nonsense_is_no_record(bytes in prop::collection::vec(any::<u8>(), 0..300), end: u32) {
            let mut links = Vec::new();
            if decode(&bytes, end, &mut links).is_some() {
                prop_assert!(links.iter().all(|&link| link < end) && links.is_sorted());
            }
        }
    }
}
