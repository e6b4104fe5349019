//! One executable definition of what a filesystem must do: operations, and a plain directory that answers them.
//!
//! The same operations drive `fs::Filesystem` without a kernel and a real mount by path; both must answer as the
//! plain directory does. Few names and few offsets, so that random operations meet each other.

#![expect(unsafe_code, reason = "system calls that std does not have; only valid pointers and lengths")]

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Names of directory entries from the root; never empty.
pub type Route = Vec<OsString>;

/// How many files a test may hold open.
pub const SLOTS: usize = 2;

/// One request. Nothing follows a symbolic link.
#[derive(Debug, Clone)]
pub enum Operation {
    /// `open(O_CREAT | O_EXCL)`, `close`.
    Create(Route, u32),
    /// `mkfifo`.
    Fifo(Route),
    Mkdir(Route, u32),
    Symlink(Route, OsString),
    Link(Route, Route),
    Unlink(Route),
    Rmdir(Route),
    /// `renameat2` with these flags.
    Rename(Route, Route, u32),
    /// Opens, writes `len` bytes of `fill` at `at`, closes.
    Write {
        route: Route,
        at: u64,
        len: usize,
        fill: u8,
    },
    Read {
        route: Route,
        at: u64,
        len: usize,
    },
    Truncate(Route, u64),
    /// `fallocate` with this mode.
    Allocate {
        route: Route,
        mode: i32,
        at: u64,
        len: u64,
    },
    Chmod(Route, u32),
    /// Sets the modification time, in seconds (negative ones too) and nanoseconds.
    Times(Route, i64, u32),
    Stat(Route),
    Readlink(Route),
    List(Route),
    SetXattr(Route, OsString, Vec<u8>, i32),
    GetXattr(Route, OsString),
    ListXattr(Route),
    RemoveXattr(Route, OsString),
    /// Opens a file and keeps it open, whatever becomes of its name.
    Hold(usize, Route),
    WriteHeld {
        slot: usize,
        at: u64,
        len: usize,
        fill: u8,
    },
    ReadHeld {
        slot: usize,
        at: u64,
        len: usize,
    },
    /// Size and link count of a held file.
    StatHeld(usize),
    Drop(usize),
}

/// What a request answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Bytes(Vec<u8>),
    Names(BTreeSet<OsString>),
    Stat {
        kind: u32,
        mode: u32,
        size: u64,
        links: u64,
        mtime: Option<(i64, u32)>,
    },
    /// Size and link count.
    Held(u64, u64),
}

/// An answer or an errno.
pub type Outcome = Result<Answer, i32>;

/// Something that can be asked.
pub trait Subject {
    /// Answers one operation.
    fn apply(&mut self, operation: &Operation) -> Outcome;
}

/// Has both do the same, one operation after another, and compares their answers and errnos.
pub fn same_answers(
    subject: &mut dyn Subject,
    reference: &mut Directory,
    operations: &[Operation],
) -> TestCaseResult {
    for operation in operations {
        let (answer, expected) = (subject.apply(operation), reference.apply(operation));
        prop_assert_eq!(answer, expected, "{:?}", operation);
    }
    Ok(())
}

/// Compares all that both hold.
pub fn same_tree(subject: &mut dyn Subject, reference: &mut Directory, when: &str) -> TestCaseResult {
    prop_assert_eq!(tree(subject), tree(reference), "{}", when);
    Ok(())
}

