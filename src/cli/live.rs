//! Requests about the keys of a volume: to the mount that has it open, or to the volume itself, opened here. Both do the
//! same, and answer by lines of JSON.

use std::ffi::OsStr;
use std::io::{IsTerminal, stderr};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::mount::background::exit_of;
use super::provider::KmsArgs;
use super::secret::UnlockArgs;
use super::{Exit, Failure, Global, access, files, output, show};
use crate::fs::{self, Backing, Filesystem, Moved, NewCmk, NewZone, Progress, Rewrapping};
use crate::fuse::control::{self, Client, Running};
use crate::fuse::mountinfo;
use crate::keys::WrapMode;
use crate::volume::config::CONFIG;
use crate::volume::lower::SystemLower;
use crate::volume::{self, Options, Volume};

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(200);

/// A KMS that others administer notices their changes within this time. A command that follows one is to see it.
const NOTICED: Duration = Duration::from_millis(500);

/// A pass over files, on a terminal.
const BAR: &str = "{bar:30} {percent:>3} %  {pos} of {len} files, {per_sec}, {eta} left; {msg}";

/// A path below the root of a volume, of any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Below(Vec<u8>);

impl Below {
    pub(crate) fn new(path: &Path) -> Below {
        Below(path.as_os_str().as_bytes().to_vec())
    }

    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// As people see it.
    pub(crate) fn shown(&self) -> String {
        output::printable(&self.path().display().to_string())
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// A zone is to begin at `dir`.
    #[serde(rename = "zone-set")]
    Set {
        dir: Below,
        key: String,
        kms: Option<String>,
        name: Option<String>,
        wrap: Option<String>,
        shreddable: bool,
    },
    /// The zone that begins at `dir` is to end.
    #[serde(rename = "zone-clear")]
    Clear { dir: Below },
    /// Where do zones begin?
    #[serde(rename = "zone-list")]
    List {},
    /// Keys are to be wrapped anew: those of files at `path`, or with `to` those of a whole zone or volume.
    #[serde(rename = "rewrap")]
    Rewrap { path: Below, to: Option<To>, rate: Option<NonZeroU32>, trial: bool },
    /// Something is to be done to files one by one, which is told in another way.
    #[serde(untagged)]
    Files(files::Request),
}

/// Another CMK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct To {
    pub(crate) key: String,
    pub(crate) kms: Option<String>,
    pub(crate) wrap: Option<String>,
}

impl Request {
    /// Does it leave the volume as it is?
    fn is_harmless(&self) -> bool {
        matches!(self, Request::List {} | Request::Rewrap { trial: true, .. })
    }
}

/// What is answered, in the end by one of the others than [`Answer::Progress`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// So many files were found and moved so far, of so many, once they are counted.
    Progress { total: Option<u64>, found: u64, moved: u64 },
    /// The zone has begun.
    Set { zone: String, cmk: String, files: Files },
    /// The zone has ended, unless files failed; the volume does not have those `removed` any more.
    Cleared { files: Files, removed: Vec<String>, unsure: bool },
    /// Ids of zones, in hex, with the directories where they begin.
    Directories { begin: Vec<(String, Below)> },
    /// Keys were wrapped anew: of files, of the volume. ARNs of CMKs that nothing needs any more, and of those that may
    /// still be needed.
    Rewrapped { files: Files, volume_key: bool, released: Vec<String>, former: Vec<String> },
    /// It could not be done.
    Failed { exit: u8, message: String, name: Option<String>, hint: Option<String> },
}

/// What became of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) found: u64,
    pub(crate) moved: u64,
    pub(crate) failed: u64,
    /// The first of those that failed, below the directory, and why.
    pub(crate) failures: Vec<(Below, String)>,
}

impl From<Moved> for Files {
    fn from(moved: Moved) -> Files {
        let Moved { found, moved, failed, failures } = moved;
        let failures = failures.into_iter().map(|file| (Below::new(&file.path), file.why)).collect();
        Files { found, moved, failed, failures }
    }
}

