//! An emulator of IBM Key Protect and IBM Cloud IAM.
//!
//! It enforces what the service enforces and refuses what the service refuses,
//! and knows nothing of the operator that is tested against it. State is in
//! memory. The README beside this crate has the admin port in tables.
//!
//! - [`domain`]: what the service decides, pure;
//! - [`iam`]: identities and tokens;
//! - [`faults`] and [`journal`]: what goes wrong, and what was served;
//! - [`http`]: the API over HTTP; [`admin`]: the admin port over [`control`];
//! - [`Emulator`]: all of it, running.

pub mod admin;
mod clock;
mod connections;
pub mod control;
pub mod domain;
mod emulator;
pub mod faults;
pub mod http;
pub mod iam;
pub mod journal;
mod server;
mod tls;
mod world;

pub use connections::ConnectionFault;
pub use control::{Control, ControlError};
pub use domain::modes::Modes;
pub use emulator::{Emulator, Options, StartError};
pub use journal::{Served, Wanted};
pub use tls::{Tls, TlsError};
pub use world::{Shared, World};
