//! Checks and encodes writes, on the thread of the caller.

use crate::element;
use crate::error::InputError;
use crate::field::keys_of_fields;
use crate::mutable::PreparedPoint;
use crate::point::{Payload, Point, PointId};
use crate::schema::Schema;
use serde_json::Value;
use std::collections::BTreeSet;
use vecstore_format::log::{BATCH_BYTES_MAX, BatchEncoder, BatchTooLongError, LogOp};

/// Checks points against the schema.
pub(crate) fn prepare_points(schema: &Schema, points: Vec<Point>) -> Result<Vec<PreparedPoint>, InputError> {
    let mut seen = BTreeSet::new();
    let mut size = BatchSize::default();
    let mut prepared = Vec::with_capacity(points.len());
    for point in points {
        if !seen.insert(point.id) {
            return Err(InputError::Duplicate { id: point.id });
        }
        let point = prepare_point(schema, &point)?;
        size.add(&point)?;
        prepared.push(point);
    }
    Ok(prepared)
}

/// The length of a batch so far. A batch that is too long is refused before all of it is in memory.
#[derive(Debug, Default)]
pub(crate) struct BatchSize {
    bytes: usize,
}

impl BatchSize {
    pub(crate) fn add(&mut self, point: &PreparedPoint) -> Result<(), InputError> {
        // 24 bytes for the id and two lengths.
        self.bytes += point.vector.len() + point.payload.len() + 24;
        if self.bytes > BATCH_BYTES_MAX {
            return Err(InputError::BatchTooLong { bytes: self.bytes, bytes_max: BATCH_BYTES_MAX });
        }
        Ok(())
    }
}

/// Checks a point against the schema.
pub(crate) fn prepare_point(schema: &Schema, point: &Point) -> Result<PreparedPoint, InputError> {
    let id = point.id;
    if point.vector.len() != schema.dim as usize {
        return Err(InputError::Dimension { id, found: point.vector.len(), dim: schema.dim });
    }
    let mut vector = Vec::with_capacity(point.vector.len() * schema.element.bytes() as usize);
    element::encode(id, &point.vector, schema.element, &mut vector)?;
    prepare_payload(schema, id, vector.into(), &point.payload)
}

/// A JSON reader allows 127 levels. Exports put payloads into other objects.
const PAYLOAD_DEPTH_MAX: usize = 100;

fn is_no_deeper(value: &Value, depth_max: usize) -> bool {
    match value {
        Value::Array(values) => {
            depth_max > 0 && values.iter().all(|value| is_no_deeper(value, depth_max - 1))
        }
        Value::Object(fields) => {
            depth_max > 0 && fields.values().all(|value| is_no_deeper(value, depth_max - 1))
        }
        _ => true,
    }
}

/// Prepares a point whose vector is already encoded.
pub(crate) fn prepare_payload(
    schema: &Schema,
    id: PointId,
    vector: Box<[u8]>,
    payload: &Payload,
) -> Result<PreparedPoint, InputError> {
    if !payload.values().all(|value| is_no_deeper(value, PAYLOAD_DEPTH_MAX - 1)) {
        return Err(InputError::PayloadTooDeep { id, depth_max: PAYLOAD_DEPTH_MAX });
    }
    let keys = keys_of_fields(payload, &schema.indexes).map_err(|(field, kind, wrong)| {
        InputError::FieldKind { id, field, kind: kind.to_string(), found: wrong.found }
    })?;
    let payload = if payload.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(payload).expect("a JSON object is JSON")
    };
    if payload.len() > schema.payload_bytes_max as usize {
        let (bytes, bytes_max) = (payload.len(), schema.payload_bytes_max);
        return Err(InputError::PayloadTooLong { id, bytes, bytes_max });
    }
    Ok(PreparedPoint { id, vector, payload: payload.into(), keys })
}

/// Encodes a write for the log. `None` if it is empty.
pub(crate) fn encode_batch(
    puts: &[PreparedPoint],
    deletes: &[PointId],
) -> Result<Option<Vec<u8>>, InputError> {
    let mut batch = BatchEncoder::default();
    for PreparedPoint { id, vector, payload, .. } in puts {
        batch.push(LogOp::Put { id: *id, payload, vector });
    }
    for &id in deletes {
        batch.push(LogOp::Delete { id });
    }
    let too_long =
        |BatchTooLongError { bytes }| InputError::BatchTooLong { bytes, bytes_max: BATCH_BYTES_MAX };
    batch.finish().map_err(too_long)
}
