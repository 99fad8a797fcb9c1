//! Which object is looked at next. Two lanes, never synced before routine; fair by instance, then
//! by namespace, then by object, so that neither an instance that does not answer nor one tenant's
//! thousand objects delay another's one. Never two looks at one object at once. Pure: time comes
//! in, and whoever holds it sleeps.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::turns::{Standing, Turns};

/// Looks under way at once. Most of them wait for a request, whose number has limits of its own.
pub(super) const LOOKS: usize = 512;
/// Looks at objects of one instance at once: as many as may read a key, and some that write. It has
/// no more than are left for the others, so that however many instances do not answer, there are
/// some left.
const LOOKS_OF_AN_INSTANCE: usize = 96;
/// Further ones, for objects that come alone: they do not wait until one of a crowd is done.
const LOOKS_ALONE: usize = 8;
/// A clock that goes back by no more than this was corrected, not set.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// Names an object that came from an API server.
    #[must_use]
    pub fn of(object: &impl ResourceExt) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// Names an object.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A lane; the first goes before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Objects that never synced.
    First,
    /// Everything else.
    Routine,
}

#[derive(Debug)]
enum Slot {
    /// Waits for its time.
    Waiting { at: Timestamp, lane: Lane },
    /// Stands in a lane; its time came then.
    Ready { since: Timestamp, lane: Lane },
    /// Is being looked at; if something happened meanwhile, it is looked at again then.
    Running {
        instance: ObjectKey,
        again: Option<(Timestamp, Lane)>,
    },
}

/// One lane: instances take turns, then namespaces, then objects.
#[derive(Debug, Default)]
struct Line {
    instances: VecDeque<ObjectKey>,
    turns: HashMap<ObjectKey, Turns<String>>,
}

impl Line {
    fn push(&mut self, instance: ObjectKey, key: &ObjectKey) {
        let turns = self.turns.entry(instance.clone()).or_default();
        if turns.is_empty() {
            self.instances.push_back(instance);
        }
        turns.push(&key.namespace, key.name.clone());
    }

    /// Takes the next object of an instance that may have another look.
    fn pop(
        &mut self,
        may: impl Fn(&ObjectKey, Standing) -> bool,
    ) -> Option<(ObjectKey, ObjectKey, Standing)> {
        for _ in 0..self.instances.len() {
            let instance = self.instances.pop_front()?;
            let turns = self.turns.get_mut(&instance)?;
            let next = turns.pop_if(|standing| may(&instance, standing));
            let Some((namespace, name, standing)) = next else {
                self.instances.push_back(instance);
                continue;
            };
            // One that was emptied keeps who had a turn, as long as others have things in line.
            if !turns.is_empty() {
                self.instances.push_back(instance.clone());
            }
            if self.instances.is_empty() {
                self.turns.clear();
            }
            return Some((instance, ObjectKey { namespace, name }, standing));
        }
        None
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    slots: HashMap<ObjectKey, Slot>,
    timers: BTreeSet<(Timestamp, ObjectKey)>,
    first: Line,
    routine: Line,
    running: HashMap<ObjectKey, usize>,
    /// All that are running.
    looks: usize,
    /// The time of the last look into it.
    seen: Option<Timestamp>,
}

impl Queue {
    /// Asks for a look at an object at a time, or earlier if one is asked for already.
    pub fn schedule(&mut self, key: &ObjectKey, at: Timestamp, lane: Lane) {
        match self.slots.get_mut(key) {
            Some(Slot::Ready { .. }) => {}
            Some(Slot::Running { again, .. }) => {
                *again =
                    Some(again.map_or((at, lane), |(then, was)| (then.min(at), was.min(lane))));
            }
            Some(Slot::Waiting {
                at: then,
                lane: was,
            }) => {
                if at < *then {
                    self.timers.remove(&(*then, key.clone()));
                    self.timers.insert((at, key.clone()));
                    *then = at;
                }
                *was = lane.min(*was);
            }
            None => {
                self.timers.insert((at, key.clone()));
                self.slots.insert(key.clone(), Slot::Waiting { at, lane });
            }
        }
    }

    /// Takes the next object whose time has come, and how it stood in line; `instance_of` says which
    /// instance it means.
    pub fn pop(
        &mut self,
        now: Timestamp,
        instance_of: impl Fn(&ObjectKey) -> ObjectKey,
    ) -> Option<(ObjectKey, Standing)> {
        self.note_time(now);
        while let Some((at, _)) = self.timers.first() {
            if *at > now {
                break;
            }
            let Some((_, key)) = self.timers.pop_first() else {
                break;
            };
            if let Some(slot) = self.slots.get_mut(&key)
                && let Slot::Waiting { at, lane } = slot
            {
                let (since, lane) = (*at, *lane);
                *slot = Slot::Ready { since, lane };
                self.line(lane).push(instance_of(&key), &key);
            }
        }
        let running = &self.running;
        let most = LOOKS_OF_AN_INSTANCE.min(LOOKS.saturating_sub(self.looks));
        let may = |instance: &ObjectKey, standing| {
            let most = match standing {
                Standing::Alone => most + LOOKS_ALONE,
                Standing::InCrowd => most,
            };
            running.get(instance).copied().unwrap_or_default() < most
        };
        let next = self.first.pop(may).or_else(|| self.routine.pop(may));
        let (instance, key, standing) = next?;
        *self.running.entry(instance.clone()).or_default() += 1;
        self.looks += 1;
        let again = None;
        self.slots
            .insert(key.clone(), Slot::Running { instance, again });
        Some((key, standing))
    }

