//! Permits for writes towards the API server: so many at once, and namespaces take turns, so that
//! one tenant's thousand writes do not delay another's one.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;
use super::turns::Turns;

/// Permits for writes.
#[derive(Clone, Debug)]
pub struct Writes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: Turns<oneshot::Sender<Permit>>,
}

/// Lets one write be under way; it goes to the next in turn when it is dropped.
#[derive(Debug)]
pub struct Permit(Option<Writes>);

impl Writes {
    /// Lets so many be under way at once.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: at_once,
            waiting: Turns::default(),
        })))
    }

    /// Waits for the turn of a namespace.
    pub async fn acquire(&self, namespace: &str) -> Permit {
        loop {
            let turn = {
                let mut state = lock(&self.0);
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(Some(self.clone()));
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push(namespace, sender);
                receiver
            };
            // Its sender is never dropped but for a permit sent.
            if let Ok(permit) = turn.await {
                return permit;
            }
        }
    }

    /// How many wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0).waiting.len()
    }

    /// Hands a permit on to the next that still waits.
    fn release(&self) {
        let mut state = lock(&self.0);
        while let Some((_, next)) = state.waiting.pop() {
            match next.send(Permit(Some(self.clone()))) {
                Ok(()) => return,
                // Whoever waited has gone away.
                Err(mut unwanted) => drop(unwanted.0.take()),
            }
        }
        state.free += 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(writes) = self.0.take() {
            writes.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::join_all;
    use std::cell::RefCell;

    #[tokio::test]
    async fn so_many_are_under_way_and_namespaces_take_turns() {
        let writes = Writes::new(2);
        let held = join_all(["a", "a"].map(|namespace| writes.acquire(namespace))).await;
        let order = RefCell::new(Vec::new());
        let others = ["a", "a", "a", "b", "c"].map(|namespace| {
            let (writes, order) = (&writes, &order);
            async move {
                let _permit = writes.acquire(namespace).await;
                order.borrow_mut().push(namespace);
                tokio::task::yield_now().await;
            }
        });
        let mut all = Box::pin(join_all(others));
        assert!(all.as_mut().now_or_never().is_none());
        assert_eq!(writes.waiting(), 5);
        drop(held);
        all.await;
        assert_eq!(*order.borrow(), ["a", "b", "c", "a", "a"]);
        assert_eq!((writes.waiting(), lock(&writes.0).free), (0, 2));
    }

    #[tokio::test]
    async fn a_permit_that_nobody_takes_any_more_is_not_lost() {
        let writes = Writes::new(1);
        let held = writes.acquire("a").await;
        let mut gone = Box::pin(writes.acquire("b"));
        let mut told = Box::pin(writes.acquire("c"));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(told.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        // It was handed to this one, which goes away before it looks.
        drop(told);
        assert!(writes.acquire("d").now_or_never().is_some());
    }
}
