//! `kmsfs check`: reads and verifies everything in a volume, without a mount.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{Exit, Failure, Global, access, output, provider::KmsArgs, secret::UnlockArgs, show, survey};
use crate::volume::{
    Options, Volume,
    check::{self, Report},
    lower::SystemLower,
    survey::{Kind, Survey, measure},
};

/// Arguments of `kmsfs check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Verifies every directory record, name, link target, attribute, file header and
block, and names each damaged file by its plaintext path as far as that can be
known. It repairs nothing. A volume that was not closed is first recovered, just
as by mounting it. A mounted volume is refused: unmount it first.

Ends with 14 if anything is wrong. An entry that is not kmsfs's at all, neither
by its name nor by its content, is listed as foreign and is no damage; nor is a
stray, a file under the key of another zone than its directory's. Progress is shown
on a terminal only.

Examples:
  kmsfs check ~/vault.enc
  kmsfs check --json ~/vault.enc | jq -r '.problems[].path'")]
pub struct Args {
    /// The volume's lower directory
    lower: PathBuf,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Exit::Damaged`] if anything is wrong; the volume cannot be opened; its key cannot be had.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    access::volume_exists(&args.lower)?;
    access::raise_descriptor_limit();
    let sources = args.kms.open_for(&args.lower, global, &args.unlock)?;
    let volume = Volume::open(Arc::new(SystemLower), &args.lower, sources, Options::default())
        .map_err(|err| Failure::from(err).context(args.lower.display()))?;
    let recovered = volume.recovered.is_some();
    let checked = check(&volume);
    let closed = volume.store.close();
    let report = checked?;
    closed?;
    if global.json {
        output::json(&report_json(&args.lower, &volume, &report, recovered))?;
    } else {
        print(&report)?;
    }
    let locked = report.problems.iter().filter(|problem| problem.kind == Kind::Locked).count() as u64;
    match (report.problems.len() as u64 - locked, locked) {
        (0, 0) => Ok(()),
        (0, n) => {
            let count = show::count(n, "file is", "files are");
            let message = format!("{}: {count} under a key that may not be used", args.lower.display());
            Err(Failure::new(Exit::KeyUnusable, message)
                .hint("Nothing is known of their content; all else was verified."))
        }
        (n, _) => Err(damaged(&args.lower, &show::count(n, "problem", "problems"))),
    }
}

fn check(volume: &Volume) -> Result<Report, Failure> {
    let target = Survey::of(volume);
    let extent = || measure(&*volume.lower, &volume.root, 0);
    Ok(survey::watched(extent, |observer| check::run(&target, survey::readers(), observer))?)
}

fn damaged(lower: &Path, count: &str) -> Failure {
    Failure::new(Exit::Damaged, format_args!("{}: {count}", lower.display()))
        .hint("Restore the named files from a backup, through a mount.")
}

fn print(report: &Report) -> Result<(), Failure> {
    survey::print_findings(&report.problems, &report.foreign)?;
    if !report.foreign.is_empty() {
        output::note(format_args!(
            "Foreign entries are hidden in the mount and do no harm, but a directory that holds one cannot be removed \
             there (\"Directory not empty\") until it is moved out of the lower directory."
        ));
    }
    for stray in &report.strays {
        let lower = output::printable(&stray.display().to_string());
        output::line(format_args!(
            "stray lower {lower}: under the key of another zone than its directory's"
        ))?;
    }
    if !report.strays.is_empty() {
        output::note(format_args!(
            "Stray files open all the same. `kmsfs zone set`, given again, moves them."
        ));
    }
    let state = if report.problems.is_empty() { "all verified" } else { "the rest verified" };
    output::line(format_args!(
        "{} in {}, {}, {}, {}: {state}",
        show::size(report.bytes),
        show::count(report.files, "file", "files"),
        show::count(report.directories, "directory", "directories"),
        show::count(report.symlinks, "symlink", "symlinks"),
        show::count(report.others, "other", "others"),
    ))
}

fn report_json(lower: &Path, volume: &Volume, report: &Report, recovered: bool) -> Value {
    let problems = survey::problems_json(&report.problems);
    let foreign = survey::foreign_json(&report.foreign);
    json!({
        "lower": lower, "volume": show::hex(volume.config.volume_id()), "clean": problems.is_empty(),
        "directories": report.directories, "files": report.files, "symlinks": report.symlinks,
        "others": report.others, "bytes": report.bytes, "leftovers": report.leftovers,
        "recovered": recovered, "foreign": foreign, "strays": report.strays, "problems": problems,
    })
}
