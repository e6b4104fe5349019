//! The KMS as a service: the real program, spoken to over real sockets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod auth;
mod client;
mod hostile;
mod operations;
mod oversight;
mod server;
mod starting;
mod wire;
