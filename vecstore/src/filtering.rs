//! Finds the points of a segment that match a filter, by combining sets from its indexes.

use crate::error::Error;
use crate::field::Key;
use crate::filter::{CheckedCondition, CheckedFilter};
use crate::point::PointId;
use futures_util::future::LocalBoxFuture;
use roaring::RoaringBitmap;

/// The indexes of a segment.
pub(crate) trait FilterSource {
    /// Every point.
    fn all(&self) -> RoaringBitmap;
    /// Points with a value of the field.
    fn present(&self, field: &str) -> RoaringBitmap;
    /// Points with one of these values. `keys` is sorted. If `within` is given, points outside of it may be
    /// missing.
    async fn any(
        &self,
        field: &str,
        keys: &[Key],
        within: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Error>;
    /// Points with a value that is not one of these. `keys` is sorted.
    async fn except(&self, field: &str, keys: &[Key]) -> Result<RoaringBitmap, Error>;
    /// Points with a number from `low` to `high`.
    async fn range(&self, field: &str, low: u64, high: u64) -> Result<RoaringBitmap, Error>;
    /// The points of these ids, as far as they exist.
    async fn ids(&self, ids: &[PointId]) -> Result<RoaringBitmap, Error>;
}

/// The points that match a filter.
pub(crate) async fn evaluate<S: FilterSource>(
    filter: &CheckedFilter,
    source: &S,
) -> Result<RoaringBitmap, Error> {
    let mut points = None;
    for condition in &filter.must {
        let more = condition_points(condition, source, points.as_ref()).await?;
        let both = match points {
            None => more,
            Some(points) => points & more,
        };
        if both.is_empty() {
            return Ok(both);
        }
        points = Some(both);
    }
    if !filter.should.is_empty() {
        let mut any = RoaringBitmap::new();
        for condition in &filter.should {
            any |= condition_points(condition, source, points.as_ref()).await?;
        }
        points = Some(match points {
            None => any,
            Some(points) => points & any,
        });
    }
    let mut points = points.unwrap_or_else(|| source.all());
    for condition in &filter.must_not {
        points -= condition_points(condition, source, Some(&points)).await?;
    }
    Ok(points)
}

/// The points that match a condition. Points outside of `within` may be missing. Filters nest, hence the box.
fn condition_points<'a, S: FilterSource>(
    condition: &'a CheckedCondition,
    source: &'a S,
    within: Option<&'a RoaringBitmap>,
) -> LocalBoxFuture<'a, Result<RoaringBitmap, Error>> {
    Box::pin(async move {
        match condition {
            CheckedCondition::Any { field, keys } => source.any(field, keys, within).await,
            CheckedCondition::Except { field, keys } => source.except(field, keys).await,
            CheckedCondition::Range { field, low, high } => source.range(field, *low, *high).await,
            CheckedCondition::IsEmpty { field } => Ok(source.all() - source.present(field)),
            CheckedCondition::HasId { ids } => source.ids(ids).await,
            CheckedCondition::Filter(filter) => evaluate(filter, source).await,
        }
    })
}
