use super::data::IdsData;
use super::write::write_ids;
use crate::immutable::testing::{with_identified_pages, with_pages};
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use proptest::prelude::*;
use rayon::ThreadPool;
use std::collections::BTreeMap;
use vecstore_format::FileIdentity;
use vecstore_format::pages::PagesKind;

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()
}

fn ids() -> impl Strategy<Value = Vec<PointId>> {
    let num = prop_oneof![0u64..5000, any::<u64>()].prop_map(PointId::Num);
    let uuid = prop_oneof![0u128..100, any::<u128>()].prop_map(PointId::Uuid);
    let any = prop_oneof![
        prop::collection::btree_set(num.clone(), 0..1500),
        prop::collection::btree_set(uuid.clone(), 0..600),
        prop::collection::btree_set(prop_oneof![num, uuid], 0..900),
    ];
    any.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// The mutable twin is a sorted map in memory.
    #[test]
    fn answers_are_those_of_the_mutable_twin(
        ids in ids(),
        others in prop::collection::vec(prop_oneof![
            (0u64..5000).prop_map(PointId::Num), (0u128..100).prop_map(PointId::Uuid)], 0..50),
        wanted in 1usize..700,
    ) {
        let twin: BTreeMap<PointId, u32> = ids.iter().copied().zip(0..).collect();
        let write = async |pages| write_ids(pages, &ids, &pool()).await.unwrap();
        with_pages(PagesKind::Ids, write, async |pages| {
            let data = IdsData::load(&pages).await.unwrap();
            let (control, mut stats) = (ReadControl::default(), ReadStats::default());
            prop_assert_eq!(data.len(), ids.len() as u64);
            let asked: Vec<PointId> = ids.iter().copied().chain(others.iter().copied()).collect();
            let found = data.find(&pages, &asked, &control, &mut stats).await.unwrap();
            let expected: Vec<Option<u32>> = asked.iter().map(|id| twin.get(id).copied()).collect();
            prop_assert_eq!(found, expected);
            let points: Vec<u32> = (0..ids.len() as u32).collect();
            prop_assert_eq!(&data.ids_of(&pages, &points, &control, &mut stats).await.unwrap(), &ids);
            for after in others.iter().copied().map(Some).chain([None]) {
                let found = data.in_order(&pages, after, wanted, &control, &mut stats).await.unwrap();
                let rest = twin.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
                let rest: Vec<(PointId, u32)> = rest.map(|(id, point)| (*id, *point)).collect();
                prop_assert!(found.len() >= wanted.min(rest.len()));
                prop_assert_eq!(&found[..], &rest[..found.len()]);
            }
            Ok(())
        })?;
    }
}

/// Such ids once made every build of their segment fail.
#[test]
fn ids_that_the_first_salt_does_not_tell_apart_are_found() {
    let first_salt = 0x1111_1111_1111_1111;
    let low = first_salt ^ 0xE703_7ED1_A0B4_28DB;
    let uuid = |low: u64, high: u64| PointId::Uuid(u128::from(high) << 64 | u128::from(low));
    let ids = [uuid(low, 0x1234), uuid(!low, !0x1234), PointId::Num(7)];
    let identity = FileIdentity { owner: [0x11; 16], file: 0 };
    let write = async |pages| write_ids(pages, &ids, &pool()).await.unwrap();
    with_identified_pages(PagesKind::Ids, identity, write, async |pages| {
        let salts: Vec<u64> = pages.read_array(0).await.unwrap();
        assert_eq!(salts, [3, 2, first_salt, first_salt + (first_salt | 1)]);
        let data = IdsData::load(&pages).await.unwrap();
        let found = data.find(&pages, &ids, &ReadControl::default(), &mut ReadStats::default()).await;
        assert_eq!(found.unwrap(), [Some(0), Some(1), Some(2)]);
    });
}

/// The perfect hash guarantees one page read for a look-up.
#[test]
fn a_look_up_reads_one_page() {
    let ids: Vec<PointId> = (0..100_000).map(|id| PointId::Num(id * 3)).collect();
    let write = async |pages| write_ids(pages, &ids, &pool()).await.unwrap();
    with_pages(PagesKind::Ids, write, async |pages| {
        let data = IdsData::load(&pages).await.unwrap();
        for id in [0, 3 * 77_777, 1, u64::MAX] {
            let mut stats = ReadStats::default();
            let found = data.find(&pages, &[PointId::Num(id)], &ReadControl::default(), &mut stats).await;
            assert_eq!(found.unwrap(), [(id % 3 == 0 && id < 300_000).then_some((id / 3) as u32)]);
            assert!(stats.reads <= 1 && stats.bytes_read <= 4096, "{stats:?}");
        }
        assert!(data.memory_bytes() < 100_000 * 3 / 8 + 100_000 / 341 * 8 + 1000, "{}", data.memory_bytes());
    });
}
