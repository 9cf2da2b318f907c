//! Properties of the read planner and the write planner, over random batches and geometries.

use io_core::backend::{ReadPlan, WritePlan};
use io_core::{IoGeometry, PageWrite, PlanError, ReadRequest};
use proptest::prelude::*;
use std::collections::HashSet;

fn geometries() -> impl Strategy<Value = IoGeometry> {
    (prop::sample::select(vec![1u32, 4, 512, 4096]), 1u32..40, 0u32..20_000).prop_map(
        |(align, units, gap_max)| IoGeometry::buffered(units * align.max(512), gap_max).aligned(align, align),
    )
}

/// A file's length and requests inside it, some of them crowded together, some repeated.
fn batches() -> impl Strategy<Value = (u64, Vec<ReadRequest>)> {
    (1u64..400_000).prop_flat_map(|file_len| {
        let request = (0..=file_len, 0u32..30_000, any::<bool>()).prop_map(move |(at, len, crowded)| {
            let at = if crowded { at % 5000 % (file_len + 1) } else { at };
            ReadRequest::new(at, len.min((file_len - at) as u32))
        });
        let requests = prop::collection::vec((request, 1usize..3), 0..60)
            .prop_map(|pairs| pairs.into_iter().flat_map(|(r, times)| vec![r; times]).collect());
        (Just(file_len), requests)
    })
}

/// The bytes a request takes from the reads that claim to serve it, as (offset, end) parts in order.
fn parts(plan: &ReadPlan, requests: &[ReadRequest]) -> Vec<Vec<(u64, u64)>> {
    let mut parts = vec![Vec::new(); requests.len()];
    for read in plan.reads() {
        for position in read.first..read.first + read.count {
            let index = plan.request_index(position);
            let request = requests[index];
            let from = request.offset.max(read.offset);
            let to = (request.offset + u64::from(request.len)).min(read.end());
            parts[index].push((from, to));
        }
    }
    parts
}

