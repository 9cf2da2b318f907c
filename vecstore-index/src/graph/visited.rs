//! The points that a search has seen. Each point has a byte that holds the number of the last search that saw
//! it, so a new search need not clear them.

/// A set of ids. Emptying it takes constant time; every 255th time it takes time proportional to its size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visited {
    marks: Vec<u8>,
    /// The mark of the current search. No search has mark 0.
    current: u8,
}

impl Visited {
    /// Empties the set and makes room for ids below `len`.
    pub(crate) fn begin(&mut self, len: usize) {
        if self.current == u8::MAX {
            self.marks.fill(0);
            self.current = 0;
        }
        self.current += 1;
        if self.marks.len() < len {
            self.marks.resize(len, 0);
        }
    }

    /// Whether the set has an id. Ids beyond the room count as present.
    #[inline]
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.marks.get(id as usize).is_none_or(|mark| *mark == self.current)
    }

    /// Adds an id. Returns true if it was absent. Ids beyond the room count as present.
    #[inline]
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        match self.marks.get_mut(id as usize) {
            Some(mark) if *mark != self.current => {
                *mark = self.current;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_search_begins_with_nothing_seen() {
        let mut visited = Visited::default();
        for round in 0..600 {
            visited.begin(10);
            assert!(visited.insert(3), "round {round}");
            assert!(visited.contains(3) && !visited.insert(3));
            assert!(!visited.contains(9) && visited.contains(10));
            assert_eq!(visited.insert(round % 10), round % 10 != 3);
            assert!(!visited.insert(10));
        }
        visited.begin(20);
        assert!(visited.insert(19) && visited.insert(3));
        visited.begin(5);
        assert!(visited.insert(3));
    }
}
