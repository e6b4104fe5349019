//! `kmsfs export`: restores a volume into an ordinary directory, without a mount.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use super::{Exit, Failure, Global, access, output, provider::KmsArgs, secret::UnlockArgs, show, survey};
use crate::volume::{
    Options, Volume,
    export::{self, Destination, Prepared, Report, Source, Unset},
    lower::ShadowLower,
    survey::{Kind, Survey},
};

/// Arguments of `kmsfs export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Restores directories, files with their holes, symbolic and hard links, FIFOs,
sockets and devices, with modes, times, owners, extended attributes and ACLs.
Needs neither FUSE nor root; without root owners and devices stay behind, and
their number is told. DEST must be empty or not exist.

Writes nothing to LOWER, so that it may be a backup, a read-only snapshot, or a
failing disk. Of a volume that was not closed it restores what a mount would
show after its recovery. A mounted volume is refused: unmount it first, or
export a snapshot of the lower directory.

A damaged file is named and left out, with --keep-damaged restored with zeros
in the place of each damaged block. Ends with 14 if anything is damaged, with 9
if nothing is but the keys of some files may not be used, and with 1 if
something could not be written to DEST.

Until all is there and durable, DEST holds a directory .kmsfs-export.*.unfinished.

Examples:
  kmsfs export ~/vault.enc ~/vault.plain
  kmsfs export --path photos/2024 /backup/vault.enc /tmp/photos
  kmsfs export --json --keep-damaged /mnt/disk/vault.enc out | jq '.problems[].path'")]
