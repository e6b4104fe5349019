//! The end of an HSM.

use std::io::{self, BufRead, IsTerminal};

use serde_json::json;

use crate::{
    cli::{Exit, Failure, Global, access, output},
    hsm::{self, Sealed},
    kms::{
        Kms,
        keystore::{self, Location},
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct ZeroizeArgs {
    /// Do not ask for the HSM's name
    #[arg(long)]
    yes: bool,
}

pub(super) fn zeroize(args: &ZeroizeArgs, global: &Global) -> Result<(), Failure> {
    let location = access::location(global)?;
    let overwritten = match Sealed::find(&location) {
        // It may have been interrupted.
        Err(hsm::Error::Keystore(keystore::Error::Zeroized(_))) => Kms::finish_zeroizing(&location)?,
        Ok(sealed) if args.yes || asked(&sealed)? == sealed.to_string() => sealed.zeroize()?,
        Ok(_) => return Err(Failure::new(Exit::Refused, "that is not the HSM's name; nothing was done")),
        Err(error) => return Err(error.into()),
    };
    if global.json {
        return output::json(&json!({
            "Keystore": location.to_string(), "State": "Zeroized", "Overwritten": overwritten,
        }));
    }
    output::note(format_args!("{location} is zeroized: no share opens it any more, and its keys are gone."));
    let in_place = match (&location, overwritten) {
        (Location::Postgres(_), _) => "the server's free space, its log and its archives; ",
        (Location::File(_), false) => "the keystore's log, which another process was reading; ",
        (Location::File(_), true) => "",
    };
    output::note(format_args!(
        "Out of reach, and open to old shares: {in_place}backups and copies of the keystore, snapshots of its \
         filesystem, blocks that a filesystem or an SSD has put elsewhere. Destroy what there is of them."
    ));
    Ok(())
}

fn asked(sealed: &Sealed) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "there is nobody to ask for the HSM's name")
            .hint("Whoever means it gives --yes: the keys will be gone for good."));
    }
    output::note(format_args!(
        "This destroys the keystore {} and all keys in it for good. To go on, type the HSM's name, {sealed}:",
        sealed.location()
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|err| Failure::new(Exit::Failure, err))?;
    Ok(line.trim().to_owned())
}
