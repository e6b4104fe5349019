//! After a crash: the journal's records become overlays again, and the overlays come into place.
//!
//! The same overlay and the same [`apply`] as at a checkpoint, so there is one way from record to block. A
//! record names its file by id; the path beside it only says where to look first.

use super::apply::{apply, cut_in_place};
use super::geometry::{BLOCK, BLOCK_LEN, ENTRY_LEN, HEADER_LEN, lower_len, plain_len_floor};
use super::header::{FileId, claimed_file_id};
use super::journal::{JOURNAL_DIR, Kind, Replayed, entries};
use super::lower::{Fd, Lower, SetTime};
use super::overlay::{Journaled, Overlay};
use super::tags::{TagCache, TagFile};
use super::{Error, Result};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What a replay did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records found in the journal.
    pub records: usize,
    /// Files they were applied to.
    pub files: usize,
    /// Files that no longer exist: deleted before the crash.
    pub deleted: usize,
}

#[derive(Default)]
struct Found {
    overlay: Overlay,
    paths: Vec<PathBuf>,
}

/// Applies `records` to the files below `root`.
///
/// # Errors
/// Those of the lower filesystem; the journal is left as it is, and the next mount tries again.
pub fn replay(lower: &dyn Lower, root: &Fd, records: Vec<Replayed>) -> Result<ReplayReport> {
    let mut report = ReplayReport { records: records.len(), ..ReplayReport::default() };
    let mut files: HashMap<FileId, Found> = HashMap::new();
    for replayed in records {
        enter(files.entry(replayed.record.file).or_default(), replayed);
    }
    let tags = TagCache::new(64);
    let mut by_id = None;
    for (serial, (id, found)) in files.into_iter().enumerate() {
        if found.overlay.is_empty() {
            continue;
        }
        match locate(lower, root, &id, &found.paths, &mut by_id)? {
            Some(fd) => {
                apply_to(TagFile { lower, fd: &fd, serial: serial as u64 }, &tags, &found.overlay)?;
                report.files += 1;
            }
            None => report.deleted += 1,
        }
    }
    Ok(report)
}

/// One record on top of those before it, exactly as it was entered when it was written.
fn enter(found: &mut Found, replayed: Replayed) {
    let Replayed { record, segment, payload_at, head } = replayed;
    let overlay = &mut found.overlay;
    match record.kind {
        Kind::Path => {
            found.paths.push(OsString::from_vec(head).into());
            return;
        }
        Kind::Cut => overlay.cut_to(record.len_after),
        Kind::Hole => overlay.punch(record.first..record.first.saturating_add(record.count)),
        Kind::Length => overlay.grow_to(record.len_after),
        Kind::Blocks => {}
    }
    if matches!(record.kind, Kind::Cut | Kind::Blocks) {
        debug_assert_eq!(head.len(), record.count as usize * ENTRY_LEN);
        for (i, entry) in (0..).zip(entries(&head, record.count)) {
            let journaled = Journaled {
                segment: Arc::clone(&segment),
                at: payload_at + record.ciphertext_at(i) as u64,
                entry,
                len: record.block_len(i) as u32,
                in_place: false,
            };
            overlay.put(record.first + i, journaled);
        }
    }
    overlay.mtime = Some(record.mtime);
}

fn apply_to(file: TagFile<'_>, tags: &TagCache, overlay: &Overlay) -> Result<()> {
    let before = file.lower.fstat(file.fd)?;
    let place_len = apply(file, tags, overlay, plain_len_floor(before.size), &mut || Ok(()))?;
    // Whoever grows a file tells the journal of its short last block first. What the file has behind one that is
    // short still was never committed, and its length would make that block unreadable.
    let short = overlay.blocks.iter().find(|(_, j)| (j.len as usize) < BLOCK_LEN);
    let len = short.map_or(place_len, |(block, j)| block * BLOCK + u64::from(j.len));
    if len < place_len {
        cut_in_place(file, tags, place_len, len.next_multiple_of(BLOCK))?;
        file.lower.truncate(file.fd, lower_len(len))?;
    }
    // Later than the record, somebody may have set the time on purpose; that moved the ctime.
    if let Some(mtime) = overlay.mtime.filter(|t| before.ctime < *t) {
        file.lower.utimens(file.fd, SetTime::Omit, SetTime::At(mtime))?;
    }
    Ok(file.lower.fdatasync(file.fd)?)
}

