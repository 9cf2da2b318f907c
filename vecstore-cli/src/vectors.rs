//! Vectors, queries and truth from files. Also drops files from the page cache.

use crate::args::{FormatArgs, FormatName};
use crate::error::CliError;
use std::path::Path;
use vecstore::input::{Format, VectorInput, VectorSource, read_npy_i32};
use vecstore::point::PointId;

pub(crate) use vecstore::dataset::Clustered;

/// No options for the format, so that the extension decides.
pub(crate) const BY_EXTENSION: FormatArgs = FormatArgs { format: None, raw_dim: None, raw_element: None };

/// Opens a file of vectors.
pub(crate) fn open(path: &Path, args: &FormatArgs) -> Result<VectorInput, CliError> {
    let refused = |problem: &str| Err(CliError::File { path: path.to_owned(), problem: problem.to_owned() });
    if path == "-" {
        return refused("vectors come from regular files, not from standard input");
    }
    if path.is_dir() {
        return refused("is a directory; give a file of vectors");
    }
    let format = match (args.format, args.raw_dim, args.raw_element) {
        (Some(FormatName::Raw), Some(dim), Some(element)) => Format::Raw { dim, element: element.element() },
        (Some(FormatName::Npy), ..) => Format::Npy,
        (Some(FormatName::Fvecs), ..) => Format::Fvecs,
        (Some(FormatName::Bvecs), ..) => Format::Bvecs,
        (Some(FormatName::Raw) | None, ..) => Format::by_extension(path)?,
    };
    Ok(VectorInput::open(path, format)?)
}

/// The most bytes of queries in memory.
const QUERIES_BYTES_MAX: u64 = 1 << 30;

/// Reads the queries of a file, at most `count_max`.
pub(crate) fn read_queries(
    path: &Path,
    args: &FormatArgs,
    count_max: Option<usize>,
) -> Result<Vec<Vec<f32>>, CliError> {
    let mut input = open(path, args)?;
    let dim = input.dim();
    let count = input.count().min(count_max.map_or(u64::MAX, |count| count as u64));
    let fit = QUERIES_BYTES_MAX / (4 * dim as u64);
    if count > fit {
        let problem =
            format!("{count} queries of {dim} components are too many; at most {fit} are read at once");
        return Err(CliError::File { path: path.to_owned(), problem });
    }
    let mut queries = Vec::new();
    while (queries.len() as u64) < count {
        let left = count as usize - queries.len();
        let rows = input.next_rows(left.min(1024))?.to_f32();
        queries.extend(rows.chunks_exact(dim).map(<[f32]>::to_vec));
    }
    if input.count() == 0 {
        return Err(CliError::File { path: path.to_owned(), problem: "holds no queries".into() });
    }
    Ok(queries)
}

/// Reads a table of true neighbours, with a row for each query.
pub(crate) fn read_truth(path: &Path) -> Result<Vec<Vec<PointId>>, CliError> {
    let table = read_npy_i32(path)?;
    let convert = |(row, ids): (usize, Vec<i32>)| {
        let id = |id: i32| u64::try_from(id).map(PointId::Num);
        ids.into_iter().map(id).collect::<Result<_, _>>().map_err(|_| CliError::File {
            path: path.to_owned(),
            problem: format!("row {row} has a negative id; ids are places in the file of vectors, from 0"),
        })
    };
    table.into_iter().enumerate().map(convert).collect()
}

/// Fails unless the queries have the dimension of the vectors. Called before the build, to fail early.
pub(crate) fn check_dim(path: &Path, queries: &[Vec<f32>], vectors: &VectorInput) -> Result<(), CliError> {
    let found = queries.first().map_or(0, Vec::len);
    if found == vectors.dim() {
        return Ok(());
    }
    let problem = format!(
        "its queries have {found} components, and the vectors of {} have {}",
        vectors.name().display(),
        vectors.dim()
    );
    Err(CliError::File { path: path.to_owned(), problem })
}

/// Drops the files of a collection's segments from the page cache, so that the next search reads from the
/// disk.
#[cfg(target_os = "linux")]
pub(crate) fn drop_page_cache(dir: &Path) -> Result<(), CliError> {
    let failed =
        |problem: std::io::Error| CliError::File { path: dir.to_owned(), problem: problem.to_string() };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            drop_page_cache(&path)?;
            continue;
        }
        let file = std::fs::File::open(path).map_err(failed)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// On other systems, the page cache stays as it is.
#[cfg(not(target_os = "linux"))]
pub(crate) fn drop_page_cache(_dir: &Path) -> Result<(), CliError> {
    Ok(())
}
