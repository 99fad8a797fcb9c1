//! Which object is looked at next. Two lanes, never synced before routine; fair by namespace,
//! then by object, so that one tenant's thousand objects do not delay another's one. Never two
//! looks at one object at once. Pure: time comes in, and whoever holds it sleeps.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use kube::ResourceExt;

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
    /// Stands in a lane, since its time came.
    Ready { since: Timestamp, lane: Lane },
    /// Is being looked at; if something happened meanwhile, it is looked at again then.
    Running { again: Option<(Timestamp, Lane)> },
}

/// One lane: namespaces take turns, and within each its objects.
#[derive(Debug, Default)]
struct Turns {
    namespaces: VecDeque<String>,
    objects: HashMap<String, VecDeque<String>>,
}

impl Turns {
    fn push(&mut self, key: &ObjectKey) {
        let line = self.objects.entry(key.namespace.clone()).or_default();
        if line.is_empty() {
            self.namespaces.push_back(key.namespace.clone());
        }
        line.push_back(key.name.clone());
    }

    fn pop(&mut self) -> Option<ObjectKey> {
        let namespace = self.namespaces.pop_front()?;
        let line = self.objects.get_mut(&namespace)?;
        let name = line.pop_front()?;
        if line.is_empty() {
            self.objects.remove(&namespace);
        } else {
            self.namespaces.push_back(namespace.clone());
        }
        Some(ObjectKey { namespace, name })
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    slots: HashMap<ObjectKey, Slot>,
    timers: BTreeSet<(Timestamp, ObjectKey)>,
    first: Turns,
    routine: Turns,
}

impl Queue {
    /// Asks for a look at an object at a time, or earlier if one is asked for already.
    pub fn schedule(&mut self, key: &ObjectKey, at: Timestamp, lane: Lane) {
        match self.slots.get_mut(key) {
            Some(Slot::Ready { .. }) => {}
            Some(Slot::Running { again }) => {
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

    /// Takes the next object whose time has come.
    pub fn pop(&mut self, now: Timestamp) -> Option<ObjectKey> {
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
                self.turns(lane).push(&key);
            }
        }
        loop {
            let key = self.first.pop().or_else(|| self.routine.pop())?;
            // An object that was forgotten while it stood in a lane is skipped.
            if let Some(slot @ Slot::Ready { .. }) = self.slots.get_mut(&key) {
                *slot = Slot::Running { again: None };
                return Some(key);
            }
        }
    }

    /// Says that the look at an object has ended.
    pub fn done(&mut self, key: &ObjectKey) {
        if let Some(Slot::Running { again }) = self.slots.get(key) {
            let again = *again;
            self.slots.remove(key);
            if let Some((at, lane)) = again {
                self.schedule(key, at, lane);
            }
        }
    }

    /// When the next object's time comes; the least time there is, if one stands in a lane.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.first.namespaces.is_empty() && self.routine.namespaces.is_empty() {
            self.timers.first().map(|(at, _)| *at)
        } else {
            Some(Timestamp::MIN)
        }
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

    fn turns(&mut self, lane: Lane) -> &mut Turns {
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

    fn drain(queue: &mut Queue, now: i64) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(at(now)))
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
        assert_eq!(queue.pop(at(0)), Some(key.clone()));
        queue.schedule(&key, at(0), Lane::Routine);
        assert_eq!(queue.pop(at(9)), None);
        queue.done(&key);
        assert_eq!(queue.pop(at(9)), Some(key));
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
        let first = queue.pop(at(30)).unwrap();
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
}