/// Finds the file `id`: where the records say, else by looking at every file once.
fn locate(
    lower: &dyn Lower,
    root: &Fd,
    id: &FileId,
    paths: &[PathBuf],
    by_id: &mut Option<HashMap<FileId, PathBuf>>,
) -> Result<Option<Fd>> {
    for path in paths.iter().rev() {
        if let Some(fd) = open_if(lower, root, path, id)? {
            return Ok(Some(fd));
        }
    }
    let map = match by_id {
        Some(map) => map,
        None => by_id.insert(index(lower, root)?),
    };
    map.get(id).map_or(Ok(None), |path| open_if(lower, root, path, id))
}

/// Opens the file at `path` if it is the one with `id`.
fn open_if(lower: &dyn Lower, root: &Fd, path: &Path, id: &FileId) -> Result<Option<Fd>> {
    let fd = match open_path(lower, root, path, libc::O_RDWR | libc::O_NONBLOCK) {
        Ok(fd) => fd,
        Err(Error::Os(e))
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EISDIR)
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    if !lower.fstat(&fd)?.is_file() {
        return Ok(None);
    }
    let mut header = [0; HEADER_LEN as usize];
    let n = lower.pread(&fd, &mut header, 0)?;
    Ok((claimed_file_id(&header[..n]).as_ref() == Some(id)).then_some(fd))
}

/// Opens `path`, relative to `root`, component by component.
pub(super) fn open_path(lower: &dyn Lower, root: &Fd, path: &Path, flags: i32) -> Result<Fd> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Error::errno(libc::ENOENT)),
        }
    }
    let last = names.pop().ok_or_else(|| Error::errno(libc::ENOENT))?;
    let mut dir: Option<Fd> = None;
    for name in names {
        dir = Some(lower.open(dir.as_ref().unwrap_or(root), name, libc::O_PATH | libc::O_DIRECTORY, 0)?);
    }
    Ok(lower.open(dir.as_ref().unwrap_or(root), last, flags, 0)?)
}

/// All regular files below `root` by the id their header claims.
fn index(lower: &dyn Lower, root: &Fd) -> Result<HashMap<FileId, PathBuf>> {
    let mut map = HashMap::new();
    walk(lower, root, &mut |dir, name, path| {
        let fd = lower.open(dir, name, libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
        let mut header = [0; HEADER_LEN as usize];
        let n = lower.pread(&fd, &mut header, 0)?;
        if let Some(id) = claimed_file_id(&header[..n]) {
            map.insert(id, path.to_owned());
        }
        Ok(())
    })?;
    Ok(map)
}

/// Is `name` one that the volume keeps for itself, rather than a file's content?
pub(super) fn is_own_file(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let long_content = name.starts_with(b"kmsfs.long.") && !name.ends_with(b".name");
    name.starts_with(b"kmsfs.") && !long_content
}

/// Calls `each(directory, lower name, lower path)` for every regular file below `root` that holds content.
pub(super) fn walk(
    lower: &dyn Lower,
    root: &Fd,
    each: &mut dyn FnMut(&Fd, &OsStr, &Path) -> Result<()>,
) -> Result<()> {
    let top = Arc::new(lower.open(root, OsStr::new("."), libc::O_RDONLY | libc::O_DIRECTORY, 0)?);
    let mut stack = vec![(top, PathBuf::new())];
    while let Some((dir, path)) = stack.pop() {
        for entry in lower.read_dir(&dir)? {
            if entry.name == "." || entry.name == ".." || entry.name == JOURNAL_DIR {
                continue;
            }
            let stat = match lower.stat(&dir, &entry.name) {
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => continue,
                other => other?,
            };
            let below = path.join(&entry.name);
            if stat.is_dir() {
                let sub = lower.open(&dir, &entry.name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
                stack.push((Arc::new(sub), below));
            } else if stat.is_file() && !is_own_file(&entry.name) {
                each(&dir, &entry.name, &below)?;
            }
        }
    }
    Ok(())
}
