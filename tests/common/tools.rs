//! What the tests do beside kmsfs: run other programs, make data, compare trees.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

/// Prints a line that the test runner does not hold back: long tests say where they are.
pub fn progress(line: impl fmt::Display) {
    let thread = std::thread::current();
    let _ = writeln!(io::stderr(), "    [{}] {line}", thread.name().unwrap_or("test"));
}

/// Runs a command to its end and returns its standard output; panics with all it said if it fails.
pub fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// Runs a shell script in `dir` with `args` as `$1` and on, stopping at its first failure.
pub fn sh(dir: &Path, script: &str, args: &[&Path]) -> String {
    ok(Command::new("bash")
        .arg("-euo")
        .arg("pipefail")
        .arg("-c")
        .arg(script)
        .arg("sh")
        .args(args)
        .current_dir(dir))
}

/// Runs a Python program, the tests' second process, with `args` as `sys.argv[1:]`.
pub fn python(script: &str, args: &[&Path]) -> String {
    ok(Command::new("python3").arg("-c").arg(script).args(args))
}

/// A program that `scripts/test` installs; a test must not be skipped for its absence.
pub fn tool(name: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin").join(name);
    if ours.exists() {
        return ours;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run ./scripts/test, which installs it"))
}

/// Stops a test that only root can run, saying how to run it.
pub fn need_root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "this test needs root: run ./scripts/test, which asks sudo for it");
}

/// `len` bytes that look random and depend on `seed` alone.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A tree of real files, several thousand of them, that every development machine has.
pub fn real_tree() -> PathBuf {
    let candidates = ["/usr/include", "/usr/share/perl", "/usr/share/doc"];
    let found = candidates.into_iter().find(|dir| count_files(Path::new(dir)) > 1000);
    PathBuf::from(found.expect("no directory with a thousand files to copy"))
}

/// How many regular files lie below `dir`.
pub fn count_files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path()),
            Ok(kind) => usize::from(kind.is_file()),
            Err(_) => 0,
        })
        .sum()
}

/// What a comparison of two trees looks at, beside names, types and content.
#[derive(Clone, Copy)]
pub struct Compare {
    /// Modes, owners and modification times.
    pub attributes: bool,
    /// Which names are one file.
    pub hard_links: bool,
    /// Extended attributes, ACLs among them.
    pub xattrs: bool,
}

impl Compare {
    /// Everything a faithful copy keeps.
    pub const ALL: Compare = Compare { attributes: true, hard_links: true, xattrs: true };
    /// Names, types, link targets and bytes.
    pub const CONTENT: Compare = Compare { attributes: false, hard_links: false, xattrs: false };
}

/// Asserts that two trees are the same, and returns how many entries they have.
pub fn assert_same_tree(left: &Path, right: &Path, compare: Compare) -> usize {
    let (left_tree, right_tree) = (describe(left, compare), describe(right, compare));
    for (name, entry) in &left_tree {
        let Some(other) = right_tree.get(name) else {
            panic!("{} is missing in {}", name.display(), right.display());
        };
        assert_eq!(
            entry,
            other,
            "{} differs between {} and {}",
            name.display(),
            left.display(),
            right.display()
        );
        if entry.kind == "file" {
            let same = same_bytes(&left.join(name), &right.join(name));
            assert!(
                same,
                "{} has other bytes in {} than in {}",
                name.display(),
                left.display(),
                right.display()
            );
        }
    }
    let extra = right_tree.keys().find(|name| !left_tree.contains_key(*name));
    assert_eq!(extra, None, "only in {}", right.display());
    left_tree.len()
}

/// Whether two files have the same content.
pub fn same_bytes(left: &Path, right: &Path) -> bool {
    fs::read(left).unwrap() == fs::read(right).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    size: u64,
    target: Option<PathBuf>,
    attributes: Option<(u32, u32, u32, i64, i64)>,
    first_name: Option<PathBuf>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

fn describe(root: &Path, compare: Compare) -> BTreeMap<PathBuf, Entry> {
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names);
    names.sort();
    let mut first_names = BTreeMap::new();
    let mut tree = BTreeMap::new();
    for name in names {
        let path = root.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = kind_of(&meta);
        let linked = compare.hard_links && kind != "directory";
        let first_name = linked
            .then(|| first_names.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone()).clone());
        let attributes = compare.attributes.then(|| {
            // A link's own time is not carried by every tool that is asked to copy links.
            let time = if kind == "symlink" { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
            (meta.mode(), meta.uid(), meta.gid(), time.0, time.1)
        });
        let entry = Entry {
            kind,
            size: if kind == "directory" { 0 } else { meta.len() },
            target: (kind == "symlink").then(|| fs::read_link(&path).unwrap()),
            attributes,
            first_name,
            xattrs: if compare.xattrs { xattrs(&path) } else { BTreeMap::new() },
        };
        tree.insert(name, entry);
    }
    tree
}

fn list(root: &Path, below: &Path, names: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            list(root, &name, names);
        }
        names.push(name);
    }
}

fn kind_of(meta: &fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_file() => "file",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "device",
    }
}

/// All extended attributes of `path` itself, which may be a symbolic link.
pub fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = OsString::from(std::ffi::OsStr::from_bytes(name));
            let mut value = vec![0; 64 << 10];
            let len = rustix::fs::lgetxattr(path, &*name, &mut value[..]).unwrap();
            value.truncate(len);
            (name, value)
        })
        .collect()
}

/// Every regular file below `dir` with its content, by path: what somebody who reads the disk has.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut names = Vec::new();
    list(dir, Path::new(""), &mut names);
    let files = names.into_iter().filter(|name| fs::symlink_metadata(dir.join(name)).unwrap().is_file());
    files.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

/// The error number a call failed with.
pub fn errno<T: fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}
