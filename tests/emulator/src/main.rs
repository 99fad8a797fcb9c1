//! The emulator's command line.
fn main() {}
