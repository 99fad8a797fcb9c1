//! Reads and writes of the operator's Lease. A write replaces what was seen and nothing else, and
//! leaves alone what others put on the object.

use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{self, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, Client};

use super::watch::{self, Happened};
use crate::api::{FIELD_MANAGER, LEASE};
use crate::domain::lease::{Lease, Record};

/// Why the Lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It is not what was seen, or there is one already, or none any more.
    #[error("the Lease changed meanwhile")]
    Outdated,
    /// The API server refused.
    #[error("the API server answered {} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// No answer in time: it may have been carried out.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// No connection, or one that broke: it may have been carried out.
    #[error("the API server could not be reached: {0}")]
    Unreachable(#[source] kube::Error),
}

impl LeaseError {
    /// What an admin has to do; nothing where it mends itself.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Refused(status) if status.code == 403 => Some(
                "the operator may not read or write its Lease; apply its RBAC, and if the \
                 namespace is another one, --namespace",
            ),
            Self::Refused(status) if status.code == 404 => {
                Some("there is no namespace of the name that --namespace says")
            }
            _ => None,
        }
    }
}

/// The Lease, as the API server showed it.
#[derive(Clone, Debug)]
pub struct Shown(v1::Lease);

impl Shown {
    /// What it says.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let spec = self.0.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.map(u64::try_from);
        Lease {
            version: self.0.metadata.resource_version.clone().unwrap_or_default(),
            record: Record {
                holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
                acquired: spec.acquire_time.map(|time| time.0),
                renewed: spec.renew_time.map(|time| time.0),
                duration: seconds.and_then(Result::ok).map(Duration::from_secs),
                transitions: spec.lease_transitions.unwrap_or_default(),
            },
        }
    }
}

/// The way to the operator's Lease.
#[derive(Clone)]
pub struct Leases {
    api: Api<v1::Lease>,
}

impl Leases {
    /// The Lease of the operator in a namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// Reads it; nothing, where there is none.
    ///
    /// # Errors
    /// Says why that is not known.
    pub async fn read(&self, within: Duration) -> Result<Option<Shown>, LeaseError> {
        let read = self.api.get_opt(LEASE);
        Ok(answer(within, read).await?.map(Shown))
    }

    /// Makes it.
    ///
    /// # Errors
    /// Says why it was not made, as far as that is known.
    pub async fn create(&self, record: &Record, within: Duration) -> Result<Shown, LeaseError> {
        let lease = v1::Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(spec(LeaseSpec::default(), record)),
        };
        let params = params();
        let made = self.api.create(&params, &lease);
        Ok(Shown(answer(within, made).await?))
    }

    /// Replaces what was seen, and nothing else.
    ///
    /// # Errors
    /// Says why it was not replaced, as far as that is known.
    pub async fn replace(
        &self,
        seen: &Shown,
        record: &Record,
        within: Duration,
    ) -> Result<Shown, LeaseError> {
        // With the UID too: a PUT would make a Lease that is not there.
        let mut lease = seen.0.clone();
        lease.metadata.managed_fields = None;
        lease.spec = Some(spec(lease.spec.take().unwrap_or_default(), record));
        let params = params();
        let replaced = self.api.replace(LEASE, &params, &lease);
        match answer(within, replaced).await {
            Err(LeaseError::Refused(status)) if status.code == 404 => Err(LeaseError::Outdated),
            answer => answer.map(Shown),
        }
    }
}

/// Watches the Lease: what it says, whenever that changes; nothing, where it was deleted.
pub fn watch(
    client: &Client,
    namespace: &str,
) -> impl Stream<Item = Option<Shown>> + Send + 'static {
    watch::lease(client, namespace, LEASE).filter_map(|happened| async move {
        match happened {
            Happened::Listed(lease) | Happened::Applied(lease) => Some(Some(Shown(lease))),
            Happened::Deleted(_) => Some(None),
            // A Lease that went while no watch ran is missed when it is written next.
            Happened::ListBegins
            | Happened::ListEnds
            | Happened::Malformed(_)
            | Happened::MalformedDeleted(_) => None,
        }
    })
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn spec(before: LeaseSpec, record: &Record) -> LeaseSpec {
    let time = |time: Option<Timestamp>| time.map(MicroTime);
    let duration = record.duration.map(|duration| duration.as_secs().max(1));
    LeaseSpec {
        // Empty, as client-go has it, where nobody leads.
        holder_identity: Some(record.holder.clone().unwrap_or_default()),
        acquire_time: time(record.acquired),
        renew_time: time(record.renewed),
        lease_duration_seconds: duration.and_then(|seconds| i32::try_from(seconds).ok()),
        lease_transitions: Some(record.transitions),
        ..before
    }
}

async fn answer<T>(
    within: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, LeaseError> {
    let answer = tokio::time::timeout(within, request).await;
    answer
        .map_err(|_| LeaseError::TimedOut)?
        .map_err(|error| match error {
            kube::Error::Api(status) if status.code == 409 => LeaseError::Outdated,
            kube::Error::Api(status) => LeaseError::Refused(status),
            error => LeaseError::Unreachable(error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            holder: Some("pod_uid".to_owned()),
            acquired: Some(Timestamp::from_microsecond(1_800_000_000_123_456).unwrap()),
            renewed: Some(Timestamp::from_microsecond(1_800_000_002_000_000).unwrap()),
            duration: Some(Duration::from_secs(15)),
            transitions: 4,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_and_what_others_put_there_stays() {
        let preferred = LeaseSpec {
            preferred_holder: Some("somebody".to_owned()),
            ..LeaseSpec::default()
        };
        for holder in [Some("pod_uid".to_owned()), None] {
            let record = Record { holder, ..record() };
            let spec = spec(preferred.clone(), &record);
            assert_eq!(spec.preferred_holder, preferred.preferred_holder);
            let text = serde_json::to_string(&v1::Lease {
                metadata: ObjectMeta::default(),
                spec: Some(spec),
            });
            let read: v1::Lease = serde_json::from_str(&text.unwrap()).unwrap();
            assert_eq!(Shown(read).lease().record, record);
        }
    }

    #[test]
    fn a_lease_without_anything_in_it_is_nobodys() {
        let lease = Shown(v1::Lease::default()).lease();
        assert_eq!((lease.record.holder, lease.record.duration), (None, None));
    }
}
