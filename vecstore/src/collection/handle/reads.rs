//! Reads. Each goes to one of the cores.

use super::lifecycle::Collection;
use crate::collection::locality::Locality;
use crate::collection::pending::Pending;
use crate::collection::request::{
    FacetCount, RecordParts, Retrieved, ScrollPage, ScrollRequest, SearchRequest, SearchResult,
};
use crate::filter::Filter;
use crate::point::PointId;
use futures_util::future::try_join_all;
use io_core::{BackendInfo, StopFlag};
use std::iter;

/// The most searches of a batch that a core takes at a time. The caller's thread need not wake up for each,
/// and other reads still come in between.
const TOGETHER_MAX: usize = 16;

impl Collection {
    /// Finds the points nearest to a vector.
    ///
    /// # Errors
    /// As [`CollectionReader::search`](crate::collection::CollectionReader::search).
    pub fn search(&self, request: SearchRequest) -> Pending<SearchResult> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.search(&request, &stop).await }))
    }

    /// Runs many searches on all cores. The results are in the order of the requests.
    ///
    /// # Errors
    /// As [`CollectionReader::search`](crate::collection::CollectionReader::search), for the first search
    /// that fails.
    pub fn search_batch(&self, requests: Vec<SearchRequest>) -> Pending<Vec<SearchResult>> {
        // All searches share a flag. Dropping the future raises it, so that the others stop after one failed.
        let stop = StopFlag::new();
        let search = |requests: Vec<SearchRequest>| {
            let stop = stop.clone();
            self.cores.submit(move |reader| {
                Box::pin(async move {
                    let mut found = Vec::with_capacity(requests.len());
                    for request in &requests {
                        found.push(reader.search(request, &stop).await?);
                    }
                    Ok(found)
                })
            })
        };
        let together = (requests.len() / self.cores.reads_at_once().max(1)).clamp(1, TOGETHER_MAX);
        let mut requests = requests.into_iter();
        let batches = iter::from_fn(|| Some(requests.by_ref().take(together).collect::<Vec<_>>()));
        let searches: Vec<_> = batches.take_while(|batch| !batch.is_empty()).map(search).collect();
        let found = try_join_all(searches);
        Pending::new(stop, async move { Ok(found.await?.into_iter().flatten().collect()) })
    }

    /// Fetches points by their ids.
    ///
    /// # Errors
    /// As [`CollectionReader::retrieve`](crate::collection::CollectionReader::retrieve).
    pub fn retrieve(&self, ids: Vec<PointId>, with: RecordParts) -> Pending<Retrieved> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.retrieve(&ids, with, &stop).await }))
    }

    /// Returns a page of points, in order.
    ///
    /// # Errors
    /// As [`CollectionReader::scroll`](crate::collection::CollectionReader::scroll).
    pub fn scroll(&self, request: ScrollRequest) -> Pending<ScrollPage> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.scroll(&request, &stop).await }))
    }

    /// Counts points.
    ///
    /// # Errors
    /// As [`CollectionReader::count`](crate::collection::CollectionReader::count).
    pub fn count(&self, filter: Option<Filter>) -> Pending<u64> {
        self.cores
            .read(move |reader, stop| Box::pin(async move { reader.count(filter.as_ref(), &stop).await }))
    }

    /// The values of an indexed field that most points have.
    ///
    /// # Errors
    /// As [`CollectionReader::facet`](crate::collection::CollectionReader::facet).
    pub fn facet(&self, field: String, filter: Option<Filter>, limit: usize) -> Pending<Vec<FacetCount>> {
        self.cores.read(move |reader, stop| {
            Box::pin(async move { reader.facet(&field, filter.as_ref(), limit, &stop).await })
        })
    }

    /// How well the points of each value of an indexed field lie together on disk.
    ///
    /// # Errors
    /// As [`CollectionReader::locality`](crate::collection::CollectionReader::locality).
    pub fn locality(&self, field: String) -> Pending<Locality> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.locality(&field, &stop).await }))
    }

    /// The properties of the backend's readers in use. `None` while there is no immutable segment.
    ///
    /// # Errors
    /// The error that prevents opening files.
    pub fn backend_info(&self) -> Pending<Option<BackendInfo>> {
        self.cores.read(|reader, _| Box::pin(async move { reader.backend_info().await }))
    }
}
