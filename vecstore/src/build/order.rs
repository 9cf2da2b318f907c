//! The order of a segment's points: by groups of equal keys. Within a group, points follow the graph.

use std::collections::VecDeque;
use vecstore_index::graph::{GraphParts, UpperLevel};

/// The ends of the groups of equal keys, for points in an order.
pub(super) fn groups<K: PartialEq>(order: &[u32], group: &impl Fn(usize) -> K) -> Vec<usize> {
    let mut ends = Vec::new();
    for (index, pair) in order.windows(2).enumerate() {
        if group(pair[0] as usize) != group(pair[1] as usize) {
            ends.push(index + 1);
        }
    }
    ends.push(order.len());
    ends
}

/// The points of each group, in the order of a breadth-first walk over the graph from the entry.
pub(super) fn by_locality(graph: &GraphParts, group_ends: &[usize]) -> Vec<u32> {
    let points = graph.offsets.len() - 1;
    let mut rank = vec![u32::MAX; points];
    let mut next = 0;
    let mut waiting = VecDeque::new();
    for start in std::iter::once(graph.entry).chain(0..points as u32).take_while(|_| points > 0) {
        if rank[start as usize] != u32::MAX {
            continue;
        }
        rank[start as usize] = next;
        next += 1;
        waiting.push_back(start);
        while let Some(point) = waiting.pop_front() {
            let range = graph.offsets[point as usize] as usize..graph.offsets[point as usize + 1] as usize;
            for &link in &graph.links[range] {
                if rank[link as usize] == u32::MAX {
                    rank[link as usize] = next;
                    next += 1;
                    waiting.push_back(link);
                }
            }
        }
    }
    let mut order: Vec<u32> = (0..points as u32).collect();
    let mut start = 0;
    for &end in group_ends {
        order[start..end].sort_unstable_by_key(|&point| rank[point as usize]);
        start = end;
    }
    order
}

/// The graph, renumbered so that point `order[i]` becomes point `i`.
pub(super) fn renumber(graph: &GraphParts, order: &[u32]) -> GraphParts {
    let mut new = vec![0; order.len()];
    for (place, &point) in order.iter().enumerate() {
        new[point as usize] = place as u32;
    }
    let mut offsets = Vec::with_capacity(graph.offsets.len());
    let mut links = Vec::with_capacity(graph.links.len());
    offsets.push(0);
    for &point in order {
        let range = graph.offsets[point as usize] as usize..graph.offsets[point as usize + 1] as usize;
        links.extend(graph.links[range].iter().map(|&link| new[link as usize]));
        offsets.push(links.len() as u64);
    }
    let upper = graph.upper.iter().map(|level| {
        let mut nodes: Vec<(u32, u32)> = level.nodes.iter().map(|&node| (new[node as usize], node)).collect();
        nodes.sort_unstable();
        let mut renumbered = UpperLevel { offsets: vec![0], ..UpperLevel::default() };
        for (node, old) in nodes {
            renumbered.nodes.push(node);
            renumbered.links.extend(level.links(old).iter().map(|&link| new[link as usize]));
            renumbered.offsets.push(renumbered.links.len() as u64);
        }
        renumbered
    });
    let entry = new.get(graph.entry as usize).copied().unwrap_or(0);
    GraphParts { m: graph.m, entry, upper: upper.collect(), offsets, links }
}
