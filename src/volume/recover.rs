//! After a crash, once the journal is in place: files that the dying session touched are made consistent.
//!
//! In normal operation a file whose header and lower size disagree is damage, and a zero tag in a file without
//! holes an attack. A power cut can leave both in what no fsync has covered. So every file whose ctime lies in
//! the dead session is looked at once, before the mount serves anything; what was never made durable is cut
//! back to what is whole, and the header is sealed anew. From then on the strict rules hold again.
//! `docs/format.md`, "Recovery", has the case table.

use super::apply::{cut_in_place, forget_behind};
use super::block::{BlockCipher, TagEntry};
use super::dirrec::{RECORD, RECORD_LEN};
use super::geometry::{
    BLOCK, BLOCK_LEN, block_len, blocks_in, data_offset, lower_len, plain_len, plain_len_floor, runs,
};
use super::header::{self, Header};
use super::keys::VolumeKeys;
use super::lower::{Fd, Lower, SetTime, Stat, Timespec, open_own, with_owner_access};
use super::store::new_header;
use super::tags::{TagCache, TagFile};
use super::tree::{self, Found};
use super::{Error, Result};
use crate::keys::{FileKey, Keyring, NO_ZONE, ZoneId};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Clocks of a lower filesystem may be this coarse, or step back this far.
const SLACK: i64 = 60;
/// What the lower kernel may still have held in memory: only files changed this shortly before the end of the
/// session can hold torn blocks.
const UNWRITTEN: i64 = 120;

/// What a recovery did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Files the dead session had touched.
    pub looked_at: usize,
    /// Files that were sealed at another length, or got holes.
    pub mended: usize,
    /// Files that never got their header: empty now.
    pub emptied: usize,
    /// Files whose key could not be had; the next mount looks at them again.
    pub skipped: usize,
    /// Files that are damaged beyond what a crash can do.
    pub damaged: usize,
}

impl RecoveryReport {
    /// One file that cannot be looked at must not keep the others from being served.
    fn skip(&mut self, path: &Path, why: impl std::fmt::Display) {
        log::error!("{}: not looked at after the crash: {why}", path.display());
        self.skipped += 1;
    }
}

/// What recovery works with.
pub struct Recovery<'a> {
    /// The lower filesystem.
    pub lower: &'a dyn Lower,
    /// The lower root.
    pub root: &'a Fd,
    /// What opens directory records.
    pub keys: &'a VolumeKeys,
    /// The data keys.
    pub keyring: &'a Keyring,
    /// When this mount began, before anything was replayed.
    pub mounted: Timespec,
    /// When the dead session began.
    pub began: Timespec,
}

