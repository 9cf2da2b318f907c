//! Scroll: all points, page by page, in the order of ids or of a field of numbers.
//!
//! A page merges the next points of every segment, in order. A token names the last point of the page, and
//! therefore does not depend on the segments.

use super::reader::{CollectionReader, OpenEntry, in_memory, payload_of};
use super::request::{Record, ScrollPage, ScrollRequest, check_limit};
use super::retrieve::Found;
use crate::error::{Error, InputError};
use crate::field::{Key, keys};
use crate::filter::{CheckedFilter, indexed};
use crate::immutable::fields::{FieldsReader, NUMBERS_PER_PAGE};
use crate::mutable::MutableSegment;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;

/// If a filter and deletions leave more points of a segment than this, looking at each of them is too
/// expensive.
const EACH_MAX: u64 = 10_000;
/// The least ids of one batch if few of them are allowed.
const SPARSE_BATCH: usize = 4096;

/// A place in the order, between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// 0 if the order is by id.
    number: u64,
    id: PointId,
}

/// The next points of one segment, in order.
type Next = Vec<(Place, Found)>;

impl CollectionReader {
    /// Returns a page of points.
    ///
    /// # Errors
    /// As [`CollectionReader::search`]; [`InputError::PageToken`].
    pub async fn scroll(&self, request: &ScrollRequest, stop: &StopFlag) -> Result<ScrollPage, Error> {
        let result = self.page(request, stop).await;
        let counts = &self.shared.counts;
        counts.read(&counts.scrolls, &result, |page| page.read);
        result
    }

    async fn page(&self, request: &ScrollRequest, stop: &StopFlag) -> Result<ScrollPage, Error> {
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
        let field = request.order_by.as_deref();
        let after = request.page.as_deref().map(|token| parse_token(token, field)).transpose()?;
        let order = Order { request, filter: filter.as_ref(), after };
        let control = self.control(stop);
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
        check_apart(&next)?;
        let is_last = next.len() <= request.limit;
        next.truncate(request.limit);
        let token = next.last().filter(|_| !is_last).map(|(place, _)| token(*place, field));
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
        let allowed = segment.allowed(order.filter, deleted)?;
        let is_allowed = |slot: u32| allowed.contains(slot);
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

/// Checks that no point of the next ones, which are in order, is in two segments.
fn check_apart(next: &Next) -> Result<(), Error> {
    let segment = |found: &Found| match found {
        Found::Disk { segment, .. } => Some(*segment),
        Found::Memory(_) => None,
    };
    let is_twice = |pair: &&[(Place, Found)]| {
        let ((place, found), (next_place, next)) = (&pair[0], &pair[1]);
        place == next_place
            && segment(found).zip(segment(next)).is_some_and(|(segment, next)| segment != next)
    };
    match next.windows(2).find(is_twice) {
        Some(twice) => Err(Error::Overlap { id: twice[0].0.id }),
        None => Ok(()),
    }
}

/// The order of the points, and where to continue.
struct Order<'a> {
    request: &'a ScrollRequest,
    filter: Option<&'a CheckedFilter>,
    after: Option<Place>,
}

impl Order<'_> {
    /// One more point than the page has. It shows whether another page follows.
    fn wanted(&self) -> usize {
        self.request.limit + 1
    }

    fn is_after(&self, place: Place) -> bool {
        self.after.is_none_or(|after| place > after)
    }

    /// Compares two ways to find the next allowed points of a segment. Returns true if looking at each
    /// allowed point is cheaper than walking all points in order until `wanted` allowed ones are found.
    fn is_selective(&self, allowed: &RoaringBitmap, total: u32) -> bool {
        let allowed = allowed.len();
        allowed <= EACH_MAX && allowed * allowed <= self.wanted() as u64 * u64::from(total)
    }

