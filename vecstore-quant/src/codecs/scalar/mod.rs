//! Scalar quantization to one byte a component, with the range of each vector. The codes of many vectors are
//! in memory, and are scored against a query and against each other.
//!
//! A component is stored as `offset + scale * code`. `code` is an `i8`, and `offset` is about the middle of
//! the vector's range. The decoded vector and the query are both split into their mean and the deviations
//! from it. Deviations add up to zero, so the cross terms of mean and deviation vanish. A score then takes
//! one integer sum:
//!
//! ```text
//! <q, x>   = dim * mean_q * mean_x + step_q * scale_x * sum(query_i * code_i)
//! |q - x|² = dim * (mean_q - mean_x)² + |dev_q|² + |dev_x|² - 2 * step_q * scale_x * sum(query_i * code_i)
//! ```
//!
//! No large numbers cancel if all components share a big offset. The query's deviation is an `i16` vector,
//! with as many bits as keep the sum within an `i32`. Up to 511 dimensions, these are all 15 bits. It costs
//! no more time than an int8 query, since the kernel widens to `i16` anyway. The codes remain the only
//! notable source of error.

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
pub(super) use query::{integers, sum};
pub use scores::CodeScores;
