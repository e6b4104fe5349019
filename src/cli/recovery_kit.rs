//! `kmsfs recovery-kit`: what must be kept to open a volume in ten years, and how to.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use time::OffsetDateTime;

use super::provider::{Kms, KmsArgs, LOCAL};
use super::{Failure, Global, access, output, secret::UnlockArgs, show};
use crate::keys::{LocalProvider, Sources};
use crate::kms::keystore::{SlotInfo, SlotKind};
use crate::volume::config::{CONFIG, CmkPlace, FORMAT, Settings};
use crate::volume::lower::{SystemLower, open_root};
use crate::volume::open_config;

/// Arguments of `kmsfs recovery-kit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Opens the volume's config with its key, to be sure that the kit is that of a volume
that opens, and prints a text to be kept on paper or elsewhere. There is no secret
in it; what is secret it names, and where that is. It says also what the volume
does not survive. Print it again when keys, zones or what unlocks the keystore
change. docs/recovery.md goes through a recovery step by step.

Examples:
  kmsfs recovery-kit ~/vault.enc > vault.kit.txt
  kmsfs recovery-kit ~/vault.enc | lpr")]
pub struct Args {
    /// The volume's lower directory, mounted or not
    lower: PathBuf,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Before and after the config in a kit.
const BEGIN: &str = "-----BEGIN kmsfs.json-----";
const END: &str = "-----END kmsfs.json-----";

/// Runs the command.
///
/// # Errors
/// There is no volume, it does not open, or a key of it cannot be used.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    access::volume_exists(&args.lower)?;
    let lower = args.lower.canonicalize().map_err(|e| Failure::io("find", &args.lower, &e))?;
    // Opened once: whoever is asked for a passphrase is asked once.
    let mut keystore = None;
    let sources = args.kms.open_each_for(&lower, &mut |kms| match kms {
        Kms::Local => {
            let opened = Arc::new(access::open(global, &args.unlock)?);
            keystore = Some((access::location(global)?.to_string(), opened.slots()?));
            Ok(Arc::new(LocalProvider::new(opened)))
        }
        Kms::Service(_) | Kms::Token(_) => kms.open(global, &args.unlock, args.kms.pin_fd),
    })?;
    let root = open_root(&lower).map_err(|e| Failure::io("open", &lower, &e))?;
    let (config, _) = open_config(&SystemLower, &root, &sources)
        .map_err(|err| Failure::from(err).context(lower.display()))?;
    let settings = config.settings();
    let keys = keys(settings, &sources)?;
    let text = std::fs::read_to_string(lower.join(CONFIG)).map_err(|e| Failure::io("read", &lower, &e))?;
    if global.json {
        let key = |key: &Key| json!({ "arn": key.place.arn, "kms": key.place.kms, "for": key.used_for });
        return output::json(&json!({
            "volume": show::hex(&settings.volume_id), "format": FORMAT, "kmsfs": env!("CARGO_PKG_VERSION"),
            "lower": lower, "cipher": settings.cipher.to_string(),
            "keys": keys.iter().map(key).collect::<Vec<_>>(),
            "keystore": keystore.as_ref().map(|(place, slots)| json!({
                "place": place, "unlocked_by": slots.iter().map(slot).collect::<Vec<_>>(),
            })),
            "shreddable": is_shreddable(settings), "config": text,
        }));
    }
    let mut kit = String::new();
    compose(&mut kit, &lower.display().to_string(), settings, &keys, keystore.as_ref(), &text)
        .expect("a String takes every write");
    output::line(format_args!("{}", kit.trim_end()))
}

/// A CMK that the volume needs.
struct Key {
    place: CmkPlace,
    used_for: String,
}

