//! `kmsfs status`.

use super::{Exit, Failure, Global};

/// Arguments of `kmsfs status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args, _global: &Global) -> Result<(), Failure> {
    Err(Failure::new(Exit::Failure, "builder fuse replaces this file"))
}
