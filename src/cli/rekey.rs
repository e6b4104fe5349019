//! `kmsfs rekey`: new data keys for files, and their content re-encrypted, mounted or not.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use super::files::{Event, PlaceArgs, Request};
use super::{Exit, Failure, Global, output, show};

/// Arguments of `kmsfs rekey`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Gives each file a new data key and re-encrypts what it holds, directories with
all that is below them. A mounted volume stays in use: files are read and
written meanwhile, and keep their times. Whatever interrupts it, nothing is
lost, and the same command finishes what was begun.

It is for data keys that somebody may have kept, which rewrapping does not
help against, and for files that came into a shreddable volume or zone from
elsewhere. Copies made before stay readable under the old keys.

Examples:
  kmsfs rekey ~/vault/finance
  kmsfs rekey ~/vault.enc
  kmsfs rekey --lower ~/vault.enc finance/2026")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
///
/// # Errors
/// There is no volume; it cannot be opened; [`Exit::Failure`] if a file was skipped.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let target = args.place.find()?;
    let mut counts = Counts::default();
    let progress = Progress::new();
    let asked = args.place.ask(&target, global, |paths| Request::Rekey { paths }, &mut |event, _, _| {
        match event {
            Event::Measured { files, bytes } => progress.begin(*files, *bytes),
            Event::Progress { bytes } => {
                counts.bytes += bytes;
                progress.0.inc(*bytes);
            }
            Event::Done { .. } => counts.files += 1,
            Event::Skipped { path, why, .. } => {
                counts.skipped += 1;
                progress.note(format_args!("{}: {why}", path.shown()));
            }
            Event::Ended { .. } => {}
        }
        Ok(())
    });
    progress.0.finish_and_clear();
    counts.report(global.json)?;
    asked?;
    match counts.skipped {
        0 => Ok(()),
        n => Err(Failure::new(
            Exit::Failure,
            format_args!("{} not rekeyed", show::count(n, "file was", "files were")),
        )
        .hint("The same command tries these again; the others get new keys once more.")),
    }
}

#[derive(Default)]
struct Counts {
    files: u64,
    bytes: u64,
    skipped: u64,
}

impl Counts {
    fn report(&self, as_json: bool) -> Result<(), Failure> {
        let Counts { files, bytes, skipped } = *self;
        if as_json {
            return output::json(&json!({ "files": files, "bytes": bytes, "skipped": skipped }));
        }
        output::line(format_args!(
            "{} under new data keys, {} re-encrypted, {skipped} skipped",
            show::count(files, "file", "files"),
            show::size(bytes),
        ))
    }
}

/// A bar with the time that is left, on standard error if that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Progress {
        let target =
            if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message("looking around");
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    fn begin(&self, files: u64, bytes: u64) {
        self.0.set_length(bytes);
        self.0.set_message(show::count(files, "file", "files"));
        let style =
            "{bar:30} {percent:>3} %  {bytes} of {total_bytes} in {msg}, {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style);
        }
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        self.0.suspend(|| output::note(text));
    }
}
