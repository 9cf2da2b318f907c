//! Indexes of payload fields.

use super::{forged, refused, section};
use crate::common::collections::{backend, quiet};
use crate::family::{DIR, PAGE, family, on_disk, problems, read_tree, schema};
use io_core::testing::SimulatedDisk;
use serde_json::json;
use std::path::Path;
use vecstore::collection::{Collection, Durability, ScrollRequest, SearchRequest};
use vecstore::point::Point;

/// Replaces a section that is, and stays, shorter than a page.
fn set_section(bytes: &mut [u8], number: usize, content: &[u8]) {
    let (start, _) = section(bytes, number);
    bytes[start..start + PAGE - 4].fill(0);
    bytes[start..start + content.len()].copy_from_slice(content);
    bytes[56 + number * 16 + 8..][..8].copy_from_slice(&(content.len() as u64).to_le_bytes());
}

/// Postings of a term that name a missing point.
#[test]
fn an_index_of_points_that_are_not_there_is_an_error() {
    let family = family();
    let path = Path::new("segment-000001/fields.pages");
    let mut bytes = family.tree()[path].clone();
    // The fields are n and t, so t has sections 4 to 7. The first of its four terms has 15 points.
    let (postings, _) = section(&bytes, 7);
    bytes[postings + 14] = 0x7F;
    let tree = forged(family.tree(), path, &bytes);
    let found = refused(&tree, |collection| {
        let filter = Some(vecstore::filter::Filter::must(vecstore::filter::Condition::matches("t", "t0")));
        let search = SearchRequest { filter: filter.clone(), ..SearchRequest::new(vec![1.0, 30.0, 3.0]) };
        let scroll = ScrollRequest { filter: filter.clone(), ..ScrollRequest::default() };
        vec![
            collection.search(search).wait().unwrap_err(),
            collection.scroll(scroll).wait().unwrap_err(),
            collection.count(filter).wait().unwrap_err(),
            collection.facet("t".to_owned(), None, 10).wait().unwrap_err(),
        ]
    });
    assert!(found.len() == 1 && found[0].contains("the postings of a term are none"), "{found:?}");
}

/// Indexes that hold all values but do not find them.
#[test]
fn an_index_in_the_wrong_order_or_without_points_is_found() {
    let disk = SimulatedDisk::new(1);
    let collection = Collection::create(&backend(&disk), Path::new(DIR), &schema(), &quiet()).unwrap();
    // Points with one number are in the order of their ids. A few points have no number.
    let numbered = |id: u64| match id % 10 {
        9 => Point::new(id, vec![1.0, id as f32, 2.0]).with_payload(json!({"t": format!("t{}", id % 4)})),
        _ => Point::new(id, vec![1.0, id as f32, 2.0])
            .with_payload(json!({"t": format!("t{}", id % 4), "n": id / 20})),
    };
    collection.upsert((0..60).map(numbered).collect(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let tree = read_tree(&disk, Path::new(DIR));
    assert!(problems(&on_disk(&tree)).is_empty());
    let path = Path::new("segment-000001/fields.pages");
    let whole = &tree[path];
    let content = |number: usize| {
        let (start, len) = section(whole, number);
        whole[start..start + len].to_vec()
    };
    // An entry has 12 bytes, and each number has 18. Terms of 22 bytes follow the 8 of the group's header.
    let (numbers, group) = (content(2), content(6));
    assert_eq!((numbers.len(), group.len()), (54 * 12, 8 + 4 * 22));
    let swapped = |entries: [usize; 2]| {
        let mut swapped: Vec<&[u8]> = numbers.chunks(12).collect();
        swapped.swap(entries[0], entries[1]);
        swapped.concat()
    };
    let groups = |groups: &[&[usize]]| -> Vec<u8> {
        let mut all = Vec::new();
        for terms in groups {
            all.extend((8 + terms.len() as u32 * 22).to_le_bytes());
            all.extend((terms.len() as u32).to_le_bytes());
            terms.iter().for_each(|term| all.extend_from_slice(&group[8 + term * 22..][..22]));
        }
        all
    };
    assert_eq!(groups(&[&[0, 1, 2, 3]]), group);
    let present: Vec<u32> = content(1).iter().map(|&delta| u32::from(delta)).collect();
    assert_eq!(present.len(), 54);
    let mut fewer = content(0);
    fewer[16..24].copy_from_slice(&10u64.to_le_bytes());
    let cases = [
        ("numbers in the wrong order", vec![(2, swapped([10, 30]))]),
        ("points of a number in the wrong order", vec![(2, swapped([20, 21]))]),
        ("terms in the wrong order", vec![(6, groups(&[&[1, 0, 2, 3]]))]),
        ("a term in the wrong group", vec![(6, groups(&[&[0, 3], &[1, 2]]))]),
        ("groups in the wrong order", vec![(6, groups(&[&[2, 3], &[0, 1]]))]),
        ("too few points with a value", vec![(0, fewer), (1, content(1)[..10].to_vec())]),
    ];
    for (what, sections) in cases {
        let mut bytes = whole.clone();
        for (number, content) in &sections {
            set_section(&mut bytes, *number, content);
        }
        let found = problems(&on_disk(&forged(&tree, path, &bytes)));
        let is_told = found.len() == 1 && found[0].to_string().contains("index of field");
        assert!(is_told, "{what}: {found:?}");
    }
}
