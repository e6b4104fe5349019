//! `kmsfs rewrap`: brings the keys of a volume under the newest material of their CMKs, or under another CMK.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde_json::json;

use super::live::{Answer, Below, Place, Request, To};
use super::provider::{Kms, KmsArgs, KmsParser, LOCAL};
use super::{Exit, Failure, Global, output, secret::UnlockArgs, show};
use crate::keys::WrapMode;
use crate::volume::config::Config;
use crate::volume::lower::{SystemLower, open_root};

/// Arguments of `kmsfs rewrap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every file has a data key of its own, which a CMK wraps. This wraps it anew and
changes nothing else: no content, no modification time. Files may be in use, and
open at every moment, also if the command or the machine dies. It goes on where it
was when the command is given again; that needs no other arguments.

Without --to, keys that an older version of a CMK's key material wraps are wrapped
by the newest, as after `kmsfs key rotate`. A KMS that does not tell versions, as
AWS KMS, wraps all of them.

With --to, another CMK takes the place of the present one: of the volume's own, or,
for a directory where a zone begins, of the zone's. It may be in another KMS: name
that with --kms, beside the present one unless this is the keystore. A mount must
have been given both. The old CMK is needed until the command says otherwise; ask
with `kmsfs key usage`. Copies of the lower directory made before need it for ever.

Every wrapped key is unwrapped again before a header changes. Ends with 1 if a file
could not be done; it opens as before.

Examples:
  kmsfs rewrap ~/vault                          # after a rotation
  kmsfs rewrap ~/vault.enc --to alias/new       # not mounted
  kmsfs rewrap ~/vault/finance --to alias/finance-2027
  kmsfs rewrap ~/vault.enc --to alias/vault --kms unix:/run/kms.sock")]
pub struct Args {
    /// A lower directory, a mount, or something in a mount; with --lower, a path in that volume
    path: PathBuf,
    /// The lower directory of the volume, which may be mounted or not
    #[arg(long, value_name = "DIR")]
    lower: Option<PathBuf>,
    /// The CMK to be: an id, an ARN or an alias
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// The KMS that has it [default: the one named with --kms that the volume does not have yet, else that of the present
    /// CMK]
    #[arg(long, value_name = "URL", requires = "to", value_parser = KmsParser)]
    key_kms: Option<Kms>,
    /// How it wraps: each file's key itself (direct), or keys between (zone-key) [default: as now, in another KMS as for a
    /// new volume]
    #[arg(long, value_name = "MODE", requires = "to", value_parser = str::parse::<WrapMode>)]
    wrap: Option<WrapMode>,
    /// Files a second at most
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Runs the command.
///
/// # Errors
/// There is no volume, or it cannot be opened; the key cannot serve; a file could not be rewrapped.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let place = Place::find(&args.path, args.lower.as_deref())?;
    let mut kms = args.kms.clone();
    let to = match &args.to {
        Some(key) => Some(To {
            key: key.clone(),
            kms: target(args, &place, &mut kms)?,
            wrap: args.wrap.map(|mode| mode.to_string()),
        }),
        None => None,
    };
    let request = Request::Rewrap { path: Below::new(&place.dir), to, rate: args.rate, trial: args.dry_run };
    let answer = place.ask_watched(&request, (global, &kms, &args.unlock), "rewrapped")?;
    let Answer::Rewrapped { files, volume_key, released, former } = answer else {
        return Err(Failure::new(Exit::Failure, "the mount answers something else than was asked for"));
    };
    let current = files.found.saturating_sub(files.failed + if args.dry_run { files.moved } else { 0 });
    if global.json {
        let mut result = files.json();
        result["rewrapped"] = result["moved"].take();
        result.as_object_mut().expect("an object").remove("moved");
        result["current"] = json!(current);
        result["dry_run"] = json!(args.dry_run);
        result["volume_key"] = json!(volume_key);
        result["released"] = json!(released);
        result["former"] = json!(former);
        output::json(&result)?;
    } else {
        print(args, (files.moved, files.found, files.failed), volume_key, (&released, &former))?;
    }
    files.judge("rewrapped")
}

/// URL of the KMS that has the CMK to be; sees to it that `kms` names the present one too.
fn target(args: &Args, place: &Place, kms: &mut KmsArgs) -> Result<Option<String>, Failure> {
    let root = open_root(&place.lower).map_err(|e| Failure::io("open", &place.lower, &e))?;
    let config =
        Config::read(&SystemLower, &root).map_err(|e| Failure::from(e).context(place.lower.display()))?;
    let recorded = config.claimed().sources();
    let is_new = |kms: &&Kms| !recorded.contains(&kms.to_string().as_str());
    if let (&[LOCAL], [only]) = (&*recorded, &*kms.kms)
        && is_new(&only)
    {
        kms.kms.insert(0, Kms::Local);
    }
    let named: Vec<String> = kms.kms.iter().filter(is_new).map(Kms::to_string).collect();
    match (&args.key_kms, &*named) {
        (Some(kms), _) => Ok(Some(kms.to_string())),
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only.clone())),
        (None, _) => Err(Failure::new(Exit::Usage, "which KMS has the key? Say so with --key-kms")),
    }
}

fn print(
    args: &Args,
    (moved, found, failed): (u64, u64, u64),
    volume_key: bool,
    (released, former): (&[String], &[String]),
) -> Result<(), Failure> {
    let (what, own) = match args.dry_run {
        true => ("to be rewrapped", "; so is the volume key"),
        false => ("rewrapped", "; so was the volume key"),
    };
    output::line(format_args!(
        "{} {what}, of {found} there{}{}",
        show::count(moved, "file", "files"),
        if failed > 0 { format!("; {failed} failed") } else { String::new() },
        if volume_key { own } else { "" },
    ))?;
    for arn in released {
        output::line(format_args!("not needed any more by this volume: {arn}"))?;
    }
    for arn in former.iter().filter(|_| !args.dry_run) {
        output::note(format_args!("may still be needed: {arn}; give the command again, without --to"));
    }
    Ok(())
}
