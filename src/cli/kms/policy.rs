//! `kmsfs kms policy`: what users and roles may do wherever key policies leave it to the account.

use clap::Subcommand;
use serde_json::json;

use super::{principal::PrincipalArg, refused};
use crate::{
    cli::{Failure, key::stdio::Input, output},
    kms::{Call, Kms, PrincipalName},
};

/// Commands below `kmsfs kms policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hang a policy on a principal, from FILE or standard input; one of the same name is exchanged
    #[command(after_help = "\
A policy is a document of AWS's IAM without Principal. It counts for every key whose
key policy leaves it to the account, as the one does that a new key has; a denial
counts always.

Example:
  kmsfs kms policy attach role/backup decrypt <<'END'
  { \"Version\": \"2012-10-17\", \"Statement\": [ { \"Effect\": \"Allow\",
    \"Action\": [ \"kms:Decrypt\", \"kms:DescribeKey\" ], \"Resource\": \"*\" } ] }
  END")]
    Attach {
        /// The principal: user/NAME or role/NAME
        principal: PrincipalName,
        /// The policy's name
        name: String,
        #[command(flatten)]
        input: Input,
    },
    /// List the policies of a principal
    List(PrincipalArg),
    /// Print a policy of a principal
    Show {
        /// The principal: user/NAME or role/NAME
        principal: PrincipalName,
        /// The policy's name
        name: String,
    },
    /// Take a policy off a principal
    Detach {
        /// The principal: user/NAME or role/NAME
        principal: PrincipalName,
        /// The policy's name
        name: String,
    },
}

/// Runs a command below `kmsfs kms policy`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    let call = Call::operator();
    match command {
        Command::Attach { principal, name, input } => {
            let document = input.read_text()?;
            kms.put_identity_policy(&call, principal, name, &document).map_err(refused)
        }
        Command::List(PrincipalArg { principal }) => {
            let policies = kms.describe_principal(&call, principal).map_err(refused)?.policies;
            match json {
                true => output::json(&json!({ "PolicyNames": policies })),
                false => policies.iter().try_for_each(|name| output::line(format_args!("{name}"))),
            }
        }
        Command::Show { principal, name } => {
            let text = kms.identity_policy(&call, principal, name).map_err(refused)?;
            match json {
                true => output::json(&json!({ "PolicyName": name, "PolicyDocument": text })),
                false => output::line(format_args!("{}", text.trim_end())),
            }
        }
        Command::Detach { principal, name } => {
            kms.delete_identity_policy(&call, principal, name).map_err(refused)
        }
    }
}
