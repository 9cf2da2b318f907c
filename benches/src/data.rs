//! Vectors to measure with, from files that environment variables name, or synthetic.

use std::path::Path;
use vecstore::input::{Format, VectorInput, VectorSource};
use vecstore::schema::ElementType;

/// Any error that ends a bench.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// An environment variable, if it is set.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Vectors of one dimension.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Components of a vector.
    pub dim: usize,
    /// The type of the components in the file.
    pub element: ElementType,
    /// All components, vector after vector.
    pub components: Vec<f32>,
}

impl Vectors {
    /// Reads a file of vectors. Its extension names the format.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &str) -> Result<Self, Error> {
        let path = Path::new(path);
        Self::all_of(&mut VectorInput::open(path, Format::by_extension(path)?)?)
    }

    /// Reads all vectors of a source.
    ///
    /// # Errors
    /// The source's error.
    pub fn all_of(source: &mut impl VectorSource) -> Result<Self, Error> {
        let (dim, element) = (source.dim(), source.element());
        let wanted = source.count() as usize * dim;
        let mut components = Vec::with_capacity(wanted);
        while components.len() < wanted {
            components.extend(source.next_rows(1024)?.to_f32());
        }
        Ok(Self { dim, element, components })
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.components.len() / self.dim
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// The vectors, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.components.chunks_exact(self.dim)
    }

    /// Keeps the first `count` vectors.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.components.truncate(count * self.dim);
        self
    }
}
