//! `.npy`: the header is parsed by the crate `npyz`; the numbers are read as they lie, which is faster than one by one.

use super::{InputError, Layout, check_dim};
use io_core::ElementType;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// Header of an array of two dimensions, and where its numbers start.
fn header(path: &Path, file: &mut BufReader<File>) -> Result<(NpyHeader, [u64; 2], u64), InputError> {
    let wrong =
        |reason: std::io::Error| InputError::NpyHeader { path: path.to_owned(), reason: reason.to_string() };
    let header = NpyHeader::from_reader(&mut *file).map_err(wrong)?;
    let data_offset = file.stream_position().map_err(wrong)?;
    let &[rows, columns] = header.shape() else {
        return Err(InputError::NpyShape { path: path.to_owned(), shape: header.shape().to_vec() });
    };
    if header.order() != Order::C {
        return Err(InputError::NpyOrder { path: path.to_owned() });
    }
    Ok((header, [rows, columns], data_offset))
}

/// The type as a letter and a number of bytes, if it is a plain one of this machine's byte order.
fn plain_type(header: &NpyHeader) -> Option<(TypeChar, u64)> {
    match header.dtype() {
        DType::Plain(plain) if plain.size_field() == 1 || plain.endianness() == Endianness::Little => {
            Some((plain.type_char(), plain.size_field()))
        }
        _ => None,
    }
}

fn check_len(path: &Path, expected: Option<u64>, found: u64) -> Result<(), InputError> {
    let expected = expected.unwrap_or(u64::MAX);
    if expected == found {
        Ok(())
    } else {
        Err(InputError::Length { path: path.to_owned(), expected, found })
    }
}

pub(super) fn layout(path: &Path, file: &mut BufReader<File>, len: u64) -> Result<Layout, InputError> {
    let (header, [count, columns], data_offset) = header(path, file)?;
    let element = match plain_type(&header) {
        Some((TypeChar::Float, 4)) => ElementType::F32,
        Some((TypeChar::Float, 2)) => ElementType::F16,
        Some((TypeChar::Uint, 1)) => ElementType::U8,
        _ => {
            let wanted = "little-endian float32, float16 or uint8";
            return Err(InputError::NpyType { path: path.to_owned(), found: header.dtype().descr(), wanted });
        }
    };
    let dim = check_dim(path, columns)?;
    let layout = Layout { data_offset, prefixed: false, element, dim, count };
    let data_bytes = count.checked_mul(layout.row_bytes() as u64);
    check_len(path, data_bytes.and_then(|bytes| bytes.checked_add(data_offset)), len)?;
    Ok(layout)
}

/// Reads a table of `int32` whole: for each query the ids of its neighbours.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn read_npy_i32(path: &Path) -> Result<Vec<Vec<i32>>, InputError> {
    let failed = |source| InputError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::new(file);
    let (header, [rows, columns], data_offset) = header(path, &mut file)?;
    if plain_type(&header) != Some((TypeChar::Int, 4)) {
        let (found, wanted) = (header.dtype().descr(), "little-endian int32");
        return Err(InputError::NpyType { path: path.to_owned(), found, wanted });
    }
    let columns = check_dim(path, columns)?;
    let data_bytes = rows.checked_mul(4 * columns as u64).and_then(|bytes| bytes.checked_add(data_offset));
    check_len(path, data_bytes, len)?;
    let mut numbers = vec![0i32; (len - data_offset) as usize / 4];
    file.read_exact(bytemuck::cast_slice_mut(&mut numbers)).map_err(failed)?;
    Ok(numbers.chunks_exact(columns).map(<[i32]>::to_vec).collect())
}
