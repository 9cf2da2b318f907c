//! The index of a segment, as far as it is in memory.

use super::linked::LinkedData;
use super::{CELL_CODES, CELLS, GRAPH, LINKED};
use crate::immutable::cells::CellsData;
use crate::immutable::graph::GraphData;
use vecstore_format::pages::PagesData;

/// The index of a segment.
#[derive(Debug)]
pub(crate) enum IndexData {
    Graph(Box<GraphIndex>),
    Cells(Box<CellsData>),
}

/// A graph, with linked records or without.
#[derive(Debug)]
pub(crate) struct GraphIndex {
    pub(crate) graph: GraphData,
    pub(super) pages: PagesData,
    pub(crate) linked: Option<LinkedData>,
}

impl IndexData {
    /// The files that searches read if the index is not pinned.
    pub(super) fn files_on_disk(&self) -> &'static [&'static str] {
        match self {
            Self::Graph(index) if index.linked.is_some() => &[GRAPH, LINKED],
            Self::Graph(_) => &[GRAPH],
            Self::Cells(_) => &[CELL_CODES],
        }
    }

    /// The memory of each part in bytes, by the name of its file.
    pub(super) fn memory_bytes(&self) -> Vec<(&'static str, usize)> {
        match self {
            Self::Graph(index) => {
                let GraphIndex { graph, pages, linked } = &**index;
                let linked = linked.as_ref().map(|linked| (LINKED, linked.memory_bytes()));
                [(GRAPH, graph.memory_bytes() + pages.memory_bytes())].into_iter().chain(linked).collect()
            }
            Self::Cells(cells) => vec![(CELLS, cells.memory_bytes())],
        }
    }
}
