//! Mounting and unmounting: `mount(2)` for root, `fusermount3` for everyone else.
//!
//! Done here and not by `fuser`, whose own way puts option text together unescaped (a comma in a path becomes
//! an option) and can unmount what someone else mounted at the same place. No option of ours carries text
//! from outside into the kernel's option string, and nothing is unmounted that is not ours by device number.

use super::options::Options;
use super::{mountinfo, sys};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DEVICE: &str = "/dev/fuse";
const FUSERMOUNT: &str = "fusermount3";

/// Why a mount or an unmount failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no FUSE device here.
    #[error("there is no {DEVICE}")]
    NoDevice,
    /// No helper to mount with as an ordinary user.
    #[error("{FUSERMOUNT} is not installed, and only root can mount without it")]
    NoHelper,
    /// The mount point cannot take the mount.
    #[error("{}: {why}", point.display())]
    BadPoint {
        /// The mount point.
        point: PathBuf,
        /// What speaks against it.
        why: &'static str,
    },
    /// A previous daemon died and left its mount behind.
    #[error("{}: an earlier mount is still there, but its process is gone", point.display())]
    Stale {
        /// The mount point.
        point: PathBuf,
    },
    /// Files are still open below the mount point.
    #[error("{}: the mount is in use", point.display())]
    Busy {
        /// The mount point.
        point: PathBuf,
    },
    /// Nothing of ours is mounted there.
    #[error("{}: no kmsfs mount there", point.display())]
    NotMounted {
        /// The mount point.
        point: PathBuf,
    },
    /// The kernel or fusermount3 refused.
    #[error("{}: {why}", point.display())]
    Refused {
        /// The mount point.
        point: PathBuf,
        /// What it said.
        why: String,
    },
}

impl Error {
    fn refused(point: &Path, why: impl std::fmt::Display) -> Error {
        Error::Refused { point: point.to_owned(), why: why.to_string() }
    }

    /// What the user can do next, where there is something.
    pub fn next_step(&self) -> Option<String> {
        Some(match self {
            Error::NoDevice => "load the kernel module (`modprobe fuse`); in a container, start it with \
                 `--device /dev/fuse --cap-add SYS_ADMIN`"
                .into(),
            Error::NoHelper => "install the package fuse3".into(),
            Error::Stale { point } => format!("run `kmsfs umount {}`, then mount again", point.display()),
            Error::Busy { point } => {
                format!(
                    "`fuser -vm {}` shows who uses it; `kmsfs umount --lazy` detaches it now",
                    point.display()
                )
            }
            Error::Refused { why, .. } if why.contains("user_allow_other") => {
                "only root may use allow_other, unless /etc/fuse.conf says user_allow_other".into()
            }
            Error::BadPoint { .. } | Error::NotMounted { .. } | Error::Refused { .. } => return None,
        })
    }

    /// Does it fail because something is mounted or in use?
    pub fn is_busy(&self) -> bool {
        matches!(self, Error::BadPoint { .. } | Error::Stale { .. } | Error::Busy { .. })
    }
}

/// A mount point that was found fit, held open so that it stays the directory that was looked at.
#[derive(Debug)]
pub struct Point {
    path: PathBuf,
    dir: File,
}

impl Point {
    /// Checks that `path` is an empty directory (any directory with `nonempty`) that is not mounted on by us,
    /// does not hold `lower` and does not lie in it.
    ///
    /// # Errors
    /// [`Error::BadPoint`] or [`Error::Stale`], saying what speaks against it.
    pub fn check(path: &Path, lower: &Path, nonempty: bool) -> Result<Point, Error> {
        let bad = |why| Error::BadPoint { point: path.to_owned(), why };
        let real = mountinfo::resolve(path).map_err(|e| Error::refused(path, e))?;
        if let Ok(Some(mounted)) = mountinfo::at(&real)
            && mounted.is_kmsfs()
        {
            // Opened, not only looked at: the kernel remembers the attributes of a mount that is dead.
            return Err(match std::fs::read_dir(&real) {
                Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => Error::Stale { point: real },
                _ => bad("a kmsfs volume is already mounted there"),
            });
        }
        let lower = lower.canonicalize().map_err(|e| Error::refused(lower, e))?;
        if lower == real {
            return Err(bad("the lower directory cannot be its own mount point"));
        }
        if lower.starts_with(&real) {
            return Err(bad("the lower directory lies inside the mount point, which would hide it"));
        }
        if real.starts_with(&lower) {
            return Err(bad("the mount point lies inside the lower directory"));
        }
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&real)
            .map_err(|e| Error::refused(path, e))?;
        if !nonempty && real.read_dir().map_err(|e| Error::refused(path, e))?.next().is_some() {
            return Err(bad("the mount point is not empty (`-o nonempty` mounts over it)"));
        }
        Ok(Point { path: real, dir })
    }

    /// Its path, every link resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A mount of ours.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    device: String,
    kernel_checks: bool,
}

