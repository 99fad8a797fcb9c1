//! How many KeyProtectKeys of a namespace are served: the oldest, up to a number, so that nobody
//! who may make objects can make the operator ask IBM Cloud without end. Costs nothing where there
//! are fewer.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::held::Held;
use super::queue::ObjectKey;
use super::world::{Concerned, World};

/// What tells the older of two objects: when it was made, and its UID.
pub type Age = (Option<Timestamp>, Box<str>);

/// The objects of every namespace, counted.
#[derive(Debug)]
pub struct Crowds {
    most: usize,
    namespaces: HashMap<String, Crowd>,
}

#[derive(Debug, Default)]
struct Crowd {
    count: usize,
    /// Those that are served, where there are too many and somebody has asked.
    served: Option<BTreeSet<Age>>,
}

impl Crowds {
    /// Serves so many objects of a namespace.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            namespaces: HashMap::new(),
        }
    }

    /// How many objects of a namespace are served.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Takes in that an object came.
    pub fn came(&mut self, namespace: &str, age: Age) {
        let crowd = self.namespaces.entry(namespace.to_owned()).or_default();
        crowd.count += 1;
        if let Some(served) = &mut crowd.served {
            served.insert(age);
            if served.len() > self.most {
                served.pop_last();
            }
        }
    }

    /// Takes in that an object went. Says whether that makes room for another one.
    pub fn went(&mut self, namespace: &str, age: &Age) -> bool {
        let Some(crowd) = self.namespaces.get_mut(namespace) else {
            return false;
        };
        let was_full = crowd.count > self.most;
        crowd.count = crowd.count.saturating_sub(1);
        let was_served = crowd
            .served
            .as_ref()
            .is_none_or(|served| served.contains(age));
        if was_full && was_served {
            crowd.served = None;
        }
        if crowd.count == 0 {
            self.namespaces.remove(namespace);
        }
        was_full && was_served
    }

    /// Whether there are more objects in a namespace than are served.
    #[must_use]
    pub fn is_full(&self, namespace: &str) -> bool {
        self.namespaces
            .get(namespace)
            .is_some_and(|crowd| crowd.count > self.most)
    }

    /// Those that are served where there are too many; `all` are the objects of the namespace.
    pub fn served(
        &mut self,
        namespace: &str,
        all: impl Iterator<Item = Age>,
    ) -> Option<&BTreeSet<Age>> {
        let most = self.most;
        let crowd = self.namespaces.get_mut(namespace)?;
        if crowd.count <= most {
            return None;
        }
        Some(crowd.served.get_or_insert_with(|| {
            let mut served = BTreeSet::new();
            for age in all {
                served.insert(age);
                if served.len() > most {
                    served.pop_last();
                }
            }
            served
        }))
    }
}

/// The age of an object.
#[must_use]
pub fn age_of(held: &Held) -> Age {
    let (created, uid) = held.age();
    (created, uid.into())
}

impl World {
    /// How many objects of its namespace are served, where an object is none of them.
    pub(super) fn surplus(&mut self, key: &ObjectKey) -> Option<usize> {
        if !self.crowds.is_full(&key.namespace) {
            return None;
        }
        let own = self.known(key).map(|known| age_of(&known.held))?;
        let ages = self.ages(&key.namespace);
        let served = self.crowds.served(&key.namespace, ages.into_iter())?;
        (!served.contains(&own)).then(|| self.crowds.most())
    }

    /// Takes in that an object is gone from its namespace; who is served in its place is to be
    /// looked at.
    pub(super) fn went(&mut self, key: &ObjectKey, held: &Held) -> Concerned {
        if !self.crowds.went(&key.namespace, &age_of(held)) {
            return Vec::new();
        }
        let ages = self.ages(&key.namespace);
        let youngest = match self.crowds.served(&key.namespace, ages.iter().cloned()) {
            Some(served) => served.last().cloned(),
            None => ages.into_iter().max(),
        };
        let all = self.in_namespace(&key.namespace);
        let next = all.filter(|(_, known)| Some(age_of(&known.held)) == youngest);
        next.map(|(key, known)| (key.clone(), known.held.lane))
            .collect()
    }

    /// The ages of a namespace's objects. Only where there are too many of them is it asked for.
    fn ages(&self, namespace: &str) -> Vec<Age> {
        let all = self.in_namespace(namespace);
        all.map(|(_, known)| age_of(&known.held)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(second: i64) -> Age {
        let at = Timestamp::from_second(1_000_000 + second).unwrap();
        (Some(at), format!("uid-{second}").into())
    }

    #[test]
    fn the_oldest_are_served_and_the_next_moves_up_when_one_of_them_goes() {
        let mut crowds = Crowds::new(2);
        let mut all: Vec<Age> = Vec::new();
        for second in [3, 1] {
            crowds.came("n", age(second));
            all.push(age(second));
        }
        assert!(crowds.served("n", all.iter().cloned()).is_none());
        for second in [2, 4] {
            crowds.came("n", age(second));
            all.push(age(second));
        }
        assert!(crowds.is_full("n") && !crowds.is_full("other"));
        let served = crowds.served("n", all.iter().cloned()).unwrap();
        assert!(served.contains(&age(1)) && served.contains(&age(2)) && served.len() == 2);
        // One that is older than those comes into view late.
        crowds.came("n", age(0));
        all.push(age(0));
        let served = crowds.served("n", all.iter().cloned()).unwrap();
        assert!(served.contains(&age(0)) && !served.contains(&age(2)));
        assert!(!crowds.went("n", &age(4)), "it was not served");
        all.retain(|other| *other != age(4));
        assert!(crowds.went("n", &age(1)));
        all.retain(|other| *other != age(1));
        let served = crowds.served("n", all.iter().cloned()).unwrap();
        assert_eq!(served.last(), Some(&age(2)));
        assert!(crowds.went("n", &age(0)));
        all.retain(|other| *other != age(0));
        assert!(crowds.served("n", all.iter().cloned()).is_none());
        for rest in all {
            assert!(!crowds.went("n", &rest));
        }
        assert!(crowds.namespaces.is_empty());
    }
}
