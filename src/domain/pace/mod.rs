//! The pace of requests to one instance: how many at once, and when none at all. Pure: time and
//! outcomes come in. What one object does after a failure stands in [`crate::domain::schedule`].

pub mod breaker;
pub mod gate;
pub mod listing;
pub mod window;
