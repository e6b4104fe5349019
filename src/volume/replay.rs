//! After a crash: the journal's records become overlays again, and the overlays come into place.
//!
//! The same overlay and the same [`apply`] as at a checkpoint, so there is one way from record to block. A
//! record names its file by id; the path beside it only says where to look first.

use super::Result;
use super::apply::{apply, cut_in_place};
use super::geometry::{BLOCK, BLOCK_LEN, ENTRY_LEN, HEADER_LEN, lower_len, plain_len_floor};
use super::header::{FileId, claimed_file_id};
use super::journal::{Kind, Replayed, entries};
use super::lower::{Fd, Lower, SetTime, Stat, Timespec, with_owner_access};
use super::overlay::{Journaled, Overlay};
use super::tags::{TagCache, TagFile};
use super::tree::{self, Found};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
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

/// What the journal says of one file.
#[derive(Default)]
struct Changes {
    overlay: Overlay,
    paths: Vec<PathBuf>,
}

/// Applies `records` to the files below `root`.
///
/// # Errors
/// Those of the lower filesystem; the journal is left as it is, and the next mount tries again.
pub fn replay(lower: &dyn Lower, root: &Fd, records: Vec<Replayed>) -> Result<ReplayReport> {
    let mut report = ReplayReport { records: records.len(), ..ReplayReport::default() };
    let mut files: HashMap<FileId, Changes> = HashMap::new();
    for replayed in records {
        enter(files.entry(replayed.record.file).or_default(), replayed);
    }
    let tags = TagCache::new(64);
    let mut by_id = None;
    for (serial, (id, changes)) in files.into_iter().enumerate() {
        if changes.overlay.is_empty() {
            continue;
        }
        match locate(lower, root, &id, &changes.paths, &mut by_id)? {
            Some((fd, before)) => {
                let file = TagFile { lower, fd: &fd, serial: serial as u64 };
                apply_to(file, before.ctime, &tags, &changes.overlay)?;
                report.files += 1;
            }
            None => report.deleted += 1,
        }
    }
    Ok(report)
}

/// One record on top of those before it, exactly as it was entered when it was written.
fn enter(changes: &mut Changes, replayed: Replayed) {
    let Replayed { record, segment, payload_at, head } = replayed;
    let overlay = &mut changes.overlay;
    match record.kind {
        Kind::Path => {
            changes.paths.push(OsString::from_vec(head).into());
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

fn apply_to(file: TagFile<'_>, ctime: Timespec, tags: &TagCache, overlay: &Overlay) -> Result<()> {
    let size = file.lower.fstat(file.fd)?.size;
    let place_len = apply(file, tags, overlay, plain_len_floor(size), &mut || Ok(()))?;
    // Whoever grows a file tells the journal of its short last block first. What the file has behind one that is
    // short still was never committed, and its length would make that block unreadable.
    let short = overlay.blocks.iter().find(|(_, j)| (j.len as usize) < BLOCK_LEN);
    let len = short.map_or(place_len, |(block, j)| block * BLOCK + u64::from(j.len));
    if len < place_len {
        cut_in_place(file, tags, place_len, len.next_multiple_of(BLOCK))?;
        file.lower.truncate(file.fd, lower_len(len))?;
    }
    // Later than the record, somebody may have set the time on purpose; that moved the ctime.
    if let Some(mtime) = overlay.mtime.filter(|t| ctime < *t) {
        file.lower.utimens(file.fd, SetTime::Omit, SetTime::At(mtime))?;
    }
    // The ctime as well: recovery finds the file by it, which may have to wait for another mount to have its key.
    Ok(file.lower.fsync(file.fd)?)
}

/// Finds the file `id`: where the records say, else by looking at every file once.
fn locate(
    lower: &dyn Lower,
    root: &Fd,
    id: &FileId,
    paths: &[PathBuf],
    by_id: &mut Option<HashMap<FileId, PathBuf>>,
) -> Result<Option<(Fd, Stat)>> {
    for path in paths.iter().rev() {
        if let Some(opened) = open_if(lower, root, path, id)? {
            return Ok(Some(opened));
        }
    }
    let map = match by_id {
        Some(map) => map,
        None => by_id.insert(index(lower, root)?),
    };
    map.get(id).map_or(Ok(None), |path| open_if(lower, root, path, id))
}

/// Opens the file at `path` if it is the one with `id`. With it comes what it was before: opening it may change the
/// mode for a moment, and with that the ctime.
fn open_if(lower: &dyn Lower, root: &Fd, path: &Path, id: &FileId) -> Result<Option<(Fd, Stat)>> {
    let opened = open_at(lower, root, path).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EISDIR) => None,
        _ => Some(e),
    });
    let (fd, stat) = match opened {
        Ok(opened) => opened,
        Err(None) => return Ok(None),
        Err(Some(e)) => {
            log::error!("{}: the journal cannot be brought into place: {e}", path.display());
            return Err(e.into());
        }
    };
    if !stat.is_file() {
        return Ok(None);
    }
    let mut header = [0; HEADER_LEN as usize];
    let n = lower.pread(&fd, &mut header, 0)?;
    Ok((claimed_file_id(&header[..n]).as_ref() == Some(id)).then_some((fd, stat)))
}

fn open_at(lower: &dyn Lower, root: &Fd, path: &Path) -> io::Result<(Fd, Stat)> {
    let name = path.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let dir = tree::open_dir(lower, root, path.parent().unwrap_or(Path::new("")))?;
    let stat = with_owner_access(lower, &dir, || lower.stat(&dir, name))?;
    Ok((tree::open(lower, &dir, name, libc::O_RDWR | libc::O_NONBLOCK)?, stat))
}

/// All regular files below `root` by the id their header claims.
fn index(lower: &dyn Lower, root: &Fd) -> Result<HashMap<FileId, PathBuf>> {
    let mut map = HashMap::new();
    let each = &mut |found: &Found<'_>| {
        if !found.is_content() {
            return Ok(true);
        }
        let fd = tree::open(lower, found.dir, found.name, libc::O_RDONLY | libc::O_NONBLOCK)?;
        let mut header = [0; HEADER_LEN as usize];
        let n = lower.pread(&fd, &mut header, 0)?;
        if let Some(id) = claimed_file_id(&header[..n]) {
            map.insert(id, found.path.to_owned());
        }
        Ok(true)
    };
    // What cannot be looked at may be the file: it must not pass for deleted.
    tree::walk(lower, root, each, &mut |path, e| {
        log::error!("{}: the journal cannot be brought into place: {e}", path.display());
        Err(e.into())
    })?;
    Ok(map)
}