/// User and group of this process.
pub fn own_ids() -> (u32, u32) {
    // SAFETY: no arguments, neither call fails.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// The bytes a write writes: they tell writes and places apart.
pub fn pattern(at: u64, len: usize, fill: u8) -> Vec<u8> {
    (0..len as u64).map(|i| fill.wrapping_add(((at + i) / 7) as u8)).collect()
}

/// Everything below the root, by path: type, mode, size, links, content.
fn tree(subject: &mut dyn Subject) -> BTreeMap<PathBuf, (Answer, Outcome)> {
    let mut found = BTreeMap::new();
    let mut open: Vec<Route> = vec![vec![]];
    while let Some(dir) = open.pop() {
        let Ok(Answer::Names(names)) = subject.apply(&Operation::List(dir.clone())) else {
            panic!("cannot list {dir:?}");
        };
        for name in names {
            let mut route = dir.clone();
            route.push(name);
            let stat =
                subject.apply(&Operation::Stat(route.clone())).unwrap_or_else(|e| panic!("{route:?}: {e}"));
            let Answer::Stat { kind, size, .. } = stat else { panic!("no attributes") };
            let content = match kind {
                libc::S_IFREG => {
                    subject.apply(&Operation::Read { route: route.clone(), at: 0, len: size as usize + 1 })
                }
                libc::S_IFLNK => subject.apply(&Operation::Readlink(route.clone())),
                _ => Ok(Answer::Done),
            };
            if kind == libc::S_IFDIR {
                open.push(route.clone());
            }
            found.insert(route.iter().collect(), (stat, content));
        }
    }
    found
}

/// A plain directory, or a mounted one.
pub struct Directory {
    root: PathBuf,
    held: [Option<File>; SLOTS],
}

impl Directory {
    pub fn new(root: &Path) -> Directory {
        Directory { root: root.to_owned(), held: Default::default() }
    }

    fn path(&self, route: &Route) -> PathBuf {
        self.root.join(route.iter().collect::<PathBuf>())
    }

    fn open(&self, route: &Route) -> io::Result<File> {
        // Not blocked by a FIFO, which then fails like any other file without content.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(self.path(route))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::from_raw_os_error(libc::ENXIO));
        }
        Ok(file)
    }

    fn held(&self, slot: usize) -> io::Result<&File> {
        self.held[slot].as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn answer(&mut self, operation: &Operation) -> io::Result<Answer> {
        use Operation::*;
        match operation {
            Create(route, mode) => {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(*mode)
                    .open(self.path(route))
                    .map(drop)?;
            }
            Fifo(route) => {
                let path = c(self.path(route).as_os_str());
                // SAFETY: the path is NUL-terminated.
                check(unsafe { libc::mkfifo(path.as_ptr(), 0o644) })?;
            }
            Mkdir(route, mode) => {
                let mut builder = fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, *mode);
                builder.create(self.path(route))?;
            }
            Symlink(route, target) => std::os::unix::fs::symlink(target, self.path(route))?,
            Link(from, to) => fs::hard_link(self.path(from), self.path(to))?,
            Unlink(route) => fs::remove_file(self.path(route))?,
            Rmdir(route) => fs::remove_dir(self.path(route))?,
            Rename(from, to, flags) => {
                let (from, to) = (c(self.path(from).as_os_str()), c(self.path(to).as_os_str()));
                let at = libc::AT_FDCWD;
                // SAFETY: both paths are NUL-terminated.
                check(unsafe { libc::renameat2(at, from.as_ptr(), at, to.as_ptr(), *flags) })?;
            }
            Write { route, at, len, fill } => {
                self.open(route)?.write_all_at(&pattern(*at, *len, *fill), *at)?;
            }
            Read { route, at, len } => return Ok(Answer::Bytes(read(&self.open(route)?, *at, *len)?)),
            Truncate(route, size) => self.open(route)?.set_len(*size)?,
            Allocate { route, mode, at, len } => {
                let file = self.open(route)?;
                // SAFETY: no pointers.
                check(unsafe { libc::fallocate(file.as_raw_fd(), *mode, *at as i64, *len as i64) })?;
            }
            Chmod(route, mode) => {
                // A mode of a link does not exist; the kernel refuses, here and on a mount.
                if fs::symlink_metadata(self.path(route))?.is_symlink() {
                    return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
                }
                fs::set_permissions(self.path(route), fs::Permissions::from_mode(*mode))?;
            }
            Times(route, sec, nsec) => {
                let path = c(self.path(route).as_os_str());
                let omit = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT };
                let times = [omit, libc::timespec { tv_sec: *sec, tv_nsec: i64::from(*nsec) }];
                let (at, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_NOFOLLOW);
                // SAFETY: the path is NUL-terminated, `times` holds two entries.
                check(unsafe { libc::utimensat(at, path.as_ptr(), times.as_ptr(), flags) })?;
                let meta = fs::symlink_metadata(self.path(route))?;
                return Ok(stat(&meta, Some((meta.mtime(), meta.mtime_nsec() as u32))));
            }
            Stat(route) => return Ok(stat(&fs::symlink_metadata(self.path(route))?, None)),
            Readlink(route) => {
                return Ok(Answer::Bytes(fs::read_link(self.path(route))?.into_os_string().into_vec()));
            }
            List(route) => {
                let names: io::Result<_> =
                    fs::read_dir(self.path(route))?.map(|e| Ok(e?.file_name())).collect();
                return Ok(Answer::Names(names?));
            }
            SetXattr(route, name, value, flags) => {
                let (path, name) = (c(self.path(route).as_os_str()), c(name));
                let (value, len) = (value.as_ptr().cast(), value.len());
                // SAFETY: both strings are NUL-terminated, `value` is readable for `len` bytes.
                check(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value, len, *flags) })?;
            }
            GetXattr(route, name) => {
                let (path, name) = (c(self.path(route).as_os_str()), c(name));
                let mut buf = vec![0u8; 4096];
                let (out, len) = (buf.as_mut_ptr().cast(), buf.len());
                // SAFETY: both strings are NUL-terminated, at most `len` bytes are written to `buf`.
                let n = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), out, len) };
                buf.truncate(count(n)?);
                return Ok(Answer::Bytes(buf));
            }
            ListXattr(route) => {
                let path = c(self.path(route).as_os_str());
                let mut buf = vec![0u8; 4096];
                // SAFETY: `path` is NUL-terminated, at most `buf.len()` bytes are written to `buf`.
                let n = unsafe { libc::llistxattr(path.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
                buf.truncate(count(n)?);
                let names = buf.split(|b| *b == 0).filter(|n| n.starts_with(b"user."));
                return Ok(Answer::Names(names.map(|n| OsStr::from_bytes(n).to_owned()).collect()));
            }
            RemoveXattr(route, name) => {
                let (path, name) = (c(self.path(route).as_os_str()), c(name));
                // SAFETY: both strings are NUL-terminated.
                check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) })?;
            }
            Hold(slot, route) => self.held[*slot] = Some(self.open(route)?),
            WriteHeld { slot, at, len, fill } => {
                self.held(*slot)?.write_all_at(&pattern(*at, *len, *fill), *at)?;
            }
            ReadHeld { slot, at, len } => return Ok(Answer::Bytes(read(self.held(*slot)?, *at, *len)?)),
            StatHeld(slot) => {
                let meta = self.held(*slot)?.metadata()?;
                return Ok(Answer::Held(meta.len(), meta.nlink()));
            }
            Drop(slot) => self.held[*slot] = None,
        }
        Ok(Answer::Done)
    }
}

