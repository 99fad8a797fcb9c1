//! What root keys protect: registrations, as other services make and keep them.

use jiff::Timestamp;

use super::Instance;
use crate::domain::refusal::Refusal;
use crate::domain::registrations::{
    Registration, RegistrationChange, check_creation, check_version,
};

impl Instance {
    /// Registers a cloud resource that a key protects.
    pub fn register(
        &mut self,
        key: &str,
        crn: &str,
        change: RegistrationChange,
        by: &str,
        now: Timestamp,
    ) -> Result<&Registration, Refusal> {
        let found = self.key(key)?;
        check_creation(found.class, found.state)?;
        let version = found.versions.newest();
        if self.registration(Some(key), crn).is_some() {
            return Err(Refusal::bare(409, "Conflict: the registration exists."));
        }
        let registration = Registration {
            key: key.to_owned(),
            resource_crn: crn.to_owned(),
            description: change.description,
            prevent_key_deletion: change.prevent_key_deletion.unwrap_or_default(),
            version: (version.id.clone(), version.creation_date),
            created_by: by.to_owned(),
            creation_date: now,
            last_update: now,
        };
        self.registrations.push(registration);
        self.registrations.last().ok_or_else(no_registration)
    }

    /// Has a resource be protected by this key in place of another one, or says
    /// by which of its versions it is.
    pub fn replace_registration(
        &mut self,
        key: &str,
        crn: &str,
        change: RegistrationChange,
        now: Timestamp,
    ) -> Result<&Registration, Refusal> {
        let found = self.key(key)?;
        check_creation(found.class, found.state)?;
        let at = self.registration(None, crn).ok_or_else(no_registration)?;
        let version = check_version(found, &self.registrations[at], &change)?;
        let registration = &mut self.registrations[at];
        registration.version = version;
        key.clone_into(&mut registration.key);
        registration.description = change.description;
        registration.prevent_key_deletion = change.prevent_key_deletion.unwrap_or_default();
        registration.last_update = now;
        Ok(registration)
    }

    /// Changes what is given of a registration.
    pub fn update_registration(
        &mut self,
        key: &str,
        crn: &str,
        change: RegistrationChange,
        now: Timestamp,
    ) -> Result<&Registration, Refusal> {
        let found = self.key(key)?;
        let at = self
            .registration(Some(key), crn)
            .ok_or_else(no_registration)?;
        let version = match change.key_version {
            Some(_) => check_version(found, &self.registrations[at], &change)?,
            None => self.registrations[at].version.clone(),
        };
        let registration = &mut self.registrations[at];
        registration.version = version;
        if change.description.is_some() {
            registration.description = change.description;
        }
        if let Some(prevent) = change.prevent_key_deletion {
            registration.prevent_key_deletion = prevent;
        }
        registration.last_update = now;
        Ok(registration)
    }

    /// Ends a registration.
    pub fn deregister(&mut self, key: &str, crn: &str) -> Result<(), Refusal> {
        let at = self
            .registration(Some(key), crn)
            .ok_or_else(no_registration)?;
        self.registrations.remove(at);
        Ok(())
    }

    fn registration(&self, key: Option<&str>, crn: &str) -> Option<usize> {
        self.registrations.iter().position(|registration| {
            registration.resource_crn == crn && key.is_none_or(|key| key == registration.key)
        })
    }
}

fn no_registration() -> Refusal {
    Refusal::bare(404, "Not Found: there is no such registration.")
}
