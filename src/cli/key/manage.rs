//! Making, finding and switching keys.

use serde_json::json;

use super::{OPERATOR, show, tag::tags};
use crate::{
    cli::{
        Exit, Failure, output,
        show::{date, timestamp},
    },
    kms::{self, CreateKey, DELETION_DAYS_DEFAULT, KeySpec, KeyUsage, Kms, Origin, Page, check_alias_name},
};

/// A command about one key.
#[derive(Debug, clap::Args)]
pub struct KeyArg {
    /// The key: an id, an ARN or an alias
    pub key: String,
}

/// Arguments of `kmsfs key create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// What the key is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Give it this alias, as in alias/work
    #[arg(long, value_name = "ALIAS")]
    alias: Option<String>,
    /// Put a label on it; repeat for more
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_pair)]
    tags: Vec<(String, String)>,
    /// What kind of key it is, as in RSA_4096; only SYMMETRIC_DEFAULT serves volumes
    #[arg(long, value_name = "SPEC", default_value_t = KeySpec::SymmetricDefault)]
    spec: KeySpec,
    /// What it is for: ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC, KEY_AGREEMENT or ENCAPSULATE_DECAPSULATE;
    /// needed where the spec leaves a choice
    #[arg(long, value_name = "USAGE")]
    usage: Option<KeyUsage>,
    /// EXTERNAL for a key whose material is imported
    #[arg(long, value_name = "ORIGIN", default_value_t = Origin::AwsKms)]
    origin: Origin,
}

/// Arguments of `kmsfs key update-description`.
#[derive(Debug, clap::Args)]
pub struct DescriptionArgs {
    /// The key
    key: String,
    /// What the key is for
    description: String,
}

/// Arguments of `kmsfs key schedule-deletion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Until the date nothing opens under the key, and `kmsfs key cancel-deletion`
keeps it. On the date its material is destroyed, and every volume, file and
ciphertext under it is lost for good, in all copies and backups.")]
pub struct DeletionArgs {
    /// The key
    key: String,
    /// The waiting period, 7 to 30 days
    #[arg(long, value_name = "DAYS", default_value_t = DELETION_DAYS_DEFAULT)]
    days: u32,
}

/// Reads "name=value"; only the first = counts.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The id of the key that `key` names. Operations that change a key take no alias, so that moving an alias
/// never changes which key they hit; at the keyboard a name is what people have, so it is looked up here.
pub fn key_id(kms: &Kms, key: &str) -> Result<String, Failure> {
    Ok(kms.describe_key(&OPERATOR, key)?.id.to_string())
}

/// Has `change` done to the key that `key` names. AWS KMS answers nothing to such a request; with `json` the
/// result is the key and its state, so that there is one.
pub fn changed(
    kms: &Kms,
    key: &str,
    json: bool,
    change: impl FnOnce(&str) -> kms::Result<()>,
) -> Result<(), Failure> {
    let id = key_id(kms, key)?;
    change(&id)?;
    if !json {
        return Ok(());
    }
    let key = kms.describe_key(&OPERATOR, &id)?;
    output::json(&json!({ "KeyId": key.arn, "KeyState": show::state_name(key.state) }))
}

/// `kmsfs key create`. A name that is malformed or taken is found out before there is a key.
pub fn create(kms: &Kms, args: &CreateArgs, json: bool) -> Result<(), Failure> {
    if let Some(alias) = &args.alias {
        check_alias_name(alias)?;
        if kms.list_aliases(&OPERATOR, None, Page::whole())?.items.iter().any(|taken| taken.name == *alias) {
            return Err(Failure::new(Exit::Refused, format_args!("{alias} exists already"))
                .named("AlreadyExistsException")
                .hint("Choose another alias, or point it to another key with `kmsfs key alias update`."));
        }
    }
    let only = match args.spec.usages() {
        [usage] => Some(*usage),
        _ => None,
    };
    let request = CreateKey {
        description: args.description.clone(),
        tags: tags(&args.tags),
        spec: args.spec,
        usage: args.usage.or(only),
        origin: args.origin,
        ..CreateKey::default()
    };
    let metadata = kms.create_key(&OPERATOR, request)?;
    if let Some(alias) = &args.alias {
        kms.create_alias(&OPERATOR, alias, &metadata.id.to_string()).map_err(|err| {
            Failure::from(err).context(format_args!("the key {} was made, but not its alias", metadata.id))
        })?;
    }
    if json {
        return output::json(&json!({ "KeyMetadata": show::metadata_json(&metadata) }));
    }
    output::line(format_args!("{}", metadata.id))
}