/// Bytes to read if each distinct request were read alone.
fn bytes_alone(requests: &[ReadRequest], geometry: &IoGeometry) -> u64 {
    let distinct: HashSet<_> = requests.iter().filter(|request| request.len > 0).collect();
    let align = u64::from(geometry.offset_align);
    let bytes = |request: &&ReadRequest| {
        (request.offset + u64::from(request.len)).div_ceil(align) * align - request.offset / align * align
    };
    distinct.iter().map(bytes).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_covered_exactly_once((file_len, requests) in batches(), geometry in geometries()) {
        let mut plan = ReadPlan::default();
        plan.build(&requests, &geometry, file_len).unwrap();
        for (request, parts) in requests.iter().zip(parts(&plan, &requests)) {
            let mut next = request.offset;
            for (from, to) in parts {
                prop_assert_eq!(from, next, "a byte is missing or comes twice");
                prop_assert!(to > from, "a read is said to serve a request and has no byte of it");
                next = to;
            }
            prop_assert_eq!(next, request.offset + u64::from(request.len));
        }
        let empty: HashSet<_> = plan.empty_requests().iter().map(|&index| index as usize).collect();
        for (index, request) in requests.iter().enumerate() {
            prop_assert_eq!(request.len == 0, empty.contains(&index));
        }
    }

    #[test]
    fn no_read_is_misaligned_too_long_or_past_the_end((file_len, requests) in batches(), geometry in geometries()) {
        let mut plan = ReadPlan::default();
        plan.build(&requests, &geometry, file_len).unwrap();
        let align = u64::from(geometry.offset_align);
        for read in plan.reads() {
            prop_assert!(read.offset.is_multiple_of(align) && u64::from(read.len).is_multiple_of(align));
            prop_assert!(read.len > 0 && read.len <= geometry.read_size_max);
            prop_assert!(read.offset < file_len && read.end() <= file_len.div_ceil(align) * align);
        }
        prop_assert!(plan.reads().is_sorted_by_key(|read| read.first));
    }

    #[test]
    fn merging_costs_no_more_than_the_allowed_gaps((file_len, requests) in batches(), geometry in geometries()) {
        let mut plan = ReadPlan::default();
        plan.build(&requests, &geometry, file_len).unwrap();
        let read: u64 = plan.reads().iter().map(|read| u64::from(read.len)).sum();
        let gaps = plan.merged() * u64::from(geometry.gap_max);
        prop_assert!(read <= bytes_alone(&requests, &geometry) + gaps);
        let distinct: HashSet<_> = requests.iter().filter(|request| request.len > 0).collect();
        let wanted = requests.iter().filter(|request| request.len > 0).count();
        prop_assert_eq!(plan.duplicates(), (wanted - distinct.len()) as u64);
    }

    #[test]
    fn neighbours_within_the_gap_are_merged_and_others_are_not((file_len, requests) in batches(), geometry in geometries()) {
        let mut plan = ReadPlan::default();
        plan.build(&requests, &geometry, file_len).unwrap();
        for pair in plan.reads().windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let gap = after.offset.saturating_sub(before.end());
            let whole = after.end().max(before.end()) - before.offset;
            let splits = [before, after].iter().any(|read| {
                let request = requests[plan.request_index(read.first)];
                request.offset < read.offset || request.offset + u64::from(request.len) > read.end()
            });
            prop_assert!(gap > u64::from(geometry.gap_max) || whole > u64::from(geometry.read_size_max) || splits,
                "{before:?} and {after:?} could be one read");
        }
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_requests_or_the_plan_before((file_len, requests) in batches(), geometry in geometries()) {
        let mut plan = ReadPlan::default();
        plan.build(&requests, &geometry, file_len).unwrap();
        let reads: Vec<_> = plan.reads().iter().map(|read| (read.offset, read.len, read.count)).collect();
        let reversed: Vec<_> = requests.iter().rev().copied().collect();
        plan.build(&reversed, &geometry, file_len).unwrap();
        let again: Vec<_> = plan.reads().iter().map(|read| (read.offset, read.len, read.count)).collect();
        prop_assert_eq!(reads, again);
    }

    #[test]
    fn writes_carry_every_byte_once(pages in prop::collection::btree_set(0u64..200, 0..80), geometry in geometries(), seed in any::<u64>()) {
        let size = 4096u64;
        let data: Vec<u8> = (0..200 * size).map(|at| (at / 7) as u8).collect();
        let mut writes: Vec<_> = pages
            .iter()
            .map(|&page| PageWrite { offset: page * size, bytes: &data[(page * size) as usize..][..size as usize] })
            .collect();
        let shift = seed as usize % writes.len().max(1);
        writes.rotate_left(shift);
        let mut plan = WritePlan::default();
        plan.build(&writes, &geometry).unwrap();
        let covered: Vec<u64> = plan.writes().iter().flat_map(|write| write.offset..write.end()).collect();
        let expected: Vec<u64> = pages.iter().flat_map(|page| page * size..(page + 1) * size).collect();
        prop_assert_eq!(covered, expected);
        for write in plan.writes() {
            prop_assert!(write.len > 0 && write.len <= geometry.read_size_max);
            prop_assert!(write.offset.is_multiple_of(u64::from(geometry.offset_align)));
        }
    }
}

#[test]
fn merge_and_split_by_hand() {
    let geometry = IoGeometry::buffered(4096, 1024).aligned(512, 512);
    let requests = [
        ReadRequest::new(100_000, 9000), // split: [99840, 109056) is 9216 bytes
        ReadRequest::new(3000, 100),     // [2560, 3584): 1,024 bytes after the first's end
        ReadRequest::new(0, 1536),
        ReadRequest::new(8704, 10), // [8704, 9216): too far to merge
        ReadRequest::new(0, 1536),  // again
        ReadRequest::new(100_000, 9000),
    ];
    let mut plan = ReadPlan::default();
    plan.build(&requests, &geometry, 200_000).unwrap();
    let reads: Vec<_> = plan.reads().iter().map(|read| (read.offset, read.len, read.count)).collect();
    assert_eq!(
        reads,
        [(0, 3584, 3), (8704, 512, 1), (99_840, 4096, 2), (103_936, 4096, 2), (108_032, 1024, 2)]
    );
    assert_eq!((plan.duplicates(), plan.merged(), plan.bytes_wanted()), (2, 1, 21_182));
}

#[test]
fn requests_past_the_end_are_named() {
    let geometry = IoGeometry::buffered(4096, 0);
    let requests = [ReadRequest::new(0, 10), ReadRequest::new(u64::MAX, 2)];
    assert_eq!(
        ReadPlan::default().build(&requests, &geometry, 10),
        Err(PlanError::PastEnd { index: 1, offset: u64::MAX, len: 2, file_len: 10 })
    );
}
