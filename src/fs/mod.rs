//! The filesystem, without one FUSE type.

pub mod types;
