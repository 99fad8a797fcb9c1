//! What a listing has shown, and where it looked.

use std::collections::HashSet;

use super::queue::ObjectKey;

/// Where a watch looks: a namespace; nothing stands for all of them.
pub type Place = Option<String>;

/// The names in a listing that is complete.
#[derive(Debug, Default)]
pub struct Listed {
    /// Where it looked.
    pub place: Place,
    /// What it showed.
    pub names: HashSet<ObjectKey>,
}

impl Listed {
    /// Whether it shows that something is gone: it looked where that would be, and did not find it.
    #[must_use]
    pub fn lacks(&self, key: &ObjectKey) -> bool {
        covers(&self.place, key) && !self.names.contains(key)
    }
}

/// Whether something is where a watch looks.
#[must_use]
pub fn covers(place: &Place, key: &ObjectKey) -> bool {
    place.as_ref().is_none_or(|place| *place == key.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_says_nothing_of_other_namespaces() {
        let (here, there) = (ObjectKey::new("a", "x"), ObjectKey::new("b", "x"));
        let listed = |place: Option<&str>, names: &[&ObjectKey]| Listed {
            place: place.map(str::to_owned),
            names: names.iter().map(|key| (*key).clone()).collect(),
        };
        assert!(listed(None, &[]).lacks(&here) && listed(None, &[]).lacks(&there));
        let one = listed(Some("a"), &[]);
        assert!(one.lacks(&here) && !one.lacks(&there));
        assert!(!listed(Some("a"), &[&here]).lacks(&here));
    }
}
