//! Control: what tests do to the emulator behind the service's back.
//!
//! The admin port is a thin skin over this, and [`crate::Emulator`] lends it
//! to Rust tests directly.

mod keys;
mod past;
pub mod types;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::MAX_RATE;
use crate::connections::ConnectionFault;
use crate::domain::access::Grant;
use crate::domain::instance::Instance;
use crate::domain::modes::{Modes, after};
use crate::domain::refusal::Refusal;
use crate::faults::Fault;
use crate::iam::{Profile, ServiceId};
use crate::journal::{Served, Wanted};
use crate::world::{Shared, World, draw, random_bytes};
use types::{NewApiKey, NewInstance, NewProfile, NewServiceId, Seed};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ControlError {
    /// What the order names does not exist.
    #[error("there is no {0}")]
    Missing(String),
    /// What the order would make exists.
    #[error("there is already {0}")]
    Exists(String),
    /// The order makes no sense.
    #[error("{0}")]
    Wrong(String),
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reasons.first();
        Self::Wrong(reason.map_or(refusal.message, |reason| {
            format!("{}: {}", reason.code, reason.message)
        }))
    }
}

/// Orders to the emulator.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl Control {
    /// Makes everything that a seed file holds. An error says which part of it
    /// is wrong.
    pub fn seed(&self, seed: Seed) -> Result<(), ControlError> {
        let at = |place: String| {
            move |error: ControlError| ControlError::Wrong(format!("{place}: {error}"))
        };
        for mut instance in seed.instances {
            let keys = std::mem::take(&mut instance.keys);
            let id = instance.id.clone();
            self.create_instance(instance)
                .map_err(at(format!("instance {id}")))?;
            for (number, key) in keys.into_iter().enumerate() {
                let place = format!("instance {id}, key {number} ({})", key.name);
                self.create_key(&id, key).map_err(at(place))?;
            }
        }
        let named = seed.service_ids.iter().flat_map(|service| {
            service
                .roles
                .iter()
                .map(|grant| (format!("service ID {}", service.name), grant))
        });
        let named = named.chain(seed.profiles.iter().flat_map(|profile| {
            profile
                .roles
                .iter()
                .map(|grant| (format!("profile {}", profile.name), grant))
        }));
        for (place, grant) in named {
            if !self.shared.world().instances.contains_key(&grant.instance) {
                let missing = missing_instance(&grant.instance);
                return Err(at(format!("{place}, a role"))(missing));
            }
        }
        for service in seed.service_ids {
            self.create_service_id(service)?;
        }
        for profile in seed.profiles {
            self.create_profile(profile)?;
        }
        if let Some(modes) = seed.modes {
            self.set_modes(modes);
        }
        for (name, fault) in seed.faults {
            self.put_fault(&name, fault);
        }
        Ok(())
    }

    /// Makes an instance.
    pub fn create_instance(&self, new: NewInstance) -> Result<(), ControlError> {
        let mut instance = Instance::new(&new.id, new.crn);
        instance.cloud_foundry = new.bluemix_org.zip(new.bluemix_space);
        for ring in &new.rings {
            instance.create_ring(ring, "seed", self.shared.now())?;
        }
        {
            let mut world = self.shared.world();
            if world.instances.contains_key(&new.id) {
                return Err(ControlError::Exists(format!("an instance {}", new.id)));
            }
            world.add_instance(instance, self.shared.now());
        }
        for key in new.keys {
            self.create_key(&new.id, key)?;
        }
        Ok(())
    }

    /// Ends an instance with all that is in it.
    pub fn delete_instance(&self, id: &str) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        world.histories.remove(id);
        let gone = world.instances.remove(id);
        gone.map(drop).ok_or_else(|| missing_instance(id))
    }

    /// Makes a service ID.
    pub fn create_service_id(&self, new: NewServiceId) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        let identities = &mut world.identities;
        if identities.services.contains_key(&new.name) {
            return Err(ControlError::Exists(format!("a service ID {}", new.name)));
        }
        if let Some(key) = new.api_key {
            identities.api_keys.insert(key, new.name.clone());
        }
        identities
            .services
            .insert(new.name, ServiceId::new(new.roles).of_service(new.service));
        Ok(())
    }

    /// Makes a trusted profile, or changes it; returns its ID.
    pub fn create_profile(&self, new: NewProfile) -> Result<String, ControlError> {
        let id = new.id.unwrap_or_else(|| format!("Profile-{}", draw().id));
        let identity = ServiceId::new(new.roles);
        let profile = Profile {
            id: id.clone(),
            trust: new.trust,
            identity,
        };
        self.shared
            .world()
            .identities
            .profiles
            .insert(new.name, profile);
        Ok(id)
    }

    /// Makes an API key.
    pub fn create_api_key(&self, new: NewApiKey) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        if !world.identities.services.contains_key(&new.service_id) {
            return Err(ControlError::Missing(format!(
                "service ID {}",
                new.service_id
            )));
        }
        world
            .identities
            .api_keys
            .insert(new.api_key, new.service_id);
        Ok(())
    }

    /// Deletes an API key. Tokens that were had with it live on.
    pub fn delete_api_key(&self, key: &str) -> Result<(), ControlError> {
        let gone = self.shared.world().identities.api_keys.remove(key);
        gone.map(drop)
            .ok_or_else(|| ControlError::Missing("such API key".to_owned()))
    }

    /// Changes what a service ID may do, for live tokens too.
    pub fn set_roles(&self, service: &str, roles: Vec<Grant>) -> Result<(), ControlError> {
        let now = self.shared.now();
        let mut world = self.shared.world();
        let from = after(now, world.modes.role_change_delay_seconds);
        let Some(known) = world.identities.services.get_mut(service) else {
            return Err(ControlError::Missing(format!("service ID {service}")));
        };
        known.change(roles, from, now);
        Ok(())
    }

    /// Makes every token that is out worthless.
    pub fn revoke_tokens(&self) {
        self.shared.world().signer.revoke_all(&random_bytes());
    }

    /// Sets how long tokens live that are made from now on.
    pub fn set_token_lifetime(&self, seconds: i64) {
        self.shared.world().token_lifetime_seconds = seconds;
    }

    /// Sets all modes.
    pub fn set_modes(&self, modes: Modes) {
        let now = self.shared.now();
        self.shared.world().set_modes(modes, now);
    }

    /// Sets some modes, by their names on the admin port, and leaves the others.
    pub fn change_modes(
        &self,
        changes: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        let wrong = |error: serde_json::Error| ControlError::Wrong(error.to_string());
        let mut modes = serde_json::to_value(&world.modes).map_err(wrong)?;
        if let Some(modes) = modes.as_object_mut() {
            modes.extend(changes);
        }
        let modes = serde_json::from_value(modes).map_err(wrong)?;
        world.set_modes(modes, self.shared.now());
        Ok(())
    }

    /// Returns the modes.
    pub fn modes(&self) -> Modes {
        self.shared.world().modes.clone()
    }

    /// Puts a fault in force.
    pub fn put_fault(&self, name: &str, fault: Fault) {
        self.shared.world().faults.put(name, fault);
    }

    /// Ends a fault.
    pub fn remove_fault(&self, name: &str) -> Result<(), ControlError> {
        if self.shared.world().faults.remove(name) {
            return Ok(());
        }
        Err(ControlError::Missing(format!("fault {name}")))
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.world().faults.clear();
    }

    /// Returns the faults in force, each with how many requests it matched.
    pub fn faults(&self) -> Vec<(String, Fault, u32)> {
        let world = self.shared.world();
        world
            .faults
            .all()
            .map(|(name, fault, matched)| (name.clone(), fault.clone(), matched))
            .collect()
    }

    /// From now on, this goes wrong with every new connection to the API. Those that there are go
    /// on until they are cut.
    pub fn set_connection_fault(&self, fault: ConnectionFault) {
        self.shared.connections.set_fault(fault);
    }

    /// Cuts every connection to the API.
    pub fn cut_connections(&self) {
        self.shared.connections.cut();
    }

    /// How many connections to the API are open.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.open()
    }

    /// What goes wrong with new connections.
    pub fn connection_fault(&self) -> ConnectionFault {
        self.shared.connections.fault()
    }

    /// Sets how far the emulator's clock is ahead of the real one.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.clock.set_offset(seconds);
    }

    /// Sets how many of the emulator's seconds go by in a real one.
    pub fn set_clock_rate(&self, rate: f64) -> Result<(), ControlError> {
        if self.shared.clock.set_rate(rate) {
            return Ok(());
        }
        Err(ControlError::Wrong(format!(
            "{rate} is no rate; from 0 to {MAX_RATE} seconds go by in one"
        )))
    }

    /// Returns how far the emulator's clock is ahead of the real one.
    pub fn clock_offset(&self) -> i64 {
        self.shared.clock.offset()
    }

    /// Returns how many of the emulator's seconds go by in a real one.
    pub fn clock_rate(&self) -> f64 {
        self.shared.clock.rate()
    }

    /// Returns the requests that were served.
    pub fn requests(&self, wanted: &Wanted) -> Vec<Served> {
        self.shared.journal.find(wanted)
    }

    /// Returns the number of the last request that was served.
    pub fn last_request(&self) -> u64 {
        self.shared.journal.last()
    }

    /// Waits for so many requests. Returns those that there are by then, and
    /// whether they are enough.
    pub async fn wait_for_requests(
        &self,
        wanted: &Wanted,
        count: usize,
        timeout: Duration,
    ) -> (Vec<Served>, bool) {
        self.shared.journal.wait(wanted, count, timeout).await
    }

    /// Forgets the requests that were served.
    pub fn clear_requests(&self) {
        self.shared.journal.clear();
    }
}

fn known_instance<'w>(world: &'w mut World, id: &str) -> Result<&'w mut Instance, ControlError> {
    world
        .instances
        .get_mut(id)
        .ok_or_else(|| missing_instance(id))
}

fn missing_instance(id: &str) -> ControlError {
    ControlError::Missing(format!("instance {id}"))
}
