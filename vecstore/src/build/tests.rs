//! An index on disk gives the same answers as the index in memory that it was built from.

use crate::field::{FieldKind, Key};
use crate::immutable::fields::{FieldBuilder, FieldsData, FieldsReader, write_fields};
use crate::immutable::testing::with_pages;
use crate::mutable::fields::MutableField;
use io_core::{ReadControl, ReadStats};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use vecstore_format::pages::PagesKind;

/// Checks an index over points that have some values each, of one kind.
fn check(kind: FieldKind, values: &[Vec<Key>], asked: &[Key]) -> Result<(), TestCaseError> {
    let (mut twin, mut builder) = (MutableField::default(), FieldBuilder::default());
    for (point, keys) in values.iter().enumerate() {
        twin.insert(point as u32, keys);
        builder.push(point as u32, keys.iter().cloned());
    }
    let count = values.len() as u32;
    let indexes: BTreeMap<String, FieldKind> = [("f".to_owned(), kind)].into();
    // Ids in the reverse order of points.
    let rank = |point| count - point;
    let write = async |pages| {
        write_fields(pages, vec![(kind, builder)], u64::from(count), rank).await.unwrap();
    };
    with_pages(PagesKind::Fields, write, async |pages| {
        let data = FieldsData::load(&pages, &indexes, count).await.unwrap();
        let control = ReadControl::default();
        let reader = FieldsReader { data: &data, pages: &pages, control: &control };
        let mut stats = ReadStats::default();
        prop_assert_eq!(reader.present("f"), &twin.present);
        for size in [1, 3, asked.len()] {
            for keys in asked.chunks(size.max(1)) {
                let mut keys = keys.to_vec();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(reader.any("f", &keys, None, &mut stats).await.unwrap(), twin.any(&keys));
                let few: RoaringBitmap = (0..count).step_by(40).collect();
                let within = reader.any("f", &keys, Some(&few), &mut stats).await.unwrap();
                prop_assert_eq!(within & &few, twin.any(&keys) & &few);
                prop_assert_eq!(reader.except("f", &keys, &mut stats).await.unwrap(), twin.except(&keys));
            }
        }
        let half: RoaringBitmap = (0..count / 2).collect();
        let counts = reader.counts("f", &half, &mut stats).await.unwrap();
        let expected = twin.points.iter().map(|(key, points)| (key.clone(), points.intersection_len(&half)));
        prop_assert_eq!(counts, expected.filter(|(_, count)| *count > 0).collect());
        if kind.is_number() {
            for pair in asked.windows(2) {
                let (Key::Number(low), Key::Number(high)) = (&pair[0], &pair[1]) else { unreachable!() };
                let found = reader.range("f", *low, *high, &mut stats).await.unwrap();
                prop_assert_eq!(found, twin.range(*low, *high));
            }
            let (mut from, mut all) = (0, Vec::new());
            while let Some(page) = reader.numbers("f", 0, u64::MAX, from, 2, &mut stats).await.unwrap() {
                all.extend(page.entries);
                from = page.next;
            }
            let by_number_and_id = |a: &(u64, u32), b: &(u64, u32)| (a.0, rank(a.1)) <= (b.0, rank(b.1));
            prop_assert!(all.is_sorted_by(by_number_and_id));
            prop_assert_eq!(all.len(), values.iter().map(Vec::len).sum::<usize>());
        } else {
            let terms = reader.all_terms("f", &mut stats).await.unwrap();
            let terms: BTreeMap<Key, RoaringBitmap> =
                terms.into_iter().map(|(term, points)| (Key::Term(term), points)).collect();
            prop_assert_eq!(&terms, &twin.points);
        }
        Ok(())
    })
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn terms_answer_as_their_mutable_twin(
        values in prop::collection::vec(prop::collection::vec("[a-c]{0,3}|x[a-z]{60}|long{200}[a-d]", 0..3), 0..800),
        asked in prop::collection::vec("[a-d]{0,3}|x[a-z]{60}", 1..20),
    ) {
        let term = |text: &String| Key::Term(text.as_bytes().into());
        let values: Vec<Vec<Key>> = values.iter().map(|keys| sorted(keys.iter().map(term).collect())).collect();
        check(FieldKind::Keyword, &values, &asked.iter().map(term).collect::<Vec<_>>())?;
    }

    #[test]
    fn numbers_answer_as_their_mutable_twin(
        values in prop::collection::vec(prop::collection::vec(prop_oneof![0u64..20, any::<u64>()], 0..3), 0..1500),
        asked in prop::collection::vec(prop_oneof![0u64..22, any::<u64>(), Just(0), Just(u64::MAX)], 1..20),
    ) {
        let values: Vec<Vec<Key>> =
            values.iter().map(|keys| sorted(keys.iter().copied().map(Key::Number).collect())).collect();
        check(FieldKind::Integer, &values, &asked.iter().copied().map(Key::Number).collect::<Vec<_>>())?;
    }
}
