//! The operations that are served, a file per subject.

pub(in crate::api) mod agreement;
pub(in crate::api) mod aliases;
pub(in crate::api) mod approvals;
pub(in crate::api) mod data_keys;
pub(in crate::api) mod encryption;
mod errors;
pub(in crate::api) mod grants;
pub(in crate::api) mod r#import;
pub(in crate::api) mod keys;
pub(in crate::api) mod policies;
pub(in crate::api) mod rotation;
pub(in crate::api) mod secrets;
pub(in crate::api) mod signing;
pub(in crate::api) mod tags;
pub(in crate::api) mod token;
