//! `kmsfs umount`: takes a mount away and waits until its volume is closed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{Exit, Failure, Global, output};
use crate::fuse::control::{self, Farewell, Waiting};
use crate::fuse::{mount, mountinfo};

/// After this long the user is told what is being waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Arguments of `kmsfs umount`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Returns when the mount's process has written everything back: the lower directory may then be copied, or \
mounted elsewhere.

Examples:
  kmsfs umount /mnt/plain
  kmsfs umount --lazy /mnt/plain")]
pub struct Args {
    /// The mount point, or the volume's lower directory
    pub place: PathBuf,
    /// Detach a mount in use: it ends when the last open file is closed
    #[arg(short, long)]
    pub lazy: bool,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let place = mountinfo::resolve(&args.place).map_err(|e| Failure::io("find", &args.place, &e))?;
    let point = mount_point(&place)?;
    let running = control::running().into_iter().find(|running| running.report.mount_point == point);
    // Before the mount goes, since its process may be quick.
    let waiting = match running {
        Some(running) if !args.lazy => running.wait().ok(),
        _ => None,
    };
    mount::unmount(&point, args.lazy)?;
    let answered = waiting.is_some();
    if let Some(waiting) = waiting {
        wait_for_the_end(&point, waiting)?;
    }
    if global.json {
        output::json(&serde_json::json!({ "mount_point": point, "closed": answered }))?;
    }
    Ok(())
}

/// The mount point itself, or the one a lower directory is mounted at.
fn mount_point(place: &Path) -> Result<PathBuf, Failure> {
    let mounts = mountinfo::all().map_err(|e| Failure::io("read", Path::new("/proc/self/mountinfo"), &e))?;
    let mut ours = mounts.into_iter().filter(mountinfo::Entry::is_kmsfs);
    let found = ours.rfind(|mount| mount.point == place || Path::new(&mount.source) == place);
    match found {
        Some(mount) => Ok(mount.point),
        None => Err(mount::Error::NotMounted { point: place.to_owned() }.into()),
    }
}

fn wait_for_the_end(point: &Path, waiting: Waiting) -> Result<(), Failure> {
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(waiting.farewell()));
    let mut told = false;
    let farewell = loop {
        match ended.recv_timeout(SILENCE) {
            Ok(farewell) => break farewell.unwrap_or_default(),
            Err(RecvTimeoutError::Timeout) => {
                if !told {
                    output::note(format_args!("{}: waiting for the volume to be closed", point.display()));
                }
                told = true;
            }
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    let unclosed = |why: &str| {
        Failure::new(Exit::Failure, format_args!("{}: unmounted, but {why}", point.display()))
            .hint("nothing acknowledged is lost: the next mount replays the journal")
    };
    match farewell {
        Some(Farewell { error: None }) => Ok(()),
        Some(Farewell { error: Some(error) }) => {
            Err(unclosed(&format!("its volume was not closed: {error}")))
        }
        None => Err(unclosed("its process died before the volume was closed")),
    }
}
