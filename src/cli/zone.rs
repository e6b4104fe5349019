//! `kmsfs zone`: subtrees of a volume with a CMK of their own.

use std::path::PathBuf;

use serde_json::json;

use super::live::{Answer, Below, Files, Place, Request};
use super::provider::{Kms, KmsArgs, KmsParser};
use super::{Exit, Failure, Global, output, secret::UnlockArgs, show};
use crate::keys::WrapMode;
use crate::volume::config::{Config, ZoneSettings};
use crate::volume::lower::{SystemLower, open_root};

/// Arguments of `kmsfs zone`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have a zone begin at a directory: what is below is under a CMK of its own
    Set(SetArgs),
    /// Show the zones of a volume
    List(ListArgs),
    /// Have a zone end: what is below is under the CMK of the directory above
    Clear(ClearArgs),
}

#[derive(Debug, clap::Args)]
struct DirArgs {
    /// A directory in a mount; with --lower, its path in that volume
    dir: PathBuf,
    /// The lower directory of the volume, which may be mounted or not
    #[arg(long, value_name = "DIR")]
    lower: Option<PathBuf>,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Files that are there move by a rewrap: their headers change, not their content,
and they may be in use. Files that are made, moved or linked below get the CMK at
once. If it is interrupted, give the command again.

A key policy can tell zones apart by the encryption context:
  \"Condition\": {\"StringEquals\": {\"kms:EncryptionContext:kmsfs:zone\": \"finance\"}}

Names, directories, link targets and attributes of directories stay under the
volume's own key, and so do sizes and times under none. Moving a directory into or
out of a zone copies it, as between filesystems.

Examples:
  kmsfs zone set ~/vault/finance --key alias/finance
  kmsfs zone set --lower ~/vault.enc finance --key alias/finance")]
struct SetArgs {
    #[command(flatten)]
    place: DirArgs,
    /// The zone's CMK: an id, an ARN or an alias
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The KMS that has it, one of those that the volume was opened with [default: that of the volume's own CMK]
    #[arg(long, value_name = "URL", value_parser = KmsParser)]
    key_kms: Option<Kms>,
    /// Its name in encryption contexts, for good [default: the directory's]
    #[arg(long)]
    name: Option<String>,
    /// What wraps the keys of files: the CMK itself (direct), or keys between it and them (zone-key) [default: as for a
    /// new volume]
    #[arg(long, value_name = "MODE", value_parser = str::parse::<WrapMode>)]
    wrap: Option<WrapMode>,
    /// Mix a secret of each new file's own, kept in the KMS's keystore, into its wrapped key; see `kmsfs init`
    #[arg(long)]
    shreddable: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no key, but for the directories of a volume that is mounted, which its mount
is asked for.

Examples:
  kmsfs zone list ~/vault
  kmsfs zone list --json ~/vault.enc")]
struct ListArgs {
    /// A mount, something in it, or a lower directory
    place: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files move first, then the zone ends, then its definition goes, once no file of
the volume is under it; so do those of zones that an interrupted `zone set` left
unused. For that alone, name a directory at which no zone begins.

Examples:
  kmsfs zone clear ~/vault/finance
  kmsfs zone clear --lower ~/vault.enc finance")]
struct ClearArgs {
    #[command(flatten)]
    place: DirArgs,
}

/// Runs the command.
///
/// # Errors
/// There is no volume, or it cannot be opened; the key cannot serve; a file could not be moved.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.command {
        Command::Set(args) => set(args, global),
        Command::List(args) => list(args, global),
        Command::Clear(args) => clear(args, global),
    }
}

fn set(args: &SetArgs, global: &Global) -> Result<(), Failure> {
    let request = |dir| Request::Set {
        dir,
        key: args.key.clone(),
        kms: args.key_kms.as_ref().map(Kms::to_string),
        name: args.name.clone(),
        wrap: args.wrap.map(|mode| mode.to_string()),
        shreddable: args.shreddable,
    };
    let Answer::Set { zone, cmk, files } = ask(&args.place, request, global)? else { return Err(nonsense()) };
    if global.json {
        let mut result = files.json();
        result["zone"] = json!(zone);
        result["cmk"] = json!(cmk);
        output::json(&result)?;
    } else {
        output::line(format_args!("zone {} under {cmk}: {}", output::printable(&zone), moved(&files)))?;
    }
    files.judge("moved")
}

fn clear(args: &ClearArgs, global: &Global) -> Result<(), Failure> {
    let answer = ask(&args.place, |dir| Request::Clear { dir }, global)?;
    let Answer::Cleared { files, removed, unsure } = answer else { return Err(nonsense()) };
    if global.json {
        let mut result = files.json();
        result["removed"] = json!(removed);
        result["unsure"] = json!(unsure);
        output::json(&result)?;
    } else {
        output::line(format_args!("{}", moved(&files)))?;
        for name in &removed {
            output::line(format_args!("zone {} is no more", output::printable(name)))?;
        }
    }
    if unsure {
        output::note(format_args!(
            "Files moved, or could not be read, while unused zones were looked for: give the command again to \
             remove their definitions."
        ));
    }
    files.judge("moved")
}

fn list(args: &ListArgs, global: &Global) -> Result<(), Failure> {
    let place = Place::find(&args.place, None)?;
    let root = open_root(&place.lower).map_err(|e| Failure::io("open", &place.lower, &e))?;
    let config =
        Config::read(&SystemLower, &root).map_err(|err| Failure::from(err).context(place.lower.display()))?;
    let zones = &config.claimed().zones;
    let mut begin = Vec::new();
    if place.is_mounted() && !zones.is_empty() {
        let (kms, unlock) = (KmsArgs::default(), UnlockArgs::default());
        match place.ask(&Request::List {}, (global, &kms, &unlock), &mut |_| {})? {
            Answer::Directories { begin: found } => begin = found,
            _ => return Err(nonsense()),
        }
    }
    let directories = |zone: &ZoneSettings| -> Vec<String> {
        let id = show::hex(&zone.id);
        let of_it = begin.iter().filter(|(begun, _)| *begun == id);
        of_it.map(|(_, dir)| dir.path().display().to_string()).collect()
    };
    if global.json {
        let zone = |zone: &ZoneSettings| {
            json!({
                "name": zone.name, "id": show::hex(&zone.id), "cmk": zone.cmk.arn, "kms": zone.cmk.kms,
                "wrap": zone.wrap.to_string(), "shreddable": zone.shreddable,
                "former": zone.former.iter().map(|cmk| &cmk.arn).collect::<Vec<_>>(),
                "directories": place.is_mounted().then(|| directories(zone)),
            })
        };
        return output::json(&json!({ "zones": zones.iter().map(zone).collect::<Vec<_>>() }));
    }
    if zones.is_empty() {
        return output::line(format_args!("no zones"));
    }
    let row = |zone: &ZoneSettings| {
        let directories = if place.is_mounted() { directories(zone).join(", ") } else { "?".into() };
        let texts =
            [&zone.name, &directories, &zone.cmk.arn, &zone.cmk.kms].map(|text| output::printable(text));
        [&texts[..], &[zone.wrap.to_string()]].concat()
    };
    output::table(&["ZONE", "DIRECTORY", "CMK", "KMS", "WRAP"], zones.iter().map(row).collect())
}

/// Asks for what `request` makes of the directory, and shows how far it is.
fn ask(args: &DirArgs, request: impl FnOnce(Below) -> Request, global: &Global) -> Result<Answer, Failure> {
    let place = Place::find(&args.dir, args.lower.as_deref())?;
    let request = request(Below::new(&place.dir));
    place.ask_watched(&request, (global, &args.kms, &args.unlock), "moved")
}

fn nonsense() -> Failure {
    Failure::new(Exit::Failure, "the mount answers something else than was asked for")
}

fn moved(files: &Files) -> String {
    format!("{} moved, of {} there", show::count(files.moved, "file", "files"), files.found)
}