impl Recovery<'_> {
    /// Looks at every file the dead session touched.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn run(&self) -> Result<RecoveryReport> {
        let mut report = RecoveryReport::default();
        let mut touched = Vec::new();
        let each = &mut |found: &Found<'_>| {
            let ctime = found.stat.ctime;
            if is_leftover(found.name) {
                self.remove_leftover(found)?;
                return Ok(false);
            }
            if found.is_content() && ctime.sec >= self.began.sec - SLACK {
                touched.push((found.path.to_owned(), ctime));
            }
            Ok(true)
        };
        tree::walk(self.lower, self.root, each, &mut |path, e| {
            report.skip(path, e);
            Ok(())
        })?;
        // A replay before has given its files the time of this mount, which may be long after the session's end.
        let replayed = self.mounted.sec - SLACK;
        let before = touched.iter().map(|(_, ctime)| ctime.sec).filter(|sec| *sec < replayed);
        let end = before.max().unwrap_or(replayed);
        for (path, ctime) in touched {
            report.looked_at += 1;
            self.file(&path, ctime.sec >= end - UNWRITTEN, &mut report)?;
        }
        Ok(report)
    }

    fn file(&self, path: &Path, recent: bool, report: &mut RecoveryReport) -> Result<()> {
        let fd = match self.open(path) {
            Ok(fd) => fd,
            Err(e) => {
                report.skip(path, e);
                return Ok(());
            }
        };
        let stat = self.lower.fstat(&fd)?;
        let mut page0 = [0u8; BLOCK_LEN];
        let n = self.lower.pread(&fd, &mut page0, 0)?;
        if page0[..n].iter().take(1024).all(|b| *b == 0) {
            return self.empty(path, &fd, report);
        }
        let open_key = |id: &_, envelope: &_| self.keyring.open(id, envelope);
        let opened = header::decode_after_crash(&page0[..n], &path.display(), open_key);
        let (header, key, torn) = match opened {
            Ok(opened) => opened,
            Err(Error::Key(e)) => {
                report.skip(path, e);
                return Ok(());
            }
            Err(e) => {
                log::error!("{e}");
                report.damaged += 1;
                return Ok(());
            }
        };
        let tags = TagCache::new(64);
        let mut mending = Mending { lower: self.lower, fd: &fd, tags, header, key, torn, sparse: false };
        if mending.mend(&stat, recent)? {
            // Whoever changed the file did so before the crash.
            self.lower.utimens(&fd, SetTime::Omit, SetTime::At(stat.mtime))?;
            let len = mending.header.slot.sealed_len;
            log::warn!("{}: sealed at {len} bytes after a crash", path.display());
            report.mended += 1;
        }
        Ok(())
    }

    /// Makes the file a new one of the zone that it lies in.
    fn empty(&self, path: &Path, fd: &Fd, report: &mut RecoveryReport) -> Result<()> {
        let made = self.zone_of(path).and_then(|zone| new_header(self.keyring, &zone));
        let (header, key) = match made {
            Ok(made) => made,
            Err(e) => {
                report.skip(path, e);
                return Ok(());
            }
        };
        log::warn!("{}: its creation never reached the disk; it is empty now", path.display());
        report.emptied += 1;
        let mut bytes = [0; super::geometry::HEADER_LEN as usize];
        let (sector, at) = header.encode(&key);
        bytes[at as usize..at as usize + sector.len()].copy_from_slice(&sector);
        self.lower.truncate(fd, 0)?;
        self.lower.pwrite(fd, &bytes, 0)?;
        Ok(self.lower.fdatasync(fd)?)
    }

    /// The zone that the file at `path` lies in: the one that begins at the nearest of its directories.
    fn zone_of(&self, path: &Path) -> Result<ZoneId> {
        // The root's own record is no zone's: below it begins none.
        let dirs = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
        for dir in dirs {
            let fd = tree::open_dir(self.lower, self.root, dir)?;
            let record =
                with_owner_access(self.lower, &fd, || open_own(self.lower, &fd, OsStr::new(RECORD)))?;
            let mut sealed = [0; RECORD_LEN + 1];
            let len = self.lower.pread(&record, &mut sealed, 0)?;
            let zone = self.keys.open_record(&sealed[..len])?.zone;
            if zone != NO_ZONE {
                return Ok(zone);
            }
        }
        Ok(NO_ZONE)
    }

    fn open(&self, path: &Path) -> io::Result<Fd> {
        let name = path.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let dir = tree::open_dir(self.lower, self.root, path.parent().unwrap_or(Path::new("")))?;
        tree::open(self.lower, &dir, name, libc::O_RDWR)
    }

    /// Deletes what was made under a temporary name and never renamed into place. A directory holds its record and
    /// nothing else; one that holds more is left for a person.
    fn remove_leftover(&self, found: &Found<'_>) -> Result<()> {
        let Found { dir, name, .. } = *found;
        let lower = self.lower;
        if !found.stat.is_dir() {
            return Ok(with_owner_access(lower, dir, || lower.unlink(dir, name))?);
        }
        let sub = &tree::open(lower, dir, name, libc::O_PATH | libc::O_DIRECTORY)?;
        let inside = with_owner_access(lower, sub, || lower.read_dir(sub))?;
        let inside = || inside.iter().map(|e| &*e.name).filter(|name| *name != "." && *name != "..");
        if let Some(other) = inside().find(|name| !tree::is_own_file(name)) {
            let (path, other) = (found.path.display(), other.display());
            log::error!("{path}: a temporary directory holds {other}; left alone");
            return Ok(());
        }
        for name in inside() {
            with_owner_access(lower, sub, || lower.unlink(sub, name))?;
        }
        Ok(with_owner_access(lower, dir, || lower.rmdir(dir, name))?)
    }
}

