//! Registrations: which cloud resources a root key protects. Other services of
//! IBM Cloud make them, and the admin port in their place.

use jiff::Timestamp;

use super::key::Key;
use super::refusal::Refusal;
use super::state::{KeyClass, KeyState};

/// A cloud resource that a root key protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The key's ID.
    pub key: String,
    /// The resource's CRN.
    pub resource_crn: String,
    /// A description.
    pub description: Option<String>,
    /// Whether a retention policy keeps the key from deletion.
    pub prevent_key_deletion: bool,
    /// The version of the key that the resource is protected by: its ID and age.
    pub version: (String, Timestamp),
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub creation_date: Timestamp,
    /// When it last changed.
    pub last_update: Timestamp,
}

/// What a registration is to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationChange {
    /// A description.
    pub description: Option<String>,
    /// Whether a retention policy keeps the key from deletion.
    pub prevent_key_deletion: Option<bool>,
    /// The version of the key that the resource is protected by; the newest one
    /// when absent.
    pub key_version: Option<String>,
}

/// Refuses a version that is older than the one that the resource is protected
/// by, and returns it otherwise.
pub fn check_version(
    key: &Key,
    registration: &Registration,
    change: &RegistrationChange,
) -> Result<(String, Timestamp), Refusal> {
    let version = match &change.key_version {
        None => Some(key.versions.newest()),
        Some(id) => key.versions.find(id),
    };
    let version = version
        .ok_or_else(|| Refusal::field("keyVersionId", "The key has no version of this ID."))?;
    if version.creation_date < registration.version.1 {
        return Err(Refusal::because(
            422,
            "KEY_VERSION_INVALID",
            "This request requires that the key version is later than current registration key \
             version.",
        ));
    }
    Ok((version.id.clone(), version.creation_date))
}

/// Returns the service that a resource is of, by its CRN.
pub fn service_of(crn: &str) -> Option<&str> {
    let segments: Vec<&str> = crn.split(':').collect();
    // Up to the service's instance at least.
    (segments.len() >= 8 && segments[0] == "crn").then(|| segments[4])
}

/// Refuses the registration of a key that can protect nothing.
pub fn check_creation(class: KeyClass, state: KeyState) -> Result<(), Refusal> {
    if class == KeyClass::Standard {
        return Err(Refusal::because(
            422,
            "KEY_ROOT_REQ_REG_ERR",
            "Requested action can only be completed with a root key.",
        ));
    }
    if state != KeyState::Active {
        return Err(Refusal::because(
            422,
            "KEY_INVALID_STATE_ERR",
            "Key is not in a valid state.",
        ));
    }
    Ok(())
}

/// Refuses the deletion of a key that protects something. `force` gives up the
/// registrations, but for one with a retention policy.
pub fn check_deletion<'r>(
    registrations: impl Iterator<Item = &'r Registration>,
    force: bool,
) -> Result<(), Refusal> {
    let (mut any, mut retained) = (false, false);
    for registration in registrations {
        any = true;
        retained |= registration.prevent_key_deletion;
    }
    if any && !force {
        return Err(Refusal::because(
            409,
            "PROTECTED_RESOURCE_ERR",
            "Key is protecting one or more cloud resources.",
        ));
    }
    if retained {
        return Err(Refusal::because(
            409,
            "PREV_KEY_DEL_ERR",
            "The key cannot be deleted because it's protecting a cloud resource that has a \
             retention policy.",
        ));
    }
    Ok(())
}

/// Says whether a CRN is one that the query asks for: an asterisk at the end of
/// it, or in place of a segment, stands for anything.
pub fn crn_fits(query: &str, crn: &str) -> bool {
    let (query, crn): (Vec<&str>, Vec<&str>) =
        (query.split(':').collect(), crn.split(':').collect());
    query.len() <= crn.len()
        && query.iter().zip(&crn).all(|(wanted, actual)| {
            wanted
                .strip_suffix('*')
                .map_or(wanted == actual, |front| actual.starts_with(front))
        })
        && (query.len() == crn.len() || query.last().is_some_and(|last| last.ends_with('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_key_goes_only_by_force_and_a_retained_one_not_even_so() {
        let registration = |prevent_key_deletion| Registration {
            key: "k".to_owned(),
            resource_crn: "crn".to_owned(),
            description: None,
            prevent_key_deletion,
            version: ("v".to_owned(), Timestamp::UNIX_EPOCH),
            created_by: "somebody".to_owned(),
            creation_date: Timestamp::UNIX_EPOCH,
            last_update: Timestamp::UNIX_EPOCH,
        };
        let (free, retained) = ([registration(false)], [registration(true)]);
        let code = |outcome: Result<(), Refusal>| outcome.err().and_then(|refusal| refusal.code());
        assert_eq!(code(check_deletion(std::iter::empty(), false)), None);
        assert_eq!(
            code(check_deletion(free.iter(), false)),
            Some("PROTECTED_RESOURCE_ERR")
        );
        assert_eq!(code(check_deletion(free.iter(), true)), None);
        assert_eq!(
            code(check_deletion(retained.iter(), true)),
            Some("PREV_KEY_DEL_ERR")
        );
    }

    #[test]
    fn crns_are_asked_for_with_asterisks() {
        let crn = "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b/c";
        for (query, fits) in [
            (crn, true),
            (
                "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:*:*",
                true,
            ),
            (
                "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:*",
                true,
            ),
            (
                "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:b/*",
                true,
            ),
            (
                "crn:v1:bluemix:public:cloud-object-storage:global:a/1:3:*:*",
                false,
            ),
            ("crn:v1:bluemix", false),
        ] {
            assert_eq!(crn_fits(query, crn), fits, "{query}");
        }
    }
}
