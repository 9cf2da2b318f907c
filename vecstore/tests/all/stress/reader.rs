//! Random reads, with checks of what they saw.

use crate::stress::Run;
use crate::stress::points::{Question, Shape, values};
use crate::stress::timeline::{Points, Window};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vecstore::collection::{Collection, Hit, Record, RecordParts, Rescore, ScrollRequest, SearchRequest};
use vecstore::point::{Point, PointId};

/// More points than any run has.
const ALL: usize = 10_000;

/// Checks whether a read may have seen this state. The error says why not.
type Check<'a> = Box<dyn Fn(&Points) -> Result<(), String> + 'a>;

/// A completed read.
struct Seen<'a> {
    what: String,
    window: Window,
    check: Check<'a>,
}

/// Reads until all writers have finished.
pub(crate) fn read(run: &Run, collection: &Collection, random: fastrand::Rng) {
    let mut reader = Reader { run, collection, random, seen: VecDeque::new() };
    while run.goes_on() {
        match reader.random.u32(..12) {
            0..=1 => reader.scroll_all(),
            2 => reader.scroll_pages(),
            3 => reader.scroll_in_order(),
            4..=5 => reader.retrieve(),
            6 => reader.count(),
            7 => reader.facet(),
            8..=9 => reader.search_all(),
            10 => reader.search_exact(),
            _ => reader.search_some(),
        }
        reader.check();
    }
    // Every write is acknowledged by now.
    while !reader.seen.is_empty() && !run.has_failed() {
        reader.check();
    }
}

struct Reader<'a> {
    run: &'a Run,
    collection: &'a Collection,
    random: fastrand::Rng,
    /// Reads that may have seen unacknowledged writes.
    seen: VecDeque<Seen<'a>>,
}

impl<'a> Reader<'a> {
    fn question(&mut self) -> Question {
        Question::random(&self.run.shape, &mut self.random)
    }

    fn with(&mut self) -> RecordParts {
        RecordParts { payload: self.random.bool(), vector: self.random.bool() }
    }

    /// Executes a read, and keeps a check of its result.
    fn see<T>(&mut self, what: String, read: impl FnOnce() -> T, check: impl FnOnce(T) -> Check<'a>) {
        self.run.note(what.clone());
        let begun = self.run.timeline.begin_read();
        let found = read();
        let window = self.run.timeline.end_read(begun);
        self.seen.push_back(Seen { what, window, check: check(found) });
    }

    /// Checks the reads whose possible states are known.
    fn check(&mut self) {
        while let Some(Seen { what, window, check }) = self.seen.front() {
            let Some(states) = self.run.timeline.states(window) else { return };
            let wrong: Vec<String> = states.iter().map_while(|state| check(state).err()).collect();
            assert!(
                wrong.len() < states.len(),
                "{what} saw none of what there was: {}",
                wrong.join("; or: ")
            );
            self.seen.pop_front();
        }
    }

    /// Reads a page. Checks that it has the next points after a place, and whether more follow.
    fn page(
        &mut self,
        question: &Question,
        limit: usize,
        after: Option<PointId>,
        with: RecordParts,
    ) -> Option<PointId> {
        let request = ScrollRequest {
            filter: question.filter.clone(),
            limit,
            page: after.map(|id| id.to_string()),
            with,
            ..ScrollRequest::default()
        };
        let (collection, question) = (self.collection, question.clone());
        let mut next = None;
        let last = &mut next;
        self.see(
            format!("scroll {limit} of {question} after {after:?}"),
            || collection.scroll(request).wait().unwrap(),
            |page| {
                *last = page.next.is_some().then(|| page.records.last().expect("before the next").id);
                Box::new(move |points| {
                    let is_next =
                        |point: &&Point| question.holds(point) && after.is_none_or(|after| point.id > after);
                    let expected: Vec<&Point> =
                        points.values().map(|point| &**point).filter(is_next).collect();
                    let shown = &expected[..expected.len().min(limit)];
                    same_records(&page.records, shown, with)?;
                    same("that there are more", &page.next.is_some(), &(expected.len() > limit))
                })
            },
        );
        next
    }

    fn scroll_all(&mut self) {
        let (question, with) = (self.question(), self.with());
        self.page(&question, ALL, None, with);
    }

    fn scroll_pages(&mut self) {
        let (question, with, limit) = (self.question(), self.with(), self.random.usize(1..40));
        let mut after = self.page(&question, limit, None, with);
        while after.is_some() && !self.run.has_failed() {
            after = self.page(&question, limit, after, with);
        }
    }

