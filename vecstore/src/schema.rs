//! The schema of a collection. It is fixed at creation and kept in the manifest, as JSON.

use crate::field::FieldKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use vecstore_format::vector_file::RECORD_BYTES_MAX;
use vecstore_index::cells::CellLayout;
use vecstore_index::graph::LinkedLayout;

pub use vecstore_format::{ElementType, UnknownElementError};
pub use vecstore_index::graph::{EF_CONSTRUCT_MAX, HnswParams, M_MAX};
pub use vecstore_quant::{Compression, DIM_MAX, Distance, Quantile, Quantization};

/// The schema of a collection. In JSON, every field but `dim` is optional, also within `hnsw` and
/// `placement`:
///
/// ```json
/// { "dim": 384, "distance": "cosine", "element": "f16",
///   "indexes": { "section": "keyword", "installed_size": "integer" },
///   "defragment": ["section"] }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Components of a vector.
    pub dim: u32,
    /// The distance between vectors.
    #[serde(default = "default_distance", with = "by_name")]
    pub distance: Distance,
    /// The type of stored components.
    #[serde(default = "default_element", with = "by_name")]
    pub element: ElementType,
    /// The codes that a search scores instead of the vectors.
    #[serde(default)]
    pub quantization: Quantization,
    /// The index that a search uses.
    #[serde(default, skip_serializing_if = "is_default", with = "by_name")]
    pub index: IndexKind,
    /// The parameters of graphs. Cells take their seed from here.
    #[serde(default, with = "HnswOnDisk")]
    pub hnsw: HnswParams,
    /// The layout of graphs.
    #[serde(default, skip_serializing_if = "is_default", with = "by_name")]
    pub graph: GraphLayout,
    /// The payload fields that filters may use. A field of an object in the payload is named `outer.inner`.
    #[serde(default)]
    pub indexes: BTreeMap<String, FieldKind>,
    /// The tenant fields, which are indexed fields. Points that agree in them lie together on disk: sorted by
    /// the first, then by the second, then by nearness in the graph.
    #[serde(default)]
    pub defragment: Vec<String>,
    /// The places of the parts of immutable segments.
    #[serde(default)]
    pub placement: Placements,
    /// The most bytes of a payload, as JSON.
    #[serde(default = "default_payload_bytes_max")]
    pub payload_bytes_max: u32,
}

/// The index of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexKind {
    /// A graph. A search walks from point to point.
    #[default]
    Graph,
    /// Cells: groups of near points. A search scans one-bit codes of the nearest cells. Cells are built many
    /// times faster than a graph, and take a bit a component and about 15 bytes for each point. With
    /// [`Placements::graph`], these are in memory or on disk.
    Cells,
}

/// A name that is not that of an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no index; it must be one of graph, cells")]
pub struct UnknownIndexKindError {
    /// The name given.
    pub name: String,
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IndexKind {
    type Err = UnknownIndexKindError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| UnknownIndexKindError { name: name.to_owned() })
    }
}

impl IndexKind {
    /// Every index.
    pub const ALL: [Self; 2] = [Self::Graph, Self::Cells];

    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Cells => "cells",
        }
    }
}

/// What the graph of a segment keeps of each point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphLayout {
    /// Its links. A search scores the codes of the points that they lead to.
    #[default]
    Compact,
    /// Also one-bit codes of the points that the links lead to. A search then estimates their scores, all at
    /// once, and scores only the points whose links it follows. That is faster. It takes 12 bytes and a bit a
    /// component for each of `2 * m` links, rounded up to 32, used or not. A search may miss a point whose
    /// vector is far longer than those of its neighbours, because its estimate says little.
    Linked,
}

/// A name that is not that of a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no layout of a graph; it must be one of compact, linked")]
pub struct UnknownGraphLayoutError {
    /// The name given.
    pub name: String,
}

impl fmt::Display for GraphLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GraphLayout {
    type Err = UnknownGraphLayoutError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let layout = Self::ALL.into_iter().find(|layout| layout.name() == name);
        layout.ok_or_else(|| UnknownGraphLayoutError { name: name.to_owned() })
    }
}

impl GraphLayout {
    /// Every layout.
    pub const ALL: [Self; 2] = [Self::Compact, Self::Linked];

    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Linked => "linked",
        }
    }
}

