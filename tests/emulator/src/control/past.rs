//! Orders that roll an instance back.

use jiff::Timestamp;

use super::types::Failover;
use super::{Control, ControlError, known_instance};
use crate::domain::history::Forgotten;
use crate::domain::modes::after;

impl Control {
    /// Keeps an instance as it is now, under a name.
    pub fn take_snapshot(&self, instance: &str, name: &str) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        let copy = known_instance(&mut world, instance)?.clone();
        world
            .snapshots
            .insert((instance.to_owned(), name.to_owned()), copy);
        Ok(())
    }

    /// Rolls an instance back to what it was under a name, as a failover does
    /// to a region whose copy is old.
    pub fn restore_snapshot(&self, instance: &str, name: &str) -> Result<(), ControlError> {
        let mut world = self.shared.world();
        let kept = world
            .snapshots
            .get(&(instance.to_owned(), name.to_owned()))
            .cloned();
        let Some(kept) = kept else {
            return Err(ControlError::Missing(format!(
                "snapshot {name} of instance {instance}"
            )));
        };
        let now = self.shared.now();
        if world.instances.contains_key(instance) {
            world.keep_past(instance, now);
            world.instances.insert(instance.to_owned(), kept);
        } else {
            world.add_instance(kept, now);
        }
        Ok(())
    }

    /// Fails an instance over to another region, whose copy of it is so many
    /// seconds old, and where nothing can be changed for a while.
    pub fn fail_over(&self, instance: &str, failover: Failover) -> Result<(), ControlError> {
        let now = self.shared.now();
        let mut world = self.shared.world();
        known_instance(&mut world, instance)?;
        if failover.age_seconds > 0 {
            let history = world.histories.get_mut(instance);
            let history = history.ok_or_else(|| too_old(Forgotten { since: now }, now))?;
            let moment = after(now, -i64::from(failover.age_seconds));
            let copy = history.back_to(moment);
            if let Some(copy) = copy.map_err(|forgotten| too_old(forgotten, now))? {
                world.instances.insert(instance.to_owned(), copy);
            }
        }
        known_instance(&mut world, instance)?.read_only_until =
            Some(after(now, failover.read_only_seconds.into()));
        Ok(())
    }
}

fn too_old(Forgotten { since }: Forgotten, now: Timestamp) -> ControlError {
    let seconds = now.duration_since(since).as_secs().max(0);
    ControlError::Wrong(format!(
        "ageSeconds: what the instance was is known for the last {seconds} s; \
         the mode historySeconds has more kept, from when it is set"
    ))
}
