//! The process: settings, logs, health, shutdown.

pub mod health;
pub mod process;
pub mod settings;
pub mod telemetry;
