//! `kmsfs hsm`: a keystore that only a quorum of custodians opens.

mod approvals;
mod backup;
mod custody;
mod handing_out;
mod pin;
mod recipients;
mod service;
mod signing;
mod zeroize;

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use clap::Subcommand;

use super::{Failure, Global};
pub use service::SocketArgs;

/// Arguments of `kmsfs hsm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An HSM's keystore is opened by a quorum: any M of its N custodians, each with a
share of their own. There is no passphrase beside it and no recovery: if more
than N - M shares are lost, so are the keys, and what they protect.

`kmsfs kms serve` starts sealed on such a keystore. Custodians unlock it one by
one, from any terminal of the machine; mounts that were waiting go on by
themselves.

What software cannot promise: whoever is root on the machine while the HSM is
operational can read the keys from memory.

Examples:
  kmsfs hsm init --quorum 2/3
  kmsfs hsm init --quorum 2/3 --shares-to DIR --custodian alice.pub --custodian bob.pub --custodian carol.pub
  kmsfs kms serve &
  kmsfs hsm unlock          (two custodians, one after the other)
  kmsfs hsm lock

Some operations can be made to need the approval of custodians, who sign with keys of
their own and need no share for it:
  kmsfs hsm approver keygen alice.pem > alice.pub
  kmsfs hsm custodian add alice --public-key alice.pub       (and two more)
  kmsfs hsm policy --require delete-key=2")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a keystore whose root key custodians share, and their shares
    ///
    /// Each share is shown once, on a page of its own, or encrypted to its custodian's key. Nothing
    /// of it is kept.
    Init(custody::InitArgs),
    /// Show whether the HSM is sealed, whose shares are there, and its counter
    Status(SocketArgs),
    /// Give a share to the HSM; the last one needed opens it
    Unlock(service::UnlockArgs),
    /// Seal the HSM at once: its keys leave memory
    Lock(SocketArgs),
    /// Set the PIN with which PKCS#11 programs log in as you
    ///
    /// Programs that load libkmsfs_pkcs11.so see your public objects without it, your private
    /// ones with it. It is asked for twice, and the old one before, if there is one.
    Pin(pin::PinArgs),
    /// Hand out new shares, of the same quorum or another; old ones are worth nothing with them
    ///
    /// A quorum of custodians gives its shares to this command. It helps where fewer than a
    /// quorum of shares were lost or seen. Whoever has a quorum of old shares has the secret;
    /// against that, rekey.
    Refresh(custody::ReplaceArgs),
    /// Make a new root key, seal everything under it, and hand out its shares: how to part with a custodian
    ///
    /// A quorum of custodians gives its shares to this command, which seals every row of the
    /// keystore anew, in one transaction. Services on the keystore seal themselves, and are
    /// unlocked with new shares. Backups and other copies of the keystore from before stay
    /// as they are: old shares open them.
    Rekey(custody::ReplaceArgs),
    /// Copy the keystore, sealed as it is and in use or not, to a new file
    ///
    /// Shows the keystore's counter, which goes up with every change. A copy of the file takes a
    /// quorum of the shares that open the keystore now.
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the keystore, unless that undoes anything
    ///
    /// The keystore that is there must be the same HSM's, and not have changed since the backup.
    /// Where it is lost, --expect compares with what custodians noted.
    Restore(backup::RestoreArgs),
    /// Destroy the keystore and all its keys for good, whatever shares there are
    ///
    /// What sealed the root key goes first, then everything else; what can be overwritten is. It
    /// takes no shares: whoever may write the keystore could remove it as well. Backups are
    /// not reached.
    Zeroize(zeroize::ZeroizeArgs),
    /// Make the keys that custodians approve with
    #[command(subcommand)]
    Approver(signing::ApproverCommand),
    /// Add, list and remove the custodians who approve
    #[command(subcommand)]
    Custodian(approvals::CustodianCommand),
    /// Show or change what needs how many approvals
    Policy(approvals::PolicyArgs),
    /// Write down an operation for others to approve, signed with your key
    Request(approvals::RequestArgs),
    /// Show what a request asks for and, if you agree, sign it; needs no HSM
    Approve(signing::ApproveArgs),
    /// Have the HSM do what a request asks for, with the approvals of it
    Run(approvals::RunArgs),
}

/// Runs the command.
///
/// # Errors
/// The keystore cannot be made; the service does not answer, or refuses.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Command::Init(args) => custody::init(args, global),
        Command::Status(args) => service::status(args, global),
        Command::Unlock(args) => service::unlock(args, global.json),
        Command::Pin(args) => pin::set(args),
        Command::Refresh(args) => custody::refresh(args, global),
        Command::Rekey(args) => custody::rekey(args, global),
        Command::Backup(args) => backup::back_up(args, global),
        Command::Restore(args) => backup::restore(args, global),
        Command::Zeroize(args) => zeroize::zeroize(args, global),
        Command::Lock(args) => service::lock(args, global.json),
        Command::Approver(signing::ApproverCommand::Keygen { file }) => signing::keygen(file, global.json),
        Command::Custodian(command) => approvals::custodian(command, global.json),
        Command::Policy(args) => approvals::policy(args, global.json),
        Command::Request(args) => approvals::request(args, global.json),
        Command::Approve(args) => signing::approve(args, global.json),
        Command::Run(args) => approvals::run(args, global.json),
    }
}

/// Makes a file that its owner alone can read, where there is none.
fn create(path: &Path, parts: &[&[u8]]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    })
    .map_err(|err| Failure::io("write", path, &err))
}
