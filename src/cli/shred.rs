//! `kmsfs shred`: after it no copy of a file opens, backups of the lower directory included.

use serde_json::json;
use std::io::{BufRead, stdin};

use super::files::{Event, PlaceArgs, Request, Skip};
use super::{Exit, Failure, Global, output, show};

/// Arguments of `kmsfs shred`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Destroys the secrets of the files, in a shreddable volume or zone, and then
removes the files. There is no way back: without its secret no copy of a lower
file opens, whoever has the key, wherever the copy is.

It cannot reach
  copies of the keystore made before: who has one, and what unlocks it, and a
  copy of the lower file, still opens that
  files without a secret: they are left as they are and named
  copies made before a file got its secret, by a move or a rewrap: they open
  for ever, and give away the data key of later copies too unless the file was
  rekeyed when it arrived

What helps against the last two is to destroy the key that they are under
(kmsfs key schedule-deletion), with all that is under it. A copy of the keystore
holds that key as well: destroy such copies, or what unlocks them.

Examples:
  kmsfs shred ~/vault/contract.pdf
  kmsfs shred -r --yes ~/vault/customers/4711
  kmsfs shred --keep --lower ~/vault.enc notes.txt")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// Shred directories with all that is below them
    #[arg(short, long)]
    recursive: bool,
    /// Keep the files, which nobody can open any more, and their names
    #[arg(long)]
    keep: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no volume; it cannot be opened; [`Exit::Failure`] if a file was left as it was.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let target = args.place.find()?;
    if !args.yes && !confirmed()? {
        return Err(Failure::new(Exit::Failure, "nothing was shredded"));
    }
    let request = |paths| Request::Shred { paths, recursive: args.recursive };
    let mut counts = Counts::default();
    let asked = args.place.ask(&target, global, request, &mut |event, target, here| {
        match event {
            Event::Done { path, links } => {
                counts.shredded += 1;
                if *links > 1 {
                    output::note(format_args!(
                        "{}: its {} other names stay, and nobody can open them",
                        path.shown(),
                        links - 1
                    ));
                }
                if !args.keep {
                    target.remove(path, here)?;
                }
            }
            Event::Skipped { path, why, why_kind } => {
                counts.skipped += 1;
                counts.without_secret += u64::from(*why_kind == Skip::NoSecret);
                output::note(format_args!("{}: not shredded: {why}", path.shown()));
            }
            Event::Measured { .. } | Event::Progress { .. } | Event::Ended { .. } => {}
        }
        Ok(())
    });
    counts.report(global.json)?;
    asked?;
    counts.judge()
}

fn confirmed() -> Result<bool, Failure> {
    if !output::is_terminal() {
        return Err(Failure::new(Exit::Usage, "there is nobody to ask")
            .hint("Whoever means it gives --yes: no copy of the files will open any more."));
    }
    output::note(format_args!("No copy of these files will open any more, backups included. Go on? [y/N]"));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).map_err(|e| Failure::new(Exit::Failure, e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[derive(Default)]
struct Counts {
    shredded: u64,
    skipped: u64,
    without_secret: u64,
}

impl Counts {
    fn report(&self, as_json: bool) -> Result<(), Failure> {
        let Counts { shredded, skipped, without_secret } = *self;
        if as_json {
            return output::json(&json!({
                "shredded": shredded, "skipped": skipped, "without_secret": without_secret,
            }));
        }
        output::line(format_args!(
            "{} shredded, {skipped} left as they were",
            show::count(shredded, "file", "files")
        ))?;
        if shredded > 0 {
            output::note(format_args!(
                "Copies of the keystore made before still hold the secrets: destroy those that are not needed. Copies \
                 of a file from before it came into a shreddable volume or zone still open."
            ));
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), Failure> {
        let left = show::count(self.skipped, "file was", "files were");
        match (self.skipped, self.without_secret) {
            (0, _) => Ok(()),
            (_, 0) => Err(Failure::new(Exit::Failure, format_args!("{left} not shredded"))),
            (_, _) => Err(Failure::new(Exit::Failure, format_args!("{left} not shredded")).hint(
                "Files have a secret if they were made in a shreddable volume or zone, or rekeyed there. Backups of \
                 the others open as long as their key exists: destroy that key with kmsfs key schedule-deletion, and \
                 with it all that is under it.",
            )),
        }
    }
}
