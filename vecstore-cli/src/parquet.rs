//! Points as a Parquet file. A row is a point with `id` (as text), `vector` (a list of floats) and `payload`
//! (JSON).

use crate::error::CliError;
use crate::text::TEXT_BYTES_MAX;
use io_core::{Links, open_regular, with_causes};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use vecstore::collection::Record;
use vecstore::point::{Payload, Point, PointId};

const SCHEMA: &str = "message point {
    required binary id (STRING);
    required group vector (LIST) { repeated group list { required float element; } }
    required binary payload (JSON);
}";

fn failed(path: &Path, problem: impl std::fmt::Display) -> CliError {
    CliError::File { path: path.to_owned(), problem: problem.to_string() }
}

thread_local! {
    /// Whether a panic of this thread is reported in another way than by its message.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls the library on a file that may be damaged. The library panics at some damage instead of returning an
/// error.
fn call<T>(read: impl FnOnce() -> T) -> Result<T, &'static str> {
    static QUIET_HOOK: Once = Once::new();
    QUIET_HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    // The reader is not used again after an error.
    let read = catch_unwind(AssertUnwindSafe(read));
    IS_QUIET.set(false);
    read.map_err(|_| "not a sound Parquet file")
}

/// Writes a Parquet file with a row group for each page.
pub(crate) struct Writer {
    path: PathBuf,
    file: SerializedFileWriter<File>,
}

impl Writer {
    pub(crate) fn new(path: &Path, file: File) -> Result<Self, CliError> {
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(|error| failed(path, error))?);
        let properties = Arc::new(WriterProperties::builder().build());
        let file =
            SerializedFileWriter::new(file, schema, properties).map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn write(&mut self, records: &[Record]) -> Result<(), CliError> {
        let Self { path, file } = self;
        write_group(file, records).map_err(|error| failed(path, error))
    }

    pub(crate) fn close(self) -> Result<(), CliError> {
        self.file.close().map(drop).map_err(|error| failed(&self.path, error))
    }
}

fn write_group(
    file: &mut SerializedFileWriter<File>,
    records: &[Record],
) -> Result<(), parquet::errors::ParquetError> {
    let ids: Vec<ByteArray> =
        records.iter().map(|record| record.id.to_string().into_bytes().into()).collect();
    let (mut components, mut repetitions) = (Vec::new(), Vec::new());
    for vector in records.iter().flat_map(|record| &record.vector) {
        // 0 begins a list, and 1 continues it.
        repetitions.extend((0..vector.len()).map(|index| i16::from(index > 0)));
        components.extend_from_slice(vector);
    }
    let definitions = vec![1; components.len()];
    let json = |record: &Record| serde_json::json!(record.payload).to_string().into_bytes().into();
    let payloads: Vec<ByteArray> = records.iter().map(json).collect();

    let mut group = file.next_row_group()?;
    let mut column = 0;
    while let Some(mut writer) = group.next_column()? {
        match column {
            0 => writer.typed::<ByteArrayType>().write_batch(&ids, None, None)?,
            1 => {
                let levels = (Some(&definitions[..]), Some(&repetitions[..]));
                writer.typed::<FloatType>().write_batch(&components, levels.0, levels.1)?
            }
            _ => writer.typed::<ByteArrayType>().write_batch(&payloads, None, None)?,
        };
        writer.close()?;
        column += 1;
    }
    group.close().map(drop)
}

/// Reads the points of a Parquet file, row by row.
pub(crate) struct Reader {
    path: PathBuf,
    pub(crate) rows: u64,
    iter: parquet::record::reader::RowIter<'static>,
    row: u64,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let file = open_regular(path, Links::Follow).map_err(|error| failed(path, with_causes(&error)))?;
        let opened = call(|| {
            let reader = SerializedFileReader::new(file)?;
            let rows = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
            Ok::<_, parquet::errors::ParquetError>((rows, reader.into_iter()))
        });
        let opened = opened.map_err(|reason| failed(path, reason))?;
        let (rows, iter) = opened.map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), rows, iter, row: 0 })
    }

    /// The next point, and the length of its payload's text in bytes. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(Point, usize)>, CliError> {
        let next = call(|| self.iter.next());
        let wrong = |problem: String| failed(&self.path, format!("row {}: {problem}", self.row));
        let Some(row) = next.map_err(|reason| wrong(reason.to_owned()))? else {
            // The rows of its groups may be fewer.
            return if self.row == self.rows {
                Ok(None)
            } else {
                Err(wrong(format!("it is the last one, and the file says that it has {} rows", self.rows)))
            };
        };
        let point = point(&row.map_err(|error| wrong(error.to_string()))?).map_err(wrong)?;
        self.row += 1;
        Ok(Some(point))
    }
}