    fn scroll_in_order(&mut self) {
        let (question, limit) = (self.question(), *self.random.choice(&[5, ALL]).unwrap());
        let request = ScrollRequest {
            filter: question.filter.clone(),
            order_by: Some("n".to_owned()),
            limit,
            page: None,
            with: RecordParts::ALL,
        };
        let collection = self.collection;
        self.see(
            format!("scroll {limit} of {question} in order"),
            || collection.scroll(request).wait().unwrap(),
            |page| {
                Box::new(move |points| {
                    let mut expected = BTreeSet::new();
                    for point in points.values().filter(|point| question.holds(point)) {
                        expected.extend(values(point, "n").iter().map(|n| (n.as_i64(), point.id)));
                    }
                    let shown: Vec<&Point> =
                        expected.iter().take(limit).map(|(_, id)| &*points[id]).collect();
                    same_records(&page.records, &shown, RecordParts::ALL)?;
                    same("that there are more", &page.next.is_some(), &(expected.len() > limit))
                })
            },
        );
    }

    fn retrieve(&mut self) {
        let count = self.random.usize(..30);
        let ids: BTreeSet<PointId> = (0..count).map(|_| self.run.shape.any_id(&mut self.random)).collect();
        let mut ids: Vec<PointId> = ids.into_iter().collect();
        self.random.shuffle(&mut ids);
        let (collection, with) = (self.collection, self.with());
        self.see(
            format!("retrieve {ids:?}"),
            || collection.retrieve(ids.clone(), with).wait().unwrap(),
            |retrieved| {
                let ids = ids.clone();
                Box::new(move |points| {
                    let expected: Vec<&Point> =
                        ids.iter().filter_map(|id| points.get(id)).map(|point| &**point).collect();
                    same_records(&retrieved.records, &expected, with)?;
                    let missing: Vec<PointId> =
                        ids.iter().filter(|id| !points.contains_key(id)).copied().collect();
                    same("what is missing", &retrieved.missing, &missing)
                })
            },
        );
    }

    fn count(&mut self) {
        let (collection, question) = (self.collection, self.question());
        self.see(
            format!("count {question}"),
            || collection.count(question.filter.clone()).wait().unwrap(),
            |count| {
                let question = question.clone();
                Box::new(move |points| {
                    let expected = points.values().filter(|point| question.holds(point)).count() as u64;
                    same("the count", &count, &expected)
                })
            },
        );
    }

    fn facet(&mut self) {
        let (collection, question) = (self.collection, self.question());
        let field = *self.random.choice(&["t", "n", "owner"]).unwrap();
        self.see(
            format!("facet {field} of {question}"),
            || collection.facet(field.to_owned(), question.filter.clone(), ALL).wait().unwrap(),
            |found| {
                let question = question.clone();
                let found: Vec<(String, u64)> =
                    found.into_iter().map(|facet| (facet.value.to_string(), facet.count)).collect();
                Box::new(move |points| {
                    let mut expected = BTreeMap::new();
                    for point in points.values().filter(|point| question.holds(point)) {
                        let values: BTreeSet<String> =
                            values(point, field).iter().map(ToString::to_string).collect();
                        for value in values {
                            *expected.entry(value).or_insert(0) += 1;
                        }
                    }
                    if !found.is_sorted_by_key(|(_, count)| std::cmp::Reverse(*count)) {
                        return Err(format!("not in order: {found:?}"));
                    }
                    same("the facet", &found.iter().cloned().collect(), &expected)
                })
            },
        );
    }

    fn request(&mut self, question: &Question, limit: usize) -> SearchRequest {
        SearchRequest {
            filter: question.filter.clone(),
            limit,
            with_payload: self.random.bool(),
            with_vector: self.random.bool(),
            ..SearchRequest::new(self.run.shape.vector(&mut self.random))
        }
    }

    /// Searches. Checks that each hit is a point of the state, that hits are in order, and what `complete`
    /// adds.
    fn search(
        &mut self,
        question: Question,
        request: &SearchRequest,
        complete: impl Fn(&[Hit], &SearchRequest, &[&Point]) -> Result<(), String> + 'a,
    ) {
        let (collection, shape) = (self.collection, &self.run.shape);
        self.see(
            format!("search {question}: {request:?}"),
            || collection.search(request.clone()).wait().unwrap().hits,
            |hits| {
                let request = request.clone();
                Box::new(move |points| {
                    let allowed = points.values().map(|point| &**point).filter(|point| question.holds(point));
                    let allowed: Vec<&Point> = allowed.collect();
                    same_hits(shape, &hits, &request, &allowed)?;
                    complete(&hits, &request, &allowed)
                })
            },
        );
    }