impl Files {
    /// As scripts read it.
    pub(crate) fn json(&self) -> Value {
        let failure = |(path, why): &(Below, String)| json!({ "path": path.shown(), "why": why });
        json!({
            "files": self.found, "moved": self.moved, "failed": self.failed,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    }

    /// Names what failed.
    ///
    /// # Errors
    /// If anything did.
    pub(crate) fn judge(&self, verb: &str) -> Result<(), Failure> {
        if self.failed == 0 {
            return Ok(());
        }
        for (path, why) in &self.failures {
            output::note(format_args!("{}: not {verb}: {why}", path.shown()));
        }
        let what = show::count(self.failed, "file or directory was", "files or directories were");
        Err(Failure::new(Exit::Failure, format_args!("{what} not {verb}"))
            .hint("They open as before. Give the command again for the rest."))
    }
}

/// Does what a client of a mount asks for in a line of JSON.
pub(crate) fn perform(filesystem: &Filesystem, line: &str, client: &Client) {
    let answer = match serde_json::from_str(line) {
        Ok(Request::Files(request)) => return files::perform(filesystem, &request, client),
        Ok(request) => obey(filesystem, request, client).unwrap_or_else(|failure| {
            log::warn!("a command: {failure}");
            failed(&failure)
        }),
        Err(e) => {
            failed(&Failure::new(Exit::Usage, format_args!("the mount does not understand the command: {e}")))
        }
    };
    tell(client, &answer);
}

fn obey(filesystem: &Filesystem, request: Request, client: &Client) -> Result<Answer, Failure> {
    let mut told = Instant::now();
    let mut observer = |Progress { total, found, moved }: Progress| {
        if told.elapsed() < EVERY {
            return true;
        }
        told = Instant::now();
        tell(client, &Answer::Progress { total, found, moved })
    };
    if matches!(request, Request::Set { .. } | Request::Rewrap { .. }) {
        std::thread::sleep(NOTICED);
    }
    match request {
        Request::Set { dir, key, kms, name, wrap, shreddable } => {
            let new = NewZone { key, kms, name, wrap: wrap_mode(wrap)?, shreddable };
            let (zone, moved) = filesystem.begin_zone(dir.path(), &new, &mut observer).map_err(failure)?;
            log::info!("zone {} begins, under {}: {} files moved", zone.name, zone.cmk.arn, moved.moved);
            Ok(Answer::Set { zone: zone.name, cmk: zone.cmk.arn, files: moved.into() })
        }
        Request::Clear { dir } => {
            let ended = filesystem.end_zone(dir.path(), &mut observer).map_err(failure)?;
            log::info!("{} files moved out of a zone; gone: {}", ended.moved.moved, ended.removed.join(", "));
            Ok(Answer::Cleared { files: ended.moved.into(), removed: ended.removed, unsure: ended.unsure })
        }
        Request::List {} => {
            let begin = filesystem.zone_directories().map_err(failure)?.into_iter();
            let begin = begin.map(|(path, zone)| (show::hex(&zone), Below::new(&path))).collect();
            Ok(Answer::Directories { begin })
        }
        Request::Files(_) => Err(Failure::new(Exit::Usage, "a command on files is answered otherwise")),
        Request::Rewrap { path, to, rate, trial } => {
            let to = match to {
                Some(To { key, kms, wrap }) => Some(NewCmk { key, kms, wrap: wrap_mode(wrap)? }),
                None => None,
            };
            let request = Rewrapping { path: path.path().to_owned(), to, rate, trial };
            let done = filesystem.rewrap(&request, &mut observer).map_err(failure)?;
            if !trial {
                log::info!(
                    "{} keys wrapped anew; not needed now: {}",
                    done.files.moved,
                    done.released.join(", ")
                );
            }
            let fs::Rewrapped { files, volume_key, released, former } = done;
            Ok(Answer::Rewrapped { files: files.into(), volume_key, released, former })
        }
    }
}

fn wrap_mode(text: Option<String>) -> Result<Option<WrapMode>, Failure> {
    text.map(|mode| mode.parse()).transpose().map_err(|e: String| Failure::new(Exit::Usage, e))
}

/// Returns whether to go on.
fn tell(client: &Client, answer: &Answer) -> bool {
    client.tell(serde_json::to_string(answer).expect("an answer is plain data"))
}

fn failed(failure: &Failure) -> Answer {
    Answer::Failed {
        exit: failure.exit() as u8,
        message: failure.message().to_owned(),
        name: failure.name().map(str::to_owned),
        hint: failure.next_step().map(str::to_owned),
    }
}

fn failure(error: fs::Error) -> Failure {
    match error {
        fs::Error::Volume(volume::Error::Volume(why)) => Failure::new(Exit::Failure, why),
        fs::Error::Volume(other) => other.into(),
        refused @ fs::Error::Refused(_) => Failure::new(Exit::Failure, refused),
    }
}

/// A directory of a volume.
pub(crate) struct Place {
    /// The mount that has the volume open. Without one, it is opened here.
    mount: Option<Running>,
    /// The volume's lower directory.
    pub(crate) lower: PathBuf,
    /// Below the volume's root.
    pub(crate) dir: PathBuf,
}

impl Place {
    /// Finds `dir`: in a mount, or, with `lower`, in the volume there.
    ///
    /// # Errors
    /// There is no such mount, or no volume.
    pub(crate) fn find(dir: &Path, lower: Option<&Path>) -> Result<Place, Failure> {
        let mut running = control::running();
        if let Some(lower) = lower {
            access::volume_exists(lower)?;
            let lower = lower.canonicalize().map_err(|e| Failure::io("find", lower, &e))?;
            let dir = dir.strip_prefix("/").unwrap_or(dir).to_owned();
            let mount = running.into_iter().find(|running| running.report.lower == lower);
            return Ok(Place { mount, lower, dir });
        }
        let full = mountinfo::resolve(dir).map_err(|e| Failure::io("find", dir, &e))?;
        if full.join(CONFIG).symlink_metadata().is_ok() {
            let mount = running.into_iter().find(|running| running.report.lower == full);
            return Ok(Place { mount, lower: full, dir: PathBuf::new() });
        }
        let mount = running.swap_remove(mount_of(&running, &full, dir)?);
        let dir = full.strip_prefix(&mount.report.mount_point).unwrap_or(&full).to_owned();
        Ok(Place { lower: mount.report.lower.clone(), mount: Some(mount), dir })
    }

    /// The whole volume of a mount.
    pub(crate) fn of(running: Running) -> Place {
        Place { lower: running.report.lower.clone(), mount: Some(running), dir: PathBuf::new() }
    }

    /// Where it is mounted, if it is.
    pub(crate) fn mount_point(&self) -> Option<&Path> {
        self.mount.as_ref().map(|running| &*running.report.mount_point)
    }

    /// Whether a mount has the volume open.
    pub(crate) fn is_mounted(&self) -> bool {
        self.mount.is_some()
    }

    /// As [`Place::ask`], with progress on a terminal. `verb` is what happens to files: "moved".
    ///
    /// # Errors
    /// As [`Place::ask`].
    pub(crate) fn ask_watched(
        &self,
        request: &Request,
        access: (&Global, &KmsArgs, &UnlockArgs),
        verb: &str,
    ) -> Result<Answer, Failure> {
        if !stderr().is_terminal() {
            return self.ask(request, access, &mut |_| {});
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(EVERY);
        let mut sized = false;
        let answer = self.ask(request, access, &mut |Progress { total, found, moved }| {
            if let (Some(total), false) = (total, sized) {
                sized = true;
                bar.set_length(total);
                if let Ok(style) = ProgressStyle::with_template(BAR) {
                    bar.set_style(style);
                }
            }
            bar.set_position(found);
            bar.set_message(format!("{moved} {verb}"));
        });
        bar.finish_and_clear();
        answer
    }

    /// Asks for `request`; `progress` is told how far it is. Gives the answer.
    ///
    /// # Errors
    /// The volume cannot be opened, the mount is read-only or does not answer; what was asked for failed.
    pub(crate) fn ask(
        &self,
        request: &Request,
        access: (&Global, &KmsArgs, &UnlockArgs),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answer, Failure> {
        let line = serde_json::to_string(request).expect("a request is plain data");
        self.talk(&line, !request.is_harmless(), access, &mut |line, _| heard(line, progress))
    }

    /// Asks for what `line` says; `hear` is given the lines that come back, and the volume if it is opened here, until it
    /// returns something.
    ///
    /// # Errors
    /// As [`Place::ask`], and those of `hear`.
    pub(crate) fn talk<T: Send>(
        &self,
        line: &str,
        changes: bool,
        (global, kms, unlock): (&Global, &KmsArgs, &UnlockArgs),
        hear: &mut Hear<'_, T>,
    ) -> Result<T, Failure> {
        let Some(running) = &self.mount else { return self.talk_here(line, (global, kms, unlock), hear) };
        if running.report.read_only && changes {
            return Err(Failure::new(Exit::Failure, "the volume is mounted read-only"));
        }
        let lost = |e| Failure::new(Exit::Failure, format_args!("the mount does not answer: {e}"));
        for answer in running.command(line).map_err(lost)? {
            if let Some(last) = hear(&answer.map_err(lost)?, None)? {
                return Ok(last);
            }
        }
        Err(Failure::new(Exit::Failure, "the mount ended before the command did")
            .hint("What was done is done: give the command again for the rest."))
    }

    /// Does it in this process.
    fn talk_here<T>(
        &self,
        line: &str,
        (global, kms, unlock): (&Global, &KmsArgs, &UnlockArgs),
        hear: &mut Hear<'_, T>,
    ) -> Result<T, Failure> {
        access::raise_descriptor_limit();
        let sources = kms.open_for(&self.lower, global, unlock)?;
        let volume = Volume::open(Arc::new(SystemLower), &self.lower, sources, Options::default())?;
        let Volume { lower, root, config, keys, store, .. } = volume;
        let filesystem = Filesystem::new(Backing { lower, root, config, keys, store }).map_err(failure)?;
        let (sender, lines) = channel();
        let answer = std::thread::scope(|scope| {
            let client = Client::here(sender);
            let filesystem = &filesystem;
            scope.spawn(move || perform(filesystem, line, &client));
            for answer in lines {
                if let Some(last) = hear(&answer, Some(filesystem))? {
                    return Ok(last);
                }
            }
            Err(Failure::new(Exit::Failure, "the command ended without an answer"))
        });
        let closed = filesystem.shutdown().map_err(failure);
        answer.and_then(|answer| closed.map(|()| answer))
    }
}

/// Is given a line of an answer, and the volume where it is opened here; returns what the whole answer is once it knows.
pub(crate) type Hear<'a, T> = dyn FnMut(&str, Option<&Filesystem>) -> Result<Option<T>, Failure> + 'a;

/// Which of the mounts `resolved` is in; people named it `path`.
///
/// # Errors
/// It is in none.
pub(crate) fn mount_of(running: &[Running], resolved: &Path, path: &Path) -> Result<usize, Failure> {
    let point = |at: &usize| &running[*at].report.mount_point;
    let around = (0..running.len()).filter(|at| resolved.starts_with(point(at)));
    // Mounts lie in mounts: the deepest is meant.
    around.max_by_key(|at| point(at).components().count()).ok_or_else(|| {
        Failure::new(Exit::NoVolume, format_args!("{} is in no mount of yours", path.display()))
            .hint("Of a volume that is not mounted, name the lower directory: --lower DIR")
    })
}

/// Passes progress on. Gives the last answer.
fn heard(line: &str, progress: &mut dyn FnMut(Progress)) -> Result<Option<Answer>, Failure> {
    let answer = serde_json::from_str(line)
        .map_err(|e| Failure::new(Exit::Failure, format_args!("the mount answers nonsense: {e}")))?;
    match answer {
        Answer::Progress { total, found, moved } => {
            progress(Progress { total, found, moved });
            Ok(None)
        }
        Answer::Failed { exit, message, name, hint } => {
            let mut failure = Failure::new(exit_of(exit), message);
            if let Some(name) = name {
                failure = failure.named(name);
            }
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        last => Ok(Some(last)),
    }
}
