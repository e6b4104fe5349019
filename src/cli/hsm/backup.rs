//! Backups of an HSM's keystore, and putting one back.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    cli::{Failure, Global, access, output},
    hsm::{
        Sealed,
        backup::{self, Accept},
    },
    kms::keystore::Counter,
};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The file to make
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Refuse a backup that is older than this, the counter that custodians noted last
    #[arg(long, value_name = "COUNTER")]
    expect: Option<Counter>,
    /// Undo what changed since the backup: keys, grants and states that came later are lost
    #[arg(long)]
    older: bool,
}

pub(super) fn back_up(args: &BackupArgs, global: &Global) -> Result<(), Failure> {
    let sealed = Sealed::find(&access::location(global)?)?;
    let copy = backup::back_up(&sealed, &args.file)?;
    let (file, counter, set) = (args.file.display(), copy.counter(), copy.set());
    if global.json {
        return output::json(&json!({
            "File": file.to_string(), "Name": copy.to_string(), "Counter": counter.to_string(), "ShareSet": set,
        }));
    }
    output::note(format_args!(
        "Made {file} of the HSM {copy}: counter {counter}, shares of set {set}.\n\
         Have custodians note the counter, away from this machine and from the backup: it tells an older copy."
    ));
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs, global: &Global) -> Result<(), Failure> {
    access::prepare()?;
    let location = access::location(global)?;
    access::make_directory_for(&location)?;
    let accept = Accept { expected: args.expect, older: args.older };
    let restored = backup::restore(&args.file, &location, accept)?;
    let (counter, set) = (restored.counter(), restored.set());
    if global.json {
        return output::json(&json!({
            "Keystore": location.to_string(), "Name": restored.to_string(), "Counter": counter.to_string(),
            "ShareSet": set,
        }));
    }
    output::note(format_args!(
        "Restored the keystore {location} of the HSM {restored}: counter {counter}, shares of set {set}.\n\
         Whether the backup is sound is seen when custodians unlock it. A service that has the keystore open goes on \
         after `kmsfs hsm lock` and unlocking."
    ));
    if args.expect.is_none() {
        output::note(format_args!("Compare the counter with the one that custodians noted last."));
    }
    Ok(())
}
