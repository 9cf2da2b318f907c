//! `.npy` files: a header that is a Python literal, then the numbers as in memory.
//!
//! ```text
//! 0         6       8             10 (version 1) or 12
//! |\x93NUMPY|version|header length|{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   \n| numbers
//! ```
//!
//! The header is parsed strictly and within bounds. Only what NumPy writes for a plain array is accepted. A
//! structured type is kept as text for the error message. No allocation depends on a length that the file
//! claims. Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use super::{Layout, VectorSourceError, check_dim, open};
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use vecstore_format::ElementType;

const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// The longest header that is read. That of a plain array has about a hundred bytes, and NumPy itself refuses
/// 10,000.
const HEADER_BYTES_MAX: u32 = 65_536;

/// The longest table that is read whole.
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// The fields of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// The type, such as `<f4`. For a structured type, the whole literal.
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the header of a two-dimensional array: its type, its rows and columns, and the offset of its
/// numbers.
fn header(path: &Path, file: &mut impl Read) -> Result<(String, [u64; 2], u64), VectorSourceError> {
    let wrong = |reason: String| VectorSourceError::NpyHeader { path: path.to_owned(), reason };
    let mut read = |bytes: &mut [u8]| {
        file.read_exact(bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => wrong("it ends inside its header".into()),
            _ => VectorSourceError::Io { path: path.to_owned(), source },
        })
    };
    let mut start = [0; 8];
    read(&mut start)?;
    if start[..6] != MAGIC {
        return Err(wrong(format!("it starts with {:02x?} instead of {MAGIC:02x?}", &start[..6])));
    }
    let (len, text_offset) = match start[6] {
        1 => {
            let mut len = [0; 2];
            read(&mut len)?;
            (u32::from(u16::from_le_bytes(len)), 10)
        }
        2 | 3 => {
            let mut len = [0; 4];
            read(&mut len)?;
            (u32::from_le_bytes(len), 12)
        }
        version => return Err(wrong(format!("version {version} of the format; 1 to 3 are known"))),
    };
    if len > HEADER_BYTES_MAX {
        return Err(wrong(format!("a header of {len} bytes, more than {HEADER_BYTES_MAX}")));
    }
    let mut text = vec![0; len as usize];
    read(&mut text)?;
    let header = Literal { rest: &text }.header().map_err(wrong)?;
    let [rows, columns] = header.shape[..] else {
        return Err(VectorSourceError::NpyShape { path: path.to_owned(), shape: header.shape });
    };
    if header.fortran_order {
        return Err(VectorSourceError::NpyOrder { path: path.to_owned() });
    }
    Ok((header.descr, [rows, columns], text_offset + u64::from(len)))
}

/// A cursor in the literal.
struct Literal<'a> {
    rest: &'a [u8],
}

impl Literal<'_> {
    /// Parses the whole literal: a dictionary of three keys, in any order.
    fn header(mut self) -> Result<Header, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let repeated = match key.as_str() {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(format!("its header has the unknown key {key:?}")),
            };
            if repeated {
                return Err(format!("its header has the key {key:?} twice"));
            }
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_space();
        if !self.rest.is_empty() {
            return Err(format!("its header goes on after its end: {}", self.here()));
        }
        let missing = |key: &str| format!("its header lacks the key {key:?}");
        Ok(Header {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    /// Parses a type: a string, or the list of a structured type. The list is skipped.
    fn descr(&mut self) -> Result<String, String> {
        self.skip_space();
        if self.rest.first() != Some(&b'[') {
            return self.string();
        }
        let mut depth = 0usize;
        for (at, &byte) in self.rest.iter().enumerate() {
            match byte {
                b'[' => depth += 1,
                b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let (list, rest) = self.rest.split_at(at + 1);
                self.rest = rest;
                return Ok(String::from_utf8_lossy(list).into_owned());
            }
        }
        Err("a list in its header does not end".into())
    }

    /// Parses a string without escapes, in single or double quotes.
    fn string(&mut self) -> Result<String, String> {
        self.skip_space();
        let (&quote, rest) = match self.rest.split_first() {
            Some((quote @ (b'\'' | b'"'), rest)) => (quote, rest),
            _ => return Err(format!("a string is expected in its header at {}", self.here())),
        };
        let Some(end) = rest.iter().position(|&byte| byte == quote) else {
            return Err("a string in its header does not end".into());
        };
        self.rest = &rest[end + 1..];
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("True or False is expected in its header at {}", self.here()))
    }

    /// Parses a tuple of whole numbers.
    fn shape(&mut self) -> Result<Vec<u64>, String> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            shape.push(self.number()?);
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<u64, String> {
        self.skip_space();
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = String::from_utf8_lossy(&self.rest[..digits]);
        let number = text.parse().map_err(|_| format!("no length in its shape at {}", self.here()))?;
        self.rest = &self.rest[digits..];
        // Python 2 wrote long numbers like this.
        if self.rest.first() == Some(&b'L') {
            self.rest = &self.rest[1..];
        }
        Ok(number)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Skips this byte if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) {
            return Ok(());
        }
        Err(format!("{:?} is expected in its header at {}", char::from(byte), self.here()))
    }

    /// The current place, for messages.
    fn here(&self) -> String {
        let text = String::from_utf8_lossy(&self.rest[..self.rest.len().min(20)]);
        if text.is_empty() { "its end".into() } else { format!("{text:?}") }
    }
}

fn check_len(path: &Path, expected: Option<u64>, found: u64) -> Result<(), VectorSourceError> {
    let expected = expected.unwrap_or(u64::MAX);
    if expected == found {
        Ok(())
    } else {
        Err(VectorSourceError::Length { path: path.to_owned(), expected, found })
    }
}

