//! Which changes of an unsynced history survive.

use super::SimulatedDisk;
use super::state::{Change, Node, NodeId, State, apply, write};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A device writes this many bytes whole or not at all.
const SECTOR: usize = 512;

/// The content of the disk when the power fails after so many changes.
pub(super) fn surviving(state: &State, changes: usize, seed: u64) -> Vec<Node> {
    let mut durable = state.base.clone();
    if seed == SimulatedDisk::KEEP_ALL {
        for change in &state.history[..changes] {
            make_node(&mut durable, change);
            apply(&mut durable, change);
        }
        return durable;
    }
    let mut pending_bytes: BTreeMap<NodeId, Vec<(usize, &Change)>> = BTreeMap::new();
    let mut lost_bytes: Vec<(usize, &Change)> = Vec::new();
    let mut pending_names: Vec<(usize, &Change)> = Vec::new();
    for (number, change) in state.history[..changes].iter().enumerate() {
        make_node(&mut durable, change);
        match change {
            Change::Name { .. } | Change::Unname { .. } | Change::Rename { .. } => {
                pending_names.push((number, change));
            }
            Change::Write { node, .. } | Change::SetLen { node, .. } => {
                pending_bytes.entry(*node).or_default().push((number, change));
            }
            Change::SyncFile { node, covers } => {
                let pending = pending_bytes.entry(*node).or_default();
                for (_, change) in pending.extract_if(.., |(number, _)| covers.include(*number)) {
                    apply(&mut durable, change);
                }
            }
            Change::LostSync { node } => lost_bytes.extend(pending_bytes.remove(node).unwrap_or_default()),
            Change::SyncDir { dir, covers } => {
                let is_covered = |(number, change): &mut (usize, &Change)| {
                    touches(change, *dir) && covers.include(*number)
                };
                for (_, change) in pending_names.extract_if(.., is_covered) {
                    apply(&mut durable, change);
                }
            }
        }
    }
    if seed != SimulatedDisk::LOSE_ALL {
        let mut random = Rng::with_seed(seed);
        keep_some_names(&mut durable, &pending_names, &mut random);
        for changes in pending_bytes.values() {
            keep_some_bytes(&mut durable, changes, &mut random);
        }
        keep_some_bytes(&mut durable, &lost_bytes, &mut random);
    }
    durable
}

/// Makes the node of a file or directory when it is named for the first time. The node survives in any case.
/// Its name may not.
fn make_node(nodes: &mut Vec<Node>, change: &Change) {
    if let Change::Name { node, is_dir, .. } = change
        && *node >= nodes.len()
    {
        nodes.resize_with(node + 1, || Node::File(Vec::new()));
        if *is_dir {
            nodes[*node] = Node::Dir(BTreeMap::new());
        }
    }
}

fn touches(change: &Change, directory: NodeId) -> bool {
    match change {
        Change::Name { dir, .. } | Change::Unname { dir, .. } => *dir == directory,
        Change::Rename { from, to } => from.0 == directory || to.0 == directory,
        _ => false,
    }
}

/// Keeps some names: all up to some point in order, as a journal does, or any of them.
fn keep_some_names(durable: &mut [Node], pending: &[(usize, &Change)], random: &mut Rng) {
    let kept: BTreeSet<usize> = if random.bool() {
        (0..random.usize(..=pending.len())).collect()
    } else {
        (0..pending.len()).filter(|_| random.bool()).collect()
    };
    for index in kept {
        apply(durable, pending[index].1);
    }
}

/// Keeps some bytes: any sectors of any writes, in the order of the writes.
fn keep_some_bytes(durable: &mut [Node], changes: &[(usize, &Change)], random: &mut Rng) {
    let rate = [0.0, 0.1, 0.5, 0.9, 1.0][random.usize(..5)];
    for (_, change) in changes {
        match change {
            Change::Write { node, offset, bytes } => {
                let mut start = 0;
                while start < bytes.len() {
                    let end = bytes.len().min((offset + start) / SECTOR * SECTOR + SECTOR - offset);
                    if random.f64() < rate {
                        write(&mut durable[*node], offset + start, &bytes[start..end]);
                    }
                    start = end;
                }
                // The length may be written without the bytes: a hole of zeros.
                if let Node::File(file) = &mut durable[*node]
                    && random.f64() < rate
                {
                    file.resize(file.len().max(offset + bytes.len()), 0);
                }
            }
            change if random.f64() < rate => apply(durable, change),
            _ => {}
        }
    }
}
