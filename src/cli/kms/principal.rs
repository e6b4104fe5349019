//! `kmsfs kms principal`, `map-uid` and `unmap-uid`: users and roles, and who of this machine is which.

use clap::Subcommand;
use serde_json::{Value, json};

use super::refused;
use crate::{
    cli::{
        Failure, output,
        show::{date, timestamp},
    },
    kms::{AccessKeyInfo, Call, Kms, PrincipalInfo, PrincipalKind, PrincipalName},
};

/// Commands below `kmsfs kms principal`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a user or role
    Create(PrincipalArg),
    /// List all users and roles
    List,
    /// Show a principal's access keys, policies and users of this machine
    Show(PrincipalArg),
    /// Delete a user or role; its credentials are refused at once
    Delete(PrincipalArg),
}

/// A command about one principal.
#[derive(Debug, clap::Args)]
pub struct PrincipalArg {
    /// The principal: user/NAME or role/NAME
    pub principal: PrincipalName,
}

/// Arguments of `kmsfs kms map-uid`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Processes of that user need no access key on the socket: the kernel says who they
are. A user of this machine is one principal at most; a principal can be several.
Root, and the user that runs the service, are the account's root unless they are
mapped.

Example:
  kmsfs kms map-uid user/alice \"$(id -u alice)\"")]
pub struct MapArgs {
    /// The principal: user/NAME or role/NAME
    principal: PrincipalName,
    /// The user's number, as `id -u` prints it
    uid: u32,
}

/// Arguments of `kmsfs kms unmap-uid`.
#[derive(Debug, clap::Args)]
pub struct UnmapArgs {
    /// The user's number, as `id -u` prints it
    uid: u32,
}

/// Runs a command below `kmsfs kms principal`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    let call = Call::operator();
    match command {
        Command::Create(PrincipalArg { principal }) => {
            let made = kms.create_principal(&call, principal).map_err(refused)?;
            if json {
                return output::json(&json!({ "Principal": principal_json(&made) }));
            }
            output::line(format_args!("{}", made.arn))?;
            if principal.kind() == PrincipalKind::User {
                output::note(format_args!(
                    "To give it an access key: kmsfs kms access-key create {principal}"
                ));
            }
            Ok(())
        }
        Command::List => list(&kms.list_principals(&call).map_err(refused)?, json),
        Command::Show(PrincipalArg { principal }) => {
            show(&kms.describe_principal(&call, principal).map_err(refused)?, json)
        }
        Command::Delete(PrincipalArg { principal }) => {
            kms.delete_principal(&call, principal).map_err(refused)?;
            output::note(format_args!("Deleted {principal}; its credentials are refused from now on."));
            Ok(())
        }
    }
}

/// `kmsfs kms map-uid`.
pub fn map_uid(kms: &Kms, args: &MapArgs) -> Result<(), Failure> {
    kms.map_uid(&Call::operator(), &args.principal, args.uid).map_err(refused)
}

/// `kmsfs kms unmap-uid`.
pub fn unmap_uid(kms: &Kms, args: &UnmapArgs) -> Result<(), Failure> {
    kms.unmap_uid(&Call::operator(), args.uid).map_err(refused)
}

fn list(principals: &[PrincipalInfo], json: bool) -> Result<(), Failure> {
    if json {
        let principals: Vec<_> = principals.iter().map(principal_json).collect();
        return output::json(&json!({ "Principals": principals }));
    }
    let rows = principals
        .iter()
        .map(|one| {
            vec![
                one.name.to_string(),
                date(one.created),
                one.access_keys.len().to_string(),
                one.policies.join(" "),
                uids(one),
            ]
        })
        .collect();
    output::table(&["PRINCIPAL", "CREATED", "ACCESS KEYS", "POLICIES", "UIDS"], rows)
}

fn show(principal: &PrincipalInfo, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&json!({ "Principal": principal_json(principal) }));
    }
    output::fields(&[
        ("Principal", principal.name.to_string()),
        ("ARN", principal.arn.clone()),
        ("Created", date(principal.created)),
        ("Policies", principal.policies.join(" ")),
        ("Uids", uids(principal)),
    ])?;
    for key in &principal.access_keys {
        output::fields(&[("Access key", format!("{} ({})", key.id, status(key)))])?;
    }
    Ok(())
}

fn uids(principal: &PrincipalInfo) -> String {
    principal.unix_uids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// Whether an access key is accepted, as AWS writes it.
pub fn status(key: &AccessKeyInfo) -> &'static str {
    if key.active { "Active" } else { "Inactive" }
}

/// What is known of an access key, as AWS's IAM shows it.
pub fn access_key_json(owner: &PrincipalName, key: &AccessKeyInfo) -> Value {
    json!({
        "UserName": owner.name(), "AccessKeyId": key.id, "Status": status(key),
        "CreateDate": timestamp(key.created),
    })
}

fn principal_json(principal: &PrincipalInfo) -> Value {
    let keys: Vec<_> =
        principal.access_keys.iter().map(|key| access_key_json(&principal.name, key)).collect();
    json!({
        "Principal": principal.name.to_string(), "Arn": principal.arn,
        "CreateDate": timestamp(principal.created), "AccessKeys": keys, "Policies": principal.policies,
        "Uids": principal.unix_uids,
    })
}