    /// After the clock was set back, nobody knows which times were meant: all that waits is due,
    /// rather than in hours.
    fn note_time(&mut self, now: Timestamp) {
        let before = self.seen.replace(now);
        if before.is_none_or(|before| before.duration_since(now) <= CLOCK_STEP) {
            return;
        }
        self.timers.clear();
        for (key, slot) in &mut self.slots {
            match slot {
                Slot::Waiting { at, .. } => {
                    *at = now.min(*at);
                    self.timers.insert((*at, key.clone()));
                }
                Slot::Running {
                    again: Some((at, _)),
                    ..
                } => *at = now.min(*at),
                Slot::Running { again: None, .. } | Slot::Ready { .. } => {}
            }
        }
    }

    /// Says that the look at an object has ended.
    pub fn done(&mut self, key: &ObjectKey) {
        if !matches!(self.slots.get(key), Some(Slot::Running { .. })) {
            return;
        }
        let Some(Slot::Running { instance, again }) = self.slots.remove(key) else {
            return;
        };
        self.looks = self.looks.saturating_sub(1);
        if let Some(running) = self.running.get_mut(&instance) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(&instance);
            }
        }
        if let Some((at, lane)) = again {
            self.schedule(key, at, lane);
        }
    }

    /// When the time of the next object comes that stands in no lane yet.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether no object stands in a lane.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.first.instances.is_empty() && self.routine.instances.is_empty()
    }

    /// What waits for its turn in a lane: how many objects, and since when the first of them.
    #[must_use]
    pub fn waiting(&self, lane: Lane, now: Timestamp) -> (usize, Option<Timestamp>) {
        let waits = self.slots.values().filter_map(|slot| match slot {
            Slot::Ready { since, lane } => Some((*since, *lane)),
            // Nobody asked for the next one since its time came.
            Slot::Waiting { at, lane } if *at <= now => Some((*at, *lane)),
            Slot::Waiting { .. } | Slot::Running { .. } => None,
        });
        let since = waits
            .filter(|(_, own)| *own == lane)
            .map(|(since, _)| since);
        since.fold((0, None), |(count, first), since| {
            let first = first.map_or(since, |first: Timestamp| first.min(since));
            (count + 1, Some(first))
        })
    }

    fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::First => &mut self.first,
            Lane::Routine => &mut self.routine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn one_instance(_: &ObjectKey) -> ObjectKey {
        ObjectKey::new("system", "default")
    }

    fn pop(queue: &mut Queue, now: i64) -> Option<ObjectKey> {
        queue.pop(at(now), one_instance).map(|(key, _)| key)
    }

    fn drain(queue: &mut Queue, now: i64) -> Vec<String> {
        std::iter::from_fn(|| pop(queue, now))
            .map(|key| key.to_string())
            .collect()
    }

    #[test]
    fn what_never_synced_goes_first_and_namespaces_take_turns() {
        let mut queue = Queue::default();
        for name in ["a1", "a2", "a3"] {
            queue.schedule(&ObjectKey::new("a", name), at(0), Lane::Routine);
        }
        queue.schedule(&ObjectKey::new("b", "b1"), at(1), Lane::Routine);
        queue.schedule(&ObjectKey::new("c", "c1"), at(2), Lane::First);
        assert_eq!(
            drain(&mut queue, 9),
            ["c/c1", "a/a1", "b/b1", "a/a2", "a/a3"]
        );
    }

    #[test]
    fn an_object_is_never_looked_at_twice_at_once() {
        let mut queue = Queue::default();
        let key = ObjectKey::new("a", "x");
        queue.schedule(&key, at(0), Lane::Routine);
        assert_eq!(pop(&mut queue, 0), Some(key.clone()));
        queue.schedule(&key, at(0), Lane::Routine);
        assert_eq!(pop(&mut queue, 9), None);
        queue.done(&key);
        assert_eq!(pop(&mut queue, 9), Some(key));
    }

    #[test]
    fn what_waits_is_what_is_due_and_is_not_being_looked_at() {
        let mut queue = Queue::default();
        for (name, due, lane) in [
            ("new", 10, Lane::First),
            ("newer", 20, Lane::First),
            ("old", 5, Lane::Routine),
            ("later", 100, Lane::Routine),
        ] {
            queue.schedule(&ObjectKey::new("a", name), at(due), lane);
        }
        let waiting = |queue: &Queue, now| {
            [Lane::First, Lane::Routine].map(|lane| {
                let (count, since) = queue.waiting(lane, at(now));
                (count, since.map(Timestamp::as_second))
            })
        };
        assert_eq!(waiting(&queue, 4), [(0, None), (0, None)]);
        assert_eq!(waiting(&queue, 30), [(2, Some(10)), (1, Some(5))]);
        let first = pop(&mut queue, 30).unwrap();
        assert_eq!(waiting(&queue, 30), [(1, Some(20)), (1, Some(5))]);
        queue.done(&first);
        assert_eq!(drain(&mut queue, 30).len(), 2);
        assert_eq!(waiting(&queue, 30), [(0, None), (0, None)]);
    }

    #[test]
    fn an_earlier_time_replaces_a_later_one_and_never_the_other_way() {
        let mut queue = Queue::default();
        let key = ObjectKey::new("a", "x");
        queue.schedule(&key, at(100), Lane::Routine);
        queue.schedule(&key, at(10), Lane::Routine);
        queue.schedule(&key, at(50), Lane::Routine);
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(drain(&mut queue, 9), Vec::<String>::new());
        assert_eq!(drain(&mut queue, 10), ["a/x"]);
    }

    #[test]
    fn an_instance_that_does_not_answer_leaves_looks_for_others_and_gets_its_own_back() {
        let instance_of = |key: &ObjectKey| ObjectKey::new("system", &key.namespace);
        let mut queue = Queue::default();
        for n in 0..200 {
            queue.schedule(&ObjectKey::new("hung", &n.to_string()), at(0), Lane::First);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop(at(0), instance_of)).collect();
        assert_eq!(taken.len(), LOOKS_OF_AN_INSTANCE);
        assert!(!queue.is_drained());
        queue.schedule(&ObjectKey::new("well", "x"), at(0), Lane::Routine);
        assert_eq!(
            queue.pop(at(0), instance_of),
            Some((ObjectKey::new("well", "x"), Standing::Alone))
        );
        assert_eq!(queue.pop(at(7), instance_of), None);
        let waiting = queue.waiting(Lane::First, at(7));
        assert_eq!(waiting, (200 - LOOKS_OF_AN_INSTANCE, Some(at(0))));
        queue.done(&taken[0].0);
        assert!(queue.pop(at(7), instance_of).is_some());
        assert_eq!(queue.pop(at(7), instance_of), None);
    }

    #[test]
    fn however_many_instances_do_not_answer_the_next_ones_object_comes_at_once() {
        let instance_of = |key: &ObjectKey| ObjectKey::new("system", &key.namespace);
        let mut queue = Queue::default();
        for instance in ["a", "b", "c", "d", "e", "f"] {
            for n in 0..200 {
                let key = ObjectKey::new(instance, &n.to_string());
                queue.schedule(&key, at(0), Lane::First);
            }
        }
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut looks = 0;
        while looks < LOOKS
            && let Some((key, _)) = queue.pop(at(0), instance_of)
        {
            *taken.entry(key.namespace).or_default() += 1;
            looks += 1;
        }
        assert!(looks < LOOKS, "{taken:?}");
        assert!(looks > LOOKS / 2, "few are left unused: {taken:?}");
        assert_eq!(taken.len(), 6);
        let well = ObjectKey::new("well", "x");
        queue.schedule(&well, at(0), Lane::Routine);
        let next = queue.pop(at(0), instance_of);
        assert_eq!(next, Some((well, Standing::Alone)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait_until_it_has_caught_up() {
        let mut queue = Queue::default();
        let (key, looked_at) = (ObjectKey::new("a", "x"), ObjectKey::new("a", "y"));
        queue.schedule(&looked_at, at(80), Lane::Routine);
        assert_eq!(pop(&mut queue, 90), Some(looked_at.clone()));
        queue.schedule(&looked_at, at(100), Lane::Routine);
        queue.schedule(&key, at(100), Lane::Routine);
        assert_eq!(pop(&mut queue, 90), None);
        // A step of the kind that clocks make all the time.
        assert_eq!(pop(&mut queue, 89), None);
        assert_eq!(pop(&mut queue, 10), Some(key));
        assert_eq!(pop(&mut queue, 10), None);
        queue.done(&looked_at);
        assert_eq!(pop(&mut queue, 10), Some(looked_at));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn one_that_comes_alone_does_not_wait_for_a_crowd_and_there_is_an_end_to_that_too() {
        let mut queue = Queue::default();
        for n in 0..200 {
            let key = ObjectKey::new("crowd", &n.to_string());
            queue.schedule(&key, at(0), Lane::First);
        }
        while pop(&mut queue, 0).is_some() {}
        for n in 0..LOOKS_ALONE {
            let key = ObjectKey::new("other", &n.to_string());
            queue.schedule(&key, at(1), Lane::First);
            let next = queue.pop(at(1), one_instance);
            assert_eq!(next, Some((key, Standing::Alone)));
        }
        queue.schedule(&ObjectKey::new("other", "x"), at(1), Lane::First);
        assert_eq!(pop(&mut queue, 1), None);
    }
}