    /// A search for more points than exist.
    fn search_all(&mut self) {
        let question = self.question();
        let mut request = self.request(&question, ALL);
        request.params.exact = true;
        self.search(question, &request, |hits, _, allowed| {
            same("the number of hits", &hits.len(), &allowed.len())
        });
    }

    /// A search that scores every vector finds the nearest points.
    fn search_exact(&mut self) {
        let (question, limit) = (self.question(), self.random.usize(1..20));
        let mut request = self.request(&question, limit);
        request.params.exact = true;
        request.offset = self.random.usize(..5);
        let shape = &self.run.shape;
        self.search(question, &request, move |hits, request, allowed| {
            let mut scores: Vec<f64> =
                allowed.iter().map(|point| shape.score(&request.vector, &point.vector)).collect();
            scores.sort_by(|one, other| shape.best_first(*one, *other));
            let expected: Vec<f64> = scores.into_iter().skip(request.offset).take(request.limit).collect();
            let found: Vec<f64> = hits.iter().map(|hit| f64::from(hit.score)).collect();
            let mut pairs = found.iter().zip(&expected);
            if found.len() == expected.len() && pairs.all(|(one, other)| shape.is_same(*one, *other)) {
                return Ok(());
            }
            Err(format!("scores {found:?} instead of {expected:?}"))
        });
    }

    /// An ordinary search finds existing points.
    fn search_some(&mut self) {
        let (question, limit) = (self.question(), self.random.usize(1..20));
        let mut request = self.request(&question, limit);
        request.params.ef = *self.random.choice(&[1, 10, 128]).unwrap();
        request.params.scan_max = *self.random.choice(&[0, 10_000]).unwrap();
        request.params.scan_ratio = 0.0;
        self.search(question, &request, |hits, request, _| {
            if hits.len() > request.limit { Err(format!("{} hits", hits.len())) } else { Ok(()) }
        });
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// All requested parts of a point belong to one version of it.
fn same_point(
    id: PointId,
    payload: Option<&vecstore::point::Payload>,
    vector: Option<&Vec<f32>>,
    with: RecordParts,
    expected: &Point,
) -> Result<(), String> {
    let found = (id, payload, vector);
    let expected =
        (expected.id, with.payload.then_some(&expected.payload), with.vector.then_some(&expected.vector));
    same("a point", &found, &expected)
}

fn same_records(found: &[Record], expected: &[&Point], with: RecordParts) -> Result<(), String> {
    let ids: Vec<PointId> = found.iter().map(|record| record.id).collect();
    let expected_ids: Vec<PointId> = expected.iter().map(|point| point.id).collect();
    same("the points", &ids, &expected_ids)?;
    for (record, point) in found.iter().zip(expected) {
        same_point(record.id, record.payload.as_ref(), record.vector.as_ref(), with, point)?;
    }
    Ok(())
}

/// Each hit is one of the allowed points, occurs once, and has its score. Hits are in order.
fn same_hits(shape: &Shape, hits: &[Hit], request: &SearchRequest, allowed: &[&Point]) -> Result<(), String> {
    let points: BTreeMap<PointId, &Point> = allowed.iter().map(|point| (point.id, *point)).collect();
    let with = RecordParts { payload: request.with_payload, vector: request.with_vector };
    let mut seen = BTreeSet::new();
    for hit in hits {
        if !seen.insert(hit.id) {
            return Err(format!("{} was found twice", hit.id));
        }
        let point = points.get(&hit.id).ok_or_else(|| format!("{} is not there", hit.id))?;
        same_point(hit.id, hit.payload.as_ref(), hit.vector.as_ref(), with, point)?;
        let score = shape.score(&request.vector, &point.vector);
        let is_of_vector = request.params.exact || request.params.rescore == Rescore::All;
        if is_of_vector && !shape.is_same(score, f64::from(hit.score)) {
            return Err(format!("{} has the score {} instead of {score}", hit.id, hit.score));
        }
    }
    let scores = || hits.iter().map(|hit| f64::from(hit.score));
    match scores().zip(scores().skip(1)).find(|(one, next)| shape.is_better(*next, *one)) {
        Some(pair) => Err(format!("not in order: {pair:?}")),
        None => Ok(()),
    }
}
