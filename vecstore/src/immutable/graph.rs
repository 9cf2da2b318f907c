//! The graph of an immutable segment, with compressed links.
//!
//! Sections of `graph.pages`:
//!
//! | section | what it is |
//! |---|---|
//! | 0 | points u64, m u64, entry point u64, upper levels u64 |
//! | 1 | the records with the links of each point on level 0, concatenated |
//! | 2 | the start of each record and the end of the last one, as packed offsets |
//! | 3, 4, 5 and so on | each upper level: its points u32, the starts of their links u64, the links u32 |
//!
//! [`links`] describes how a record is packed. A record does not straddle pages if that wastes at most an
//! eighth of a page. Offsets and upper levels, which have one point in m, are in memory. If the graph is
//! pinned, the links are in memory too, unpacked.

use crate::error::Error;
use std::ops::Range;
use vecstore_format::links;
use vecstore_format::offsets::{self, Offsets};
use vecstore_format::pages::{Pages, PagesWriter};
use vecstore_index::graph::{GraphParts, UpperLevel, check_upper};

/// Writes a graph. Returns the checksum of the file's header.
pub(crate) async fn write_graph(mut pages: PagesWriter, graph: &GraphParts) -> Result<u32, Error> {
    let points = graph.offsets.len() - 1;
    pages.begin_section().await?;
    for number in [points as u64, graph.m as u64, u64::from(graph.entry), graph.upper.len() as u64] {
        pages.write(&number.to_le_bytes()).await?;
    }
    pages.begin_section().await?;
    let mut starts = Vec::with_capacity(points + 1);
    let (mut record, mut links) = (Vec::new(), Vec::new());
    for range in graph.offsets.windows(2) {
        links.clear();
        links.extend_from_slice(&graph.links[range[0] as usize..range[1] as usize]);
        links.sort_unstable();
        links.dedup();
        record.clear();
        links::encode(&links, &mut record);
        pages.align_record(record.len()).await?;
        starts.push(pages.position());
        pages.write(&record).await?;
    }
    starts.push(pages.position());
    pages.begin_section().await?;
    pages.write(&offsets::encode(&starts)).await?;
    for level in &graph.upper {
        for section in [
            bytemuck::cast_slice::<u32, u8>(&level.nodes),
            bytemuck::cast_slice(&level.offsets),
            bytemuck::cast_slice(&level.links),
        ] {
            pages.begin_section().await?;
            pages.write(section).await?;
        }
    }
    Ok(pages.finish().await?)
}

/// The part of a segment's graph that is in memory: all of it, or all but the links of level 0. All cores
/// share it.
#[derive(Debug)]
pub(crate) struct GraphData {
    points: u32,
    starts: Offsets,
    /// The links of level 0, if they are pinned.
    pinned: Option<FlatLinks>,
    entry: u32,
    upper: Vec<UpperLevel>,
}

/// Unpacked links, concatenated. Unpacking them during a search in memory would take too long.
#[derive(Debug)]
struct FlatLinks {
    /// The start of each point's links, and the end of the last ones.
    starts: Vec<u64>,
    links: Vec<u32>,
}

impl FlatLinks {
    /// Unpacks the records of all points. The error is the first point with an invalid record.
    fn unpack(records: &[u8], starts: &Offsets, points: u32) -> Result<Self, u32> {
        let mut flat = Self { starts: Vec::with_capacity(points as usize + 1), links: Vec::new() };
        let mut links = Vec::new();
        flat.starts.push(0);
        let mut start = starts.get(0);
        for point in 0..points {
            let end = starts.get(point as usize + 1);
            let record = records.get(start as usize..end as usize).ok_or(point)?;
            links::decode(record, points, &mut links).ok_or(point)?;
            flat.links.extend_from_slice(&links);
            flat.starts.push(flat.links.len() as u64);
            start = end;
        }
        flat.links.shrink_to_fit();
        Ok(flat)
    }

    fn get(&self, point: u32) -> &[u32] {
        &self.links[self.starts[point as usize] as usize..self.starts[point as usize + 1] as usize]
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.links.as_slice())
    }
}

/// The section with the links of level 0.
pub(crate) const LINKS_SECTION: usize = 1;

