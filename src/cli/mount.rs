//! `kmsfs mount`: from the command line to a mount that answers, and on until its volume is closed.

pub mod background;
mod open;
mod relay;
mod request;

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Exit, Failure, Global, access, live, output, provider::KmsArgs, secret::UnlockArgs};
use crate::fuse::control::{self, Client, Control, KmsError, Report};
use crate::fuse::mount::{self, Mounted, Point};
use crate::fuse::session::{End, Session, Stopper};
use crate::fuse::{mountinfo, sys};
use background::Ready;
use open::OpenVolume;
use request::Request;

/// Arguments of `kmsfs mount`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "\
Mount options (-o, also in fstab):
  ro, noexec, noatime, sync, dirsync   as for any filesystem
  suid, dev              honour set-user-id programs and device nodes (root; default nosuid,nodev)
  allow_other            let other users in; permissions apply (default: only the user who mounts)
  default_permissions    have the kernel check permissions even where only root may use the
                         mount, against root processes that lack CAP_DAC_OVERRIDE
  nonempty               mount over a directory with entries
  fsname=TEXT            the source shown in the table of mounts, in place of LOWER
  kms=URL, keystore=FILE, passphrase_file=FILE, key_file=FILE, log_file=FILE,
  durability=HOW, threads=N, key_age=SECONDS, keys=N
                         the options of the same names
A backslash protects a comma in a value.

Examples:
  kmsfs mount /srv/cipher /mnt/plain
  kmsfs mount -o ro,allow_other --key-file /etc/kmsfs.key /srv/cipher /mnt/plain
  /srv/cipher /mnt/plain fuse.kmsfs key_file=/etc/kmsfs.key,allow_other,nofail 0 0     (fstab)

fstab and `mount -t fuse.kmsfs` find the program through a link, made once:
  ln -s /usr/local/bin/kmsfs /sbin/mount.fuse.kmsfs")]
pub struct Args {
    /// The volume's lower directory
    pub lower: PathBuf,
    /// An empty directory where its plaintext is to appear
    pub mount_point: PathBuf,
    /// Mount options, separated by commas
    #[arg(short, long = "options", value_name = "OPTION[,OPTION]")]
    pub options: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    pub foreground: bool,
    /// Append the log to FILE [default: the system log; standard error with --foreground]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// What a returned write survives: a killed process, or, after fsync, a power cut too [default: power]
    #[arg(long, value_name = "HOW")]
    pub durability: Option<Durability>,
    /// Threads that serve requests [default: twice the processors, at least 4]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How long a file's key serves before the KMS is asked again; where the KMS tells of changes, one that concerns
    /// it ends it within a second [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub key_age: Option<u64>,
    /// Keys of files held in memory [default: 16384]
    #[arg(long, value_name = "N")]
    pub keys: Option<NonZeroUsize>,
    /// Where the volume's key is.
    #[command(flatten)]
    pub kms: KmsArgs,
    /// How to open the keystore.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// What acknowledged data survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// What was fsynced survives a power cut.
    #[default]
    Power,
    /// What was written survives the death of the process; fsync does not wait for the disk.
    Process,
}

/// Runs the command: returns once the mount answers, or, in the foreground, once it has ended.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let request = Request::new(args, global)?;
    if !request.foreground
        && let Err(e) = sys::close_inherited(&[request.unlock.passphrase_fd, request.kms.pin_fd])
    {
        log::debug!("inherited descriptors stay open: {e}");
    }
    let point = Point::check(&request.mount_point, &request.lower, request.options.nonempty)?;
    if request.foreground {
        return serve(&request, point, Ready::foreground(request.log_file.as_deref())?);
    }
    let mount_point = mountinfo::resolve(&request.mount_point)
        .map_err(|e| Failure::io("find", &request.mount_point, &e))?;
    background::run(request.log_file.as_deref(), |ready| serve(&request, point, ready))?;
    answers(&request, &mount_point)
}

/// The command's result, once the mount answers.
fn answers(request: &Request, mount_point: &Path) -> Result<(), Failure> {
    match request.global.json {
        true => output::json(&json!({ "lower": request.lower, "mount_point": mount_point })),
        false => Ok(()),
    }
}

