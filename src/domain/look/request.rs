//! From an object as its author wrote it to a request with every default filled in and every
//! right checked, or to a refusal. Needs no key, so a refusal costs no request upstream.

use jiff::SignedDuration;

use crate::api::Reason;
use crate::api::key::{InstanceRef, KeyProtectKey};
use crate::domain::access::{self, Grant, Labels};
use crate::domain::claim::{Over, Rival};
use crate::domain::look::hindrance::sentence;
use crate::domain::look::observed::{InstanceView, Observed};
use crate::domain::schedule;
use crate::domain::secret::render::RenderError;
use crate::domain::secret::target::TargetSpec;
use crate::domain::service::ids::InvalidName;
use crate::domain::service::reference::KeyReference;

/// A request that passed every check that needs no key. It cannot be made without a [`Grant`],
/// so what comes after it needs no access check but the look-up through the grant.
#[derive(Clone, Debug)]
pub struct SyncRequest<'a> {
    /// The instance.
    pub instance: InstanceView<'a>,
    /// What its rules grant the object's namespace.
    pub grant: Grant,
    /// The target in canonical form.
    pub target: TargetSpec,
    /// How old what is known of the keys may get.
    pub interval: SignedDuration,
    /// A new key behind an alias or name is taken only when the object changes.
    pub pinned: bool,
}

/// Cause of a refusal: the namespace has more objects than are served.
pub(super) const SURPLUS: &str = "more objects in the namespace than are served";

/// Why an object is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason that status shows.
    pub reason: Reason,
    /// What status says: nothing in it tells "no such" from "not for you".
    pub message: String,
    /// Which case it was: for the operator's own log.
    pub cause: &'static str,
}

/// Names the instance that an object means.
#[must_use]
pub fn instance_of(object: &KeyProtectKey, default: &(String, String)) -> (String, String) {
    match &object.spec.instance_ref {
        None => default.clone(),
        Some(reference) => (
            reference
                .namespace
                .clone()
                .or_else(|| object.metadata.namespace.clone())
                .unwrap_or_default(),
            reference.name.clone(),
        ),
    }
}

/// Names the Secret that an object means.
#[must_use]
pub fn target_name(object: &KeyProtectKey) -> &str {
    object
        .spec
        .target
        .as_ref()
        .and_then(|target| target.name.as_deref())
        .or(object.metadata.name.as_deref())
        .unwrap_or_default()
}

/// The message of [`Reason::KeyNotAvailable`]: the same words whichever of the cases it is.
#[must_use]
pub fn not_available(what: &str, instance: &(String, String)) -> String {
    let (namespace, name) = instance;
    format!(
        "{what} is not available from instance {namespace}/{name}: there is no such instance or \
         key, or its access rules do not let this namespace use it. Check instanceRef and key, or \
         ask the instance's owner. It is looked up again at growing intervals of up to 5 minutes."
    )
}

/// Checks an object against everything that needs no key.
///
/// # Errors
/// Says why it is not served.
pub fn resolve<'a>(observed: &Observed<'a>) -> Result<SyncRequest<'a>, Refusal> {
    let object = observed.object;
    if observed.namespace.terminating {
        return Err(refusal(
            Reason::NamespaceTerminating,
            "The namespace is being deleted; nothing is written in it.".to_owned(),
            "namespace terminating",
        ));
    }
    if let Some(most) = observed.surplus {
        return Err(surplus(most));
    }
    if let Some(rival) = observed.rival {
        return Err(conflict(target_name(object), rival));
    }
    let main = KeyReference::from_selector(object.spec.key.as_ref(), observed.name())
        .map_err(|error| invalid_name(&error))?;
    // Before the target: whoever breaks it must not escape a withdrawal.
    let (instance, grant) = granted(observed, &main)?;
    let prefixes = &observed.policy.metadata_prefixes;
    let target = TargetSpec::new(
        observed.name(),
        object.spec.target.as_ref(),
        &main,
        prefixes,
    )
    .map_err(|error| unrenderable(&error))?;
    Ok(SyncRequest {
        instance,
        grant,
        target,
        interval: schedule::interval_of(object, instance.refresh_interval),
        pinned: schedule::is_pinned(object),
    })
}

