//! Leave for revocations, of which there may be too many: counted from what statuses say, and from
//! the leave that was given and shows in no status yet.

use jiff::Timestamp;

use super::clock::now;
use super::context::Context;
use super::queue::ObjectKey;
use super::world::{Concerned, Gathered, World};
use crate::api::{KeyProtectInstance, RELEASE_REVOCATIONS_ANNOTATION};
use crate::domain::revocation::{self, Leave, Tally};

/// Asks for leave for the object of a look, whose revocation has waited since this time.
pub(super) fn leave(context: &Context, gathered: &Gathered, since: Timestamp) -> Leave {
    let Some(instance) = gathered.instance.as_deref() else {
        return Leave::Held;
    };
    let object = ObjectKey::of(&gathered.object);
    let watched = watches(context);
    let mut world = context.world();
    world.leave(&ObjectKey::of(instance), &object, since, watched, now())
}

/// How many revocations of an instance wait, and how many may act within an hour.
pub(super) fn held(context: &Context, instance: &ObjectKey) -> (usize, usize) {
    let watched = watches(context);
    let tally = context.world().tally(instance, None, watched, now());
    (tally.held, revocation::limit(tally.secrets))
}

/// Whether Secrets are seen, so that one that is not there tells something.
fn watches(context: &Context) -> bool {
    context.form().reads_secrets
}

/// What an admin's annotation says.
pub(super) fn release(instance: &KeyProtectInstance) -> Option<&str> {
    let annotations = instance.metadata.annotations.as_ref()?;
    annotations
        .get(RELEASE_REVOCATIONS_ANNOTATION)
        .map(String::as_str)
}

impl World {
    /// Decides whether the revocation of an object may act, and counts it from now on if so: looks
    /// are many at once, and no status says yet what the others are about to do.
    pub fn leave(
        &mut self,
        instance: &ObjectKey,
        object: &ObjectKey,
        since: Timestamp,
        watched: bool,
        now: Timestamp,
    ) -> Leave {
        self.leaves
            .retain(|_, given| revocation::counts(*given, now));
        let tally = self.tally(instance, Some(object), watched, now);
        let held = self.instance(instance);
        let release = held.as_deref().and_then(release);
        let leave = tally.leave(since, release, now);
        if leave == Leave::Granted {
            self.leaves.insert(object.clone(), now);
        }
        leave
    }

    /// The revocations of an instance, but for one object. Where Secrets are `watched`, one that
    /// status names and that is not in view counts as revoked: it may be one whose status the
    /// leader before did not write any more. So only within the window from when this one began;
    /// else who deletes Secrets that cannot be made anew holds up everybody's revocations for ever.
    /// And not where the object says that it is another's, or that nothing is written
    /// for it: then it is not missing for a moment.
    #[must_use]
    pub fn tally(
        &self,
        instance: &ObjectKey,
        but: Option<&ObjectKey>,
        watched: bool,
        now: Timestamp,
    ) -> Tally {
        let mut tally = Tally::default();
        let is_young = revocation::counts(self.started, now);
        for (key, known) in self.objects_of(instance) {
            let said = &known.held.said;
            let given = self.leaves.contains_key(key);
            let revoked = said
                .revoked_at
                .is_some_and(|at| revocation::counts(at, now));
            let missing = watched
                && is_young
                && said.has_secret
                && !said.expects_no_secret()
                && !self.secrets().has(&known.held.target_key(key));
            let acted = given || revoked || missing;
            if acted || said.has_secret {
                tally.secrets += 1;
            }
            if but == Some(key) {
                continue;
            }
            if acted {
                tally.acted += 1;
            } else if said.held {
                tally.held += 1;
            }
        }
        tally
    }

    /// Whom a change of an instance concerns: all that mean it; or, where only the annotation is
    /// new that lets revocations go, those that wait.
    pub(super) fn concerned_by_instance(
        &self,
        key: &ObjectKey,
        old: Option<&KeyProtectInstance>,
    ) -> Concerned {
        let Some((old, new)) = old.zip(self.instance(key)) else {
            return self.meaning(key);
        };
        if old.metadata.uid != new.metadata.uid
            || old.metadata.generation != new.metadata.generation
        {
            self.meaning(key)
        } else if release(old) != release(&new) {
            self.held_revocations(key)
        } else {
            Vec::new()
        }
    }

    /// The objects of an instance whose revocation waits.
    fn held_revocations(&self, instance: &ObjectKey) -> Concerned {
        let objects = self.objects_of(instance);
        objects
            .filter(|(_, known)| known.held.said.held)
            .map(|(key, known)| (key.clone(), known.held.lane))
            .collect()
    }
}
