//! Records: their framing with a checksum, and the batches of points inside.

use super::{LogHeader, RECORD_HEADER_BYTES};
use crate::PointId;

/// The longest batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

const PUT_NUM: u8 = 1;
const PUT_UUID: u8 = 2;
const DELETE_NUM: u8 = 3;
const DELETE_UUID: u8 = 4;

/// One point in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOp<'a> {
    /// The point was written.
    Put {
        /// Its id.
        id: PointId,
        /// Its payload, as JSON.
        payload: &'a [u8],
        /// Its vector, in the element type of the log's vectors.
        vector: &'a [u8],
    },
    /// The point was deleted.
    Delete {
        /// Its id.
        id: PointId,
    },
}

impl LogOp<'_> {
    /// The point's id.
    #[must_use]
    pub fn id(&self) -> PointId {
        match self {
            Self::Put { id, .. } | Self::Delete { id } => *id,
        }
    }
}

/// A batch longer than [`BATCH_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch of {bytes} bytes; it has at most {BATCH_BYTES_MAX}")]
pub struct BatchTooLongError {
    /// Its length in bytes.
    pub bytes: usize,
}

/// Encodes the body of a batch.
#[derive(Debug, Default)]
pub struct BatchEncoder {
    count: u32,
    bytes: Vec<u8>,
}

impl BatchEncoder {
    /// Appends one point.
    pub fn push(&mut self, op: LogOp<'_>) {
        let out = &mut self.bytes;
        if out.is_empty() {
            out.extend_from_slice(&[0; 4]);
        }
        let mut put_id = |id: PointId, num: u8, uuid: u8| match id {
            PointId::Num(id) => {
                out.push(num);
                out.extend_from_slice(&id.to_le_bytes());
            }
            PointId::Uuid(id) => {
                out.push(uuid);
                out.extend_from_slice(&id.to_le_bytes());
            }
        };
        match op {
            LogOp::Put { id, payload, vector } => {
                put_id(id, PUT_NUM, PUT_UUID);
                out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                out.extend_from_slice(payload);
                out.extend_from_slice(vector);
            }
            LogOp::Delete { id } => put_id(id, DELETE_NUM, DELETE_UUID),
        }
        self.count += 1;
    }

    /// The body of the record. `None` if it is empty.
    ///
    /// # Errors
    /// [`BatchTooLongError`].
    pub fn finish(mut self) -> Result<Option<Vec<u8>>, BatchTooLongError> {
        if self.count == 0 {
            return Ok(None);
        }
        if self.bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchTooLongError { bytes: self.bytes.len() });
        }
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        Ok(Some(self.bytes))
    }
}

/// Decodes the body of a batch whose vectors have `vector_bytes` bytes. `None` if it is not a batch.
#[must_use]
pub fn decode_batch(mut body: &[u8], vector_bytes: usize) -> Option<Vec<LogOp<'_>>> {
    let count = u32::from_le_bytes(take(&mut body, 4)?.try_into().ok()?);
    // Reserves nothing, because a wrong count must not cost memory.
    let mut ops = Vec::new();
    for _ in 0..count {
        let tag = take(&mut body, 1)?[0];
        let id = match tag {
            PUT_NUM | DELETE_NUM => PointId::Num(u64::from_le_bytes(take(&mut body, 8)?.try_into().ok()?)),
            PUT_UUID | DELETE_UUID => {
                PointId::Uuid(u128::from_le_bytes(take(&mut body, 16)?.try_into().ok()?))
            }
            _ => return None,
        };
        if tag == DELETE_NUM || tag == DELETE_UUID {
            ops.push(LogOp::Delete { id });
            continue;
        }
        let payload_len = u32::from_le_bytes(take(&mut body, 4)?.try_into().ok()?);
        let payload = take(&mut body, payload_len as usize)?;
        let vector = take(&mut body, vector_bytes)?;
        ops.push(LogOp::Put { id, payload, vector });
    }
    body.is_empty().then_some(ops)
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

/// The fields before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) body_len: u32,
    pub(super) crc: u32,
    pub(super) seq: u64,
    pub(super) synced_len: u64,
    pub(super) kind: u32,
    /// The checksum of the record before. For the first record, that of the log's header.
    pub(super) previous: u32,
}

impl RecordHeader {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Some(Self {
            body_len: u32_at(0),
            crc: u32_at(4),
            seq: u64_at(8),
            synced_len: u64_at(16),
            kind: u32_at(24),
            previous: u32_at(28),
        })
    }

    /// The length of the record in bytes, with this header. `None` if no record is that long.
    pub(super) fn len(&self) -> Option<usize> {
        let body_len = self.body_len as usize;
        (body_len <= BATCH_BYTES_MAX).then_some(RECORD_HEADER_BYTES + body_len)
    }

    fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.synced_len.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.kind.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.previous.to_le_bytes());
        bytes
    }

    /// The checksum of a record with this header and body, in a log of this salt.
    pub(super) fn expected_crc(&self, salt: u64, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(salt as u32);
        hasher.update(&Self { crc: (salt >> 32) as u32, ..*self }.encode());
        hasher.update(body);
        hasher.finalize()
    }
}

/// Appends a whole record. Computes the header's checksum, and returns it.
pub(super) fn encode_record(
    log: &LogHeader,
    mut header: RecordHeader,
    body: &[u8],
    out: &mut Vec<u8>,
) -> u32 {
    header.body_len = body.len() as u32;
    header.crc = header.expected_crc(log.salt, body);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    header.crc
}