impl Mounted {
    /// Mounts at `point`; returns the mount and the descriptor the kernel's requests arrive at.
    ///
    /// # Errors
    /// What the kernel or fusermount3 said.
    pub fn new(point: Point, source: &OsStr, options: &Options) -> Result<(Mounted, OwnedFd), Error> {
        let (fd, kernel_checks) = match direct(&point, source, options)? {
            Some(fd) => (fd, options.kernel_checks(sys::euid())),
            None => (helped(&point, source, options)?, true),
        };
        let entry = mountinfo::at(&point.path).map_err(|e| Error::refused(&point.path, e))?;
        match entry {
            Some(entry) if entry.is_kmsfs() => {
                Ok((Mounted { point: point.path, device: entry.device, kernel_checks }, fd))
            }
            _ => Err(Error::refused(&point.path, "the mount does not appear in /proc/self/mountinfo")),
        }
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// `major:minor` of its `st_dev`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Does the kernel check permissions by mode, owner and ACL? See [`Options::kernel_checks`].
    pub fn kernel_checks(&self) -> bool {
        self.kernel_checks
    }

    /// Is it still what one sees at the mount point?
    pub fn is_there(&self) -> bool {
        matches!(mountinfo::at(&self.point), Ok(Some(entry)) if entry.device == self.device)
    }

    /// Unmounts; does nothing if someone else already did, or mounted something over it.
    ///
    /// # Errors
    /// [`Error::Busy`] while files are open, unless `lazy`.
    pub fn unmount(&self, lazy: bool) -> Result<(), Error> {
        if self.is_there() { unmount(&self.point, lazy) } else { Ok(()) }
    }

    /// Has the kernel hand over what it holds back: pages written through a shared mapping.
    ///
    /// # Errors
    /// The mount cannot be opened, or a page cannot be written.
    pub fn write_back(&self) -> io::Result<()> {
        sys::syncfs(OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&self.point)?)
    }
}

/// Unmounts the kmsfs mount one sees at `point`.
///
/// # Errors
/// [`Error::NotMounted`] where there is none; [`Error::Busy`] while files are open, unless `lazy`.
pub fn unmount(point: &Path, lazy: bool) -> Result<(), Error> {
    match mountinfo::at(point) {
        Ok(Some(entry)) if entry.is_kmsfs() => {}
        _ => return Err(Error::NotMounted { point: point.to_owned() }),
    }
    match sys::umount(point.as_os_str(), if lazy { libc::MNT_DETACH } else { 0 }) {
        Ok(()) => Ok(()),
        Err(e) => match e.raw_os_error() {
            Some(libc::EPERM) => unmount_helped(point, lazy),
            Some(libc::EBUSY) => Err(Error::Busy { point: point.to_owned() }),
            _ => Err(Error::refused(point, e)),
        },
    }
}

/// `mount(2)`. `None` where this process may not, and fusermount3 has to be asked.
fn direct(point: &Point, source: &OsStr, options: &Options) -> Result<Option<OwnedFd>, Error> {
    if sys::euid() != 0 {
        return Ok(None);
    }
    let device = open_device()?;
    let mode = point.dir.metadata().map_err(|e| Error::refused(&point.path, e))?.mode() & libc::S_IFMT;
    // Numbers and fixed words only.
    let (uid, gid) = (sys::euid(), sys::egid());
    let mut data = format!("fd={},rootmode={mode:o},user_id={uid},group_id={gid}", device.as_raw_fd());
    if options.kernel_checks(uid) {
        data.push_str(",default_permissions");
    }
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let source = options.fsname.as_deref().map_or(source, OsStr::new);
    // By descriptor: the directory that was checked, even if its path names another one by now.
    let target = OsString::from(format!("/proc/self/fd/{}", point.dir.as_raw_fd()));
    match sys::mount(source, &target, c"fuse.kmsfs", options.flags(), &data) {
        Ok(()) => Ok(Some(device)),
        // Root in a container without CAP_SYS_ADMIN: fusermount3 may know a way.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Err(Error::NoDevice),
        Err(e) => Err(Error::refused(&point.path, e)),
    }
}

