//! The audit stream, as looks feed it: what is known of who reads and writes, and lines also for
//! what was cut off midway. The lines themselves are made by [`crate::domain::audit`].

use std::fmt;

use super::clock::now;
use super::context::Context;
use super::queue::ObjectKey;
use super::world::Gathered;
use crate::domain::audit::{self, Account, Instance, Key, Line, Object, Subject};
use crate::domain::look::hindrance::PayloadNeed;
use crate::domain::look::plan::{Write, WriteFailure};
use crate::domain::secret::SecretView;
use crate::keyprotect::Attempts;

/// Where the lines go.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Writes a line.
    fn write(&self, line: &Line<'_>);
}

fn subject<'a>(gathered: &'a Gathered, instance_id: &'a str) -> Subject<'a> {
    let of = &gathered.object.metadata;
    let instance = gathered.instance.as_ref().map(|instance| {
        let of = &instance.metadata;
        Instance {
            object: Object {
                namespace: of.namespace.as_deref().unwrap_or_default(),
                namespace_uid: None,
                name: of.name.as_deref().unwrap_or_default(),
                uid: of.uid.as_deref(),
            },
            instance_id,
        }
    });
    Subject {
        object: Object {
            namespace: of.namespace.as_deref().unwrap_or_default(),
            namespace_uid: gathered
                .namespace
                .as_ref()
                .and_then(|facts| facts.uid.as_deref()),
            name: of.name.as_deref().unwrap_or_default(),
            uid: of.uid.as_deref(),
        },
        instance,
    }
}

/// For whom a Secret is written.
#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    /// For an object, as it was gathered.
    Object(&'a Gathered),
    /// For one that is gone.
    Gone(&'a ObjectKey),
}

impl<'a> Whose<'a> {
    fn subject(self, instance_id: &'a str) -> Subject<'a> {
        match self {
            Self::Object(gathered) => subject(gathered, instance_id),
            Self::Gone(key) => Subject {
                object: Object {
                    namespace: &key.namespace,
                    namespace_uid: None,
                    name: &key.name,
                    uid: None,
                },
                instance: None,
            },
        }
    }

    fn instance_id(self, context: &Context) -> String {
        let instance = match self {
            Self::Object(gathered) => gathered.instance.as_deref().map(ObjectKey::of),
            Self::Gone(_) => None,
        };
        let connections = context.connections();
        let connection = instance.and_then(|key| connections.get(&key));
        connection.map(|c| c.instance_id()).unwrap_or_default()
    }
}

/// A read of a payload: when it ends, or is broken off, each request that it took becomes a line.
pub(super) struct Reading<'a> {
    context: &'a Context,
    gathered: &'a Gathered,
    instance_id: &'a str,
    need: &'a PayloadNeed,
    /// Where the requests are written down.
    pub(super) attempts: Attempts,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        context: &'a Context,
        gathered: &'a Gathered,
        instance_id: &'a str,
        need: &'a PayloadNeed,
    ) -> Self {
        Self {
            context,
            gathered,
            instance_id,
            need,
            attempts: Attempts::default(),
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let key = Key {
            id: self.need.id.to_string(),
            crn: self.need.crn.clone(),
            key_ring: self.need.key_ring.clone(),
            correlation_id: None,
        };
        for sent in self.attempts.take() {
            let subject = subject(self.gathered, self.instance_id);
            let line = audit::read(now(), subject, self.need.why, &key, &sent);
            self.context.audit.write(&line);
        }
    }
}

/// A write of a Secret that is under way.
struct Writing<'a> {
    context: &'a Context,
    whose: Whose<'a>,
    instance_id: String,
    account: &'a Account,
    write: &'a Write,
    ended: bool,
}

impl Writing<'_> {
    fn line(&self, end: Option<Result<Option<(&str, &str)>, &WriteFailure>>) {
        let subject = self.whose.subject(&self.instance_id);
        let line = audit::written(now(), subject, self.account, self.write, end);
        self.context.audit.write(&line);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.line(None);
        }
    }
}

/// Carries a write of a Secret out, which becomes a line however it ends.
pub(super) async fn written(
    context: &Context,
    whose: Whose<'_>,
    account: &Account,
    write: &Write,
    request: impl Future<Output = Result<Option<SecretView>, WriteFailure>>,
) -> Result<Option<SecretView>, WriteFailure> {
    let mut writing = Writing {
        context,
        whose,
        instance_id: whose.instance_id(context),
        account,
        write,
        ended: false,
    };
    let result = request.await;
    let made = result.as_ref().map(|view| {
        let view = view.as_ref()?;
        Some((view.uid.as_str(), view.resource_version.as_str()))
    });
    writing.line(Some(made));
    writing.ended = true;
    result
}