pub struct Args {
    /// The volume's lower directory
    lower: PathBuf,
    /// Where to restore it
    dest: PathBuf,
    /// Restore this directory or file only, by its path in the volume
    #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
    path: PathBuf,
    /// Restore what is whole of damaged files as well
    #[arg(long)]
    keep_damaged: bool,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Exit::Damaged`] if anything is damaged, [`Exit::NotEmpty`] if something is in the way; the volume cannot be opened;
/// the destination cannot be written.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    access::volume_exists(&args.lower)?;
    refuse_inside(&args.dest, &args.lower)?;
    access::raise_descriptor_limit();
    let sources = args.kms.open_for(&args.lower, global, &args.unlock)?;
    let lower = Arc::new(ShadowLower::default());
    let volume = Volume::open(lower, &args.lower, sources, Options::default())
        .map_err(|err| Failure::from(err).context(args.lower.display()))?;
    let exported = export(args, &volume);
    let closed = volume.store.close();
    let report = exported?;
    closed?;
    let recovered = volume.recovered.is_some();
    if global.json {
        output::json(&json!({
            "lower": args.lower, "destination": args.dest, "path": args.path.display().to_string(),
            "volume": show::hex(volume.config.volume_id()), "complete": report.problems.is_empty(),
            "directories": report.directories, "files": report.files, "damaged_files": report.damaged_files,
            "symlinks": report.symlinks, "others": report.others, "links": report.links, "bytes": report.bytes,
            "leftovers": report.leftovers, "recovered": recovered,
            "unset": {
                "owners": report.unset.owners, "modes": report.unset.modes, "times": report.unset.times,
                "attributes": report.unset.attributes, "acls": report.unset.acls, "others": report.unset.others,
            },
            "foreign": survey::foreign_json(&report.foreign),
            "problems": survey::problems_json(&report.problems),
        }))?;
    } else {
        print(&report, recovered)?;
    }
    outcome(args, &report)
}

fn export(args: &Args, volume: &Volume) -> Result<Report, Failure> {
    let volume = Survey::of(volume);
    let source = Source::find(&volume, &args.path)
        .map_err(|err| Failure::from(err).context(format_args!("{} in the volume", args.path.display())))?;
    let destination = prepare(&args.dest)?;
    survey::watched(
        || source.measure(&volume),
        |observer| {
            export::run(&volume, &source, destination, args.keep_damaged, survey::readers(), observer)
        },
    )
    .map_err(|err| {
        Failure::from(err).context(args.dest.display()).hint(
            "What was restored until then is there, beside the mark that it is not all. Empty the directory to try again.",
        )
    })
}

/// What is below the lower directory would be written to it.
fn refuse_inside(dest: &Path, lower: &Path) -> Result<(), Failure> {
    let lower = lower.canonicalize().map_err(|err| Failure::io("find", lower, &err))?;
    let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolved = dest.canonicalize().or_else(|_| parent.canonicalize());
    let resolved = resolved.map_err(|err| Failure::io("find", parent, &err))?;
    match resolved.starts_with(&lower) {
        true => Err(Failure::new(
            Exit::Usage,
            format_args!("{} is in the lower directory, to which nothing is written", dest.display()),
        )),
        false => Ok(()),
    }
}

fn prepare(dest: &Path) -> Result<Destination, Failure> {
    match Destination::prepare(dest).map_err(|err| Failure::io("make", dest, &err))? {
        Prepared::Ready(destination) => Ok(destination),
        Prepared::Occupied { unfinished: true } => {
            let message = format!("{} holds an export that did not come to its end", dest.display());
            Err(Failure::new(Exit::NotEmpty, message).hint("Delete it, or name another directory."))
        }
        Prepared::Occupied { unfinished: false } => {
            Err(Failure::new(Exit::NotEmpty, format_args!("{} is not empty", dest.display())))
        }
    }
}

fn print(report: &Report, recovered: bool) -> Result<(), Failure> {
    survey::print_findings(&report.problems, &report.foreign)?;
    if recovered {
        output::note(format_args!(
            "The volume was not closed: this is what a mount would show after its recovery."
        ));
    }
    if !report.unset.is_empty() {
        output::note(format_args!("Not set: {}.", unset(&report.unset)));
    }
    let damaged = match report.damaged_files {
        0 => String::new(),
        n => format!(" ({n} with zeros for damaged blocks)"),
    };
    output::line(format_args!(
        "restored {} in {}{damaged}, {}, {}, {}, {}",
        show::size(report.bytes),
        show::count(report.files, "file", "files"),
        show::count(report.links, "further name", "further names"),
        show::count(report.directories, "directory", "directories"),
        show::count(report.symlinks, "symlink", "symlinks"),
        show::count(report.others, "other", "others"),
    ))
}

/// "owners of 3, ACLs of 1".
fn unset(unset: &Unset) -> String {
    let counts = [
        (unset.owners, "owners"),
        (unset.modes, "modes"),
        (unset.times, "times"),
        (unset.attributes, "extended attributes"),
        (unset.acls, "ACLs"),
        (unset.others, "devices, FIFOs or sockets"),
    ];
    let told = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    told.collect::<Vec<_>>().join(", ")
}

fn outcome(args: &Args, report: &Report) -> Result<(), Failure> {
    let count = |kind: Kind| report.problems.iter().filter(|problem| problem.kind == kind).count() as u64;
    let (locked, unwritten) = (count(Kind::Locked), count(Kind::NotWritten));
    let lower = args.lower.display();
    match (report.problems.len() as u64 - locked - unwritten, unwritten, locked) {
        (0, 0, 0) => Ok(()),
        (0, 0, n) => {
            let count = show::count(n, "file is", "files are");
            let message = format!("{lower}: {count} under a key that may not be used");
            Err(Failure::new(Exit::KeyUnusable, message).hint("All else was restored."))
        }
        (0, n, _) => {
            let message =
                format!("{}: {} not written", args.dest.display(), show::count(n, "entry", "entries"));
            Err(Failure::new(Exit::Failure, message).hint("All else was restored."))
        }
        (n, ..) => {
            let message = format!("{lower}: {}", show::count(n, "problem", "problems"));
            let failure = Failure::new(Exit::Damaged, message);
            Err(match args.keep_damaged {
                true => failure.hint("All else was restored, and of damaged files what is whole."),
                false => failure
                    .hint("All else was restored; --keep-damaged restores what is whole of damaged files."),
            })
        }
    }
}
