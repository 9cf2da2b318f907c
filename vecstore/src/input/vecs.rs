//! `.fvecs` and `.bvecs`, the formats of the TEXMEX data sets. Each row is its dimension (`i32`) and its
//! components.

use super::{Layout, VectorSourceError, check_dim, count_rows};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use vecstore_format::ElementType;

pub(super) fn layout(
    path: &Path,
    file: &mut BufReader<File>,
    len: u64,
    element: ElementType,
) -> Result<Layout, VectorSourceError> {
    let mut prefix = [0; 4];
    if len < 4 {
        return Err(VectorSourceError::PartialRow {
            path: path.to_owned(),
            rows: 0,
            row_bytes: 4,
            extra: len,
        });
    }
    file.read_exact(&mut prefix).map_err(|source| VectorSourceError::Io { path: path.to_owned(), source })?;
    let dim = check_dim(path, u64::from(u32::from_le_bytes(prefix)))?;
    let mut layout = Layout { data_offset: 0, prefixed: true, element, dim, count: 0 };
    layout.count = count_rows(path, len, layout.row_bytes() as u64)?;
    Ok(layout)
}