impl Subject for Directory {
    fn apply(&mut self, operation: &Operation) -> Outcome {
        self.answer(operation).map_err(|e| e.raw_os_error().unwrap_or(-1))
    }
}

fn c(s: &OsStr) -> CString {
    CString::new(s.as_bytes()).expect("no NUL in a path")
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn count(n: isize) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn read(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0u8; len];
    let mut done = 0;
    loop {
        match file.read_at(&mut buf[done..], at + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    buf.truncate(done);
    Ok(buf)
}

fn stat(meta: &fs::Metadata, mtime: Option<(i64, u32)>) -> Answer {
    let kind = meta.mode() & libc::S_IFMT;
    // A directory's size is its filesystem's business.
    let size = if meta.is_dir() { 0 } else { meta.len() };
    Answer::Stat { kind, mode: meta.mode() & 0o7777, size, links: meta.nlink(), mtime }
}

/// A sequence of operations that meet each other, on top of a few directories and files.
pub fn operations(len: usize) -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(), 1..len).prop_map(|random| {
        let mut all: Vec<_> = ["d", "e", "d/d"].map(|path| Operation::Mkdir(split(path), 0o755)).into();
        all.extend(FILES.map(|path| Operation::Create(split(path), 0o644)));
        all.extend(FILES.map(|path| Operation::Write { route: split(path), at: 0, len: 20_000, fill: 1 }));
        all.extend(random);
        all
    })
}

/// The files that every sequence begins with.
const FILES: [&str; 3] = ["a", "d/a", "d/d/b"];

fn split(path: &str) -> Route {
    path.split('/').map(OsString::from).collect()
}

/// What directories are called, mostly.
fn dir_name() -> impl Strategy<Value = OsString> {
    prop_oneof![
        6 => Just(OsString::from("d")),
        3 => Just(OsString::from("e")),
        1 => Just(OsString::from("D".repeat(255))),
    ]
}

