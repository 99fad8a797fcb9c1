//! An emulator of IBM Key Protect and IBM Cloud IAM.
