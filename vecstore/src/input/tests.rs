use super::*;
use std::io::Write;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    File::create(&path).unwrap().write_all(bytes).unwrap();
    (dir, path)
}

/// An `.npy` file, made by hand from the format's description.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn open(name: &str, bytes: &[u8]) -> Result<VectorInput, VectorSourceError> {
    let (_dir, path) = file(name, bytes);
    VectorInput::open(&path, Format::by_extension(&path)?)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn fvecs(rows: &[&[f32]]) -> Vec<u8> {
    rows.iter().flat_map(|row| [(row.len() as i32).to_le_bytes().to_vec(), floats(row)].concat()).collect()
}

#[test]
fn npy_of_each_type_in_blocks() {
    let mut input =
        open("a.npy", &npy("<f4", false, "(3, 2)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))).unwrap();
    assert_eq!((input.count(), input.dim(), input.element()), (3, 2, ElementType::F32));
    assert_eq!(input.next_rows(2).unwrap(), Rows::F32(&[1.0, 2.0, 3.0, 4.0]));
    assert_eq!(input.next_rows(2).unwrap(), Rows::F32(&[5.0, 6.0]));
    assert_eq!(input.next_rows(2).unwrap(), Rows::F32(&[]));

    let halves = [f16::from_f32(0.5), f16::from_f32(-2.0)];
    let mut input = open("a.npy", &npy("<f2", false, "(1, 2)", bytemuck::cast_slice(&halves))).unwrap();
    assert_eq!(input.next_rows(9).unwrap(), Rows::F16(&halves));

    let mut input = open("a.npy", &npy("|u1", false, "(2, 2)", &[1, 2, 3, 255])).unwrap();
    assert_eq!(input.next_rows(9).unwrap(), Rows::U8(&[1, 2, 3, 255]));

    assert_eq!(Rows::F32(&[0.1, -3.0]).to_f32(), [0.1, -3.0]);
    assert_eq!(Rows::F16(&halves).to_f32(), [0.5, -2.0]);
    assert_eq!(Rows::U8(&[1, 255]).to_f32(), [1.0, 255.0]);
}

#[test]
fn vecs_and_raw() {
    let mut input = open("a.fvecs", &fvecs(&[&[1.0, 2.0], &[3.0, 4.0]])).unwrap();
    assert_eq!((input.count(), input.dim()), (2, 2));
    assert_eq!(input.next_rows(9).unwrap(), Rows::F32(&[1.0, 2.0, 3.0, 4.0]));

    let mut input = open("a.bvecs", &[3, 0, 0, 0, 7, 8, 9, 3, 0, 0, 0, 1, 2, 3]).unwrap();
    assert_eq!(input.next_rows(9).unwrap(), Rows::U8(&[7, 8, 9, 1, 2, 3]));

    let (_dir, path) = file("a.bin", &floats(&[1.0, 2.0, 3.0, 4.0]));
    let mut input = VectorInput::open(&path, Format::Raw { dim: 2, element: ElementType::F32 }).unwrap();
    assert_eq!((input.count(), input.next_rows(9).unwrap()), (2, Rows::F32(&[1.0, 2.0, 3.0, 4.0])));
    let cut = VectorInput::open(&path, Format::Raw { dim: 3, element: ElementType::F32 }).unwrap_err();
    assert!(matches!(cut, VectorSourceError::PartialRow { rows: 1, row_bytes: 12, extra: 4, .. }), "{cut}");
    let zero = VectorInput::open(&path, Format::Raw { dim: 0, element: ElementType::F32 }).unwrap_err();
    assert!(matches!(zero, VectorSourceError::Dimension { dim: 0, .. }), "{zero}");
}

#[test]
fn wrong_npy_files_are_named() {
    let data = floats(&[1.0, 2.0, 3.0, 4.0]);
    type Expected = fn(&VectorSourceError) -> bool;
    let cases: [(Vec<u8>, Expected); 9] = [
        (b"hello world".to_vec(), |e| matches!(e, VectorSourceError::NpyHeader { .. })),
        (npy("<f8", false, "(1, 2)", &data), |e| matches!(e, VectorSourceError::NpyType { .. })),
        (npy(">f4", false, "(2, 2)", &data), |e| matches!(e, VectorSourceError::NpyType { .. })),
        (npy("<i4", false, "(2, 2)", &data), |e| matches!(e, VectorSourceError::NpyType { .. })),
        (npy("<f4", true, "(2, 2)", &data), |e| matches!(e, VectorSourceError::NpyOrder { .. })),
        (npy("<f4", false, "(4,)", &data), |e| matches!(e, VectorSourceError::NpyShape { .. })),
        (npy("<f4", false, "(1, 2, 2)", &data), |e| matches!(e, VectorSourceError::NpyShape { .. })),
        (npy("<f4", false, "(3, 2)", &data), |e| matches!(e, VectorSourceError::Length { .. })),
        (npy("<f4", false, "(2, 0)", &[]), |e| matches!(e, VectorSourceError::Dimension { dim: 0, .. })),
    ];
    for (bytes, expected) in cases {
        let error = open("a.npy", &bytes).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains("a.npy"), "{error}");
    }
    let mut vast = b"\x93NUMPY\x02\x00".to_vec();
    vast.extend(u32::MAX.to_le_bytes());
    assert!(matches!(open("a.npy", &vast).unwrap_err(), VectorSourceError::NpyHeader { .. }));
    let whole = npy("<f4", false, "(2, 2)", &data);
    for len in 1..whole.len() {
        open("a.npy", &whole[..len]).expect_err("a file that is cut off");
    }
    let absurd = npy("<f4", false, "(18446744073709551615, 60000)", &data);
    let error = open("a.npy", &absurd).unwrap_err();
    assert!(
        matches!(error, VectorSourceError::Length { .. } | VectorSourceError::NpyHeader { .. }),
        "{error}"
    );
}

#[test]
fn ragged_rows_partial_rows_and_values_that_are_no_numbers_are_named() {
    let ragged = [fvecs(&[&[1.0, 2.0], &[3.0, 4.0]]), fvecs(&[&[5.0, 6.0, 7.0]])].concat();
    let ragged = &ragged[..36];
    let mut input = open("a.fvecs", ragged).unwrap();
    let error = input.next_rows(9).unwrap_err();
    assert!(matches!(error, VectorSourceError::Ragged { row: 2, found: 3, dim: 2, .. }), "{error}");

    let cut = &fvecs(&[&[1.0, 2.0], &[3.0, 4.0]])[..20];
    assert!(matches!(
        open("a.fvecs", cut).unwrap_err(),
        VectorSourceError::PartialRow { rows: 1, extra: 8, .. }
    ));
    assert!(matches!(open("a.fvecs", &[1, 0]).unwrap_err(), VectorSourceError::PartialRow { .. }));
    assert!(matches!(open("a.fvecs", &[255; 64]).unwrap_err(), VectorSourceError::Dimension { .. }));

    let bad = fvecs(&[&[1.0, 2.0], &[3.0, f32::NAN]]);
    let mut input = open("a.fvecs", &bad).unwrap();
    assert_eq!(input.next_rows(1).unwrap(), Rows::F32(&[1.0, 2.0]));
    let error = input.next_rows(1).unwrap_err();
    assert!(matches!(error, VectorSourceError::NotFinite { row: 1, component: 1, .. }), "{error}");
}

#[test]
fn what_is_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let directory = VectorInput::open(dir.path(), Format::Npy).unwrap_err();
    assert!(matches!(directory, VectorSourceError::NotAFile { .. }), "{directory}");
    let missing = VectorInput::open(&dir.path().join("a.npy"), Format::Npy).unwrap_err();
    assert!(matches!(missing, VectorSourceError::Io { .. }), "{missing}");
    assert!(matches!(open("a.npy", b"").unwrap_err(), VectorSourceError::Empty { .. }));
    assert!(matches!(open("a.txt", b"x").unwrap_err(), VectorSourceError::UnknownFormat { .. }));
}

#[test]
fn truth_tables() {
    let ids: Vec<u8> = [5i32, 6, 7, 8].iter().flat_map(|id| id.to_le_bytes()).collect();
    let (_dir, path) = file("t.npy", &npy("<i4", false, "(2, 2)", &ids));
    assert_eq!(read_npy_i32(&path).unwrap(), [[5, 6], [7, 8]]);
    let (_dir, path) = file("t.npy", &npy("<f4", false, "(2, 2)", &ids));
    assert!(matches!(read_npy_i32(&path).unwrap_err(), VectorSourceError::NpyType { .. }));
}

/// The file is sparse where the file system allows it.
#[cfg(unix)]
#[test]
fn a_table_longer_than_memory_is_not_read() {
    let (_dir, path) = file("t.npy", &npy("<i4", false, "(1342177280, 4)", &[]));
    let header = path.metadata().unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(header + (20 << 30)).unwrap();
    let long = read_npy_i32(&path).unwrap_err();
    assert!(matches!(long, VectorSourceError::TooLong { bytes: 21_474_836_480, .. }), "{long}");
}
