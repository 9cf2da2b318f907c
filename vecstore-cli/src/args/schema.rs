//! Arguments for the schema of a collection.

use super::collection::CollectionArgs;
use super::parse::{up_to, whole};
use crate::error::CliError;
use crate::text;
use clap::{ArgGroup, Args, ValueEnum};
use io_core::StopFlag;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::schema::{
    DIM_MAX, Distance, EF_CONSTRUCT_MAX, ElementType, GraphLayout, HnswParams, IndexKind, M_MAX, Placement,
    Quantization, Schema,
};

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["dim", "schema"])))]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// The whole schema, as JSON, instead of the other options
    #[arg(long, value_name = "FILE", conflicts_with_all = ["element", "distance", "quantization", "index_kind",
        "layout", "index", "tenant", "place", "m", "ef_construct", "seed"])]
    pub(crate) schema: Option<PathBuf>,
    /// Components of a vector
    #[arg(long, value_parser = whole::<u32>(1..=DIM_MAX as u64))]
    pub(crate) dim: Option<u32>,
    /// Type of the components
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) element: ElementName,
    #[command(flatten)]
    pub(crate) graph: GraphArgs,
    /// Index a payload field: NAME:KIND, of keyword, integer, float, bool, datetime, uuid. May be repeated
    #[arg(long, value_name = "FIELD:KIND", value_parser = parse_index)]
    pub(crate) index: Vec<(String, FieldKind)>,
    /// Index a payload field, and put the points of one value together on disk. May be repeated: the first
    /// field comes first in the order
    #[arg(long, value_name = "FIELD:KIND", value_parser = parse_index)]
    pub(crate) tenant: Vec<(String, FieldKind)>,
    /// PART=PLACE: vectors, codes, graph, payload, ids or indexes are on disk (cold), in the page cache
    /// (cached) or in memory (pinned). May be repeated
    #[arg(long, value_name = "PART=PLACE", value_parser = parse_place)]
    pub(crate) place: Vec<(Part, Placement)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    Vectors,
    Codes,
    Graph,
    Payload,
    Ids,
    Indexes,
}

impl Create {
    pub(crate) fn schema(&self) -> Result<Schema, CliError> {
        if let Some(path) = &self.schema {
            return read_schema(path, &StopFlag::new());
        }
        let mut schema = Schema {
            distance: self.graph.distance,
            element: self.element.element(),
            hnsw: self.graph.params(),
            quantization: self.graph.quantization,
            ..Schema::new(self.dim.unwrap_or(0))
        };
        let mut fields = BTreeSet::new();
        if let Some((field, _)) =
            self.index.iter().chain(&self.tenant).find(|(field, _)| !fields.insert(field))
        {
            return Err(CliError::Usage(format!(
                "field {field} is given twice; name each once: --tenant, which indexes it too, or --index"
            )));
        }
        for (field, kind) in &self.index {
            schema = schema.index(field, *kind);
        }
        for (field, kind) in &self.tenant {
            schema = schema.tenant(field, *kind);
        }
        let mut parts = BTreeSet::new();
        for &(part, place) in &self.place {
            if !parts.insert(part) {
                let name =
                    part.to_possible_value().map_or_else(String::new, |part| part.get_name().to_owned());
                return Err(CliError::Usage(format!("--place {name}=... is given twice; give it one place")));
            }
            let placement = &mut schema.placement;
            *match part {
                Part::Vectors => &mut placement.vectors,
                Part::Codes => &mut placement.codes,
                Part::Graph => &mut placement.graph,
                Part::Payload => &mut placement.payload,
                Part::Ids => &mut placement.ids,
                Part::Indexes => &mut placement.indexes,
            } = place;
        }
        Ok(self.graph.indexed(schema))
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ElementName {
    F32,
    F16,
    U8,
}

impl ElementName {
    pub(crate) fn element(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::F16 => ElementType::F16,
            Self::U8 => ElementType::U8,
        }
    }
}

#[derive(Args)]
pub(crate) struct GraphArgs {
    /// cosine, dot or euclid
    #[arg(long, default_value = "cosine")]
    pub(crate) distance: Distance,
    /// Links of a point on each upper level of the graph; twice as many on the lowest
    #[arg(long, default_value_t = 16, value_parser = whole::<usize>(2..=M_MAX as u64))]
    pub(crate) m: usize,
    /// Candidates from which a new point's links are chosen
    #[arg(long, default_value_t = 128, value_parser = up_to(EF_CONSTRUCT_MAX))]
    pub(crate) ef_construct: usize,
    /// Same seed, same graph
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Index of the vectors: graph, or cells, which are built faster. auto is cells if the index is in memory
    #[arg(id = "index_kind", long = "index-kind", value_name = "KIND", default_value = "graph")]
    pub(crate) index: Choice<IndexKind>,
    /// Layout of the graph: compact, or linked, which is faster and takes more memory. auto is linked if
    /// graph and codes are on disk, or the vectors in memory
    #[arg(long = "graph", value_name = "LAYOUT", default_value = "auto")]
    pub(crate) layout: Choice<GraphLayout>,
    /// Codes that search scores instead of vectors: int8, int8_global[=QUANTILE], int4,
    /// product[=COMPRESSION], binary, rotated4, rotated2, rotated1
    #[arg(long, value_name = "METHOD", default_value_t = Quantization::default())]
    pub(crate) quantization: Quantization,
}

/// A part of the schema, or what suits the rest of it.
#[derive(Clone, Copy)]
pub(crate) enum Choice<T> {
    Auto,
    Fixed(T),
}

impl<T: FromStr<Err: Display>> FromStr for Choice<T> {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        name.parse().map(Self::Fixed).map_err(|error| format!("{error}, or auto"))
    }
}