fn is_leftover(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"kmsfs.tmp.")
}

/// One file being made consistent.
struct Mending<'a> {
    lower: &'a dyn Lower,
    fd: &'a Fd,
    tags: TagCache,
    header: Header,
    key: Arc<FileKey>,
    /// The header's other slot is not authentic; the next one takes its place.
    torn: bool,
    /// Holes were found, or made.
    sparse: bool,
}

impl Mending<'_> {
    fn tag_file(&self) -> TagFile<'_> {
        TagFile { lower: self.lower, fd: self.fd, serial: 0 }
    }

    fn entries(&self, blocks: std::ops::Range<u64>) -> Result<Vec<TagEntry>> {
        let mut entries = Vec::new();
        for run in runs(blocks) {
            self.tags.load(self.tag_file(), run, &mut entries)?;
        }
        Ok(entries)
    }

    /// Does `block` read at plaintext length `len`: does it open, or is it a hole where holes may be?
    fn reads(&self, block: u64, len: usize) -> Result<bool> {
        let entry = self.entries(block..block + 1)?[0];
        if entry.is_hole() {
            return Ok(self.header.slot.sparse);
        }
        let mut buf = vec![0; len];
        if self.lower.pread(self.fd, &mut buf, data_offset(block))? != len {
            return Ok(false);
        }
        let cipher = BlockCipher { key: &self.key, file: &self.header.file_id };
        Ok(cipher.open(&entry, block, &mut buf).is_ok())
    }

    /// Returns whether anything had to change.
    fn mend(&mut self, stat: &Stat, recent: bool) -> Result<bool> {
        let found = plain_len_floor(stat.size);
        let mut len = self.whole_length(found)?;
        let forgotten = self.forget_unwritten(len)?;
        if recent {
            len = self.drop_torn(len)?;
        }
        let slot = &self.header.slot;
        let exact = plain_len(stat.size) == Some(len);
        if exact && slot.sealed_len == len && (slot.sparse || !self.sparse) && !forgotten && !self.torn {
            return Ok(false);
        }
        if !exact {
            let longest = found.max(self.header.slot.sealed_len).max(len + 1);
            cut_in_place(self.tag_file(), &self.tags, longest, len.next_multiple_of(BLOCK))?;
            self.lower.truncate(self.fd, lower_len(len))?;
        }
        let slot = &mut self.header.slot;
        slot.generation += 1;
        slot.sealed_len = len;
        slot.durable_len = slot.durable_len.min(len);
        slot.sparse |= self.sparse;
        let (sector, at) = self.header.encode(&self.key);
        self.lower.pwrite(self.fd, &sector, at)?;
        self.lower.fdatasync(self.fd)?;
        Ok(true)
    }

    /// How much of the `found` bytes is whole: growth that was not sealed counts up to its first gap, and only
    /// if the block it continues grew with it.
    fn whole_length(&mut self, found: u64) -> Result<u64> {
        let sealed = self.header.slot.sealed_len;
        let mut len = found;
        if found > sealed {
            let tail = sealed / BLOCK;
            if !sealed.is_multiple_of(BLOCK) && !self.reads(tail, block_len(tail, found))? {
                return Ok(sealed);
            }
            if !self.header.slot.sparse {
                let grown = blocks_in(sealed)..blocks_in(found);
                let gap = self.entries(grown.clone())?.iter().position(TagEntry::is_hole);
                if let Some(at) = gap {
                    return Ok(((grown.start + at as u64) * BLOCK).max(sealed));
                }
            }
        }
        let tail = len / BLOCK;
        if !len.is_multiple_of(BLOCK) && len != sealed && !self.reads(tail, (len % BLOCK) as usize)? {
            if self.header.slot.sparse {
                // It was a hole before it was filled.
                self.tags.store(self.tag_file(), tail, &[TagEntry::HOLE])?;
            } else {
                len = tail * BLOCK;
            }
        }
        Ok(len)
    }

    /// Blocks whose tag reached the disk and whose data never did, not even as an extent, become holes. In a file
    /// with holes that can be anywhere: a hole is filled in place. Entries behind the end go as well.
    fn forget_unwritten(&mut self, len: u64) -> Result<bool> {
        let mut forgotten = forget_behind(self.tag_file(), &self.tags, len, blocks_in(len))?;
        for run in runs(0..blocks_in(len)) {
            let entries = self.entries(run.clone())?;
            self.sparse |= entries.iter().any(TagEntry::is_hole);
            for (block, _) in run.zip(&entries).filter(|(_, e)| !e.is_hole()) {
                let excused = self.header.slot.sparse || block * BLOCK >= self.header.slot.durable_len;
                if excused && self.has_no_data(block)? {
                    self.tags.store(self.tag_file(), block, &[TagEntry::HOLE])?;
                    self.sparse = true;
                    forgotten = true;
                }
            }
        }
        Ok(forgotten)
    }

    fn has_no_data(&self, block: u64) -> Result<bool> {
        let at = data_offset(block);
        Ok(self.tag_file().next_data(at)?.is_none_or(|data| data >= at + BLOCK))
    }

    /// Blocks that no fsync has covered and that do not open are dropped. In a file with holes they were holes
    /// before; else the file ends before the first of them.
    fn drop_torn(&mut self, len: u64) -> Result<u64> {
        let durable_len = self.header.slot.durable_len;
        for block in durable_len / BLOCK..blocks_in(len) {
            let hole = self.entries(block..block + 1)?[0].is_hole();
            if block * BLOCK < durable_len || hole || self.reads(block, block_len(block, len))? {
                continue;
            }
            if !self.header.slot.sparse {
                return Ok(block * BLOCK);
            }
            self.tags.store(self.tag_file(), block, &[TagEntry::HOLE])?;
        }
        Ok(len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::testing::{Scratch, content};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    /// Runs `work` as a user who is not root, whose `dir` then is.
    fn as_ordinary_user(dir: &Path, work: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() {
            return work();
        }
        const USER: u32 = 65534;
        for path in [dir.to_owned(), dir.join("kmsfs.journal"), dir.join("kmsfs.journal/state")] {
            std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
        }
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let (user, group) = (rustix::fs::Uid::from_raw(USER), rustix::fs::Gid::from_raw(USER));
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                work();
            });
            worker.join().unwrap();
        });
    }

    #[test]
    fn files_whose_modes_keep_out_their_owner_are_mended_and_keep_their_modes() {
        let scratch = Scratch::new(true);
        let modes = [("read-only", 0o444), ("closed", 0), ("dir/inside", 0o400), ("dir", 0)];
        as_ordinary_user(&scratch.dir, || {
            let at = |name: &str| scratch.dir.join(name);
            let set = |name: &str, mode| fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
            fs::create_dir(at("dir")).unwrap();
            let session = scratch.open();
            for (name, _) in &modes[..3] {
                let file = session.create(name);
                file.write(0, &[1; 10_000]).unwrap();
                file.sync(true).unwrap();
                // One change for the replay, one that only a recovery seals.
                file.write(100, &[2; 5000]).unwrap();
                file.write(10_000, &[3; 9000]).unwrap();
                std::mem::forget(file);
            }
            std::mem::forget(session);
            modes.iter().for_each(|(name, mode)| set(name, *mode));

            let session = scratch.open();
            let report = session.recovered.unwrap();
            assert_eq!((report.mended, report.skipped, report.damaged), (3, 0, 0));
            let mode = |name: &str| fs::metadata(at(name)).unwrap().mode() & 0o7777;
            assert_eq!(mode("dir"), 0);
            set("dir", 0o700);
            let mut expected = [vec![1; 10_000], vec![3; 9000]].concat();
            expected[100..5100].fill(2);
            for (name, as_set) in &modes[..3] {
                assert_eq!(mode(name), *as_set, "{name}");
                set(name, 0o600);
                assert!(content(&session.open(name).unwrap()).unwrap() == expected, "{name}");
            }
        });
    }
}
