//! The indexes that benches compare, and a placement for them.

use std::fmt;
use std::str::FromStr;
use vecstore::schema::{GraphLayout, IndexKind, Placement, Placements, Schema};

/// Everything in memory.
pub const IN_MEMORY: Placements = Placements {
    vectors: Placement::Pinned,
    codes: Placement::Pinned,
    graph: Placement::Pinned,
    payload: Placement::Pinned,
    ids: Placement::Pinned,
    indexes: Placement::Pinned,
};

/// An index, with the layout of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// A compact graph.
    Compact,
    /// A linked graph.
    Linked,
    /// Cells.
    Cells,
}

impl Index {
    /// Every index.
    pub const ALL: [Self; 3] = [Self::Compact, Self::Linked, Self::Cells];

    /// The schema with this index.
    #[must_use]
    pub fn of(self, schema: Schema) -> Schema {
        let (index, graph) = match self {
            Self::Compact => (IndexKind::Graph, GraphLayout::Compact),
            Self::Linked => (IndexKind::Graph, GraphLayout::Linked),
            Self::Cells => (IndexKind::Cells, GraphLayout::Compact),
        };
        Schema { index, graph, ..schema }
    }

    /// The name, as tables have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Linked => "linked",
            Self::Cells => "cells",
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Index {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let index = Self::ALL.into_iter().find(|index| index.name() == name);
        index.ok_or_else(|| format!("{name:?} is none of compact, linked, cells"))
    }
}