/// Long names, names that are not text, names that kmsfs itself uses below.
fn name() -> impl Strategy<Value = OsString> {
    prop_oneof![
        12 => prop::sample::select(vec!["a", "a", "b", "c"]).prop_map(OsString::from),
        8 => dir_name(),
        1 => Just(OsString::from("n".repeat(200))),
        1 => Just(OsString::from("m".repeat(255))),
        1 => Just(OsString::from_vec(vec![0xff, 0xfe, b'\n'])),
        1 => Just(OsString::from("kmsfs.dir")),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let depth = prop::sample::select(vec![0, 0, 0, 1, 1, 2]);
    let dirs = depth.prop_flat_map(|depth| proptest::collection::vec(dir_name(), depth));
    (dirs, name()).prop_map(|(mut route, last)| {
        route.push(last);
        route
    })
}

/// Mostly a file, since what a file holds can only be got wrong if there is one.
fn file() -> impl Strategy<Value = Route> {
    prop_oneof![3 => prop::sample::select(&FILES[..]).prop_map(split), 1 => route()]
}

fn at() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 1, 100, 4095, 4096, 5000, 8192, 393_216, 400_000])
}

fn len() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1, 10, 4096, 5000, 20_000])
}

/// Root gets every kind of mode. Others could not enter a directory without execution, and lose set-id bits with
/// every write: both are the kernel's doing above a filesystem, and not to be compared.
fn mode() -> impl Strategy<Value = u32> {
    let modes = match own_ids().0 {
        0 => vec![0o600, 0o644, 0o755, 0o4755, 0o2711],
        _ => vec![0o700, 0o755, 0o711],
    };
    prop::sample::select(modes)
}

fn attribute() -> impl Strategy<Value = OsString> {
    prop::sample::select(vec!["user.a", "user.b"]).prop_map(OsString::from)
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    let dir_mode = || prop::sample::select(vec![0o700, 0o755, 0o2755]);
    let flags = prop::sample::select(vec![0, 0, 0, libc::RENAME_NOREPLACE, libc::RENAME_EXCHANGE]);
    let modes = vec![0, KEEP, libc::FALLOC_FL_PUNCH_HOLE | KEEP, libc::FALLOC_FL_ZERO_RANGE];
    let slot = || 0..SLOTS;
    prop_oneof![
        6 => (route(), mode()).prop_map(|(r, m)| Create(r, m)),
        1 => route().prop_map(Fifo),
        6 => (route(), dir_mode()).prop_map(|(r, m)| Mkdir(r, m)),
        1 => (route(), Just(OsString::from("nowhere/at all"))).prop_map(|(r, t)| Symlink(r, t)),
        3 => (file(), route()).prop_map(|(f, t)| Link(f, t)),
        3 => route().prop_map(Unlink),
        2 => route().prop_map(Rmdir),
        6 => (route(), route(), flags).prop_map(|(f, t, x)| Rename(f, t, x)),
        6 => (file(), at(), len(), any::<u8>()).prop_map(|(route, at, len, fill)| Write { route, at, len, fill }),
        3 => (file(), at(), len()).prop_map(|(route, at, len)| Read { route, at, len }),
        2 => (file(), at()).prop_map(|(r, s)| Truncate(r, s)),
        2 => (file(), prop::sample::select(modes), at(), len())
            .prop_map(|(route, mode, at, len)| Allocate { route, mode, at, len: len as u64 }),
        1 => (route(), mode()).prop_map(|(r, m)| Chmod(r, m)),
        1 => (route(), -5i64..5, 0u32..1_000_000_000).prop_map(|(r, s, n)| Times(r, s, n)),
        2 => route().prop_map(Stat),
        1 => route().prop_map(Readlink),
        1 => route().prop_map(List),
        2 => (file(), attribute(), proptest::collection::vec(any::<u8>(), 0..50), 0i32..3)
            .prop_map(|(r, n, v, f)| SetXattr(r, n, v, f)),
        1 => (file(), attribute()).prop_map(|(r, n)| GetXattr(r, n)),
        1 => file().prop_map(ListXattr),
        1 => (file(), attribute()).prop_map(|(r, n)| RemoveXattr(r, n)),
        3 => (slot(), file()).prop_map(|(s, r)| Hold(s, r)),
        2 => (slot(), at(), len(), any::<u8>())
            .prop_map(|(slot, at, len, fill)| WriteHeld { slot, at, len, fill }),
        2 => (slot(), at(), len()).prop_map(|(slot, at, len)| ReadHeld { slot, at, len }),
        1 => slot().prop_map(StatHeld),
        1 => slot().prop_map(Drop),
    ]
}
