//! Lines in which namespaces take turns, so that one tenant's thousand things do not delay
//! another's one. A namespace that had nothing in line goes before those that have stood there for
//! longer, once (as new flows do in FQ-CoDel, RFC 8290): else a single thing would wait for one of
//! every tenant's. One that comes back with something before its next turn, because it makes one
//! thing after the other, has every second turn together with others like it: it waits for one of
//! the crowd's things, not for all of them, and the crowd keeps half of the turns.

use std::collections::{HashMap, VecDeque};

/// How a namespace stood in line when its turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// With one thing, which it had just come with.
    Alone,
    /// With more of them, or for longer.
    InCrowd,
}

/// Where a namespace waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Fresh,
    Returned,
    Old,
}

/// One line per namespace.
#[derive(Debug)]
pub struct Turns<T> {
    fresh: VecDeque<String>,
    returned: VecDeque<String>,
    old: VecDeque<String>,
    /// Whether those that returned had a turn since the last one of `old`.
    returned_had_turn: bool,
    /// Those of namespaces in `fresh` or `old`; one that was emptied stays until its next turn, so
    /// that whoever comes back at once is not fresh again.
    lines: HashMap<String, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            returned: VecDeque::new(),
            old: VecDeque::new(),
            returned_had_turn: false,
            lines: HashMap::new(),
            len: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Puts something at the end of its namespace's line.
    pub fn push(&mut self, namespace: &str, thing: T) {
        self.len += 1;
        if let Some(line) = self.lines.get_mut(namespace) {
            if line.is_empty() {
                self.returned.push_back(namespace.to_owned());
            }
            line.push_back(thing);
        } else {
            self.fresh.push_back(namespace.to_owned());
            self.lines
                .insert(namespace.to_owned(), VecDeque::from([thing]));
        }
    }

    /// Takes the first of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<(String, T)> {
        let (namespace, thing, _) = self.pop_if(|_| true)?;
        Some((namespace, thing))
    }

    /// Takes the first of the next namespace that may have its turn, by how it stands in line.
    pub fn pop_if(&mut self, may: impl Fn(Standing) -> bool) -> Option<(String, T, Standing)> {
        self.drop_emptied();
        let order = if self.returned_had_turn {
            [Place::Fresh, Place::Old, Place::Returned]
        } else {
            [Place::Fresh, Place::Returned, Place::Old]
        };
        let place = order
            .into_iter()
            .find(|place| self.standing(*place).is_some_and(&may))?;
        let standing = self.standing(place)?;
        let namespace = self.line(place).pop_front()?;
        let thing = self.lines.get_mut(&namespace)?.pop_front()?;
        self.len = self.len.saturating_sub(1);
        if place == Place::Returned {
            self.returned_had_turn = true;
        } else {
            self.returned_had_turn &= place == Place::Fresh;
            self.old.push_back(namespace.clone());
        }
        Some((namespace, thing, standing))
    }

    /// How the namespace stands that is the first of its place.
    fn standing(&self, place: Place) -> Option<Standing> {
        let first = match place {
            Place::Fresh => self.fresh.front(),
            Place::Returned => self.returned.front(),
            Place::Old => self.old.front(),
        }?;
        let is_alone = place != Place::Old && self.lines.get(first)?.len() == 1;
        Some(if is_alone {
            Standing::Alone
        } else {
            Standing::InCrowd
        })
    }

    const fn line(&mut self, place: Place) -> &mut VecDeque<String> {
        match place {
            Place::Fresh => &mut self.fresh,
            Place::Returned => &mut self.returned,
            Place::Old => &mut self.old,
        }
    }

    /// Lets go of namespaces whose turn comes and that have nothing in line any more.
    fn drop_emptied(&mut self) {
        let is_empty = |lines: &HashMap<String, VecDeque<T>>, namespace: &String| {
            lines.get(namespace).is_none_or(VecDeque::is_empty)
        };
        while let Some(namespace) = self.old.front()
            && is_empty(&self.lines, namespace)
        {
            self.lines.remove(namespace);
            self.old.pop_front();
        }
        // What it had come back with was taken when its turn came.
        while let Some(namespace) = self.returned.front()
            && is_empty(&self.lines, namespace)
        {
            self.returned.pop_front();
        }
    }

    /// How many things stand in all lines.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing stands in any line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(turns: &mut Turns<i32>) -> Vec<i32> {
        std::iter::from_fn(|| turns.pop()).map(|(_, n)| n).collect()
    }

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_order() {
        let mut turns = Turns::default();
        for (namespace, thing) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            turns.push(namespace, thing);
        }
        assert_eq!(drain(&mut turns), [1, 4, 5, 2, 6, 3]);
        assert!(turns.is_empty() && turns.lines.is_empty() && turns.old.is_empty());
    }

    #[test]
    fn who_comes_anew_is_next_and_who_comes_back_has_every_second_turn() {
        let mut turns = Turns::default();
        for namespace in ["a", "b", "c"] {
            (0..4).for_each(|n| turns.push(namespace, n));
        }
        assert_eq!(turns.pop(), Some(("a".to_owned(), 0)));
        turns.push("new", 100);
        assert_eq!(turns.pop(), Some(("b".to_owned(), 0)));
        assert_eq!(turns.pop(), Some(("c".to_owned(), 0)));
        assert_eq!(turns.pop(), Some(("new".to_owned(), 100)));
        assert_eq!(turns.pop(), Some(("a".to_owned(), 1)));
        turns.push("newer", 200);
        turns.push("new", 101);
        let next = |turns: &mut Turns<i32>| turns.pop_if(|_| true).map(|(_, n, how)| (n, how));
        assert_eq!(next(&mut turns), Some((200, Standing::Alone)));
        assert_eq!(next(&mut turns), Some((101, Standing::Alone)));
        // One after the other, each as soon as the one before had its turn.
        turns.push("new", 102);
        assert_eq!(next(&mut turns), Some((1, Standing::InCrowd)));
        assert_eq!(next(&mut turns), Some((102, Standing::Alone)));
        // Two at once are a crowd: the second waits for the namespace's own turn.
        turns.push("new", 103);
        turns.push("new", 104);
        assert_eq!(next(&mut turns), Some((1, Standing::InCrowd)));
        assert_eq!(next(&mut turns), Some((103, Standing::InCrowd)));
        assert_eq!(drain(&mut turns), [104, 2, 2, 2, 3, 3, 3]);
        assert!(turns.is_empty() && turns.lines.is_empty() && turns.returned.is_empty());
    }

    #[test]
    fn who_may_not_have_its_turn_is_passed_over_and_loses_nothing() {
        let mut turns = Turns::default();
        (0..3).for_each(|n| turns.push("a", n));
        turns.push("b", 10);
        let alone = |standing| standing == Standing::Alone;
        assert_eq!(turns.pop_if(alone), None);
        assert_eq!(turns.pop(), Some(("a".to_owned(), 0)));
        let next = turns.pop_if(alone);
        assert_eq!(next, Some(("b".to_owned(), 10, Standing::Alone)));
        assert_eq!(turns.pop_if(alone), None);
        turns.push("b", 11);
        let next = turns.pop_if(alone);
        assert_eq!(next, Some(("b".to_owned(), 11, Standing::Alone)));
        turns.push("b", 12);
        // Not its turn, but nobody else may.
        let next = turns.pop_if(alone);
        assert_eq!(next, Some(("b".to_owned(), 12, Standing::Alone)));
        assert_eq!(drain(&mut turns), [1, 2]);
    }
}
