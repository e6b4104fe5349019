//! `kmsfs kms`: the KMS as a service, and what goes with it.

mod audit;
mod log;
mod usage;

use clap::Subcommand;

use super::{Failure, Global};

/// Arguments of `kmsfs kms`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show who called the KMS for what, and verify that the log of it is whole
    Audit(audit::Args),
    /// Add calls up by key, principal or operation, and say what they cost
    Usage(usage::Args),
}

/// Runs the command.
///
/// # Errors
/// Those of the command.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Command::Audit(args) => audit::run(args, global),
        Command::Usage(args) => usage::run(args, global),
    }
}
