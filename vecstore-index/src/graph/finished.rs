//! The finished graph: flat and immutable. Making it from parts checks every link.
//!
//! ```text
//! level 0          offsets: points + 1    links of point p: links[offsets[p]..offsets[p + 1]], at most 2 * m
//! level 1, 2, ...  nodes: ascending ids   links of nodes[i]: links[offsets[i]..offsets[i + 1]], at most m
//! ```
//!
//! An upper level holds one in `m` points of the level below, so it lists its points. This module does not
//! know how the parts are stored in files.

use super::params::M_MAX;
use crate::pool::ID_END;

/// Gives a search the links of each node.
pub(crate) trait Links {
    /// Number of points.
    fn len(&self) -> usize;
    /// Where a search begins: a point and its level. `None` if there are no points.
    fn entry(&self) -> Option<(u32, usize)>;
    /// The links of a point on a level. Empty if the point is not on that level.
    fn links(&self, node: u32, level: usize) -> &[u32];
}

/// One level above level 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpperLevel {
    /// The points on this level, in ascending order.
    pub nodes: Vec<u32>,
    /// Where the links of each point begin in `links`, and at last their end: one entry more than `nodes`.
    pub offsets: Vec<u64>,
    /// The links: ids of points on this level.
    pub links: Vec<u32>,
}

impl UpperLevel {
    /// The links of a point on this level. Empty if the point is not on it.
    #[must_use]
    pub fn links(&self, node: u32) -> &[u32] {
        match self.nodes.binary_search(&node) {
            Ok(index) => &self.links[self.offsets[index] as usize..self.offsets[index + 1] as usize],
            Err(_) => &[],
        }
    }
}

/// A graph as flat vectors, to be written to a file or read from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphParts {
    /// The most links of a point on an upper level. Level 0 allows twice as many.
    pub m: usize,
    /// The point where every search begins. It is on the highest level. 0 if there are no points.
    pub entry: u32,
    /// Where the links of each point on level 0 begin in `links`, and at last their end: one entry more than
    /// points.
    pub offsets: Vec<u64>,
    /// The links of level 0.
    pub links: Vec<u32>,
    /// The levels from 1 up.
    pub upper: Vec<UpperLevel>,
}

/// Parts that do not form a graph. Their file is damaged, or another program wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// `m` is out of range.
    #[error("m is {m}: it must be from 2 to {M_MAX}")]
    M {
        /// The value found.
        m: usize,
    },
    /// There are more points than ids.
    #[error("a graph of {points} points: at most {ID_END} fit")]
    TooManyPoints {
        /// The number of points.
        points: usize,
    },
    /// The entry point does not exist or is not on the highest level.
    #[error("the entry point {entry} is not on level {level}, the highest")]
    Entry {
        /// The entry found.
        entry: u32,
        /// The highest level.
        level: usize,
    },
    /// The offsets do not ascend from 0 to the number of links, or their number is not the number of points
    /// plus one.
    #[error("level {level}: the offset at {index} is missing, out of order or does not fit the links")]
    Offsets {
        /// The level.
        level: usize,
        /// The first wrong offset.
        index: usize,
    },
    /// A point has too many links.
    #[error("level {level}: point {point} has {count} links, more than {links_max}")]
    TooManyLinks {
        /// The level.
        level: usize,
        /// The point.
        point: u32,
        /// The number of its links.
        count: u64,
        /// The most it may have.
        links_max: usize,
    },
    /// The points of an upper level are not in ascending order, or one of them is not on the level below.
    #[error("level {level}: point {point} is out of order, or not on the level below")]
    Nodes {
        /// The level.
        level: usize,
        /// The first wrong point.
        point: u32,
    },
    /// A link leads to a point that is not on the level, or to the point itself.
    #[error("level {level}: point {point} links to {link}, which is itself or not on this level")]
    Link {
        /// The level.
        level: usize,
        /// The point.
        point: u32,
        /// The target of the link.
        link: u32,
    },
}

/// A navigable graph over points `0..len`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    parts: GraphParts,
}

impl Graph {
    /// Makes a graph from its parts. It checks every offset, node and link, so no search can leave the
    /// points.
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub(crate) fn from_parts(parts: GraphParts) -> Result<Self, GraphError> {
        let m = parts.m;
        if !(2..=M_MAX).contains(&m) {
            return Err(GraphError::M { m });
        }
        let Some(points) = parts.offsets.len().checked_sub(1) else {
            return Err(GraphError::Offsets { level: 0, index: 0 });
        };
        if points > ID_END as usize {
            return Err(GraphError::TooManyPoints { points });
        }
        check_offsets(0, points, &parts.offsets, parts.links.len())?;
        check_links(0, 0..points as u32, &parts.offsets, &parts.links, 2 * m, |link| {
            (link as usize) < points
        })?;
        check_upper(points, m, parts.entry, &parts.upper)?;
        Ok(Self { parts })
    }