/// Opens, mounts, reports that the mount answers, serves until it ends, closes.
fn serve(request: &Request, point: Point, ready: Ready) -> Result<(), Failure> {
    log_panics();
    access::raise_descriptor_limit();
    let volume = open::open(request)?;
    // Not earlier: whoever interrupts a prompt wants the process to die. Not later: a mount must not outlive it.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|e| Failure::new(Exit::Failure, format_args!("cannot catch signals: {e}")))?;
    let session = begin(request, point, &volume)?;
    obey(signals, session.stopper());
    let served = announce(request, &session, &volume).and_then(|control| {
        if request.foreground {
            answers(request, session.mounted().point())?;
        }
        Ok((control, ready.report()?))
    });
    let (control, relay) = match served {
        Ok(served) => served,
        Err(failure) => {
            session.stopper().stop();
            session.run();
            let _ = volume.close();
            return Err(failure);
        }
    };

    let end = session.run();
    control.end_commands();
    let closed = volume.close();
    if let Err(failure) = &closed {
        log::error!(
            "the volume was not closed properly, its journal is replayed by the next mount: {failure}"
        );
    }
    control.finish(closed.as_ref().err().map(Failure::to_string));
    if end == End::Abandoned {
        log::warn!("files were still open; who has them gets errors from now on");
    }
    drop(relay);
    closed
}

fn begin(request: &Request, point: Point, volume: &OpenVolume) -> Result<Session, Failure> {
    let source: &OsStr = request.lower.as_os_str();
    let (mounted, device) = Mounted::new(point, source, &request.options)?;
    Session::start(volume.filesystem.clone(), mounted, device, request.threads)
        .map_err(|e| Failure::new(Exit::MountFailed, format_args!("cannot serve the mount: {e}")))
}

/// The mount answers, and says so to whoever asks.
fn announce(request: &Request, session: &Session, volume: &OpenVolume) -> Result<Control, Failure> {
    session.wait_until_it_answers().map_err(|e| {
        Failure::new(
            Exit::MountFailed,
            format_args!("{}: the mount does not work: {e}", session.mounted().point().display()),
        )
    })?;
    let report = reporter(request, session, volume);
    let filesystem = Arc::clone(&volume.filesystem);
    let commands = Arc::new(move |line: &str, client: &Client| live::perform(&filesystem, line, client));
    let control = control::make_runtime_directory().and_then(|dir| Control::serve(&dir, report, commands));
    control.map_err(|e| {
        let dir = control::runtime_directory();
        Failure::new(Exit::Failure, format_args!("cannot make a socket in {}: {e}", dir.display()))
    })
}

fn reporter(
    request: &Request,
    session: &Session,
    volume: &OpenVolume,
) -> impl Fn() -> Report + Send + 'static {
    let began = Instant::now();
    let lower = request.lower.clone();
    let mount_point = session.mounted().point().to_owned();
    let read_only = request.options.read_only();
    let figures = volume.figures.clone();
    let activity = session.activity();
    move || Report {
        pid: std::process::id(),
        uptime_s: began.elapsed().as_secs(),
        lower: lower.clone(),
        mount_point: mount_point.clone(),
        read_only,
        figures: figures(),
        open_files: activity.open_files(),
        last_kms_error: activity.last_key_error().map(|(when, message)| KmsError {
            age_s: SystemTime::now().duration_since(when).unwrap_or_default().as_secs(),
            message,
        }),
    }
}

/// Each SIGTERM, SIGINT or SIGHUP asks the session to stop; the second one ends its patience.
fn obey(mut signals: Signals, stopper: Stopper) {
    let spawned = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            log::info!("signal {signal}: unmounting");
            stopper.stop();
        }
    });
    if let Err(e) = spawned {
        log::error!("signals will not be obeyed: {e}");
    }
}

/// Panics go to the log, which is where a daemon's standard error leads anyway, but in its form.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at {place}: {message}");
    }));
}

impl From<mount::Error> for Failure {
    fn from(error: mount::Error) -> Failure {
        let exit = if error.is_busy() { Exit::Busy } else { Exit::MountFailed };
        let failure = Failure::new(exit, &error);
        match error.next_step() {
            Some(step) => failure.hint(step),
            None => failure,
        }
    }
}
