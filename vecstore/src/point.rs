//! Points: an id, a vector and a payload.

use serde::{Deserialize, Serialize};

pub use vecstore_format::{PointId, PointIdError};

/// What is known of a point besides its vector: a JSON object.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// A point as it is put into a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its id; a point of this id that is there already is replaced.
    pub id: PointId,
    /// Its vector, of the collection's dimension. Stored in the collection's element type: `f16` rounds, `u8` takes whole
    /// numbers from 0 to 255.
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

    /// The point with this payload.
    ///
    /// # Panics
    /// When the value is not an object.
    #[must_use]
    pub fn with_payload(mut self, payload: serde_json::Value) -> Self {
        let serde_json::Value::Object(payload) = payload else {
            panic!("a payload is a JSON object, not {payload}");
        };
        self.payload = payload;
        self
    }
}

/// A stored payload; `None` if it is none. Nothing at all is an empty payload.
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
