//! Making an HSM, and handing out other shares of one.

use std::path::PathBuf;

use serde_json::json;

use super::handing_out::{Destination, collect};
use crate::{
    cli::{Exit, Failure, Global, access, output},
    hsm::Sealed,
    kms::{self, keystore},
};

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// How many of how many custodians open it, as in 2/3
    #[arg(long, value_name = "M/N", value_parser = parse_quorum)]
    quorum: (u8, u8),
    /// Have all shares be needed: one that is lost takes the keys along
    #[arg(long)]
    all: bool,
    /// Write each share to a file of its own in DIR, to be handed out, in place of showing it
    #[arg(long, value_name = "DIR")]
    pub(super) shares_to: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RefreshArgs {
    #[command(flatten)]
    new: InitArgs,
    /// Read a share from a file; several times, until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

fn parse_quorum(text: &str) -> Result<(u8, u8), String> {
    let numbers = text.split_once('/').and_then(|(m, n)| Some((m.parse().ok()?, n.parse().ok()?)));
    numbers.ok_or_else(|| "expected how many of how many, as in 2/3".to_owned())
}

pub(super) fn init(args: &InitArgs, global: &Global) -> Result<(), Failure> {
    let (threshold, custodians) = args.quorum()?;
    access::prepare()?;
    let location = access::location(global)?;
    if location.exists()? {
        return Err(keystore::Error::Exists(location).into());
    }
    let place = Destination::prepare(args, global)?;
    access::make_directory_for(&location)?;
    let (sealed, shares) = Sealed::create(&location, threshold, custodians, kms::Options::default())?;
    let files = place.hand_out(&sealed, &shares).map_err(|failure| {
        let hint = "was made but its shares did not reach you: remove it, and begin again.";
        failure.hint(format_args!("The keystore {location} {hint}"))
    })?;
    done(&sealed, &files, global.json, "Made the keystore")
}

pub(super) fn refresh(args: &RefreshArgs, global: &Global) -> Result<(), Failure> {
    let (threshold, custodians) = args.new.quorum()?;
    access::prepare()?;
    let sealed = Sealed::find(&access::location(global)?)?;
    let place = Destination::prepare(&args.new, global)?;
    let secret = collect(&sealed, &args.share_file)?;
    let kms = sealed.open(&secret, kms::Options::default())?;
    let (sealed, shares) = sealed.refresh(&kms, &secret, threshold, custodians)?;
    drop(secret);
    let files = place.hand_out(&sealed, &shares).map_err(|failure| {
        failure.hint("The old shares are void and the new ones did not all reach you: refresh again at once.")
    })?;
    done(&sealed, &files, global.json, "Handed out new shares for the keystore")
}

fn done(sealed: &Sealed, files: &[PathBuf], json: bool, what: &str) -> Result<(), Failure> {
    let (location, quorum) = (sealed.location(), sealed.quorum());
    let (threshold, custodians) = (quorum.threshold(), quorum.custodians());
    if json {
        return output::json(&json!({
            "Keystore": location.to_string(), "Name": sealed.to_string(), "Threshold": threshold,
            "Custodians": custodians, "ShareSet": sealed.set(), "Shares": files,
        }));
    }
    output::note(format_args!(
        "{what} {location} of the HSM {sealed}: {threshold} of {custodians} shares open it.\n\
         Every combination that was tried does. Start it with: kmsfs kms serve"
    ));
    Ok(())
}

impl InitArgs {
    fn quorum(&self) -> Result<(u8, u8), Failure> {
        let (threshold, custodians) = self.quorum;
        if threshold == custodians && !self.all {
            let message =
                format!("with {threshold}/{custodians}, one share that is lost takes the keys along");
            return Err(
                Failure::new(Exit::Usage, message).hint("If that is what you want, say so with --all.")
            );
        }
        Ok((threshold, custodians))
    }
}
