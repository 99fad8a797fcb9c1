//! One look at one object. [`decide`] is the way through it: [`request`] fills in defaults and
//! checks rights, `identify` finds the keys and `judge` says what a key amounts to, `absent` what
//! its absence does, [`evidence`] what says that it is gone for good and `revoke` what follows from
//! that, `expected` (`merge` for Secrets of others, `unread` where none may be read) whether the
//! Secret is right already, `reading` which payloads are needed and what
//! becomes of them, and `conclude` (`ending` where it makes no Secret) how the look ends: in a [`plan`].

mod absent;
mod announce;
mod conclude;
pub mod decide;
mod ending;
pub mod evidence;
mod expected;
pub mod hindrance;
mod identify;
mod judge;
mod known;
mod merge;
pub mod observed;
pub mod plan;
mod reading;
mod report;
pub mod request;
mod revoke;
pub mod unread;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod world_tests;