    /// Takes the graph apart.
    #[must_use]
    pub fn into_parts(self) -> GraphParts {
        self.parts
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.offsets.len() - 1
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most links of a point on an upper level. Level 0 allows twice as many.
    #[must_use]
    pub fn m(&self) -> usize {
        self.parts.m
    }

    /// Where a search begins: a point and the highest level. `None` if there are no points.
    #[must_use]
    pub fn entry(&self) -> Option<(u32, usize)> {
        (!self.is_empty()).then_some((self.parts.entry, self.parts.upper.len()))
    }

    /// The links of a point on a level. Empty if there is no such point, or if it is not on that level.
    #[must_use]
    #[inline]
    pub fn links(&self, node: u32, level: usize) -> &[u32] {
        let (index, offsets, links) = if level == 0 {
            (node as usize, &self.parts.offsets, &self.parts.links)
        } else {
            let Some(upper) = self.parts.upper.get(level - 1) else { return &[] };
            let Ok(index) = upper.nodes.binary_search(&node) else { return &[] };
            (index, &upper.offsets, &upper.links)
        };
        match offsets.get(index..index + 2) {
            Some(&[start, end]) => &links[start as usize..end as usize],
            _ => &[],
        }
    }

    /// The memory that the graph takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let level = |nodes: usize, offsets: usize, links: usize| 4 * nodes + 8 * offsets + 4 * links;
        let upper = self.parts.upper.iter();
        level(0, self.parts.offsets.len(), self.parts.links.len())
            + upper.map(|u| level(u.nodes.len(), u.offsets.len(), u.links.len())).sum::<usize>()
    }
}

impl Links for Graph {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn entry(&self) -> Option<(u32, usize)> {
        Self::entry(self)
    }

    #[inline]
    fn links(&self, node: u32, level: usize) -> &[u32] {
        Self::links(self, node, level)
    }
}

/// Checks the upper levels and the entry point. A graph whose level 0 is on disk has only these in memory.
///
/// # Errors
///
/// The first fault found.
pub fn check_upper(points: usize, m: usize, entry: u32, upper: &[UpperLevel]) -> Result<(), GraphError> {
    if !(2..=M_MAX).contains(&m) {
        return Err(GraphError::M { m });
    }
    for (index, level_above) in upper.iter().enumerate() {
        let level = index + 1;
        let mut previous = None;
        for &point in &level_above.nodes {
            let below = match index {
                0 => (point as usize) < points,
                _ => upper[index - 1].nodes.binary_search(&point).is_ok(),
            };
            if !below || previous.is_some_and(|previous| previous >= point) {
                return Err(GraphError::Nodes { level, point });
            }
            previous = Some(point);
        }
        check_offsets(level, level_above.nodes.len(), &level_above.offsets, level_above.links.len())?;
        let nodes = level_above.nodes.iter().copied();
        check_links(level, nodes, &level_above.offsets, &level_above.links, m, |link| {
            level_above.nodes.binary_search(&link).is_ok()
        })?;
    }
    let on_top = match upper.last() {
        Some(top) => top.nodes.binary_search(&entry).is_ok(),
        None => (entry as usize) < points || (points == 0 && entry == 0),
    };
    if on_top { Ok(()) } else { Err(GraphError::Entry { entry, level: upper.len() }) }
}

fn check_offsets(level: usize, nodes: usize, offsets: &[u64], links: usize) -> Result<(), GraphError> {
    let wrong = |index| Err(GraphError::Offsets { level, index });
    if offsets.len() != nodes + 1 {
        return wrong(offsets.len().min(nodes + 1));
    }
    if offsets[0] != 0 {
        return wrong(0);
    }
    if let Some(index) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        return wrong(index + 1);
    }
    if offsets[nodes] != links as u64 { wrong(nodes) } else { Ok(()) }
}

