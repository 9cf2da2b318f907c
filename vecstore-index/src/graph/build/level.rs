//! The links of one level while a graph grows.

/// The links of one level, with room for as many as are allowed.
pub(super) struct GrowingLevel {
    pub(super) links_max: usize,
    pub(super) links: Vec<u32>,
    pub(super) counts: Vec<u16>,
}

impl GrowingLevel {
    pub(super) fn new(slots: usize, links_max: usize) -> Self {
        Self { links_max, links: vec![0; slots * links_max], counts: vec![0; slots] }
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> &[u32] {
        let start = slot * self.links_max;
        &self.links[start..start + usize::from(self.counts[slot])]
    }

    pub(super) fn set(&mut self, slot: usize, links: &[u32]) {
        let start = slot * self.links_max;
        self.links[start..start + links.len()].copy_from_slice(links);
        self.counts[slot] = links.len() as u16;
    }

    pub(super) fn has_room(&self, slot: u32) -> bool {
        usize::from(self.counts[slot as usize]) < self.links_max
    }

    pub(super) fn add(&mut self, slot: u32, link: u32) {
        let count = &mut self.counts[slot as usize];
        self.links[slot as usize * self.links_max + usize::from(*count)] = link;
        *count += 1;
    }

    /// Marks all points that a walk from `from` can reach.
    pub(super) fn reach(&self, from: u32, reached: &mut [bool]) {
        reached[from as usize] = true;
        let mut waiting = vec![from];
        while let Some(node) = waiting.pop() {
            for &link in self.get(node as usize) {
                if !std::mem::replace(&mut reached[link as usize], true) {
                    waiting.push(link);
                }
            }
        }
    }
}
