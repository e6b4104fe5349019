//! Where the files that a command names are, and how to get at them.

use std::path::{Path, PathBuf};

use super::{Event, Request};
use crate::cli::live::{Below, Place, mount_of};
use crate::cli::provider::KmsArgs;
use crate::cli::secret::UnlockArgs;
use crate::cli::{Exit, Failure, Global};
use crate::fs::Filesystem;
use crate::fuse::control;
use crate::volume::config::CONFIG;

/// Names files of a volume. Flattened into commands on them.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlaceArgs {
    /// Files and directories in a mount; or one lower directory, for all that is in it; with --lower, paths in that volume
    #[arg(required_unless_present = "lower", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The lower directory of a volume, mounted or not; without PATHs, all that is in it
    #[arg(long, value_name = "DIR")]
    lower: Option<PathBuf>,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Is told what happens, with the files asked for, and the volume where it is opened here.
pub(in crate::cli) type Each<'a> =
    dyn FnMut(&Event, &Target, Option<&Filesystem>) -> Result<(), Failure> + 'a;

/// Some files of one volume.
pub(in crate::cli) struct Target {
    place: Place,
    /// Below the volume's root.
    paths: Vec<PathBuf>,
}

impl PlaceArgs {
    /// Finds the volume, and whether it is mounted.
    ///
    /// # Errors
    /// There is no volume; the paths are in more than one.
    pub(in crate::cli) fn find(&self) -> Result<Target, Failure> {
        let lower = match (&self.lower, &*self.paths) {
            (Some(lower), _) => Some((lower, &*self.paths)),
            (None, [only]) if only.join(CONFIG).symlink_metadata().is_ok() => Some((only, &[][..])),
            _ => None,
        };
        match lower {
            Some((lower, paths)) => in_volume(lower, paths),
            None => in_mount(&self.paths),
        }
    }

    /// Asks for `request` of the files, and calls `each` with what is told, but for its end.
    ///
    /// # Errors
    /// The volume cannot be opened, the mount does not answer; what `each` says; what ended it.
    pub(in crate::cli) fn ask(
        &self,
        target: &Target,
        global: &Global,
        request: impl FnOnce(Vec<Below>) -> Request,
        each: &mut Each<'_>,
    ) -> Result<(), Failure> {
        let request = request(target.paths.iter().map(|path| Below::new(path)).collect());
        let line = serde_json::to_string(&request).expect("a request is plain data");
        let access = (global, &self.kms, &self.unlock);
        target.place.talk(&line, true, access, &mut |line, here| {
            heard(line, target, here, each).map(|last| last.then_some(()))
        })
    }
}

/// Passes an answer on. Returns whether it was the last.
fn heard(
    line: &str,
    target: &Target,
    here: Option<&Filesystem>,
    each: &mut Each<'_>,
) -> Result<bool, Failure> {
    let event = serde_json::from_str(line)
        .map_err(|e| Failure::new(Exit::Failure, format_args!("the mount answers nonsense: {e}")))?;
    match event {
        Event::Ended { error: None } => Ok(true),
        Event::Ended { error: Some(error) } => Err(Failure::new(Exit::Failure, error)),
        event => each(&event, target, here).map(|()| false),
    }
}

impl Target {
    /// Removes a file that was told of.
    pub(in crate::cli) fn remove(&self, path: &Below, here: Option<&Filesystem>) -> Result<(), Failure> {
        let path = path.path();
        match (self.place.mount_point(), here) {
            // Through the mount, whose kernel keeps names.
            (Some(mount_point), _) => {
                let path = mount_point.join(path);
                std::fs::remove_file(&path).map_err(|e| Failure::io("remove", &path, &e))
            }
            (None, Some(filesystem)) => filesystem
                .remove(path)
                .map_err(|e| Failure::new(Exit::Failure, format_args!("{}: {e}", path.display()))),
            (None, None) => Ok(()),
        }
    }
}

fn in_volume(lower: &Path, paths: &[PathBuf]) -> Result<Target, Failure> {
    let below = |path: &PathBuf| path.strip_prefix("/").unwrap_or(path).to_owned();
    let paths = if paths.is_empty() { vec![PathBuf::new()] } else { paths.iter().map(below).collect() };
    Ok(Target { place: Place::find(Path::new(""), Some(lower))?, paths })
}

fn in_mount(paths: &[PathBuf]) -> Result<Target, Failure> {
    let mut running = control::running();
    let mut found: Option<usize> = None;
    let mut below = Vec::new();
    for path in paths {
        let resolved = resolve(path)?;
        let at = mount_of(&running, &resolved, path)?;
        if found.is_some_and(|other| other != at) {
            return Err(Failure::new(Exit::Usage, "the paths are in more than one volume"));
        }
        found = Some(at);
        let point = &running[at].report.mount_point;
        below.push(resolved.strip_prefix(point).unwrap_or(&resolved).to_owned());
    }
    match found {
        Some(at) => Ok(Target { place: Place::of(running.swap_remove(at)), paths: below }),
        None => Err(Failure::new(Exit::Usage, "no path is given")),
    }
}

/// The path with every link resolved but the last: what is a link is not followed out of the volume.
fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let resolved = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if is_link => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map(|parent| parent.join(name))
        }
        _ => path.canonicalize(),
    };
    resolved.map_err(|e| Failure::io("find", path, &e))
}
