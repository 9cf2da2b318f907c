//! Scalar quantization to one byte a component, with the range of each vector, and the codes of many vectors in memory, which
//! are scored against a query and against each other.
//!
//! A component is stored as `offset + scale * code`, `code` an `i8` and `offset` about the middle of the vector's range. Taken
//! apart into its mean and the deviation from it, the decoded vector scores against a query that was taken apart in the
//! same way with one integer sum (the cross terms of mean and deviation vanish, since deviations add up to zero):
//!
//! ```text
//! <q, x>   = dim * mean_q * mean_x + step_q * scale_x * sum(query_i * code_i)
//! |q - x|² = dim * (mean_q - mean_x)² + |dev_q|² + |dev_x|² - 2 * step_q * scale_x * sum(query_i * code_i)
//! ```
//!
//! Nothing large cancels when all components share a big offset. The query's deviation is an `i16` vector, with as many
//! bits as keep the sum within an `i32` (all 15 up to 511 dimensions): against int8 queries that costs no time, since
//! the kernel widens to `i16` anyway, and it leaves the codes as the only source of error worth the name.

mod codes;
mod encode;
mod query;
mod scores;
#[cfg(test)]
mod tests;

pub use codes::{CodesError, ScalarCodes};
pub use encode::DIM_MAX;
pub(super) use encode::{ScalarParams, encode_into};
pub use query::ScalarQuery;
pub(super) use query::integers;
pub use scores::CodeScores;
