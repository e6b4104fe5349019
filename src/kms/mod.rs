//! The KMS core.
