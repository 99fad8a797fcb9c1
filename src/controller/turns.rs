//! Lines in which namespaces take turns, so that one tenant's thousand things do not delay
//! another's one. A namespace that had nothing in line goes before those that have stood there
//! for longer, once (as new flows do in FQ-CoDel, RFC 8290): else a single thing would wait for
//! one of every tenant's.

use std::collections::{HashMap, VecDeque};

/// One line per namespace.
#[derive(Debug)]
pub struct Turns<T> {
    fresh: VecDeque<String>,
    old: VecDeque<String>,
    /// Those of namespaces in `fresh` or `old`; one that was emptied stays until its next turn, so
    /// that whoever comes back at once is not fresh again.
    lines: HashMap<String, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            old: VecDeque::new(),
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
            line.push_back(thing);
        } else {
            self.fresh.push_back(namespace.to_owned());
            self.lines
                .insert(namespace.to_owned(), VecDeque::from([thing]));
        }
    }

    /// Takes the first of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<(String, T)> {
        loop {
            let namespace = self.fresh.pop_front().or_else(|| self.old.pop_front())?;
            match self.lines.get_mut(&namespace)?.pop_front() {
                Some(thing) => {
                    self.len = self.len.saturating_sub(1);
                    self.old.push_back(namespace.clone());
                    return Some((namespace, thing));
                }
                None => drop(self.lines.remove(&namespace)),
            }
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
    fn who_comes_anew_is_next_and_who_comes_back_at_once_is_not() {
        let mut turns = Turns::default();
        for namespace in ["a", "b", "c"] {
            (0..3).for_each(|n| turns.push(namespace, n));
        }
        assert_eq!(turns.pop(), Some(("a".to_owned(), 0)));
        turns.push("new", 100);
        assert_eq!(turns.pop(), Some(("b".to_owned(), 0)));
        assert_eq!(turns.pop(), Some(("c".to_owned(), 0)));
        assert_eq!(turns.pop(), Some(("new".to_owned(), 100)));
        assert_eq!(turns.pop(), Some(("a".to_owned(), 1)));
        turns.push("newer", 200);
        turns.push("new", 101);
        assert_eq!(turns.pop(), Some(("newer".to_owned(), 200)));
        // It had its turn a moment ago.
        let order = drain(&mut turns);
        assert_eq!(order, [1, 1, 101, 2, 2, 2]);
    }
}
