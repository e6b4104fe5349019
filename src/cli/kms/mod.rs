//! `kmsfs kms`: the KMS as a service, and what goes with it.

mod access_key;
mod audit;
mod checkpoint;
mod confine;
mod init_tls;
mod log;
mod policy;
mod principal;
mod serve;
mod session;
mod settings;
mod syscalls;
mod usage;
mod user;

use clap::Subcommand;

use super::{Exit, Failure, Global, access, secret::AdministerArgs};
use crate::kms;

/// The groups of `kmsfs kms --help`.
pub const GROUPS: &[super::help::Group] = &[
    ("The service", &["serve", "init-tls", "settings"]),
    ("Who may call", &["principal", "access-key", "session", "policy", "map-uid", "unmap-uid"]),
    ("Who did", &["audit", "checkpoint", "usage"]),
];

const ABOUT_PRINCIPALS: &str = "\
A PRINCIPAL is a user (user/alice) or a role (role/backup) of the keystore. It can
do nothing until the key policy of a key, a grant or a policy of its own says so.

A running service on the same keystore knows of a change within half a second.";

/// Arguments of `kmsfs kms`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT_PRINCIPALS)]
pub struct Args {
    #[command(flatten)]
    administer: AdministerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve AWS KMS's API on a unix socket and on TCP
    Serve(serve::Args),
    /// Make a TLS certificate for the server, and an authority for its clients to trust
    InitTls(init_tls::Args),
    /// Show or change the account and the region in ARNs
    Settings(settings::Args),
    /// Make, list, show and delete users and roles
    #[command(subcommand)]
    Principal(principal::Command),
    /// Make, list, disable, enable and delete the access keys of users
    #[command(subcommand)]
    AccessKey(access_key::Command),
    /// Issue temporary credentials that act as a user or role
    Session(session::Args),
    /// Attach, list, show and detach the policies of a principal
    #[command(subcommand)]
    Policy(policy::Command),
    /// Have a user of this machine be a principal on the service's unix socket
    MapUid(principal::MapArgs),
    /// Have a user of this machine be nobody on the service's unix socket
    UnmapUid(principal::UnmapArgs),
    /// Show who called the KMS for what, and verify that the log of it is whole
    Audit(audit::Args),
    /// Make and verify signed checkpoints of the audit log, for who keeps them elsewhere
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Add calls up by key, principal or operation, and say what they cost
    Usage(usage::Args),
}

/// Runs the command.
///
/// # Errors
/// Those of the command.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let open = || access::administer(global, &args.administer);
    let unlock = &args.administer.unlock;
    match &args.command {
        Command::Serve(serving) => serve::run(serving, global, unlock),
        Command::InitTls(args) => init_tls::run(args, global),
        Command::Settings(args) => settings::run(&open()?, args, global.json),
        Command::Principal(command) => principal::run(&open()?, command, global.json),
        Command::AccessKey(command) => access_key::run(&open()?, command, global.json),
        Command::Session(args) => session::run(&open()?, args, global.json),
        Command::Policy(command) => policy::run(&open()?, command, global.json),
        Command::MapUid(args) => principal::map_uid(&open()?, args),
        Command::UnmapUid(args) => principal::unmap_uid(&open()?, args),
        Command::Audit(args) => audit::run(args, global, open),
        Command::Checkpoint(command) => checkpoint::run(command, global, unlock),
        Command::Usage(args) => usage::run(args, global, open),
    }
}

/// What the KMS refused, where what was not found is a principal or something of one.
fn refused(err: kms::Error) -> Failure {
    match err {
        kms::Error::NotFound(_) => {
            Failure::new(Exit::Refused, &err).named(err.name()).hint("See `kmsfs kms principal list`.")
        }
        err => err.into(),
    }
}
