//! Scroll: all points, page by page, in the order of ids or of a field of numbers.
//!
//! A page is put together from the next points of every segment, in order; a token names the last point of the page, and so
//! does not depend on which segments there are.

use super::reader::{CollectionReader, OpenEntry, control, in_memory};
use super::request::{Record, ScrollPage, ScrollRequest, check_limit};
use super::retrieve::Found;
use crate::error::{Error, InputError};
use crate::field::Key;
use crate::filter::{CheckedFilter, indexed};
use crate::mutable::MutableSegment;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;

/// A place in the order: before the points that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// 0 when the order is that of ids.
    number: u64,
    id: PointId,
}

/// Next points in order, from one segment.
type Next = Vec<(Place, Found)>;

impl CollectionReader {
    /// A page of points.
    ///
    /// # Errors
    /// As [`CollectionReader::search`]; [`InputError::PageToken`].
    pub async fn scroll(&self, request: &ScrollRequest, stop: &StopFlag) -> Result<ScrollPage, Error> {
        let indexes = &self.shared.schema.indexes;
        check_limit("limit", request.limit)?;
        let filter = request.filter.as_ref().map(|filter| filter.check(indexes)).transpose()?;
        if let Some(field) = &request.order_by {
            let kind = indexed(field, indexes)?;
            if !kind.is_number() {
                let reason = "only integers, floats and datetimes have an order".to_owned();
                return Err(
                    InputError::Filter { field: field.clone(), kind: kind.to_string(), reason }.into()
                );
            }
        }
        let by_number = request.order_by.is_some();
        let after = request.page.as_deref().map(|token| parse_token(token, by_number)).transpose()?;
        let order = Order { request, filter: filter.as_ref(), after };
        let control = control(stop);
        let in_memory = |segment: &MutableSegment, deleted: Option<&RoaringBitmap>| {
            self.next_in_memory(segment, deleted, &order)
        };
        let (mut next, version, entries) = self.view(|state| in_memory(&state.mutable, None)).await?;
        for frozen in &version.frozen {
            next.extend(in_memory(&frozen.segment, Some(&frozen.deleted))?);
        }
        let mut read = ReadStats::default();
        for (segment, entry) in entries.iter().enumerate() {
            next.extend(match &request.order_by {
                None => order.next_ids(segment, entry, &control, &mut read).await?,
                Some(field) => order.next_numbers(segment, entry, field, &control, &mut read).await?,
            });
        }
        next.sort_by_key(|(place, _)| *place);
        let is_last = next.len() <= request.limit;
        next.truncate(request.limit);
        let token = next.last().filter(|_| !is_last).map(|(place, _)| token(*place, by_number));
        let found = next.into_iter().map(|(place, found)| (place.id, found)).collect();
        let records = self.records(found, &entries, request.with, &control, &mut read).await?;
        if stop.is_stopped() { Err(Error::Stopped) } else { Ok(ScrollPage { records, next: token, read }) }
    }

    fn next_in_memory(
        &self,
        segment: &MutableSegment,
        deleted: Option<&RoaringBitmap>,
        order: &Order<'_>,
    ) -> Result<Next, Error> {
        let allowed = match order.filter {
            Some(filter) => Some(segment.filter(filter)?),
            None => None,
        };
        let is_allowed = |slot: u32| {
            allowed.as_ref().is_none_or(|allowed| allowed.contains(slot))
                && deleted.is_none_or(|deleted| !deleted.contains(slot))
        };
        let wanted = order.wanted();
        let found = |(place, slot): (Place, u32)| {
            let (payload, vector) = in_memory(&self.shared, segment, slot, order.request.with);
            (place, Found::Memory(Record { id: place.id, payload, vector }))
        };
        let Some(field) = &order.request.order_by else {
            let after = segment.after(order.after.map(|after| after.id));
            let places = after.filter(|(_, slot)| is_allowed(*slot)).take(wanted);
            return Ok(places.map(|(id, slot)| found((Place { number: 0, id }, slot))).collect());
        };
        let mut places = Vec::new();
        let from = Key::Number(order.after.map_or(0, |after| after.number));
        for (key, slots) in segment.field(field).points.range(from..) {
            let &Key::Number(number) = key else { continue };
            let slots = slots.iter().filter(|&slot| is_allowed(slot));
            let own = slots.map(|slot| (Place { number, id: segment.id(slot) }, slot));
            places.extend(own.filter(|(place, _)| order.is_after(*place)));
            if places.len() >= wanted {
                break;
            }
        }
        places.sort_unstable();
        places.truncate(wanted);
        Ok(places.into_iter().map(found).collect())
    }
}

