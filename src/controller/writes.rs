//! Permits for writes towards the API server: so many at once, and namespaces take turns, so that
//! one tenant's thousand writes do not delay another's one. What somebody waits for by itself has
//! every second turn, where there is any: in a crowd that keeps all permits in use it would wait for
//! the whole crowd otherwise.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;
use super::turns::{Standing, Turns};

/// Permits for writes.
#[derive(Clone, Debug)]
pub struct Writes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    alone: Turns<oneshot::Sender<Permit>>,
    crowd: Turns<oneshot::Sender<Permit>>,
    /// Whether the last permit was handed on to one that is alone.
    alone_had_turn: bool,
}

impl State {
    fn line(&mut self, standing: Standing) -> &mut Turns<oneshot::Sender<Permit>> {
        match standing {
            Standing::Alone => &mut self.alone,
            Standing::InCrowd => &mut self.crowd,
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let is_turn_of_alone =
            !self.alone.is_empty() && (!self.alone_had_turn || self.crowd.is_empty());
        self.alone_had_turn = is_turn_of_alone;
        let line = if is_turn_of_alone {
            &mut self.alone
        } else {
            &mut self.crowd
        };
        line.pop().map(|(_, next)| next)
    }
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
            alone: Turns::default(),
            crowd: Turns::default(),
            alone_had_turn: false,
        })))
    }

    /// Waits for the turn of a namespace.
    pub async fn acquire(&self, namespace: &str, standing: Standing) -> Permit {
        loop {
            let turn = {
                let mut state = lock(&self.0);
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(Some(self.clone()));
                }
                let (sender, receiver) = oneshot::channel();
                state.line(standing).push(namespace, sender);
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
        let state = lock(&self.0);
        state.alone.len() + state.crowd.len()
    }

    /// Hands a permit on to the next that still waits.
    fn release(&self) {
        let mut state = lock(&self.0);
        while let Some(next) = state.next() {
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

    use Standing::{Alone, InCrowd};

    #[tokio::test]
    async fn so_many_are_under_way_and_namespaces_take_turns() {
        let writes = Writes::new(2);
        let held = join_all(["a", "a"].map(|namespace| writes.acquire(namespace, InCrowd))).await;
        let order = RefCell::new(Vec::new());
        let others = ["a", "a", "a", "b", "c"].map(|namespace| {
            let (writes, order) = (&writes, &order);
            async move {
                let _permit = writes.acquire(namespace, InCrowd).await;
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
    async fn what_somebody_waits_for_by_itself_has_every_second_turn() {
        let writes = Writes::new(1);
        let held = writes.acquire("a", InCrowd).await;
        let order = RefCell::new(Vec::new());
        let waits = [
            ("a", InCrowd),
            ("b", InCrowd),
            ("c", InCrowd),
            ("x", Alone),
            ("y", Alone),
        ];
        let others = waits.map(|(namespace, standing)| {
            let (writes, order) = (&writes, &order);
            async move {
                let _permit = writes.acquire(namespace, standing).await;
                order.borrow_mut().push(namespace);
            }
        });
        let mut all = Box::pin(join_all(others));
        assert!(all.as_mut().now_or_never().is_none());
        drop(held);
        all.await;
        assert_eq!(*order.borrow(), ["x", "a", "y", "b", "c"]);
    }

    #[tokio::test]
    async fn a_permit_that_nobody_takes_any_more_is_not_lost() {
        let writes = Writes::new(1);
        let held = writes.acquire("a", InCrowd).await;
        let mut gone = Box::pin(writes.acquire("b", InCrowd));
        let mut told = Box::pin(writes.acquire("c", Alone));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(told.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        // It was handed to this one, which goes away before it looks.
        drop(told);
        assert!(writes.acquire("d", InCrowd).now_or_never().is_some());
    }
}
