//! Connections: how many there are, and what goes wrong with them before any request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What goes wrong with every new connection to Key Protect and IAM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConnectionFault {
    /// Nothing.
    #[default]
    None,
    /// It is closed at once.
    Closed,
    /// It is taken, and nothing is ever said on it.
    Silent,
    /// It is cut in the TLS handshake.
    CutHandshake,
    /// The certificate is of an authority that nobody knows.
    OtherAuthority,
    /// The certificate has expired.
    ExpiredCertificate,
    /// The certificate is for another name.
    OtherName,
}

/// The connections to Key Protect and IAM.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    fault: Mutex<ConnectionFault>,
    cut: Notify,
}

/// One that is open, as long as this lives.
#[derive(Debug)]
pub(crate) struct Open(Arc<crate::world::Shared>);

impl Open {
    pub(crate) fn new(shared: &Arc<crate::world::Shared>) -> Self {
        shared.connections.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// What goes wrong with new ones.
    pub fn fault(&self) -> ConnectionFault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this goes wrong with new ones.
    pub fn set_fault(&self, fault: ConnectionFault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Cuts those that there are.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Waits until what is open now is cut.
    pub(crate) async fn when_cut(&self) {
        self.cut.notified().await;
    }
}
