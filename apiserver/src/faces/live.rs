//! Documents that follow the defined kinds: made when they are first asked for, and again when the kinds have changed.

use std::sync::Arc;

use apimachinery::resource::{self, ResourceInfo};
use arc_swap::ArcSwapOption;

use crate::apiextensions::Table;

/// Makes a document of the served resources, built-in ones first.
type Make<T> = fn(&[&'static ResourceInfo]) -> T;

/// A document, and the table that it was made from.
#[derive(Debug)]
pub(crate) struct Live<T> {
    make: Make<T>,
    made: ArcSwapOption<(u64, Arc<T>)>,
}

impl<T> Live<T> {
    pub(crate) fn new(make: Make<T>) -> Self {
        Self { make, made: ArcSwapOption::empty() }
    }

    /// The document of a table.
    pub(crate) fn of(&self, table: &Table) -> Arc<T> {
        if let Some(made) = &*self.made.load()
            && made.0 == table.generation
        {
            return made.1.clone();
        }
        let resources: Vec<_> = resource::served().chain(table.resources.iter().copied()).collect();
        let document = Arc::new((self.make)(&resources));
        self.made.store(Some(Arc::new((table.generation, document.clone()))));
        document
    }
}