fn open_device() -> Result<OwnedFd, Error> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(file) => Ok(file.into()),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::NoDevice,
            _ => Error::refused(Path::new(DEVICE), e),
        }),
    }
}

/// May this process open the device itself? fusermount3 can where we cannot.
pub(crate) fn can_open_device() -> bool {
    open_device().is_ok()
}

/// fusermount3 mounts and sends the descriptor over a socket it inherits.
fn helped(point: &Point, source: &OsStr, options: &Options) -> Result<OwnedFd, Error> {
    if !Path::new(DEVICE).exists() {
        return Err(Error::NoDevice);
    }
    let refused = |e: io::Error| Error::refused(&point.path, e);
    let (ours, theirs) = UnixStream::pair().map_err(refused)?;
    sys::keep_on_exec(&theirs).map_err(refused)?;
    let child = Command::new(FUSERMOUNT)
        .arg("-o")
        .arg(options.for_fusermount(&source.to_string_lossy()))
        .arg("--")
        .arg(&point.path)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| helper_missing(&point.path, e))?;
    drop(theirs);
    let received = sys::receive_fd(&ours);
    let output = child.wait_with_output().map_err(refused)?;
    match received {
        Ok(Some(fd)) if output.status.success() => Ok(fd),
        Ok(_) => Err(Error::refused(&point.path, said(&output.stderr))),
        Err(e) => Err(refused(e)),
    }
}

fn unmount_helped(point: &Path, lazy: bool) -> Result<(), Error> {
    let output = Command::new(FUSERMOUNT)
        .arg(if lazy { "-uz" } else { "-u" })
        .arg("--")
        .arg(point)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| helper_missing(point, e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = said(&output.stderr);
    if said.contains("busy") {
        return Err(Error::Busy { point: point.to_owned() });
    }
    Err(Error::refused(point, said))
}

fn helper_missing(point: &Path, e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::NotFound { Error::NoHelper } else { Error::refused(point, e) }
}

/// The last line a helper wrote, without its own name in front.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.trim().lines().next_back().unwrap_or_default();
    let line = line.strip_prefix("fusermount3: ").unwrap_or(line);
    if line.is_empty() { format!("{FUSERMOUNT} failed without a message") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn why(path: &Path, lower: &Path, nonempty: bool) -> String {
        Point::check(path, lower, nonempty).unwrap_err().to_string()
    }

    #[test]
    fn unfit_mount_points_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, point) = (dir.path().join("lower"), dir.path().join("point"));
        std::fs::create_dir_all(lower.join("inside")).unwrap();
        std::fs::create_dir_all(point.join("sub")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink(&lower, dir.path().join("link")).unwrap();

        assert!(why(&point, &lower, false).contains("not empty"));
        assert!(why(&lower, &lower, true).contains("own mount point"));
        assert!(why(&lower.join("inside"), &lower, false).contains("inside the lower directory"));
        assert!(why(dir.path(), &lower, true).contains("lies inside the mount point"));
        assert!(why(&dir.path().join("link"), &lower, true).contains("own mount point"));
        assert!(why(&dir.path().join("file"), &lower, true).contains("Not a directory"));
        assert!(why(&dir.path().join("gone"), &lower, true).contains("No such file"));
        assert_eq!(Point::check(&point, &lower, true).unwrap().path(), point.canonicalize().unwrap());
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_inside() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, point) = (dir.path().join("data"), dir.path().join("data2"));
        std::fs::create_dir(&lower).unwrap();
        std::fs::create_dir(&point).unwrap();
        assert!(Point::check(&point, &lower, false).is_ok());
    }

    #[test]
    fn only_kmsfs_mounts_are_unmounted() {
        assert!(matches!(unmount(Path::new("/proc"), false), Err(Error::NotMounted { .. })));
    }

    #[test]
    fn a_helper_is_quoted_without_its_name() {
        assert_eq!(said(b"noise\nfusermount3: no rights\n"), "no rights");
        assert_eq!(said(b""), "fusermount3 failed without a message");
    }
}
