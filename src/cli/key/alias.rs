//! Aliases: names that point to keys.

use clap::Subcommand;
use serde_json::json;

use super::{OPERATOR, manage::key_id, show};
use crate::{
    cli::{Failure, output},
    kms::{Kms, Page},
};

/// Commands below `kmsfs key alias`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a key an alias
    Create(AliasArgs),
    /// Point an alias to another key
    ///
    /// New volumes use the new key. Volumes and files that exist keep the key they were made with.
    Update(AliasArgs),
    /// Delete an alias; its key stays
    Delete {
        /// The alias, as in alias/work
        alias: String,
    },
    /// List aliases
    List {
        /// Only those of this key
        key: Option<String>,
    },
}

/// An alias and the key it points to.
#[derive(Debug, clap::Args)]
pub struct AliasArgs {
    /// The alias, as in alias/work
    alias: String,
    /// The key it shall point to
    key: String,
}

/// Runs a command below `kmsfs key alias`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create(args) => {
            let id = key_id(kms, &args.key)?;
            kms.create_alias(&OPERATOR, &args.alias, &id)?;
            done(&args.alias, Some(&id), json)
        }
        Command::Update(args) => {
            let id = key_id(kms, &args.key)?;
            kms.update_alias(&OPERATOR, &args.alias, &id)?;
            done(&args.alias, Some(&id), json)
        }
        Command::Delete { alias } => {
            kms.delete_alias(&OPERATOR, alias)?;
            done(alias, None, json)
        }
        Command::List { key } => list(kms, key.as_deref(), json),
    }
}

/// AWS KMS answers nothing; with `json` there is a result all the same: the alias and the key it now points to.
fn done(alias: &str, target: Option<&str>, json: bool) -> Result<(), Failure> {
    match json {
        true => output::json(&json!({ "AliasName": alias, "TargetKeyId": target })),
        false => Ok(()),
    }
}

fn list(kms: &Kms, key: Option<&str>, json: bool) -> Result<(), Failure> {
    let key = key.map(|key| key_id(kms, key)).transpose()?;
    let aliases = kms.list_aliases(&OPERATOR, key.as_deref(), Page::whole())?.items;
    if json {
        let aliases: Vec<_> = aliases.iter().map(show::alias_json).collect();
        return output::json(&json!({ "Aliases": aliases }));
    }
    let rows = aliases.iter().map(|alias| vec![alias.name.clone(), alias.target.to_string()]).collect();
    output::table(&["ALIAS", "KEY"], rows)
}
