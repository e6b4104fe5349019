//! Several processes on one mount: locks, shared memory maps, and changes that others see at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File, TryLockError},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use common::{
    tools::{bytes, python},
    volume::Volume,
};

/// Another process that does what it is told, a line at a time, and answers each line with one.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
}

/// Each command is a Python expression; the answer is its value, or the name of the error.
const OTHER: &str = r#"
import fcntl, mmap, os, sys
file = open(sys.argv[1], "r+b", buffering=0)
def flock(kind): fcntl.flock(file, kind | fcntl.LOCK_NB); return "ok"
def range_lock(kind, at, len): fcntl.lockf(file, kind | fcntl.LOCK_NB, len, at); return "ok"
def range_unlock(at, len): fcntl.lockf(file, fcntl.LOCK_UN, len, at); return "ok"
for line in sys.stdin:
    try: print(eval(line), flush=True)
    except OSError as error: print(type(error).__name__, flush=True)
"#;

impl Other {
    fn new(path: &Path) -> Other {
        let mut command = Command::new("python3");
        command.arg("-c").arg(OTHER).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        Other { child, input }
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn file_of(volume: &Volume, len: usize) -> std::path::PathBuf {
    let path = volume.path("shared");
    fs::write(&path, bytes(1, len)).unwrap();
    path
}

#[test]
fn flock_excludes_the_other_process() {
    let volume = Volume::mounted();
    let path = file_of(&volume, 10);
    let mut other = Other::new(&path);
    let ours = File::open(&path).unwrap();
    ours.try_lock().unwrap();
    assert_eq!(other.say("flock(fcntl.LOCK_EX)"), "BlockingIOError");
    assert_eq!(other.say("flock(fcntl.LOCK_SH)"), "BlockingIOError");
    ours.unlock().unwrap();
    assert_eq!(other.say("flock(fcntl.LOCK_SH)"), "ok");
    ours.try_lock_shared().unwrap();
    assert!(matches!(ours.try_lock(), Err(TryLockError::WouldBlock)));
    drop(other);
    ours.try_lock().unwrap();
}

#[test]
fn record_locks_exclude_where_ranges_overlap_and_go_with_their_process() {
    let volume = Volume::mounted();
    let path = file_of(&volume, 10_000);
    let (mut first, mut second) = (Other::new(&path), Other::new(&path));
    assert_eq!(first.say("range_lock(fcntl.LOCK_EX, 0, 100)"), "ok");
    assert_eq!(second.say("range_lock(fcntl.LOCK_EX, 100, 100)"), "ok");
    assert_eq!(second.say("range_lock(fcntl.LOCK_SH, 50, 10)"), "BlockingIOError");
    assert_eq!(first.say("range_unlock(0, 100)"), "ok");
    assert_eq!(second.say("range_lock(fcntl.LOCK_SH, 50, 10)"), "ok");
    drop(second);
    assert_eq!(first.say("range_lock(fcntl.LOCK_EX, 0, 10000)"), "ok");
}

#[test]
fn a_shared_map_is_written_back_and_seen_by_readers() {
    let mut volume = Volume::mounted();
    let path = file_of(&volume, 100_000);
    let writer = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as shared:
    shared[0:5] = b'first'
    shared[4094:4100] = b'across'
    shared[99_996:] = b'last'
    with open(sys.argv[1], 'rb') as reader:
        assert reader.read(5) == b'first', 'a reader does not see the map'
";
    python(writer, &[&path]);
    let mut expected = bytes(1, 100_000);
    expected[..5].copy_from_slice(b"first");
    expected[4094..4100].copy_from_slice(b"across");
    expected[99_996..].copy_from_slice(b"last");
    assert!(fs::read(&path).unwrap() == expected);
    volume.remount();
    assert!(fs::read(&path).unwrap() == expected, "after a remount");
}

#[test]
fn two_processes_share_one_map() {
    let volume = Volume::mounted();
    let path = file_of(&volume, 8192);
    let map = "globals().update(map=mmap.mmap(file.fileno(), 0))";
    let (mut writer, mut reader) = (Other::new(&path), Other::new(&path));
    assert_eq!((writer.say(map), reader.say(map)), ("None".into(), "None".into()));
    assert_eq!(writer.say("map.__setitem__(slice(4000, 4005), b'hello')"), "None");
    assert_eq!(reader.say("map[4000:4005].decode()"), "hello");
    assert_eq!(reader.say("os.pread(file.fileno(), 5, 4000).decode()"), "hello");
}

#[test]
fn another_process_sees_a_change_of_size_at_once() {
    let volume = Volume::mounted();
    let path = file_of(&volume, 5000);
    let mut other = Other::new(&path);
    let ours = File::options().write(true).open(&path).unwrap();
    for size in [0, 1, 4096, 400_000, 3] {
        ours.set_len(size).unwrap();
        assert_eq!(other.say("os.fstat(file.fileno()).st_size"), size.to_string());
    }
    std::os::unix::fs::FileExt::write_all_at(&ours, b"appended", 3).unwrap();
    assert_eq!(other.say("os.pread(file.fileno(), 100, 3).decode()"), "appended");
}

#[test]
fn a_program_runs_from_the_mount() {
    let volume = Volume::mounted();
    let program = volume.path("true");
    fs::copy("/bin/true", &program).unwrap();
    let status = Command::new(&program).status().unwrap();
    assert!(status.success());
}
