//! key-protect-operator
