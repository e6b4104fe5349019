//! Tests of the KMS as a whole.
