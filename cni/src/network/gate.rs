//! What becomes of a connection between its arrival and the program that accepts it: served, held up, or ended.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;

use super::{Direction, PodStream, Shaper};

/// Stands before the listeners of a program, to act out a bad one.
pub trait Gate: Send + Sync {
    /// Looks at a connection that has come. It may hold it up ([`PodStream::hold`]); false ends it.
    fn admit(&self, stream: &mut PodStream) -> bool;
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lets nothing pass until a future is done.
struct Hold {
    until: Mutex<Option<Waiting>>,
    then: Option<Arc<dyn Shaper>>,
}

impl Shaper for Hold {
    fn poll_admit(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        wanted: usize,
    ) -> Poll<usize> {
        let mut until = self.until.lock();
        if let Some(waiting) = &mut *until {
            ready!(waiting.as_mut().poll(context));
            *until = None;
        }
        match &self.then {
            Some(shaper) => shaper.poll_admit(context, direction, wanted),
            None => Poll::Ready(wanted),
        }
    }
}

impl PodStream {
    /// Lets no byte pass before `until` is done, as the program sees it. Only one half may wait at a time, as a
    /// server's does that reads a request first.
    pub fn hold(&mut self, until: impl Future<Output = ()> + Send + 'static) {
        let then = self.shaper.take();
        self.shaper = Some(Arc::new(Hold { until: Mutex::new(Some(Box::pin(until))), then }));
    }
}