fn conflict(target: &str, rival: &Rival) -> Refusal {
    let older = &rival.name;
    match &rival.over {
        Over::Target => refusal(
            Reason::TargetConflict,
            format!(
                "Secret {target} is the target of the older KeyProtectKey {older}. Give this \
                 object another spec.target.name, or delete one of the two. It takes over by \
                 itself when the older one is gone or names another Secret."
            ),
            "target conflict",
        ),
        Over::Entry(entry) => {
            let which = entry.as_ref().map_or_else(
                || "One of the two expands a payload, which may make any entry".to_owned(),
                |entry| format!("Both write its entry {entry}"),
            );
            refusal(
                Reason::EntryConflict,
                format!(
                    "Secret {target} is shared with the older KeyProtectKey {older}. {which}. Name \
                     other entries in spec.target.data, or delete one of the two. It goes on by \
                     itself when the older one is gone or wants other entries."
                ),
                "entry conflict",
            )
        }
    }
}

fn granted<'a>(
    observed: &Observed<'a>,
    main: &KeyReference,
) -> Result<(InstanceView<'a>, Grant), Refusal> {
    let named = instance_of(observed.object, &observed.policy.default_instance);
    let grant = observed.instance.and_then(|instance| {
        let namespace = observed.namespace;
        access::grant(
            instance.namespace,
            instance.access,
            namespace.name,
            namespace.labels,
        )
        .map(|grant| (instance, grant))
    });
    if let Some(granted) = grant {
        return Ok(granted);
    }
    if let Some(instance) = observed.instance
        && was_synced_from(observed, &named)
    {
        let labels = observed.namespace.labels;
        if !labels.leave_open(instance.access) {
            return Err(withdrawn(main, &named));
        }
        if labels == Labels::NotInView {
            return Err(unseen());
        }
    }
    // Where namespaces are not watched, rules that need their labels grant nothing, and say so at
    // the instance: that is no withdrawal either.
    let cause = if observed.instance.is_none() {
        "no such instance"
    } else {
        "namespace not allowed"
    };
    Err(refusal(
        Reason::KeyNotAvailable,
        not_available(&capitalised(main), &named),
        cause,
    ))
}

/// Says that the namespace has more objects than are served.
fn surplus(most: usize) -> Refusal {
    refusal(
        Reason::Pending,
        format!(
            "This namespace has more than {most} KeyProtectKeys, of which the oldest {most} are \
             served. Delete what is not needed: this one's turn comes by itself. Or ask whoever \
             runs the operator to raise --max-keys-per-namespace."
        ),
        SURPLUS,
    )
}

/// Says that the namespace's labels are not known, by which rules go.
fn unseen() -> Refusal {
    refusal(
        Reason::Pending,
        "The namespace is not in view; it is waited for.".to_owned(),
        "the namespace is not in view",
    )
}

/// Says that the rules no longer allow what they allowed: only to who was served before.
#[must_use]
pub fn withdrawn(reference: &KeyReference, instance: &(String, String)) -> Refusal {
    let (namespace, name) = instance;
    refusal(
        Reason::AccessWithdrawn,
        format!(
            "The access rules of instance {namespace}/{name} no longer let this namespace use \
             {reference}. The Secret keeps its last value and is no longer refreshed. Ask the \
             instance's owner, or delete this object."
        ),
        "access withdrawn",
    )
}

/// Tells whether status names keys that came from this instance.
#[must_use]
pub fn was_synced_from(observed: &Observed<'_>, instance: &(String, String)) -> bool {
    observed.object.status.as_ref().is_some_and(|status| {
        !status.keys.is_empty() && status.instance_ref.as_ref() == Some(&reference_to(instance))
    })
}

/// The instance as status names it.
#[must_use]
pub fn reference_to(instance: &(String, String)) -> InstanceRef {
    InstanceRef {
        namespace: Some(instance.0.clone()),
        name: instance.1.clone(),
    }
}

/// A key or a reference as the beginning of a sentence.
#[must_use]
pub fn capitalised(what: &impl std::fmt::Display) -> String {
    let text = what.to_string();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

const fn refusal(reason: Reason, message: String, cause: &'static str) -> Refusal {
    Refusal {
        reason,
        message,
        cause,
    }
}

fn invalid_name(error: &InvalidName) -> Refusal {
    refusal(
        Reason::RenderFailed,
        sentence(&format_args!("in spec.key, {error}")),
        "invalid key selector",
    )
}

fn unrenderable(error: &RenderError) -> Refusal {
    refusal(Reason::RenderFailed, sentence(error), "invalid target")
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
