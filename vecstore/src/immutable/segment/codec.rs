//! The codec of a segment.

use crate::error::Error;
use crate::schema::{IndexKind, Schema};
use vecstore_format::pages::Pages;
use vecstore_quant::{Codec, from_model};

/// The codec of the schema, if it has no trained model. It needs no file.
pub(crate) fn untrained_codec(schema: &Schema) -> Option<Box<dyn Codec>> {
    from_model(schema.quantization, schema.distance, schema.dim as usize, &[]).ok()
}

/// Bytes of a record of `codes.vec`: a code, and beside cells the id of its point. A search of cells then
/// reads both at once.
pub(crate) fn code_record_bytes(schema: &Schema, codec: &dyn Codec) -> usize {
    codec.record_bytes() + if schema.index == IndexKind::Cells { ID_BYTES } else { 0 }
}

/// Bytes of an id in a record of `codes.vec`.
const ID_BYTES: usize = 16;

/// Reads a trained codec.
pub(crate) async fn trained_codec(pages: &Pages, schema: &Schema) -> Result<Box<dyn Codec>, Error> {
    let model = pages.read_section(0).await?;
    from_model(schema.quantization, schema.distance, schema.dim as usize, &model)
        .map_err(|error| Error::damaged(pages.data().path(), None, error.to_string()))
}