    async fn next_ids(
        &self,
        segment: usize,
        entry: &OpenEntry,
        control: &ReadControl,
        read: &mut ReadStats,
    ) -> Result<Next, Error> {
        let found = |(id, point)| (Place { number: 0, id }, Found::Disk { segment, point });
        let allowed = entry.live(self.filter, control, read).await?;
        if self.is_selective(&allowed, entry.reader.data.points) {
            let points: Vec<u32> = allowed.iter().collect();
            let ids = entry.reader.ids_of(&points, control, read).await?;
            let places = ids.into_iter().zip(points).map(found).filter(|(place, _)| self.is_after(*place));
            return Ok(self.first(places.collect()));
        }
        let (mut next, mut after) = (Next::new(), self.after.map(|after| after.id));
        let is_sparse = allowed.len() < u64::from(entry.reader.data.points) / 2;
        let at_once = if is_sparse { self.wanted().max(SPARSE_BATCH) } else { self.wanted() };
        while next.len() < self.wanted() && !allowed.is_empty() {
            let ids = &entry.reader.data.ids;
            let in_order = ids.in_order(&entry.reader.ids, after, at_once, control, read).await?;
            let Some((last, _)) = in_order.last() else { break };
            after = Some(*last);
            next.extend(in_order.into_iter().filter(|(_, point)| allowed.contains(*point)).map(found));
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
        let found = |number, id, point| (Place { number, id }, Found::Disk { segment, point });
        let allowed = entry.live(self.filter, control, read).await?;
        let fields = entry.fields(control);
        let mut next = Next::new();
        if self.is_selective(&allowed, entry.reader.data.points) {
            let points: Vec<u32> = allowed.iter().collect();
            let ids = entry.reader.ids_of(&points, control, read).await?;
            let mut ids = ids.into_iter();
            let kind = entry.reader.data.schema.indexes[field];
            for some in entry.reader.payload_batches(&points) {
                let payloads = entry.reader.payloads(some, control, read).await?;
                for ((&point, bytes), id) in some.iter().zip(&payloads).zip(&mut ids) {
                    let payload = payload_of(&entry.reader, point, bytes)?;
                    let keys = keys(&payload, field, kind).map_err(|wrong| {
                        let reason =
                            format!("the payload of point {point} has {} in field {field}", wrong.found);
                        Error::damaged(entry.reader.payload.data().path(), None, reason)
                    })?;
                    for key in keys {
                        let Key::Number(number) = key else { unreachable!("ordered fields are numbers") };
                        next.push(found(number, id, point));
                    }
                }
            }
            next.retain(|(place, _)| self.is_after(*place));
            return Ok(self.first(next));
        }
        let low = self.after.map_or(0, |after| after.number);
        let mut from = match self.after {
            Some(after) => first_page(entry, &fields, field, after, control, read).await?,
            None => 0,
        };
        let at_once = (self.wanted() / NUMBERS_PER_PAGE + 2).min(64);
        while next.len() < self.wanted() {
            let Some(page) = fields.numbers(field, low, u64::MAX, from, at_once, read).await? else { break };
            from = page.next;
            let there: Vec<(u64, u32)> =
                page.entries.into_iter().filter(|(_, point)| allowed.contains(*point)).collect();
            let points: Vec<u32> = there.iter().map(|(_, point)| *point).collect();
            let ids = entry.reader.ids_of(&points, control, read).await?;
            let places = there.into_iter().zip(ids).map(|((number, point), id)| found(number, id, point));
            next.extend(places.filter(|(place, _)| self.is_after(*place)));
        }
        next.truncate(self.wanted());
        Ok(next)
    }

    /// The first ones in order, as many as are wanted.
    fn first(&self, mut next: Next) -> Next {
        next.sort_unstable_by_key(|(place, _)| *place);
        next.truncate(self.wanted());
        next
    }
}

/// The page of the number table where the points after a place begin. Many points may share the number, so a
/// binary search over their pages finds the place.
async fn first_page(
    entry: &OpenEntry,
    fields: &FieldsReader<'_>,
    field: &str,
    after: Place,
    control: &ReadControl,
    read: &mut ReadStats,
) -> Result<usize, Error> {
    let mut pages = fields.pages_beginning_with(field, after.number);
    while !pages.is_empty() {
        let middle = pages.start.midpoint(pages.end);
        let page = fields.numbers(field, after.number, after.number, middle, 1, read).await?;
        let first = page.and_then(|page| page.entries.first().copied());
        let Some((_, point)) = first else { break };
        let id = entry.reader.ids_of(&[point], control, read).await?[0];
        pages = if id <= after.id { middle + 1..pages.end } else { pages.start..middle };
    }
    Ok(pages.start.saturating_sub(1))
}

/// A page token. In the order of ids, it is the last id of the page. In the order of a field, it is
/// `number:id:field`.
fn token(place: Place, field: Option<&str>) -> String {
    match field {
        Some(field) => format!("{:x}:{}:{field}", place.number, place.id),
        None => place.id.to_string(),
    }
}

fn parse_token(token: &str, field: Option<&str>) -> Result<Place, InputError> {
    let wrong = |reason| InputError::PageToken { token: token.to_owned(), reason };
    let another = || wrong("it is from a page in another order; ask in the same order");
    let (number, id) = match (field, token.split_once(':')) {
        (None, None) => (0, token),
        (Some(field), Some((number, rest))) => {
            let (id, of) = rest.split_once(':').ok_or_else(another)?;
            if of != field {
                return Err(another());
            }
            (u64::from_str_radix(number, 16).map_err(|_| wrong("it does not begin with a number"))?, id)
        }
        _ => return Err(another()),
    };
    let id = id.parse().map_err(|_| wrong("it does not name a point"))?;
    Ok(Place { number, id })
}
