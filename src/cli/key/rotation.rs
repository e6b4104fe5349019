//! New key material, now or by the calendar.

use clap::Subcommand;
use serde_json::json;

use super::{
    OPERATOR,
    manage::{KeyArg, changed, key_id},
    show,
};
use crate::{
    cli::{Failure, output, show::date},
    kms::{Kms, Origin, Page, ROTATION_DAYS_DEFAULT},
};

/// Commands below `kmsfs key rotation`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rotate a key automatically, every so many days
    Enable {
        /// The key
        key: String,
        /// Days between rotations, 90 to 2560
        #[arg(long, value_name = "DAYS", default_value_t = ROTATION_DAYS_DEFAULT)]
        period: u32,
    },
    /// Stop rotating a key automatically
    Disable {
        /// The key
        key: String,
    },
    /// Show whether a key rotates, and its versions of key material
    Status {
        /// The key
        key: String,
    },
}

/// `kmsfs key rotate`.
pub fn rotate(kms: &Kms, args: &KeyArg, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let version = kms.rotate_key_on_demand(&OPERATOR, &id)?.version;
    if json {
        return output::json(&json!({ "KeyId": id, "Version": version }));
    }
    output::note(format_args!(
        "{} now encrypts with version {version} of its key material; older versions still decrypt.",
        args.key
    ));
    Ok(())
}

/// Runs a command below `kmsfs key rotation`.
pub fn run(kms: &Kms, command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Enable { key, period } => {
            changed(kms, key, json, |id| kms.enable_key_rotation(&OPERATOR, id, *period))
        }
        Command::Disable { key } => changed(kms, key, json, |id| kms.disable_key_rotation(&OPERATOR, id)),
        Command::Status { key } => status(kms, key, json),
    }
}

fn status(kms: &Kms, key: &str, json: bool) -> Result<(), Failure> {
    let metadata = kms.describe_key(&OPERATOR, key)?;
    let id = metadata.id.to_string();
    // A key whose material is imported has no calendar, and rotates on demand all the same.
    let status = match metadata.origin {
        Origin::AwsKms => Some(kms.key_rotation_status(&OPERATOR, &id)?),
        Origin::External => None,
    };
    let schedule = status.and_then(|status| status.schedule);
    let versions = kms.list_key_rotations(&OPERATOR, &id, true, Page::whole())?.items;
    if json {
        return output::json(&show::rotation_json(&metadata, schedule.as_ref(), &versions));
    }
    match &schedule {
        Some(schedule) => output::line(format_args!(
            "Automatic rotation every {} days, next on {}",
            schedule.period_days,
            date(schedule.next)
        ))?,
        None => output::line(format_args!("Automatic rotation is off"))?,
    }
    let rows = versions
        .iter()
        .map(|version| {
            let material = &version.material;
            let there = if material.is_present() { "" } else { "to be imported" };
            vec![
                material.version.to_string(),
                date(material.created),
                format!("{:?}", material.rotation),
                there.to_owned(),
            ]
        })
        .collect();
    output::table(&["VERSION", "MADE", "WHY", "MATERIAL"], rows)
}
