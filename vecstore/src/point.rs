//! Points: an id, a vector and a payload.

use serde::{Deserialize, Serialize};

pub use vecstore_format::{PointId, PointIdError};

/// A JSON object that belongs to a point.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// A point to write into a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its id. A point with this id is replaced.
    pub id: PointId,
    /// Its vector, of the collection's dimension. It is stored in the collection's element type. `f16` rounds
    /// the components; `u8` accepts whole numbers from 0 to 255.
    pub vector: Vec<f32>,
    /// Its payload.
    #[serde(default, skip_serializing_if = "Payload::is_empty")]
    pub payload: Payload,
}

impl Point {
    /// A point without a payload.
    #[must_use]
    pub fn new(id: impl Into<PointId>, vector: Vec<f32>) -> Self {
        Self { id: id.into(), vector, payload: Payload::new() }
    }

    /// Sets the payload.
    ///
    /// # Panics
    /// If the value is not an object.
    #[must_use]
    pub fn with_payload(mut self, payload: serde_json::Value) -> Self {
        let serde_json::Value::Object(payload) = payload else {
            panic!("a payload is a JSON object, not {payload}");
        };
        self.payload = payload;
        self
    }
}

/// Decodes a stored payload. `None` if it is not one. No bytes at all are an empty payload.
pub(crate) fn parse_payload(payload: &[u8]) -> Option<Payload> {
    if payload.is_empty() { Some(Payload::new()) } else { serde_json::from_slice(payload).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_json_lines() {
        let point = Point::new(1, vec![0.5, 1.0]).with_payload(serde_json::json!({"a": [1, null]}));
        let line = serde_json::to_string(&point).unwrap();
        assert_eq!(line, r#"{"id":1,"vector":[0.5,1.0],"payload":{"a":[1,null]}}"#);
        assert_eq!(serde_json::from_str::<Point>(&line).unwrap(), point);
        assert!(serde_json::from_str::<Point>(r#"{"id":1,"vectors":[]}"#).is_err());
    }
}
