//! `kmsfs kms settings`: the account and region in ARNs.

use serde_json::json;

use crate::{
    cli::{Failure, output},
    kms::{Call, Kms},
};

/// Arguments of `kmsfs kms settings`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without an option, the settings are printed. Keys, ciphertexts and volumes stay as
they are. The account cannot change any more once there are principals, key
policies or grants, since they name it.

Example:
  kmsfs kms settings --account 111122223333 --region eu-central-1")]
pub struct Args {
    /// The account that owns everything, twelve digits
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The region of ARNs where a request was signed for none
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// Runs the command.
pub fn run(kms: &Kms, args: &Args, json: bool) -> Result<(), Failure> {
    let (account, region) = (args.account.as_deref(), args.region.as_deref());
    if account.is_some() || region.is_some() {
        kms.change_settings(&Call::operator(), account, region)?;
    }
    let settings = kms.settings()?;
    if json {
        return output::json(&json!({ "Account": settings.account, "Region": settings.region }));
    }
    output::line(format_args!("account  {}", settings.account))?;
    output::line(format_args!("region   {}", settings.region))
}
