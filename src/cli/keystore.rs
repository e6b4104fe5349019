//! `kmsfs keystore`: where the KMS keeps its keys, and the ways to unlock it.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Exit, Failure, Global, access, output,
    secret::{NewSecretArgs, UnlockArgs},
    show,
};
use crate::{
    crypto::passphrase::Argon2Params,
    kms::{
        Call, Kms, Page,
        keystore::{SlotInfo, SlotKind},
    },
};

/// Arguments of `kmsfs keystore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A keystore has one or more slots. Each is a passphrase or a key file, and any of
them opens the keystore. Adding, changing or removing a slot touches no key and
no volume. The last slot cannot be removed.

Removing a slot does not help against somebody who kept a copy of the file and
knows the slot's secret.")]
pub struct Args {
    #[command(flatten)]
    unlock: UnlockArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a keystore; `kmsfs init` does it too where there is none
    ///
    /// The secret of its first slot comes from --passphrase-file, --passphrase-fd or
    /// --key-file (made if it does not exist), or is asked for twice.
    Create(CreateArgs),
    /// Show where the keystore is, its slots and the number of its keys
    Info,
    /// List, add, change, remove and test the ways to unlock it
    #[command(subcommand)]
    Slot(SlotCommand),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    slot: SlotArgs,
}

/// What a slot that is being made can be given.
#[derive(Debug, clap::Args)]
struct SlotArgs {
    /// A name for the slot, not secret
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,
    #[command(flatten)]
    cost: CostArgs,
}

#[derive(Debug, clap::Args)]
struct CostArgs {
    /// Cost of one guess of a passphrase: memory in KiB, passes, lanes [default: 64 MiB, about half a second here]
    ///
    /// For a machine much smaller or larger than this one. Whoever guesses pays the same price.
    #[arg(long, value_name = "KIB,PASSES,LANES", value_parser = access::parse_cost)]
    argon2: Option<Argon2Params>,
}

#[derive(Debug, Subcommand)]
enum SlotCommand {
    /// List the slots
    List,
    /// Add a slot with a secret of its own
    Add {
        #[command(flatten)]
        slot: SlotArgs,
        #[command(flatten)]
        secret: NewSecretArgs,
    },
    /// Give a slot another secret
    Change {
        /// The slot's number
        slot: u32,
        #[command(flatten)]
        cost: CostArgs,
        #[command(flatten)]
        secret: NewSecretArgs,
    },
    /// Remove a slot
    Remove {
        /// The slot's number
        slot: u32,
    },
    /// Say which slot a secret opens
    Test,
}

impl SlotCommand {
    fn cost(&self) -> Option<Argon2Params> {
        match self {
            SlotCommand::Add { slot, .. } => slot.cost.argon2,
            SlotCommand::Change { cost, .. } => cost.argon2,
            _ => None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The keystore cannot be made or opened, or refuses the change.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Command::Create(create) => {
            let location = access::location(global)?;
            access::create(&location, &args.unlock.source(), &create.slot.label, create.slot.cost.argon2)?;
            if global.json {
                return output::json(&json!({ "Keystore": location.to_string() }));
            }
            output::note(format_args!("Made the keystore {location}."));
            Ok(())
        }
        Command::Info => info(&access::open(global, &args.unlock)?, global.json),
        Command::Slot(command) => {
            slot(&access::open_at_cost(global, &args.unlock, command.cost())?, command, global.json)
        }
    }
}

fn info(kms: &Kms, json: bool) -> Result<(), Failure> {
    let (slots, keys) = (kms.slots()?, kms.list_keys(&Call::operator(), Page::whole())?.items);
    if json {
        return output::json(&json!({
            "Keystore": kms.location().to_string(), "Keys": keys.len(), "Generation": kms.generation(),
            "Slots": slots.iter().map(slot_json).collect::<Vec<_>>(),
        }));
    }
    output::fields(&[
        ("Keystore", kms.location().to_string()),
        ("Keys", keys.len().to_string()),
        ("Slots", slots.len().to_string()),
    ])?;
    output::line(format_args!(""))?;
    list(&slots)
}

fn slot(kms: &Kms, command: &SlotCommand, json: bool) -> Result<(), Failure> {
    match command {
        SlotCommand::List if json => {
            let slots: Vec<_> = kms.slots()?.iter().map(slot_json).collect();
            output::json(&json!({ "Slots": slots }))
        }
        SlotCommand::List => list(&kms.slots()?),
        SlotCommand::Add { slot, secret } => {
            let secret = secret.source().new_secret("passphrase for the new slot")?;
            let number = kms.add_slot(&secret, &slot.label)?;
            done(json, number, format_args!("Added slot {number}."))
        }
        SlotCommand::Change { slot, secret, .. } => {
            find(kms, *slot)?;
            let secret = secret.source().new_secret(&format!("passphrase for slot {slot}"))?;
            kms.change_slot(*slot, &secret)?;
            done(json, *slot, format_args!("Slot {slot} has another secret; the old one opens it no more."))
        }
        SlotCommand::Remove { slot } => {
            kms.remove_slot(*slot)?;
            done(json, *slot, format_args!("Removed slot {slot}."))
        }
        SlotCommand::Test => {
            let number = kms.unlocked_by();
            if json {
                return output::json(&json!({ "Slot": number }));
            }
            output::line(format_args!("slot {number}"))
        }
    }
}

/// A slot that is not there is reported before a new secret is asked for.
fn find(kms: &Kms, number: u32) -> Result<(), Failure> {
    match kms.slots()?.iter().any(|slot| slot.id == number) {
        true => Ok(()),
        false => Err(Failure::new(Exit::Refused, format_args!("the keystore has no slot {number}"))
            .hint("See `kmsfs keystore slot list`.")),
    }
}

fn done(json: bool, number: u32, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    if json {
        return output::json(&json!({ "Slot": number }));
    }
    output::note(text);
    Ok(())
}

fn list(slots: &[SlotInfo]) -> Result<(), Failure> {
    let rows = slots
        .iter()
        .map(|slot| {
            let (kind, cost) = match slot.kind {
                SlotKind::Passphrase(cost) => {
                    ("passphrase", format!("{} MiB × {} passes", cost.m_kib / 1024, cost.t))
                }
                SlotKind::KeyFile => ("key file", String::new()),
                SlotKind::Quorum(shape) => {
                    ("custodians", format!("{} of {} shares", shape.threshold, shape.custodians))
                }
            };
            vec![slot.id.to_string(), kind.to_owned(), show::date(slot.created), cost, slot.label.clone()]
        })
        .collect();
    output::table(&["SLOT", "KIND", "MADE", "COST OF A GUESS", "LABEL"], rows)
}

fn slot_json(slot: &SlotInfo) -> Value {
    let mut value = json!({
        "Slot": slot.id, "Label": slot.label, "CreationDate": show::timestamp(slot.created),
    });
    if let Some(fields) = value.as_object_mut() {
        match slot.kind {
            SlotKind::Passphrase(cost) => {
                fields.insert("Kind".to_owned(), "passphrase".into());
                fields.insert(
                    "Argon2id".to_owned(),
                    json!({ "MemoryKiB": cost.m_kib, "Passes": cost.t, "Lanes": cost.p }),
                );
            }
            SlotKind::KeyFile => {
                fields.insert("Kind".to_owned(), "key-file".into());
            }
            SlotKind::Quorum(shape) => {
                fields.insert("Kind".to_owned(), "quorum".into());
                fields.insert("Threshold".to_owned(), shape.threshold.into());
                fields.insert("Custodians".to_owned(), shape.custodians.into());
            }
        }
    }
    value
}
