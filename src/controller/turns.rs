//! Lines in which namespaces take turns, so that one tenant's thousand things do not delay
//! another's one.

use std::collections::{HashMap, VecDeque};

/// One line per namespace.
#[derive(Debug)]
pub struct Turns<T> {
    namespaces: VecDeque<String>,
    lines: HashMap<String, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            namespaces: VecDeque::new(),
            lines: HashMap::new(),
            len: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Puts something at the end of its namespace's line.
    pub fn push(&mut self, namespace: &str, thing: T) {
        let line = self.lines.entry(namespace.to_owned()).or_default();
        if line.is_empty() {
            self.namespaces.push_back(namespace.to_owned());
        }
        line.push_back(thing);
        self.len += 1;
    }

    /// Takes the first of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<(String, T)> {
        let namespace = self.namespaces.pop_front()?;
        let line = self.lines.get_mut(&namespace)?;
        let thing = line.pop_front()?;
        self.len = self.len.saturating_sub(1);
        if line.is_empty() {
            self.lines.remove(&namespace);
        } else {
            self.namespaces.push_back(namespace.clone());
        }
        Some((namespace, thing))
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

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_order() {
        let mut turns = Turns::default();
        for (namespace, thing) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            turns.push(namespace, thing);
        }
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).map(|(_, n)| n).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
        assert!(turns.is_empty());
        turns.push("a", 7);
        assert_eq!(turns.pop(), Some(("a".to_owned(), 7)));
    }
}
