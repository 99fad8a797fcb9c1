//! The requests that one read took: each is written down before it is sent, so that one whose end
//! nobody sees is known of too.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::audit::Sent;
use crate::domain::service::failure::FetchFailure;

/// Requests that were sent, in their order.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Vec<Sent>>);

impl Attempts {
    /// Notes that a request is being sent; returns its number.
    pub(super) fn begin(&self, correlation_id: &str) -> usize {
        let mut sent = self.lock();
        sent.push(Sent {
            correlation_id: correlation_id.to_owned(),
            end: None,
        });
        sent.len() - 1
    }

    /// Notes how a request ended, and what the service called it.
    pub(super) fn end(
        &self,
        number: usize,
        correlation_id: Option<&str>,
        end: Result<(), FetchFailure>,
    ) {
        if let Some(sent) = self.lock().get_mut(number) {
            if let Some(id) = correlation_id {
                id.clone_into(&mut sent.correlation_id);
            }
            sent.end = Some(end);
        }
    }

    /// Notes that the last answer, good as it looked, was not what was asked for.
    pub(super) fn spoil(&self, failure: &FetchFailure) {
        if let Some(sent) = self.lock().last_mut() {
            sent.end = Some(Err(failure.clone()));
        }
    }

    /// Takes what was noted so far.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
