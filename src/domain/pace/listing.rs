//! Whether an instance's keys are listed or read one by one, and when many objects that miss a
//! row are worth a listing.

use jiff::{SignedDuration, Timestamp};

/// A row of a listing costs the service about an eightieth of a request for that key alone.
const ROWS_A_READ: usize = 80;
/// Rows of the service's largest page.
const PAGE: usize = 5_000;
/// So many single reads since the last listing are no burst, however small the instance.
const FEW: usize = 4;
/// Two listings for bursts are at least so far apart.
const APART: SignedDuration = SignedDuration::from_secs(1);

/// How an instance's keys are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// By a listing.
    #[default]
    List,
    /// One by one.
    Single,
}

/// Chooses by cost: one by one where fewer keys are watched than the listing has pages, or than
/// one in eighty of its rows. An object that names its key by name needs a listing.
#[must_use]
pub const fn manner(rows: usize, watched: usize, by_name: bool) -> Manner {
    let cheaper = watched < rows.div_ceil(PAGE) || watched < rows / ROWS_A_READ;
    if cheaper && !by_name && watched > 0 {
        Manner::Single
    } else {
        Manner::List
    }
}

/// So many rows are worth reading before it is known whether there are more: with more, keys would
/// be read one by one.
#[must_use]
pub const fn rows_worth_reading(watched: usize, by_name: bool) -> usize {
    if by_name || watched == 0 {
        return usize::MAX;
    }
    let by_rows = watched.saturating_add(1).saturating_mul(ROWS_A_READ) - 1;
    let by_pages = watched.saturating_mul(PAGE);
    if by_rows < by_pages {
        by_rows
    } else {
        by_pages
    }
}

/// What is done about a row that an object misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is read singly.
    Read,
    /// A listing is made for all that miss one.
    List,
    /// A listing is to come at this time.
    Wait(Timestamp),
}

/// What an object's missing row is seen against.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// When the last listing was begun.
    pub listed_at: Timestamp,
    /// Its rows.
    pub rows: usize,
    /// Single reads sent since.
    pub reads: usize,
    /// When the object was first seen to miss its row.
    pub missed_at: Timestamp,
}

/// Many new objects at once get one listing together; a single one does not wait for it. A row
/// that a listing made since does not show is read singly: it may be granted singly.
#[must_use]
pub fn missing(burst: &Burst, now: Timestamp) -> Missing {
    let bound = FEW.max(burst.rows / ROWS_A_READ);
    if burst.reads < bound || burst.listed_at >= burst.missed_at {
        return Missing::Read;
    }
    let next = burst.listed_at.checked_add(APART).unwrap_or(Timestamp::MAX);
    let wait = next.duration_since(now);
    if wait > SignedDuration::ZERO && wait <= APART {
        Missing::Wait(next)
    } else {
        Missing::List
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_one_by_one_where_few_are_watched() {
        for (rows, watched, by_name, expected) in [
            (0, 0, false, Manner::List),
            (1, 1, false, Manner::List),
            (79, 1, false, Manner::List),
            (160, 1, false, Manner::Single),
            (160, 2, false, Manner::List),
            (160, 1, true, Manner::List),
            (5_000, 61, false, Manner::Single),
            (5_000, 62, false, Manner::List),
            (5_000, 5_000, false, Manner::List),
            (1_000_000, 12_499, false, Manner::Single),
            (1_000_000, 12_500, false, Manner::List),
            (1_000_000, 0, false, Manner::List),
        ] {
            let chosen = manner(rows, watched, by_name);
            assert_eq!(chosen, expected, "{watched} of {rows}, {by_name}");
            let most = rows_worth_reading(watched, by_name);
            assert_eq!(rows > most, expected == Manner::Single, "{most} of {rows}");
        }
    }

    #[test]
    fn a_burst_of_new_objects_gets_a_listing_and_a_single_one_a_read() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        for (rows, reads, listed, missed, now, expected) in [
            (100, 0, 0, 9_000, 9_000, Missing::Read),
            (100, 3, 0, 9_000, 9_000, Missing::Read),
            (100, 4, 0, 9_000, 9_000, Missing::List),
            (100, 4, 8_500, 9_000, 9_000, Missing::Wait(at(9_500))),
            (100, 4, 8_500, 9_000, 9_500, Missing::List),
            (100, 4, 9_000, 9_000, 9_200, Missing::Read),
            (5_000, 61, 0, 9_000, 9_000, Missing::Read),
            (5_000, 62, 0, 9_000, 9_000, Missing::List),
            // A clock that was set back.
            (100, 4, 8_500, 9_000, 1_000, Missing::List),
        ] {
            let burst = Burst {
                listed_at: at(listed),
                rows,
                reads,
                missed_at: at(missed),
            };
            assert_eq!(missing(&burst, at(now)), expected, "{burst:?}");
        }
    }
}