pub(super) fn layout(path: &Path, file: &mut impl Read, len: u64) -> Result<Layout, VectorSourceError> {
    let (descr, [count, columns], data_offset) = header(path, file)?;
    let element = match descr.as_str() {
        "<f4" => ElementType::F32,
        "<f2" => ElementType::F16,
        "|u1" | "<u1" => ElementType::U8,
        _ => {
            let wanted = "little-endian float32, float16 or uint8";
            return Err(VectorSourceError::NpyType { path: path.to_owned(), found: descr, wanted });
        }
    };
    let dim = check_dim(path, columns)?;
    let layout = Layout { data_offset, prefixed: false, element, dim, count };
    let data_bytes = count.checked_mul(layout.row_bytes() as u64);
    check_len(path, data_bytes.and_then(|bytes| bytes.checked_add(data_offset)), len)?;
    Ok(layout)
}

/// Reads a whole table of `int32`: for each query, the ids of its neighbours.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn read_npy_i32(path: &Path) -> Result<Vec<Vec<i32>>, VectorSourceError> {
    let (file, len) = open(path)?;
    table(path, &mut BufReader::new(file), len)
}

fn table(path: &Path, file: &mut impl Read, len: u64) -> Result<Vec<Vec<i32>>, VectorSourceError> {
    let failed = |source| VectorSourceError::Io { path: path.to_owned(), source };
    let (descr, [rows, columns], data_offset) = header(path, file)?;
    if descr != "<i4" {
        let wanted = "little-endian int32";
        return Err(VectorSourceError::NpyType { path: path.to_owned(), found: descr, wanted });
    }
    let columns = check_dim(path, columns)?;
    let data_bytes = rows.checked_mul(4 * columns as u64).and_then(|bytes| bytes.checked_add(data_offset));
    check_len(path, data_bytes, len)?;
    let bytes = len - data_offset;
    if bytes > TABLE_BYTES_MAX {
        return Err(VectorSourceError::TooLong { path: path.to_owned(), bytes, bytes_max: TABLE_BYTES_MAX });
    }
    let mut bytes = vec![0; bytes as usize];
    file.read_exact(&mut bytes).map_err(failed)?;
    let (numbers, _) = bytes.as_chunks();
    let rows = numbers.chunks_exact(columns);
    Ok(rows.map(|row| row.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect()).collect())
}

/// Parses a file as vectors and as a table, for fuzzing.
#[cfg(feature = "internals")]
pub(crate) fn fuzzed(path: &Path, bytes: &[u8]) {
    let len = bytes.len() as u64;
    if let Ok(layout) = layout(path, &mut &*bytes, len) {
        assert_eq!(layout.data_offset + layout.count * layout.row_bytes() as u64, len);
    }
    if let Ok(rows) = table(path, &mut &*bytes, len) {
        assert!(4 * rows.iter().map(Vec::len).sum::<usize>() < bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Header, String> {
        Literal { rest: text.as_bytes() }.header()
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let header = |descr: &str, shape: &[u64]| Header {
            descr: descr.into(),
            fortran_order: false,
            shape: shape.to_vec(),
        };
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }          \n";
        assert_eq!(parse(text), Ok(header("<f4", &[3, 2])));
        let text = r#"{"shape":(3L,),"fortran_order":True,"descr":"|u1"}"#;
        assert_eq!(parse(text), Ok(Header { fortran_order: true, ..header("|u1", &[3]) }));
        let text =
            "{'descr': [('x', '<f4', (2,)), ('y', [('z', '<i4')])], 'fortran_order': False, 'shape': ()}";
        assert_eq!(parse(text), Ok(header("[('x', '<f4', (2,)), ('y', [('z', '<i4')])]", &[])));
    }

    #[test]
    fn what_it_does_not_write_is_refused_with_the_place() {
        for (text, expected) in [
            ("", "'{' is expected in its header at its end"),
            ("{", "a string is expected in its header at its end"),
            ("{'descr' '<f4'}", "':' is expected in its header at \"'<f4'}\""),
            ("{'descr': '<f4}", "a string in its header does not end"),
            ("{'descr': [['<f4']", "a list in its header does not end"),
            ("{'descr': '<f4', 'descr': '<f4'}", "its header has the key \"descr\" twice"),
            ("{'descr': '<f4', 'fortran_order': False}", "its header lacks the key \"shape\""),
            ("{'fortran_order': 0}", "True or False is expected in its header at \"0}\""),
            ("{'shape': (-1, 2)}", "no length in its shape at \"-1, 2)}\""),
            ("{'shape': (99999999999999999999,)}", "no length in its shape at \"99999999999999999999\""),
            ("{'shape': (1 2)}", "')' is expected in its header at \"2)}\""),
            ("{'colour': 1}", "its header has the unknown key \"colour\""),
            ("{} x", "its header goes on after its end: \"x\""),
        ] {
            assert_eq!(parse(text), Err(expected.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in vec(any::<u8>(), 0..100)) {
            let _ = Literal { rest: &bytes }.header();
        }

        #[test]
        fn no_damage_panics(at in 0usize..64, byte in any::<u8>(), cut in 0usize..64) {
            let mut text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (300, 200), }\n".to_vec();
            text[at] = byte;
            let _ = Literal { rest: &text }.header();
            let _ = Literal { rest: &text[cut..] }.header();
            let _ = Literal { rest: &text[..cut] }.header();
        }
    }
}