/// What is to come, and in which order.
struct Order<'a> {
    request: &'a ScrollRequest,
    filter: Option<&'a CheckedFilter>,
    after: Option<Place>,
}

impl Order<'_> {
    /// One more than the page has: whether there is another page.
    fn wanted(&self) -> usize {
        self.request.limit + 1
    }

    fn is_after(&self, place: Place) -> bool {
        self.after.is_none_or(|after| place > after)
    }

    async fn next_ids(
        &self,
        segment: usize,
        entry: &OpenEntry,
        control: &ReadControl,
        read: &mut ReadStats,
    ) -> Result<Next, Error> {
        let allowed = match self.filter {
            Some(filter) => Some(entry.allowed(filter, control, read).await?),
            None => None,
        };
        let is_allowed = |point: u32| match &allowed {
            Some(allowed) => allowed.contains(point),
            None => !entry.deleted.contains(point),
        };
        let (mut next, mut after) = (Next::new(), self.after.map(|after| after.id));
        if allowed.as_ref().is_some_and(RoaringBitmap::is_empty) {
            return Ok(next);
        }
        while next.len() < self.wanted() {
            let ids = &entry.reader.data.ids;
            // Where a filter leaves few, more have to be looked at.
            let at_once = self.wanted().max(4096);
            let found = ids.in_order(&entry.reader.ids, after, at_once, control, read).await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(*last);
            let there = found.into_iter().filter(|(_, point)| is_allowed(*point));
            next.extend(there.map(|(id, point)| (Place { number: 0, id }, Found::Disk { segment, point })));
        }
        next.truncate(self.wanted());
        Ok(next)
    }

    async fn next_numbers(
        &self,
        segment: usize,
        entry: &OpenEntry,
        field: &str,
        control: &ReadControl,
        read: &mut ReadStats,
    ) -> Result<Next, Error> {
        let allowed = entry.live(self.filter, control, read).await?;
        let low = self.after.map_or(0, |after| after.number);
        let fields = entry.fields(control);
        let (mut next, mut from) = (Next::new(), 0);
        while next.len() < self.wanted() {
            let Some(page) = fields.numbers(field, low, u64::MAX, from, 8, read).await? else { break };
            from = page.next;
            let there: Vec<(u64, u32)> =
                page.entries.into_iter().filter(|(_, point)| allowed.contains(*point)).collect();
            let points: Vec<u32> = there.iter().map(|(_, point)| *point).collect();
            let ids = entry.reader.ids_of(&points, control, read).await?;
            for ((number, point), id) in there.into_iter().zip(ids) {
                let place = Place { number, id };
                if self.is_after(place) {
                    next.push((place, Found::Disk { segment, point }));
                }
            }
        }
        next.truncate(self.wanted());
        Ok(next)
    }
}

/// A token: the last id of a page, and before it, if the order is that of a number, the number.
fn token(place: Place, by_number: bool) -> String {
    if by_number { format!("{:x}:{}", place.number, place.id) } else { place.id.to_string() }
}

fn parse_token(token: &str, by_number: bool) -> Result<Place, InputError> {
    let wrong = |reason| InputError::PageToken { token: token.to_owned(), reason };
    let (number, id) = match (token.split_once(':'), by_number) {
        (Some((number, id)), true) => {
            let number =
                u64::from_str_radix(number, 16).map_err(|_| wrong("it is not from a page of this order"))?;
            (number, id)
        }
        (None, false) => (0, token),
        (Some(_), false) => return Err(wrong("it is from a page ordered by a field; ask in the same order")),
        (None, true) => return Err(wrong("it is from a page ordered by id; ask in the same order")),
    };
    let id = id.parse().map_err(|_| wrong("it does not end with a point id"))?;
    Ok(Place { number, id })
}
