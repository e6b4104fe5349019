//! Making an HSM, and handing out other shares of one.

use std::path::PathBuf;

use serde_json::json;

use super::{approvals::read_signed, handing_out::Destination};
use crate::{
    cli::{Exit, Failure, Global, access, output},
    hsm::{self, NewShares, Sealed, shares::Secret},
    kms::{self, keystore},
};

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// How many of how many custodians open it, as in 2/3
    #[arg(long, value_name = "M/N", value_parser = parse_quorum)]
    pub(super) quorum: (u8, u8),
    /// Have all shares be needed: one that is lost takes the keys along
    #[arg(long)]
    all: bool,
    /// Write each share to a file of its own in DIR, to be handed out, in place of showing it
    #[arg(long, value_name = "DIR")]
    pub(super) shares_to: Option<PathBuf>,
    /// Encrypt a custodian's share with age, to the public keys in FILE; once for each, in the order of the shares
    #[arg(long, value_name = "FILE", requires = "shares_to")]
    pub(super) custodian: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplaceArgs {
    #[command(flatten)]
    new: InitArgs,
    /// Read a share from a file; several times, until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// The request for it, of `kmsfs hsm request`, where it needs approvals
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// An approval of the request; several times, in whatever order
    #[arg(long, value_name = "FILE", requires = "request")]
    approval: Vec<PathBuf>,
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

/// New shares to the same secret.
pub(super) fn refresh(args: &ReplaceArgs, global: &Global) -> Result<(), Failure> {
    let (sealed, files) = replace(args, global, Sealed::refresh)?;
    done(&sealed, &files, global.json, "Handed out new shares for the keystore")
}

/// New shares, and a new root key.
pub(super) fn rekey(args: &ReplaceArgs, global: &Global) -> Result<(), Failure> {
    let (sealed, files) =
        replace(args, global, |sealed, _, threshold, custodians| sealed.rekey(threshold, custodians))?;
    done(&sealed, &files, global.json, "Gave a new root key to the keystore")?;
    output::note(format_args!(
        "Old shares still open backups and other copies of the keystore from before: destroy the copies that you can.\n\
         If a quorum of old shares may come together with one, take its keys for known: rotate them, then `kmsfs rewrap` volumes.\n\
         Services on the keystore seal themselves within a second; then custodians unlock them with the new shares. Temporary credentials and import tokens have ended."
    ));
    Ok(())
}

/// Takes a quorum of present shares, hands out those that `make` makes, and has them take the place of the old ones.
fn replace(
    args: &ReplaceArgs,
    global: &Global,
    make: impl FnOnce(&Sealed, Secret, u8, u8) -> Result<NewShares, hsm::Error>,
) -> Result<(Sealed, Vec<PathBuf>), Failure> {
    let (threshold, custodians) = args.new.quorum()?;
    access::prepare()?;
    let sealed = Sealed::find(&access::location(global)?)?;
    let signed = args.request.as_ref().map(|request| read_signed(sealed.id(), request, &args.approval));
    let signed = signed.transpose()?;
    let place = Destination::prepare(&args.new, global)?;
    let secret = access::collect(&sealed, &args.share_file)?;
    let kms = sealed.open(&secret, kms::Options::default())?;
    let new = make(&sealed, secret, threshold, custodians)?;
    new.check_approved(&kms, signed.as_ref())?;
    let files = place.hand_out(new.sealed(), new.shares()).map_err(|failure| {
        failure.hint("Nothing has changed: the old shares stay, and new ones that were handed out are void.")
    })?;
    let adopted = new.adopt(kms, signed.as_ref()).map_err(|error| {
        let hint = "Keep the old shares and the new ones: `kmsfs hsm unlock` says which it takes.";
        Failure::from(error).hint(hint)
    })?;
    Ok((adopted, files))
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
         Every combination that was tried does. It is served by: kmsfs kms serve"
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
