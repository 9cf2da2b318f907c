//! The pages of a file that one reader takes to be in memory, without asking: those it has read lately.
//!
//! ```text
//! read  ──> recent  ──(a page known here was gone)──> older  ──(again)──> forgotten
//!             ^                                         │
//!             └──────────────── read again ─────────────┘
//! ```
//!
//! The kernel first drops pages that were unused for long. So a missing page shows how far back memory
//! reaches, and the older half of the known pages is forgotten. Asking (`mincore`) would take longer than
//! reading a page from a map.

use std::ops::RangeInclusive;

/// Whether each page of a file is known.
#[derive(Debug)]
pub(crate) struct Known {
    pages: Vec<Pages64>,
    page_shift: u32,
    /// How often a known page was missing.
    turn: u64,
}

/// A bit for each of 64 pages.
#[derive(Clone, Debug, Default)]
struct Pages64 {
    recent: u64,
    older: u64,
    /// The turn of the last access. The next access makes up for the turns between. So a turn itself costs
    /// nothing.
    turn: u64,
}

impl Known {
    /// For a file of `len` bytes. All pages are known if `all`.
    pub(crate) fn new(len: u64, page_bytes: usize, all: bool) -> Self {
        let page_shift = page_bytes.trailing_zeros();
        let pages = Pages64 { recent: if all { u64::MAX } else { 0 }, ..Pages64::default() };
        Self { pages: vec![pages; (len >> page_shift) as usize / 64 + 1], page_shift, turn: 0 }
    }

    /// The pages of these bytes. `len` is not 0.
    fn span(&self, offset: u64, len: u32) -> RangeInclusive<u64> {
        offset >> self.page_shift..=(offset + u64::from(len) - 1) >> self.page_shift
    }

    fn at(&mut self, page: u64) -> (&mut Pages64, u64) {
        let pages = &mut self.pages[(page / 64) as usize];
        match self.turn - pages.turn {
            0 => {}
            1 => *pages = Pages64 { recent: 0, older: pages.recent, turn: self.turn },
            _ => *pages = Pages64 { turn: self.turn, ..Pages64::default() },
        }
        (pages, 1 << (page % 64))
    }

    /// Whether all pages of these bytes are known. The known ones count as used. `len` is not 0.
    pub(crate) fn use_if_all(&mut self, offset: u64, len: u32) -> bool {
        self.span(offset, len).all(|page| {
            let (pages, bit) = self.at(page);
            let known = (pages.recent | pages.older) & bit;
            pages.recent |= known;
            known != 0
        })
    }

    /// Makes the pages of these bytes known, after they were read. `len` is not 0.
    pub(crate) fn add(&mut self, offset: u64, len: u32) {
        for page in self.span(offset, len) {
            let (pages, bit) = self.at(page);
            pages.recent |= bit;
        }
    }

    /// Forgets the older half, because a known page was missing.
    pub(crate) fn forget_older(&mut self) {
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn what_was_read_is_known_until_it_was_not_read_for_two_turns() {
        let mut known = Known::new(1 << 20, 4096, false);
        assert!(!known.use_if_all(5000, 10));
        known.add(4096, 4096);
        assert!(known.use_if_all(5000, 10));
        // The request's second half lies on a page that was not read.
        assert!(!known.use_if_all(8000, 400));
        known.add(8000, 400);
        assert!(known.use_if_all(8000, 400));
        known.forget_older();
        assert!(known.use_if_all(8192, 1));
        known.forget_older();
        assert!(!known.use_if_all(5000, 10) && known.use_if_all(8192, 1));
        known.forget_older();
        known.forget_older();
        assert!(!known.use_if_all(8192, 1));
    }

    #[test]
    fn the_last_page_counts_too() {
        for len in [1u64, 4096, 4097, 64 * 4096, 64 * 4096 + 1] {
            assert!(Known::new(len, 4096, true).use_if_all(len - 1, 1));
            let mut known = Known::new(len, 4096, false);
            known.add(len - 1, 1);
            assert!(known.use_if_all(len - 1, 1));
        }
    }
}
