//! The model: every state that each owner's points had, and the sequence number from which on they had it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vecstore::point::{Point, PointId};

/// Points by their ids. Versions share those that did not change.
pub(crate) type Points = BTreeMap<PointId, Arc<Point>>;

/// The points of one owner from a write on.
struct Version {
    /// The write's number, once it was acknowledged.
    seq: Option<u64>,
    points: Arc<Points>,
}

pub(crate) struct Timeline {
    owners: Vec<Mutex<Vec<Version>>>,
    /// The greatest number that was acknowledged.
    acknowledged: AtomicU64,
}

/// What a read may have seen: everything up to some number...
pub(crate) struct Window {
    /// ...that is no smaller than this...
    from: u64,
    /// ...and no greater than that of the last of so many versions of each owner.
    until: Vec<usize>,
}

impl Timeline {
    pub(crate) fn new(owners: usize) -> Self {
        let first = || Mutex::new(vec![Version { seq: Some(0), points: Arc::default() }]);
        Self { owners: (0..owners).map(|_| first()).collect(), acknowledged: AtomicU64::new(0) }
    }

    /// The points of an owner, as it left them.
    pub(crate) fn of(&self, owner: usize) -> Arc<Points> {
        Arc::clone(&self.owners[owner].lock().unwrap().last().expect("the first is always there").points)
    }

    /// All points, as their owners left them.
    pub(crate) fn latest(&self) -> Arc<Points> {
        let owners = (0..self.owners.len()).map(|owner| self.of(owner));
        Arc::new(owners.flat_map(|points| (*points).clone()).collect())
    }

    /// An owner begins a write, after which its points are these.
    pub(crate) fn begin_write(&self, owner: usize, points: Points) {
        self.owners[owner].lock().unwrap().push(Version { seq: None, points: points.into() });
    }

    /// The write that the owner began was acknowledged.
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

    /// A read begins.
    pub(crate) fn begin_read(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// A read that began so has come to its end.
    pub(crate) fn end_read(&self, from: u64) -> Window {
        Window { from, until: self.owners.iter().map(|owner| owner.lock().unwrap().len()).collect() }
    }

    /// The states of all points, of which a read must have seen one. `None` as long as a write is not acknowledged that it may
    /// have seen: nobody knows its number.
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
