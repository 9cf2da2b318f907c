//! The model: every state of each owner's points, and the sequence number at which it began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vecstore::point::{Point, PointId};

/// Points by their ids. Versions share unchanged points.
pub(crate) type Points = BTreeMap<PointId, Arc<Point>>;

/// The points of one owner after a write.
struct Version {
    /// The sequence number of the write, once acknowledged.
    seq: Option<u64>,
    points: Arc<Points>,
}

pub(crate) struct Timeline {
    owners: Vec<Mutex<Vec<Version>>>,
    /// The greatest acknowledged sequence number.
    acknowledged: AtomicU64,
}

/// The states that a read may have seen: all writes up to some number...
pub(crate) struct Window {
    /// ...that is at least this...
    from: u64,
    /// ...and at most the number of the last of this many versions of each owner.
    until: Vec<usize>,
}

impl Timeline {
    pub(crate) fn new(owners: usize) -> Self {
        let first = || Mutex::new(vec![Version { seq: Some(0), points: Arc::default() }]);
        Self { owners: (0..owners).map(|_| first()).collect(), acknowledged: AtomicU64::new(0) }
    }

    /// The current points of an owner.
    pub(crate) fn of(&self, owner: usize) -> Arc<Points> {
        Arc::clone(&self.owners[owner].lock().unwrap().last().expect("the first is always there").points)
    }

    /// The current points of all owners.
    pub(crate) fn latest(&self) -> Arc<Points> {
        let owners = (0..self.owners.len()).map(|owner| self.of(owner));
        Arc::new(owners.flat_map(|points| (*points).clone()).collect())
    }

    /// Records that an owner begins a write, and its points after the write.
    pub(crate) fn begin_write(&self, owner: usize, points: Points) {
        self.owners[owner].lock().unwrap().push(Version { seq: None, points: points.into() });
    }

    /// Records that the owner's write was acknowledged.
    pub(crate) fn acknowledge(&self, owner: usize, seq: u64) {
        let mut versions = self.owners[owner].lock().unwrap();
        let [.., before, last] = &mut **versions else { panic!("a write was begun") };
        assert!(before.seq <= Some(seq), "write {seq} of owner {owner} came after {:?}", before.seq);
        assert!(
            before.seq < Some(seq) || before.points == last.points,
            "write {seq} of owner {owner} has the number of the one before, and changed something"
        );
        last.seq = Some(seq);
        self.acknowledged.fetch_max(seq, Ordering::SeqCst);
    }

    /// Records that a read begins.
    pub(crate) fn begin_read(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Records that a read has ended.
    pub(crate) fn end_read(&self, from: u64) -> Window {
        Window { from, until: self.owners.iter().map(|owner| owner.lock().unwrap().len()).collect() }
    }

    /// The possible states for a read. It must have seen one of them. `None` while a write that it may have
    /// seen is unacknowledged, because its number is unknown.
    pub(crate) fn states(&self, window: &Window) -> Option<Vec<Points>> {
        let owners: Vec<_> = self.owners.iter().map(|owner| owner.lock().unwrap()).collect();
        let mut seqs = vec![window.from];
        for (versions, &until) in owners.iter().zip(&window.until) {
            for version in versions[..until].iter().rev() {
                let seq = version.seq?;
                if seq <= window.from {
                    break;
                }
                seqs.push(seq);
            }
        }
        seqs.sort_unstable();
        seqs.dedup();
        let at = |seq: u64| {
            let of = |versions: &Vec<Version>| {
                let known = versions.partition_point(|version| version.seq.is_some_and(|its| its <= seq));
                (*versions[known - 1].points).clone()
            };
            owners.iter().flat_map(|versions| of(versions)).collect()
        };
        Some(seqs.into_iter().map(at).collect())
    }
}
