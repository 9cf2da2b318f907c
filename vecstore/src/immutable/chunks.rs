//! Groups records of any length into chunks for memory.

/// The most bytes of a chunk in memory. A single record may be longer.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Splits items into chunks of bounded size.
pub(crate) fn chunks_by_bytes<T>(mut items: &[T], bytes: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut sum = 0u64;
        let fits = |item: &T| {
            sum = sum.saturating_add(bytes(item));
            sum <= CHUNK_BYTES_MAX
        };
        let count = items.iter().map(fits).take_while(|&fits| fits).count().max(1);
        let chunk;
        (chunk, items) = items.split_at_checked(count)?;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_as_long_as_they_may_be() {
        let max = CHUNK_BYTES_MAX;
        let sizes = [1, max - 1, 1, max + 1, u64::MAX, u64::MAX, 0, max, 1];
        let chunks: Vec<&[u64]> = chunks_by_bytes(&sizes, |&size| size).collect();
        let expected: [&[u64]; 7] =
            [&[1, max - 1], &[1], &[max + 1], &[u64::MAX], &[u64::MAX], &[0, max], &[1]];
        assert_eq!(chunks, expected);
        assert_eq!(chunks_by_bytes(&[], |&size: &u64| size).count(), 0);
    }
}
