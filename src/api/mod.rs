//! The KMS as a network service: AWS KMS's wire protocol in front of [`crate::kms`].
//!
//! | module | what it is for |
//! |---|---|
//! | [`server`] | listening on a unix socket and on TCP, TLS, connections and their limits |
//! | [`gate`] | the service as far as it is open: custodians may have to open it first |
//! | [`service`] | one request: who asks, for what, and the answer |
//! | [`auth`] | Signature Version 4 verified; `identity` says whom a signature or a peer stands for |
//! | [`wire`] | AWS JSON 1.1: reading, checking, writing |
//! | [`model`] | what every operation takes and returns, as data |
//! | [`operations`] | from a checked request to a call of the KMS and back, a file per subject |
//! | [`own`] | operations that AWS has no name for; `checkpoint` is one more |
//! | [`oversight`] | every call's line in the audit log, quotas, figures; [`exposition`] serves those |

pub mod auth;
mod checkpoint;
mod ending;
pub mod error;
pub mod exposition;
pub mod gate;
mod identity;
pub mod metrics;
pub mod model;
pub mod operations;
pub mod oversight;
pub mod own;
pub mod server;
pub mod service;
pub mod wire;