/// What an index consists of, in the order in which builds learned to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexParts {
    CompactGraph,
    LinkedGraph,
    Cells,
}

impl fmt::Display for IndexParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CompactGraph => "compact graphs",
            Self::LinkedGraph => "linked graphs",
            Self::Cells => "cells",
        })
    }
}

/// The place of a part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// On disk. It is read when needed, through the backend. With direct IO it bypasses the page cache.
    Cold,
    /// In the page cache. It is read into the cache on opening, and then read through the backend.
    Cached,
    /// In the memory of the process.
    Pinned,
}

/// The placement of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placements {
    /// The original vectors, which rescoring reads.
    pub vectors: Placement,
    /// The codes, which search reads.
    pub codes: Placement,
    /// The graph, which search walks, or the codes of cells, which it scans.
    pub graph: Placement,
    /// Payloads.
    pub payload: Placement,
    /// The ids, and the mapping from an id to its point.
    pub ids: Placement,
    /// The indexes of payload fields.
    pub indexes: Placement,
}

impl Default for Placements {
    /// Vectors and payloads are cold, ids cached. Codes, graph and indexes are pinned, because every search
    /// needs them.
    fn default() -> Self {
        Self {
            vectors: Placement::Cold,
            codes: Placement::Pinned,
            graph: Placement::Pinned,
            payload: Placement::Cold,
            ids: Placement::Cached,
            indexes: Placement::Pinned,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_distance() -> Distance {
    Distance::Cosine
}

fn default_element() -> ElementType {
    ElementType::F32
}

fn default_payload_bytes_max() -> u32 {
    1 << 20
}

fn default_m() -> usize {
    HnswParams::default().m
}

fn default_ef_construct() -> usize {
    HnswParams::default().ef_construct
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HnswParams", deny_unknown_fields)]
struct HnswOnDisk {
    #[serde(default = "default_m")]
    m: usize,
    #[serde(default = "default_ef_construct")]
    ef_construct: usize,
    #[serde(default)]
    seed: u64,
}

mod by_name {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A schema that no collection can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema: {reason}")]
pub struct SchemaError {
    reason: String,
}

impl Schema {
    /// A schema with this dimension, and defaults for the rest.
    #[must_use]
    pub fn new(dim: u32) -> Self {
        Self {
            dim,
            distance: default_distance(),
            element: default_element(),
            quantization: Quantization::default(),
            index: IndexKind::default(),
            hnsw: HnswParams::default(),
            graph: GraphLayout::default(),
            indexes: BTreeMap::new(),
            defragment: Vec::new(),
            placement: Placements::default(),
            payload_bytes_max: default_payload_bytes_max(),
        }
    }

    /// Adds an index of a payload field.
    #[must_use]
    pub fn index(mut self, field: &str, kind: FieldKind) -> Self {
        self.indexes.insert(field.to_owned(), kind);
        self
    }

    /// Adds a tenant field: an index of a payload field, whose points of one value lie together on disk.
    #[must_use]
    pub fn tenant(mut self, field: &str, kind: FieldKind) -> Self {
        self.defragment.push(field.to_owned());
        self.index(field, kind)
    }

    /// The layout of the graph that suits the rest of the schema. In memory, a linked graph is faster and
    /// takes several times as much. With graph and codes on disk, it takes one read for each point that a
    /// search expands, where a compact one takes one for each neighbour. So the linked layout is chosen for
    /// graphs and codes on disk, and where the vectors are in memory anyway.
    #[must_use]
    pub fn suitable_graph(&self) -> GraphLayout {
        let Placements { graph, codes, vectors, .. } = self.placement;
        let pinned = Placement::Pinned;
        let saves_memory = (graph == pinned || codes == pinned) && vectors != pinned;
        if self.index == IndexKind::Cells
            || saves_memory
            || self.linked_record_bytes() as u64 > RECORD_BYTES_MAX
        {
            GraphLayout::Compact
        } else {
            GraphLayout::Linked
        }
    }

    /// The index that suits the rest of the schema: cells if the index is in memory, since they are built
    /// faster and take less of it. On disk, a graph needs fewer reads, and less memory besides.
    #[must_use]
    pub fn suitable_index(&self) -> IndexKind {
        let is_pinned = self.placement.graph == Placement::Pinned;
        if is_pinned && self.may_have_cells() { IndexKind::Cells } else { IndexKind::Graph }
    }

    fn may_have_cells(&self) -> bool {
        CellLayout::bytes_of(self.dim as usize) as u64 <= RECORD_BYTES_MAX
    }

    /// What the index of a segment consists of.
    pub(crate) fn index_parts(&self) -> IndexParts {
        match (self.index, self.graph) {
            (IndexKind::Cells, _) => IndexParts::Cells,
            (IndexKind::Graph, GraphLayout::Linked) => IndexParts::LinkedGraph,
            (IndexKind::Graph, GraphLayout::Compact) => IndexParts::CompactGraph,
        }
    }

    /// The most bytes of a record of a linked graph.
    fn linked_record_bytes(&self) -> usize {
        // The code of the point itself has at most a byte a component, and a few numbers. Its id has 16.
        let own = (self.dim as usize).next_multiple_of(64) + 64;
        LinkedLayout::bytes_of(self.dim as usize, self.hnsw.links_max(0)) + own
    }

    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// [`SchemaError`] with what to change.
    pub fn check(&self) -> Result<(), SchemaError> {
        const FIELDS_MAX: usize = 60;
        let wrong = |reason| Err(SchemaError { reason });
        if !(1..=DIM_MAX).contains(&(self.dim as usize)) {
            return wrong(format!("dim is {}; it must be from 1 to {DIM_MAX}", self.dim));
        }
        if let Err(error) = self.hnsw.check() {
            return wrong(format!("hnsw: {error}"));
        }
        if self.index == IndexKind::Cells && !self.may_have_cells() {
            return wrong(format!(
                "index: cells of {} components have blocks of more than {RECORD_BYTES_MAX} bytes; take a graph",
                self.dim
            ));
        }
        if (self.index, self.graph) == (IndexKind::Cells, GraphLayout::Linked) {
            return wrong(
                "graph: an index of cells has no graph; leave graph out, or take another index".to_owned(),
            );
        }
        let record_bytes = self.linked_record_bytes();
        if self.graph == GraphLayout::Linked && record_bytes as u64 > RECORD_BYTES_MAX {
            return wrong(format!(
                "graph: the records of linked nodes have up to {record_bytes} bytes, and at most {RECORD_BYTES_MAX} \
                 are possible; take a compact graph, or fewer links by a lower m"
            ));
        }
        if self.indexes.len() > FIELDS_MAX {
            return wrong(format!("{} indexes; at most {FIELDS_MAX} are possible", self.indexes.len()));
        }
        if let Some(field) = self.indexes.keys().find(|field| field.split('.').any(str::is_empty)) {
            return wrong(format!("indexes: {field:?} is no field name"));
        }
        for (position, field) in self.defragment.iter().enumerate() {
            if !self.indexes.contains_key(field) {
                return wrong(format!("defragment: {field:?} is not among the indexes; add it there"));
            }
            if self.defragment[..position].contains(field) {
                return wrong(format!("defragment: {field:?} is there twice"));
            }
        }
        // The offsets of 128 records must differ by less than 4 GiB.
        if self.payload_bytes_max > 16 << 20 {
            return wrong(format!("payload_bytes_max is {}; at most 16777216", self.payload_bytes_max));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_dimension_may_be_left_out() {
        let schema: Schema = serde_json::from_str(r#"{"dim": 3}"#).unwrap();
        assert_eq!(schema, Schema::new(3));
        assert_eq!(schema.check(), Ok(()));
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        for (hnsw, params) in [
            ("{}", HnswParams::default()),
            (r#"{"m": 8}"#, HnswParams { m: 8, ..HnswParams::default() }),
            (r#"{"ef_construct": 50}"#, HnswParams { ef_construct: 50, ..HnswParams::default() }),
            (r#"{"seed": 7}"#, HnswParams { seed: 7, ..HnswParams::default() }),
        ] {
            let schema: Schema = serde_json::from_str(&format!(r#"{{"dim": 3, "hnsw": {hnsw}}}"#)).unwrap();
            assert_eq!(schema.hnsw, params);
        }
        for layout in GraphLayout::ALL {
            let schema = Schema { graph: layout, ..Schema::new(3) };
            let text = serde_json::to_string(&schema).unwrap();
            // Builds that know only one layout read schemas that say nothing of it.
            assert_eq!(text.contains(r#""graph":"linked""#), layout == GraphLayout::Linked, "{text}");
            assert!(!text.contains("compact"), "{text}");
            assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
        }
        use Placement::{Cached, Cold, Pinned};
        for (dim, graph, codes, vectors, suitable) in [
            (3, Pinned, Pinned, Cold, GraphLayout::Compact),
            (3, Pinned, Pinned, Cached, GraphLayout::Compact),
            (3, Cold, Pinned, Cold, GraphLayout::Compact),
            (3, Pinned, Cold, Cold, GraphLayout::Compact),
            (3, Pinned, Pinned, Pinned, GraphLayout::Linked),
            (3, Cached, Cold, Cold, GraphLayout::Linked),
            (3, Cold, Cold, Cold, GraphLayout::Linked),
            (65_520, Cold, Cold, Cold, GraphLayout::Compact),
        ] {
            let placement = Placements { graph, codes, vectors, ..Placements::default() };
            let schema = Schema { placement, ..Schema::new(dim) };
            assert_eq!(schema.suitable_graph(), suitable, "{dim} {placement:?}");
            assert_eq!(Schema { graph: suitable, ..schema }.check(), Ok(()));
        }
        for (kind, graph) in
            [(IndexKind::Graph, Cold), (IndexKind::Graph, Cached), (IndexKind::Cells, Pinned)]
        {
            let placement = Placements { graph, codes: Cold, ..Placements::default() };
            let schema = Schema { placement, ..Schema::new(3) };
            assert_eq!(schema.suitable_index(), kind);
            let schema = Schema { index: kind, ..schema };
            let schema = Schema { graph: schema.suitable_graph(), ..schema };
            assert_eq!(schema.check(), Ok(()));
            let text = serde_json::to_string(&schema).unwrap();
            // Builds that know no cells read schemas that say nothing of them.
            assert_eq!(text.contains(r#""index":"cells""#), kind == IndexKind::Cells, "{text}");
            assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
        }
        let tenants: Schema =
            serde_json::from_str(r#"{"dim":3,"indexes":{"t":"keyword"},"defragment":["t"]}"#).unwrap();
        assert_eq!(tenants, Schema::new(3).tenant("t", FieldKind::Keyword));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |json: &str| match serde_json::from_str::<Schema>(json) {
            Err(error) => error.to_string(),
            Ok(schema) => schema.check().unwrap_err().to_string(),
        };
        assert!(error(r#"{"dim":0}"#).contains("dim is 0"));
        assert!(error(r#"{"dim":65521}"#).contains("65520"));
        assert!(error(r#"{"dim":1,"distance":"l2"}"#).contains("cosine, dot, euclid"));
        assert!(error(r#"{"dim":1,"element":"f64"}"#).contains("f32, f16, u8"));
        assert!(error(r#"{"dim":1,"quantization":"int3"}"#).contains("int3"));
        assert!(error(r#"{"dim":1,"graph":"wide"}"#).contains("compact, linked"));
        assert!(error(r#"{"dim":65473,"index":"cells"}"#).contains("take a graph"));
        let largest = Schema { index: IndexKind::Cells, ..Schema::new(65_472) };
        assert_eq!((largest.check(), largest.suitable_index()), (Ok(()), IndexKind::Cells));
        assert_eq!(Schema::new(65_473).suitable_index(), IndexKind::Graph);
        assert!(error(r#"{"dim":1,"index":"tree"}"#).contains("graph, cells"));
        assert!(error(r#"{"dim":1,"index":"cells","graph":"linked"}"#).contains("cells has no graph"));
        assert_eq!(
            error(r#"{"dim":65520,"graph":"linked"}"#),
            "schema: graph: the records of linked nodes have up to 328128 bytes, \
            and at most 262144 are possible; take a compact graph, or fewer links by a lower m"
        );
        assert!(error(r#"{"dim":1,"hnsw":{"m":1,"ef_construct":9}}"#).contains("m is 1"));
        assert!(error(r#"{"dim":1,"indexes":{"a..b":"bool"}}"#).contains("a..b"));
        assert!(error(r#"{"dim":1,"defragment":["t"]}"#).contains("not among the indexes"));
        assert!(error(r#"{"dim":1,"dimension":2}"#).contains("dimension"));
        let twice = r#"{"dim":1,"indexes":{"t":"uuid"},"defragment":["t","t"]}"#;
        assert!(error(twice).contains("twice"));
    }
}
