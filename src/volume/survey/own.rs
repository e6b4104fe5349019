//! Telling kmsfs's own files from the entries of plaintext names, by the lower name alone.

use crate::volume::config::CONFIG;
use crate::volume::dirrec::RECORD;
use crate::volume::geometry::plain_len_floor;
use crate::volume::journal::JOURNAL_DIR;
use crate::volume::lower::{Fd, Lower, LowerEntry};
use crate::volume::names::{LONG, LOST_FOUND, RESERVED, SIDECAR};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Directories below each other that a walk follows. Each is held open; a path of 4096 bytes has no more.
pub(in crate::volume) const DEEPEST: usize = 2048;

const TEMPORARY: &[u8] = b"kmsfs.tmp.";

/// What an entry is to kmsfs itself.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::volume) enum Own {
    /// It belongs to a plaintext name.
    No,
    /// Kept beside the entries, by kmsfs or by the lower filesystem itself.
    Kept,
    /// Left by an interrupted operation.
    Leftover,
    /// Looks like ours and is not.
    Foreign,
}

/// The long names among `entries`, which [`own`] wants to know.
pub(in crate::volume) fn long_names(entries: &[LowerEntry]) -> HashSet<&[u8]> {
    let names = entries.iter().map(|entry| entry.name.as_bytes());
    names.filter(|name| name.starts_with(LONG.as_bytes())).collect()
}

/// What the entry `name` of a directory is, `depth` directories below the root, beside `long_names`.
pub(in crate::volume) fn own(name: &OsStr, depth: usize, long_names: &HashSet<&[u8]>) -> Own {
    let bytes = name.as_bytes();
    if bytes == b"." || bytes == b".." || name == RECORD {
        return Own::Kept;
    }
    if depth == 0 && name == LOST_FOUND {
        return Own::Kept;
    }
    if !bytes.starts_with(RESERVED.as_bytes()) {
        return Own::No;
    }
    if bytes.starts_with(TEMPORARY) {
        return Own::Leftover;
    }
    if bytes.starts_with(LONG.as_bytes()) {
        let Some(entry) = bytes.strip_suffix(SIDECAR.as_bytes()) else { return Own::No };
        // A sidecar is written before the entry it names and removed after it.
        return if long_names.contains(entry) { Own::Kept } else { Own::Leftover };
    }
    if depth == 0 && (name == CONFIG || name == JOURNAL_DIR) { Own::Kept } else { Own::Foreign }
}

/// How much there is to read, by the lower sizes alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Regular files, by their names.
    pub files: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
}

/// Looks at names and sizes alone below `dir`, which is `depth` directories below the lower root; needs no key. What
/// cannot be read counts as nothing: finding errors is the task of who reads it.
pub fn measure(lower: &dyn Lower, dir: &Fd, depth: usize) -> Extent {
    let mut extent = Extent::default();
    add_up(lower, dir, depth, &mut extent);
    extent
}

/// Adds up names and sizes below `dir`.
fn add_up(lower: &dyn Lower, dir: &Fd, depth: usize, extent: &mut Extent) {
    let Ok(entries) = lower.read_dir(dir) else { return };
    for entry in entries.iter().filter(|entry| own(&entry.name, depth, &HashSet::new()) == Own::No) {
        let Ok(stat) = lower.stat(dir, &entry.name) else { continue };
        if stat.is_file() {
            extent.files += 1;
            extent.bytes += plain_len_floor(stat.size);
        } else if stat.is_dir()
            && depth < DEEPEST
            && let Ok(fd) = lower.open(dir, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0)
        {
            add_up(lower, &fd, depth + 1, extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_our_own_are_told_apart() {
        let name = OsStr::new;
        let siblings = HashSet::from([&b"kmsfs.long.x"[..]]);
        let cases = [
            ("..", 3, Own::Kept),
            ("kmsfs.dir", 3, Own::Kept),
            ("kmsfs.json", 0, Own::Kept),
            ("kmsfs.json", 1, Own::Foreign),
            ("lost+found", 0, Own::Kept),
            ("lost+found", 1, Own::No),
            ("kmsfs.else", 0, Own::Foreign),
            ("kmsfs.tmp.0011", 2, Own::Leftover),
            ("kmsfs.long.x", 2, Own::No),
            ("kmsfs.long.x.name", 2, Own::Kept),
            ("kmsfs.long.y.name", 2, Own::Leftover),
            ("aGVsbG8", 2, Own::No),
        ];
        for (entry, depth, expected) in cases {
            assert_eq!(own(name(entry), depth, &siblings), expected, "{entry} at depth {depth}");
        }
    }
}
