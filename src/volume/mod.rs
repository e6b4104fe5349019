//! The volume format.

pub mod lower;
