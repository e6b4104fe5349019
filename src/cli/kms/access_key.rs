//! `kmsfs kms access-key`: what users sign their requests with.

use clap::Subcommand;
use serde_json::json;

use super::{
    principal::{PrincipalArg, access_key_json, status},
    refused,
    session::Shown,
};
use crate::{
    cli::{Exit, Failure, output, show::date},
    kms::{Call, Kms, PrincipalName},
};

/// Commands below `kmsfs kms access-key`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an access key and print its secret, this once
    Create(CreateArgs),
    /// List a user's access keys
    List(PrincipalArg),
    /// Have an access key refused
    Disable(KeyArg),
    /// Have an access key accepted again
    Enable(KeyArg),
    /// Delete an access key
    Delete(KeyArg),
}

/// Arguments of `kmsfs kms access-key create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The secret cannot be shown again; make another key if it is lost. A user has two
keys at most, so that one can follow the other.

Examples:
  kmsfs kms access-key create user/alice
  eval \"$(kmsfs kms access-key create --export user/alice)\"
  kmsfs kms access-key create --json user/alice | jq -r .AccessKey.SecretAccessKey")]
pub struct CreateArgs {
    /// The user: user/NAME
    user: PrincipalName,
    /// Print commands for the shell that put the key into its environment
    #[arg(long, conflicts_with = "json")]
    export: bool,
}

/// A command about one access key.
#[derive(Debug, clap::Args)]
pub struct KeyArg {
    /// The access key's id: AKIA…
    id: String,
}

/// Runs a command below `kmsfs kms access-key`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    let call = Call::operator();
    match command {
        Command::Create(args) => create(kms, args, json),
        Command::List(PrincipalArg { principal }) => list(kms, principal, json),
        Command::Disable(KeyArg { id }) => {
            kms.set_access_key_active(&call, &owner(kms, id)?, id, false).map_err(refused)
        }
        Command::Enable(KeyArg { id }) => {
            kms.set_access_key_active(&call, &owner(kms, id)?, id, true).map_err(refused)
        }
        Command::Delete(KeyArg { id }) => kms.delete_access_key(&call, &owner(kms, id)?, id).map_err(refused),
    }
}

fn create(kms: &Kms, args: &CreateArgs, json: bool) -> Result<(), Failure> {
    let made = kms.create_access_key(&Call::operator(), &args.user).map_err(refused)?;
    let shown = Shown { id: &made.id, secret: &made.secret, session: None };
    if json {
        let mut value = shown.json()?;
        value["UserName"] = args.user.name().into();
        value["Status"] = "Active".into();
        return output::json(&json!({ "AccessKey": value }));
    }
    match args.export {
        true => shown.print_exports(),
        false => shown.print(),
    }
}

fn list(kms: &Kms, user: &PrincipalName, json: bool) -> Result<(), Failure> {
    let keys = kms.describe_principal(&Call::operator(), user).map_err(refused)?.access_keys;
    if json {
        let keys: Vec<_> = keys.iter().map(|key| access_key_json(user, key)).collect();
        return output::json(&json!({ "AccessKeyMetadata": keys }));
    }
    let rows =
        keys.iter().map(|key| vec![key.id.clone(), status(key).to_owned(), date(key.created)]).collect();
    output::table(&["ACCESS KEY", "STATUS", "CREATED"], rows)
}

/// Whose an access key is: its id is unique among all users.
fn owner(kms: &Kms, id: &str) -> Result<PrincipalName, Failure> {
    let all = kms.list_principals(&Call::operator()).map_err(refused)?;
    let owner = all.into_iter().find(|one| one.access_keys.iter().any(|key| key.id == id));
    owner.map(|owner| owner.name).ok_or_else(|| {
        Failure::new(Exit::Refused, format_args!("there is no access key {}", output::printable(id)))
            .named("NotFoundException")
            .hint("See `kmsfs kms principal list` and `kmsfs kms access-key list`.")
    })
}
