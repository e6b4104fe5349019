//! `/proc/self/mountinfo`: what is mounted where, asked without touching the mounts themselves, so that a
//! mount whose daemon is gone cannot hang or fail the question.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The type of our mounts, as the kernel shows it.
pub const FS_TYPE: &str = "fuse.kmsfs";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `major:minor`: the mount's `st_dev`, and its name in `/sys/class/bdi`.
    pub device: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type with subtype.
    pub kind: String,
    /// What it says its source is.
    pub source: OsString,
}

impl Entry {
    /// Is it one of ours?
    pub fn is_kmsfs(&self) -> bool {
        self.kind == FS_TYPE
    }
}

/// Every mount of this process's namespace, oldest first.
///
/// # Errors
/// `/proc` is not there.
pub fn all() -> io::Result<Vec<Entry>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount one sees at `point`: the last one there, since it hides the others.
///
/// # Errors
/// `/proc` is not there.
pub fn at(point: &Path) -> io::Result<Option<Entry>> {
    Ok(all()?.into_iter().rfind(|entry| entry.point == point))
}

fn parse(table: &[u8]) -> Vec<Entry> {
    table.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

/// `id parent major:minor root point options [tags…] - type source super-options`, proc_pid_mountinfo(5).
fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|b| *b == b' ');
    let device = fields.nth(2)?;
    let point = fields.nth(1)?;
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = tail.next()?;
    let source = tail.next()?;
    Some(Entry {
        device: String::from_utf8_lossy(device).into_owned(),
        point: PathBuf::from(unescape(point)),
        kind: String::from_utf8_lossy(kind).into_owned(),
        source: unescape(source),
    })
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| matches!(d, b'0'..=b'7')));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0u8, |value, d| value.wrapping_mul(8).wrapping_add(d - b'0')));
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(out)
}

/// Follows every link of the directories above `path`, but leaves `path` itself alone, which may be a mount
/// that does not answer.
///
/// # Errors
/// A directory on the way cannot be read.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => {}
        other => return other,
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(parent.canonicalize()?.join(name))
        }
        _ => std::path::absolute(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    const TABLE: &[u8] = b"21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        60 21 0:42 / /mnt/a\\040b rw,nosuid - fuse.kmsfs /srv/x\\134,y rw,user_id=0\n\
        61 21 0:43 / /mnt/a\\040b rw shared:7 master:2 - tmpfs none rw\n\
        broken line\n";

    #[test]
    fn lines_are_taken_apart_and_unescaped() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 3);
        assert!(entries[1].is_kmsfs());
        assert_eq!(entries[1].device, "0:42");
        assert_eq!(entries[1].point, Path::new("/mnt/a b"));
        assert_eq!(entries[1].source, OsStr::new("/srv/x\\,y"));
        assert_eq!(entries[2].kind, "tmpfs");
    }

    #[test]
    fn odd_escapes_stay_as_they_are() {
        assert_eq!(unescape(b"a\\"), OsStr::new("a\\"));
        assert_eq!(unescape(b"a\\0x1"), OsStr::new("a\\0x1"));
        assert_eq!(unescape(b"\\303\\244"), OsStr::from_bytes("ä".as_bytes()));
    }

    #[test]
    fn this_process_has_a_root() {
        assert!(at(Path::new("/")).expect("readable").is_some());
    }
}
