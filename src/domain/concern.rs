//! Whom a listing concerns: the objects whose keys it shows changed, and those that its absence
//! leaves unconfirmed for too long.

use jiff::{SignedDuration, Timestamp};

use super::schedule;
use super::service::catalogue::Changes;
use super::service::ids::KeyId;
use super::service::reference::{KeyName, KeyReference};
use super::status::holds;
use crate::api::{ConditionType, KeyProtectKey};

/// Whether a key that an object names, or last used, is among what changed.
#[must_use]
pub fn touches(object: &KeyProtectKey, changes: &Changes) -> bool {
    let status = object.status.iter().flat_map(|status| &status.keys);
    let last: Vec<KeyId> = status
        .filter_map(|key| KeyId::parse(&key.id).ok())
        .collect();
    if last.iter().any(|id| changes.ids.contains(id)) {
        return true;
    }
    references(object).any(|reference| changes.concern(&reference, None))
}

/// The keys that an object names.
pub fn references(object: &KeyProtectKey) -> impl Iterator<Item = KeyReference> {
    let main = KeyReference::from_selector(
        object.spec.key.as_ref(),
        object.metadata.name.as_deref().unwrap_or_default(),
    )
    .ok();
    let entries = object
        .spec
        .target
        .iter()
        .flat_map(|target| target.data.iter().flatten());
    let others = entries
        .filter_map(|entry| entry.from.as_ref())
        .filter_map(|from| KeyReference::from_selector(Some(from), "").ok());
    main.into_iter().chain(others)
}

/// Whether an object names a key by its name, which only a listing can look up.
#[must_use]
pub fn names_by_name(object: &KeyProtectKey) -> bool {
    references(object).any(|reference| matches!(reference.name, KeyName::Name(_)))
}

/// Whether status says that an object has used the key that a request names.
#[must_use]
pub fn used_before(object: &KeyProtectKey, key: &KeyName) -> bool {
    let used = object.status.iter().flat_map(|status| &status.keys);
    let mut used = used;
    used.any(|used| match key {
        KeyName::Id(id) => used.id == id.as_str(),
        KeyName::Alias(alias) => used.alias.as_deref() == Some(alias.as_str()),
        KeyName::Name(_) => false,
    })
}

/// Whether an object has been unconfirmed since `listed` for so long that its status has to say so,
/// and does not. `interval` is its instance's.
#[must_use]
pub fn is_growing_stale(
    object: &KeyProtectKey,
    interval: SignedDuration,
    listed: Timestamp,
    now: Timestamp,
) -> bool {
    let status = object.status.as_ref();
    let said = status.is_some_and(|status| holds(&status.conditions, ConditionType::Stale));
    let limit = schedule::staleness_limit(schedule::interval_of(object, interval));
    !said && listed.checked_add(limit).is_ok_and(|due| due <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::KeyProtectKeySpec;
    use crate::domain::status;

    fn object(interval: Option<&str>) -> KeyProtectKey {
        let spec = KeyProtectKeySpec {
            refresh_interval: interval.map(str::to_owned),
            ..KeyProtectKeySpec::default()
        };
        KeyProtectKey::new("orders-db", spec)
    }

    #[test]
    fn an_object_grows_stale_after_three_of_its_own_intervals_and_says_so_once() {
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        let hour = SignedDuration::from_hours(1);
        for (interval, limit) in [(None, 3), (Some("2h"), 6), (Some("0s"), 3), (Some("5m"), 1)] {
            let mut object = object(interval);
            assert!(
                !is_growing_stale(&object, hour, at(0), at(limit - 1)),
                "{interval:?}"
            );
            assert!(
                is_growing_stale(&object, hour, at(0), at(limit)),
                "{interval:?}"
            );
            let conditions = &mut object.status.get_or_insert_default().conditions;
            status::set(
                conditions,
                ConditionType::Stale,
                status::Is::True,
                "NotConfirmed",
                "",
                None,
                at(0),
            );
            assert!(
                !is_growing_stale(&object, hour, at(0), at(limit)),
                "{interval:?}"
            );
        }
    }

    #[test]
    fn a_change_touches_who_names_the_key_or_used_it_last() {
        let changes = Changes {
            aliases: ["orders-db".to_owned()].into(),
            ..Changes::default()
        };
        assert!(touches(&object(None), &changes));
        let mut other = object(None);
        other.metadata.name = Some("other".to_owned());
        assert!(!touches(&other, &changes));
    }
}