impl GraphArgs {
    /// The schema with the chosen index.
    pub(crate) fn indexed(&self, schema: Schema) -> Schema {
        let index = match self.index {
            Choice::Auto => schema.suitable_index(),
            Choice::Fixed(index) => index,
        };
        let schema = Schema { index, ..schema };
        let graph = match self.layout {
            Choice::Auto => schema.suitable_graph(),
            Choice::Fixed(layout) => layout,
        };
        Schema { graph, ..schema }
    }

    pub(crate) fn params(&self) -> HnswParams {
        HnswParams { m: self.m, ef_construct: self.ef_construct, seed: self.seed }
    }
}

/// Reads a schema from a JSON file.
pub(crate) fn read_schema(path: &Path, stop: &StopFlag) -> Result<Schema, CliError> {
    let failed = |problem: String| CliError::File { path: path.to_owned(), problem };
    let text = text::read(path, stop).map_err(|problem| match stop.is_stopped() {
        true => Error::Stopped.into(),
        false => failed(problem),
    })?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn parse_index(text: &str) -> Result<(String, FieldKind), String> {
    let (field, kind) = text.rsplit_once(':').ok_or("give FIELD:KIND, such as section:keyword")?;
    let kind = serde_json::from_value(kind.into())
        .map_err(|_| format!("{kind:?} is none of keyword, integer, float, bool, datetime, uuid"))?;
    Ok((field.to_owned(), kind))
}

fn parse_place(text: &str) -> Result<(Part, Placement), String> {
    let (part, place) = text.split_once('=').ok_or("give PART=PLACE, such as codes=cold")?;
    let part = Part::from_str(part, false)
        .map_err(|_| format!("{part:?} is none of vectors, codes, graph, payload, ids, indexes"))?;
    let place = serde_json::from_value(place.into())
        .map_err(|_| format!("{place:?} is none of cold, cached, pinned"))?;
    Ok((part, place))
}

#[cfg(test)]
mod tests {
    use crate::args::Cli;
    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};

    /// A schema file replaces all other options, so one beside it is an error.
    #[test]
    fn a_schema_from_a_file_takes_no_other_option() {
        let mut cli = Cli::command();
        cli.build();
        let create = cli.find_subcommand("create").unwrap();
        let options = create.get_arguments().filter(|arg| arg.get_action().takes_values());
        let mut tried = 0;
        for (arg, name) in options.filter_map(|arg| Some((arg, arg.get_long()?))) {
            if ["schema", "backend"].contains(&name) {
                continue;
            }
            let value = match name {
                "dim" => "3",
                "index" | "tenant" => "a:bool",
                "place" => "ids=cold",
                _ => arg.get_default_values()[0].to_str().unwrap(),
            };
            let parse = |more: &[&str]| {
                let option = format!("--{name}={value}");
                let args = [&["vecstore", "create", "c", &option], more].concat();
                Cli::try_parse_from(args).err().map(|error| error.kind())
            };
            let alone = if name == "dim" { parse(&[]) } else { parse(&["--dim=3"]) };
            assert_eq!((alone, parse(&["--schema=s"])), (None, Some(ErrorKind::ArgumentConflict)), "{name}");
            tried += 1;
        }
        assert!(tried >= 10, "{tried}");
    }
}