/// All CMKs; those in use are asked for, since a kit for a key that is gone would be worth nothing.
fn keys(settings: &Settings, sources: &Sources) -> Result<Vec<Key>, Failure> {
    let mut keys = vec![Key { place: settings.cmk_place(), used_for: "the volume itself".into() }];
    for zone in &settings.zones {
        keys.push(Key {
            place: zone.cmk.clone(),
            used_for: format!("zone {}", output::printable(&zone.name)),
        });
    }
    for key in &keys {
        sources.get(&key.place.kms)?.resolve(&key.place.arn)?;
    }
    let former = settings.former.iter().chain(settings.zones.iter().flat_map(|zone| &zone.former));
    keys.extend(former.map(|place| Key {
        place: place.clone(),
        used_for: "files not yet rewrapped (kmsfs rewrap)".into(),
    }));
    Ok(keys)
}

fn is_shreddable(settings: &Settings) -> bool {
    settings.shreddable || settings.zones.iter().any(|zone| zone.shreddable)
}

/// "slot 0: a passphrase, laptop".
fn slot(slot: &SlotInfo) -> String {
    let kind = match slot.kind {
        SlotKind::Passphrase(_) => "a passphrase".to_owned(),
        SlotKind::KeyFile => "a key file".to_owned(),
        SlotKind::Quorum(shape) => {
            format!("{} of {} shares of custodians", shape.threshold, shape.custodians)
        }
    };
    let label =
        if slot.label.is_empty() { String::new() } else { format!(", {}", output::printable(&slot.label)) };
    format!("slot {}: {kind}{label}", slot.id)
}

fn compose(
    kit: &mut String,
    lower: &str,
    settings: &Settings,
    keys: &[Key],
    keystore: Option<&(String, Vec<SlotInfo>)>,
    config: &str,
) -> std::fmt::Result {
    writeln!(kit, "RECOVERY KIT OF A KMSFS VOLUME\n")?;
    writeln!(kit, "volume   {}", show::hex(&settings.volume_id))?;
    writeln!(kit, "format   {FORMAT}, {}", settings.cipher)?;
    writeln!(kit, "lower    {}", output::printable(lower))?;
    writeln!(
        kit,
        "made     {} by kmsfs {}",
        show::date(OffsetDateTime::now_utc()),
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(kit, "\nKEEP ALL OF THESE, each in two places:\n")?;
    writeln!(kit, "1. The lower directory, with everything in it, or backups of it.")?;
    writeln!(kit, "2. These keys, in their KMS, neither deleted nor disabled for good:")?;
    for key in keys {
        writeln!(kit, "   {} in {}\n      for {}", key.place.arn, key.place.kms, key.used_for)?;
    }
    if let Some((place, slots)) = keystore {
        writeln!(kit, "3. The keystore {}, which has the keys in {LOCAL}", output::printable(place))?;
        writeln!(kit, "   Copy it while no program has it open, or with: sqlite3 KEYSTORE '.backup COPY'")?;
        writeln!(kit, "   and ANY ONE of what unlocks it:")?;
        for info in slots {
            writeln!(kit, "   {}", slot(info))?;
        }
    }
    writeln!(kit, "{}. kmsfs, and this kit.", if keystore.is_some() { 4 } else { 3 })?;
    writeln!(kit, "\nIF ONE IS LOST, so is the volume: no maker of kmsfs and nobody else can open it.")?;
    if is_shreddable(settings) {
        writeln!(
            kit,
            "Files have shred secrets in the KMS's keystore: a copy of the keystore opens the files that were\n\
             there when it was made, and none that were made later."
        )?;
    }
    let named: Vec<_> = settings.sources().into_iter().filter(|kms| *kms != LOCAL).collect();
    let kms: String = named.iter().map(|kms| format!(" --kms {}", Sources::argument(kms))).collect();
    let keystore_option = if keystore.is_some() { " --keystore KEYSTORE" } else { "" };
    writeln!(kit, "\nTO OPEN IT, neither FUSE nor root is needed:\n")?;
    writeln!(kit, "   kmsfs export{keystore_option}{kms} LOWER DESTINATION\n")?;
    writeln!(
        kit,
        "If kmsfs.json is missing in the lower directory, put what follows there. It has no secret.\n"
    )?;
    writeln!(kit, "{BEGIN}\n{}\n{END}", config.trim_end())
}