impl GraphData {
    pub(crate) async fn load(pages: &Pages, pinned: bool) -> Result<Self, Error> {
        let damaged = |reason: String| Error::damaged(pages.data().path(), None, reason);
        let meta: Vec<u64> = pages.read_array(0).await?;
        let &[points, m, entry, levels] = meta.as_slice() else {
            return Err(damaged("its numbers are missing".to_owned()));
        };
        let (Ok(points), Ok(m), Ok(entry)) =
            (u32::try_from(points), usize::try_from(m), u32::try_from(entry))
        else {
            return Err(damaged("its numbers are impossible".to_owned()));
        };
        if pages.data().sections() as u64 != levels.saturating_mul(3).saturating_add(3) {
            return Err(damaged(format!("{} sections for {levels} levels", pages.data().sections())));
        }
        let mut upper = Vec::new();
        for level in 0..levels as usize {
            upper.push(UpperLevel {
                nodes: pages.read_array(3 + level * 3).await?,
                offsets: pages.read_array(4 + level * 3).await?,
                links: pages.read_array(5 + level * 3).await?,
            });
        }
        check_upper(points as usize, m, entry, &upper).map_err(|error| damaged(error.to_string()))?;
        let starts = Offsets::parse(&pages.read_section(2).await?, points as usize + 1)
            .ok_or_else(|| damaged("the offsets of its records are none".to_owned()))?;
        // Bytes behind that end belong to no point, and may be longer than memory.
        let (found, end) = (pages.data().bytes(LINKS_SECTION), starts.get(points as usize));
        if found != end {
            return Err(damaged(format!("its records take {found} bytes, and end at {end}")));
        }
        let pinned = if pinned {
            let records = pages.read_section(LINKS_SECTION).await?;
            let flat = FlatLinks::unpack(&records, &starts, points);
            Some(flat.map_err(|point| damaged(format!("the links of point {point} are none")))?)
        } else {
            None
        };
        Ok(Self { points, starts, pinned, entry, upper })
    }

    /// Number of points.
    pub(crate) fn len(&self) -> u32 {
        self.points
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let upper = self.upper.iter();
        let upper = upper.map(|level| {
            size_of_val(level.nodes.as_slice())
                + size_of_val(level.offsets.as_slice())
                + size_of_val(level.links.as_slice())
        });
        let flat = self.pinned.as_ref().map_or(0, FlatLinks::memory_bytes);
        self.starts.memory_bytes() + flat + upper.sum::<usize>()
    }

    /// Where a search begins: a point and its level.
    pub(crate) fn entry(&self) -> Option<(u32, usize)> {
        (self.points > 0).then_some((self.entry, self.upper.len()))
    }

    /// The links of a point on a level above 0.
    pub(crate) fn upper_links(&self, point: u32, level: usize) -> &[u32] {
        self.upper.get(level - 1).map_or(&[], |level| level.links(point))
    }

    /// The points where a walk may begin, in the order of their ids: those of level 1, or else the entry.
    pub(crate) fn upper_points(&self) -> &[u32] {
        match self.upper.first() {
            Some(level) => &level.nodes,
            None if self.points == 0 => &[],
            None => std::slice::from_ref(&self.entry),
        }
    }

    /// The place of a point's record in its section.
    pub(crate) fn record_range(&self, point: u32) -> Range<u64> {
        self.starts.get(point as usize)..self.starts.get(point as usize + 1)
    }

    /// The links of a point on level 0, if pinned.
    #[inline]
    pub(crate) fn links(&self, point: u32) -> Option<&[u32]> {
        Some(self.pinned.as_ref()?.get(point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::immutable::testing::with_pages;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use vecstore_format::pages::PagesKind;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn graphs_come_back(lists in prop::collection::vec(prop::collection::btree_set(0u32..400, 0..40), 1..400)) {
            let points = lists.len() as u32;
            let clean = |point: usize, links: &BTreeSet<u32>| -> Vec<u32> {
                links.iter().copied().filter(|&link| link < points && link != point as u32).collect()
            };
            let lists: Vec<Vec<u32>> = lists.iter().enumerate().map(|(point, links)| clean(point, links)).collect();
            let mut parts = GraphParts { m: 20, entry: 0, offsets: vec![0], links: vec![], upper: vec![] };
            for list in &lists {
                // The links of a graph in memory are unordered.
                parts.links.extend(list.iter().rev());
                parts.offsets.push(parts.links.len() as u64);
            }
            let upper = UpperLevel { nodes: vec![0], offsets: vec![0, 0], links: vec![] };
            parts.upper.push(upper);
            let write = async |pages| write_graph(pages, &parts).await.unwrap();
            with_pages(PagesKind::Graph, write, async |pages| {
                let graph = GraphData::load(&pages, true).await.unwrap();
                prop_assert_eq!((graph.len(), graph.entry()), (points, Some((0, 1))));
                for (point, list) in lists.iter().enumerate() {
                    prop_assert_eq!(graph.links(point as u32).unwrap(), list);
                }
                let cold = GraphData::load(&pages, false).await.unwrap();
                prop_assert!(cold.memory_bytes() < graph.memory_bytes() && cold.links(0).is_none());
                prop_assert_eq!(cold.record_range(0), graph.record_range(0));
                Ok(())
            })?;
        }
    }
}