/// `kmsfs key list`.
pub fn list(kms: &Kms, json: bool) -> Result<(), Failure> {
    let keys = kms.list_keys(&OPERATOR, Page::whole())?.items;
    let aliases = kms.list_aliases(&OPERATOR, None, Page::whole())?.items;
    if json {
        let keys: Vec<_> =
            keys.iter().map(|key| json!({ "KeyId": key.id.to_string(), "KeyArn": key.arn })).collect();
        return output::json(&json!({ "Keys": keys }));
    }
    let rows = keys
        .iter()
        .map(|key| {
            let names: Vec<_> = aliases
                .iter()
                .filter(|alias| alias.target == key.id)
                .map(|alias| alias.name.as_str())
                .collect();
            vec![
                key.id.to_string(),
                key.spec.to_string(),
                show::state(key),
                date(key.created),
                names.join(" "),
                key.description.clone(),
            ]
        })
        .collect();
    output::table(&["KEY", "SPEC", "STATE", "CREATED", "ALIASES", "DESCRIPTION"], rows)
}

/// `kmsfs key describe`.
pub fn describe(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    let metadata = kms.describe_key(&OPERATOR, &args.key)?;
    let id = metadata.id.to_string();
    let tags = kms.list_resource_tags(&OPERATOR, &id, Page::whole())?.items;
    let aliases = kms.list_aliases(&OPERATOR, Some(&id), Page::whole())?.items;
    if json {
        return output::json(&json!({
            "KeyMetadata": show::metadata_json(&metadata),
            "Tags": tags.iter().map(|tag| json!({ "TagKey": tag.key, "TagValue": tag.value })).collect::<Vec<_>>(),
            "Aliases": aliases.iter().map(show::alias_json).collect::<Vec<_>>(),
        }));
    }
    show::describe(&metadata, &tags, &aliases)
}

/// `kmsfs key last-usage`.
pub fn last_usage(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    let history = kms.key_last_usage(&OPERATOR, &key_id(kms, &args.key)?)?;
    if json {
        return output::json(&show::last_usage_json(&kms.key_arn(&OPERATOR, history.key), &history));
    }
    match history.last_use {
        Some(last) => output::line(format_args!("{}  {}", date(last.at), last.operation.name())),
        None => output::line(format_args!("never used")),
    }
}

/// `kmsfs key update-description`.
pub fn update_description(kms: &Kms, args: &DescriptionArgs, json: bool) -> Result<(), Failure> {
    changed(kms, &args.key, json, |id| kms.update_key_description(&OPERATOR, id, &args.description))
}

/// `kmsfs key disable`.
pub fn disable(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    changed(kms, &args.key, json, |id| kms.disable_key(&OPERATOR, id))
}

/// `kmsfs key enable`.
pub fn enable(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    changed(kms, &args.key, json, |id| kms.enable_key(&OPERATOR, id))
}

/// `kmsfs key schedule-deletion`.
pub fn schedule_deletion(kms: &Kms, args: &DeletionArgs, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let due = kms.schedule_key_deletion(&OPERATOR, &id, args.days)?.date;
    let metadata = kms.describe_key(&OPERATOR, &id)?;
    if json {
        return output::json(&json!({
            "KeyId": metadata.arn, "DeletionDate": timestamp(due),
            "KeyState": show::state_name(metadata.state), "PendingWindowInDays": args.days,
        }));
    }
    output::note(format_args!(
        "The material of {} will be destroyed on {}. Nothing opens under it from now on.\n\
         To keep it: kmsfs key cancel-deletion {}",
        args.key,
        date(due),
        args.key
    ));
    Ok(())
}

/// `kmsfs key cancel-deletion`.
pub fn cancel_deletion(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let kept = kms.cancel_key_deletion(&OPERATOR, &id)?;
    if json {
        return output::json(&json!({ "KeyId": kms.key_arn(&OPERATOR, kept) }));
    }
    output::note(format_args!(
        "{} is kept, and disabled. To use it: kmsfs key enable {}",
        args.key, args.key
    ));
    Ok(())
}
