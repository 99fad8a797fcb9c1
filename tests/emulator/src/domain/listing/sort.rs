//! The `sort` of a list.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::domain::key::Key;
use crate::domain::modes::{Modes, Places};
use crate::domain::refusal::Refusal;
use crate::domain::state::{KeyClass, KeyState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    Id,
    State,
    Extractable,
    Imported,
    CreationDate,
    LastUpdateDate,
    LastRotateDate,
    DeletionDate,
    ExpirationDate,
}

/// An order: properties, each up or down. By ID when there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sort(Vec<(Property, bool)>);

impl Sort {
    /// Reads `-creationDate,id`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let name = part.strip_prefix('-').unwrap_or(part);
                let property = match name {
                    "id" => Property::Id,
                    "state" => Property::State,
                    "extractable" => Property::Extractable,
                    "imported" => Property::Imported,
                    "creationDate" => Property::CreationDate,
                    "lastUpdateDate" => Property::LastUpdateDate,
                    "lastRotateDate" => Property::LastRotateDate,
                    "deletionDate" => Property::DeletionDate,
                    "expirationDate" => Property::ExpirationDate,
                    _ => {
                        return Err(Refusal::field(
                            "sort",
                            format!("{name} cannot be sorted by."),
                        ));
                    }
                };
                Ok((property, part.starts_with('-')))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Sorts keys that are in the order of their IDs, by what the list shows of
    /// them.
    pub fn apply(&self, keys: &mut [&Key], modes: &Modes, now: Timestamp) {
        if self.0.is_empty() {
            return;
        }
        let state = |key: &Key| key.shown_state(Places::Lists, modes, now);
        keys.sort_by(|left, right| {
            self.0
                .iter()
                .fold(Ordering::Equal, |order, (property, descending)| {
                    order.then_with(|| {
                        let next = compare(*property, left, right, state);
                        if *descending { next.reverse() } else { next }
                    })
                })
        });
    }
}

fn compare(
    property: Property,
    left: &Key,
    right: &Key,
    state: impl Fn(&Key) -> KeyState,
) -> Ordering {
    let deleted = |key: &Key| key.deletion.as_ref().map(|deletion| deletion.at);
    match property {
        Property::Id => left.id.cmp(&right.id),
        Property::State => state(left).cmp(&state(right)),
        Property::Extractable => {
            (left.class == KeyClass::Standard).cmp(&(right.class == KeyClass::Standard))
        }
        Property::Imported => left.imported.cmp(&right.imported),
        Property::CreationDate => left.creation_date.cmp(&right.creation_date),
        Property::LastUpdateDate => left.last_update.cmp(&right.last_update),
        Property::LastRotateDate => left.last_rotate.cmp(&right.last_rotate),
        Property::DeletionDate => deleted(left).cmp(&deleted(right)),
        Property::ExpirationDate => left.expiration.cmp(&right.expiration),
    }
}
