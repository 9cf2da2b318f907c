//! What of an unsynced history survives.

use super::SimulatedDisk;
use super::state::{Change, Node, NodeId, State, apply, write};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What a device writes at once.
const SECTOR: usize = 512;

/// Everything that is on the platter when the power fails after so many changes.
pub(super) fn surviving(state: &State, changes: usize, seed: u64) -> Vec<Node> {
    let mut durable = state.base.clone();
    let mut pending_bytes: BTreeMap<NodeId, Vec<&Change>> = BTreeMap::new();
    let mut lost_bytes: Vec<&Change> = Vec::new();
    let mut pending_names: Vec<&Change> = Vec::new();
    for change in &state.history[..changes] {
        match change {
            Change::Name { node, is_dir, .. } => {
                // The node exists from here on; whether its name does is another question.
                durable.resize_with(durable.len().max(node + 1), || Node::File(Vec::new()));
                if *is_dir {
                    durable[*node] = Node::Dir(BTreeMap::new());
                }
                pending_names.push(change);
            }
            Change::Unname { .. } | Change::Rename { .. } => pending_names.push(change),
            Change::Write { node, .. } | Change::SetLen { node, .. } => {
                pending_bytes.entry(*node).or_default().push(change);
            }
            Change::SyncFile { node } => {
                for change in pending_bytes.remove(node).unwrap_or_default() {
                    apply(&mut durable, change);
                }
            }
            Change::LostSync { node } => lost_bytes.extend(pending_bytes.remove(node).unwrap_or_default()),
            Change::SyncDir { dir } => {
                pending_names.retain(|change| {
                    let here = touches(change, *dir);
                    if here {
                        apply(&mut durable, change);
                    }
                    !here
                });
            }
        }
    }
    match seed {
        SimulatedDisk::LOSE_ALL => {}
        SimulatedDisk::KEEP_ALL => {
            let all = pending_bytes.values().flatten().chain(&lost_bytes).chain(&pending_names);
            all.for_each(|change| apply(&mut durable, change));
        }
        _ => {
            let mut random = Rng::with_seed(seed);
            keep_some_names(&mut durable, &pending_names, &mut random);
            for changes in pending_bytes.values() {
                keep_some_bytes(&mut durable, changes, &mut random);
            }
            keep_some_bytes(&mut durable, &lost_bytes, &mut random);
        }
    }
    durable
}

fn touches(change: &Change, directory: NodeId) -> bool {
    match change {
        Change::Name { dir, .. } | Change::Unname { dir, .. } => *dir == directory,
        Change::Rename { from, to } => from.0 == directory || to.0 == directory,
        _ => false,
    }
}

/// Names: in order up to some point, as with a journal, or any of them.
fn keep_some_names(durable: &mut [Node], pending: &[&Change], random: &mut Rng) {
    let kept: BTreeSet<usize> = if random.bool() {
        (0..random.usize(..=pending.len())).collect()
    } else {
        (0..pending.len()).filter(|_| random.bool()).collect()
    };
    for index in kept {
        apply(durable, pending[index]);
    }
}

/// Bytes: any sectors of any writes, in their order.
fn keep_some_bytes(durable: &mut [Node], changes: &[&Change], random: &mut Rng) {
    let rate = [0.0, 0.1, 0.5, 0.9, 1.0][random.usize(..5)];
    for change in changes {
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