fn check_links(
    level: usize,
    nodes: impl Iterator<Item = u32>,
    offsets: &[u64],
    links: &[u32],
    links_max: usize,
    exists: impl Fn(u32) -> bool,
) -> Result<(), GraphError> {
    for (point, range) in nodes.zip(offsets.windows(2)) {
        let count = range[1] - range[0];
        if count > links_max as u64 {
            return Err(GraphError::TooManyLinks { level, point, count, links_max });
        }
        let links = &links[range[0] as usize..range[1] as usize];
        if let Some(&link) = links.iter().find(|&&link| link == point || !exists(link)) {
            return Err(GraphError::Link { level, point, link });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four points in a ring, two of them on level 1.
    fn ring() -> GraphParts {
        GraphParts {
            m: 2,
            entry: 3,
            offsets: vec![0, 2, 4, 6, 8],
            links: vec![1, 3, 0, 2, 1, 3, 2, 0],
            upper: vec![UpperLevel { nodes: vec![1, 3], offsets: vec![0, 1, 2], links: vec![3, 1] }],
        }
    }

    fn wrong(change: impl FnOnce(&mut GraphParts)) -> GraphError {
        let mut parts = ring();
        change(&mut parts);
        Graph::from_parts(parts).expect_err("wrong parts")
    }

    #[test]
    fn links_are_where_the_parts_say() {
        let graph = Graph::from_parts(ring()).unwrap();
        assert_eq!((graph.len(), graph.entry(), graph.m()), (4, Some((3, 1)), 2));
        assert_eq!(graph.links(0, 0), [1, 3]);
        assert_eq!(graph.links(3, 0), [2, 0]);
        assert_eq!(graph.links(3, 1), [1]);
        for (node, level) in [(0, 1), (3, 2), (4, 0), (u32::MAX, 0)] {
            assert!(graph.links(node, level).is_empty());
        }
        assert_eq!(graph.memory_bytes(), 5 * 8 + 8 * 4 + 2 * 4 + 3 * 8 + 2 * 4);
        assert_eq!(graph.into_parts(), ring());
    }

    #[test]
    fn no_points_are_a_graph_too() {
        let parts = GraphParts { m: 2, entry: 0, offsets: vec![0], links: vec![], upper: vec![] };
        let graph = Graph::from_parts(parts.clone()).unwrap();
        assert_eq!((graph.len(), graph.is_empty(), graph.entry()), (0, true, None));
        let entry = Graph::from_parts(GraphParts { entry: 1, ..parts }).unwrap_err();
        assert_eq!(entry, GraphError::Entry { entry: 1, level: 0 });
    }

    #[test]
    fn every_wrong_part_has_its_error() {
        assert_eq!(wrong(|p| p.m = 1), GraphError::M { m: 1 });
        assert_eq!(wrong(|p| p.m = usize::MAX), GraphError::M { m: usize::MAX });
        assert_eq!(wrong(|p| p.entry = 0), GraphError::Entry { entry: 0, level: 1 });
        assert_eq!(wrong(|p| p.entry = 9), GraphError::Entry { entry: 9, level: 1 });
        let offsets = |level, index| GraphError::Offsets { level, index };
        assert_eq!(wrong(|p| p.offsets.clear()), offsets(0, 0));
        assert_eq!(wrong(|p| p.offsets[0] = 1), offsets(0, 0));
        assert_eq!(wrong(|p| p.offsets[2] = 1), offsets(0, 2));
        assert_eq!(wrong(|p| p.offsets[3] = u64::MAX), offsets(0, 4));
        assert_eq!(wrong(|p| p.offsets[4] = 9), offsets(0, 4));
        assert_eq!(wrong(|p| p.links.truncate(7)), offsets(0, 4));
        assert_eq!(wrong(|p| p.upper[0].offsets.truncate(2)), offsets(1, 2));
        assert_eq!(wrong(|p| p.upper[0].offsets.clear()), offsets(1, 0));
        let link = |level, point, link| GraphError::Link { level, point, link };
        assert_eq!(wrong(|p| p.links[2] = 4), link(0, 1, 4));
        assert_eq!(wrong(|p| p.links[2] = 1), link(0, 1, 1));
        assert_eq!(wrong(|p| p.links[2] = u32::MAX), link(0, 1, u32::MAX));
        assert_eq!(wrong(|p| p.upper[0].links[1] = 2), link(1, 3, 2));
        assert_eq!(wrong(|p| p.upper[0].nodes[0] = 3), GraphError::Nodes { level: 1, point: 3 });
        assert_eq!(wrong(|p| p.upper[0].nodes[1] = 4), GraphError::Nodes { level: 1, point: 4 });
        let top = UpperLevel { nodes: vec![2], offsets: vec![0, 0], links: vec![] };
        assert_eq!(wrong(|p| p.upper.push(top)), GraphError::Nodes { level: 2, point: 2 });
        assert_eq!(
            wrong(|p| {
                p.offsets = vec![0, 5, 5, 5, 5];
                p.links = vec![1, 2, 3, 1, 2];
            }),
            GraphError::TooManyLinks { level: 0, point: 0, count: 5, links_max: 4 }
        );
        assert_eq!(wrong(|p| p.upper.push(UpperLevel::default())), offsets(2, 0));
    }
}
