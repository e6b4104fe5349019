//! Who may do what with a key: its key policy.

use clap::Subcommand;
use serde_json::json;

use super::{OPERATOR, manage::key_id, stdio::Input};
use crate::{
    cli::{Failure, output},
    kms::{Kms, POLICY_NAME},
};

/// Commands below `kmsfs key policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a key's policy
    Get {
        /// The key
        key: String,
    },
    /// Give a key a policy, from FILE or standard input
    #[command(after_help = "\
A policy is a document of AWS's IAM. It holds for principals of the service at
once; a mount with an embedded KMS and these commands are above it. A principal may
do what the policy allows it by name; where the policy allows it to the account
(arn:aws:iam::ACCOUNT:root), what the principal's own policies allow as well. What
the policy denies, nothing else allows.

Example:
  kmsfs key policy get alias/work > policy.json
  kmsfs key policy put alias/work --in policy.json")]
    Put {
        /// The key
        key: String,
        #[command(flatten)]
        input: Input,
    },
}

/// Runs a command below `kmsfs key policy`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Get { key } => {
            let text = kms.get_key_policy(&OPERATOR, &key_id(kms, key)?, None)?;
            match json {
                true => output::json(&json!({ "Policy": text, "PolicyName": POLICY_NAME })),
                false => output::line(format_args!("{}", text.trim_end())),
            }
        }
        Command::Put { key, input } => {
            let id = key_id(kms, key)?;
            Ok(kms.put_key_policy(&OPERATOR, &id, None, &input.read_text()?, false)?)
        }
    }
}
