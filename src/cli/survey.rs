//! What `check` and `export` have in common on the terminal: progress while a volume is read, and what was found.

use std::{
    io::{IsTerminal, stderr},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{Failure, output};
use crate::volume::survey::{Extent, Foreign, Observer, Problem};

/// More readers than this are no faster: the lower filesystem is.
const READERS_MAX: usize = 8;

/// How many files to read at a time.
pub(super) fn readers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX)
}

/// Does `work`; on a terminal with a bar that needs to be told how much there is.
pub(super) fn watched<T>(measure: impl FnOnce() -> Extent, work: impl FnOnce(&dyn Observer) -> T) -> T {
    if !stderr().is_terminal() {
        return work(&Silent);
    }
    let progress = Progress::new();
    progress.0.set_message("looking around");
    progress.begin(measure().bytes);
    let done = work(&progress);
    progress.0.finish_and_clear();
    done
}

/// Where nobody watches.
struct Silent;

impl Observer for Silent {
    fn advanced(&self, _bytes: u64) {}
    fn found(&self, _problem: &Problem) {}
}

/// A bar with the time that is left, on standard error.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    fn begin(&self, bytes: u64) {
        self.0.set_length(bytes);
        self.0.set_message("");
        let style =
            "{bar:30} {percent:>3} %  {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style);
        }
    }
}

impl Observer for Progress {
    fn advanced(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn found(&self, problem: &Problem) {
        self.0.suspend(|| output::note(format_args!("{}", describe(problem))));
    }
}

/// "file /a/b: 1 block does not authenticate: 7 (lower: x/y)".
fn describe(problem: &Problem) -> String {
    let lower = output::printable(&problem.lower.display().to_string());
    let what = output::printable(&problem.what);
    match &problem.path {
        Some(path) => {
            let path = output::printable(&path.display().to_string());
            format!("{} {path}: {what} (lower: {lower})", problem.kind.word())
        }
        None => format!("{} lower {lower}: {what}", problem.kind.word()),
    }
}

/// Prints a line for each problem and each foreign entry.
///
/// # Errors
/// As [`output::line`].
pub(super) fn print_findings(problems: &[Problem], foreign: &[Foreign]) -> Result<(), Failure> {
    for problem in problems {
        output::line(format_args!("{}", describe(problem)))?;
    }
    for foreign in foreign {
        let lower = output::printable(&foreign.lower.display().to_string());
        output::line(format_args!("foreign lower {lower}: not made by kmsfs"))?;
    }
    Ok(())
}

/// Problems as scripts read them.
pub(super) fn problems_json(problems: &[Problem]) -> Vec<Value> {
    let problem = |problem: &Problem| {
        json!({
            "kind": problem.kind.word(), "what": problem.what,
            "path": problem.path.as_ref().map(|path| path.display().to_string()),
            "lower": problem.lower.display().to_string(),
        })
    };
    problems.iter().map(problem).collect()
}

/// Foreign entries as scripts read them.
pub(super) fn foreign_json(foreign: &[Foreign]) -> Vec<Value> {
    let foreign_entry = |foreign: &Foreign| {
        json!({
            "directory": foreign.directory.as_ref().map(|path| path.display().to_string()),
            "lower": foreign.lower.display().to_string(),
        })
    };
    foreign.iter().map(foreign_entry).collect()
}