fn point(row: &Row) -> Result<(Point, usize), String> {
    let (mut id, mut vector, mut payload) = (None, None, Payload::new());
    let mut payload_bytes = 0;
    let mut parse = |text: &[u8]| {
        payload_bytes = text.len();
        if payload_bytes > TEXT_BYTES_MAX {
            return Err(format!("payload: it has {payload_bytes} bytes; at most {TEXT_BYTES_MAX} are read"));
        }
        serde_json::from_slice(text).map_err(|error| format!("payload: {error}"))
    };
    for (name, field) in row.get_column_iter() {
        match (name.as_str(), field) {
            ("id", Field::Str(text)) => {
                id = Some(text.parse::<PointId>().map_err(|error| error.to_string())?);
            }
            ("id", Field::Long(number)) => {
                let number = u64::try_from(*number).map_err(|_| format!("id {number} is negative"))?;
                id = Some(PointId::Num(number));
            }
            ("vector", Field::ListInternal(list)) => {
                let component = |field: &Field| match field {
                    Field::Float(component) => Ok(*component),
                    Field::Double(component) => Ok(*component as f32),
                    other => Err(format!("a component of its vector is {other}")),
                };
                vector = Some(list.elements().iter().map(component).collect::<Result<Vec<f32>, _>>()?);
            }
            ("payload", Field::Null) => {}
            ("payload", Field::Str(text)) => payload = parse(text.as_bytes())?,
            ("payload", Field::Bytes(bytes)) => payload = parse(bytes.data())?,
            (name, other) => {
                return Err(format!("column {name} is {other}; known are id, vector and payload"));
            }
        }
    }
    let (Some(id), Some(vector)) = (id, vector) else {
        return Err("there is no id or no vector".to_owned());
    };
    Ok((Point { id, vector, payload }, payload_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all points. The error is the first fault.
    fn read(path: &Path) -> Result<usize, String> {
        let mut points = 0;
        let mut reader = Reader::open(path).map_err(|error| error.to_string())?;
        while reader.next().map_err(|error| error.to_string())?.is_some() {
            points += 1;
        }
        Ok(points)
    }

    /// The library panics at some damage.
    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(call(|| -> u32 { panic!("this is not to be seen") }), Err("not a sound Parquet file"));
        assert_eq!(call(|| 7), Ok(7));
    }

    /// Damage anywhere in a file gives all points, or an error that names the file.
    #[test]
    fn a_damaged_file_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("points.parquet");
        let mut writer = Writer::new(&path, File::create(&path).unwrap()).unwrap();
        let record = |id| Record {
            id: PointId::Num(id),
            vector: Some(vec![id as f32; 4]),
            payload: Some(Payload::from_iter([("n".to_owned(), serde_json::json!(id))])),
        };
        writer.write(&(0..20).map(record).collect::<Vec<_>>()).unwrap();
        writer.close().unwrap();
        assert_eq!(read(&path).unwrap(), 20);
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for (at, byte) in (0..whole.len()).zip([0, 1, 0x7F, 0x80, 0xFF].into_iter().cycle()) {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            std::fs::write(&path, damaged).unwrap();
            match read(&path) {
                Ok(points) => assert_eq!(points, 20, "byte {at} is {byte}"),
                Err(error) => {
                    refused += 1;
                    assert!(error.contains("points.parquet: "), "byte {at} is {byte}: {error}");
                }
            }
        }
        assert!(refused > 200, "{refused}");
    }
}
