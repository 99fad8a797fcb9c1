//! Dual authorisation: one caller sets a key for deletion, another deletes it.

use jiff::Timestamp;

use super::Instance;
use crate::domain::key::Key;
use crate::domain::modes::after;
use crate::domain::policies::key::{AUTHORIZATION_SECONDS, Authorization};
use crate::domain::refusal::Refusal;
use crate::domain::state::{Act, permit};

impl Instance {
    /// Gives the first authorisation of a key's deletion, or takes it back.
    pub fn set_for_deletion(
        &mut self,
        id: &str,
        set: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = self.key_mut(id)?;
        permit(key.class, key.state, Act::Govern)?;
        if !key.policies.needs_two() {
            return Err(Refusal::because(
                409,
                "NOT_DUAL_AUTH_ERR",
                "The key is not dual auth enabled and cannot be set for deletion.",
            ));
        }
        key.authorization = set.then(|| Authorization {
            by: by.to_owned(),
            expires: after(now, AUTHORIZATION_SECONDS),
        });
        key.last_update = now;
        Ok(())
    }
}

/// Refuses a deletion that needs a second person and has only one.
pub(super) fn check_authorization(key: &Key, by: &str, now: Timestamp) -> Result<(), Refusal> {
    let authorized = key
        .valid_authorization(now)
        .is_some_and(|authorization| authorization.by != by);
    if !key.policies.needs_two() || authorized {
        return Ok(());
    }
    Err(Refusal::because(
        409,
        "AUTHORIZATIONS_NOT_MET",
        "Number of authorizations required to delete is not met.",
    ))
}
