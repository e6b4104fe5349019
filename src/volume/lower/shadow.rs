//! The lower filesystem for a reader that must change nothing: what is written stays in memory.
//!
//! Opening a volume writes: it marks the volume as in use and, after a session that died, brings the journal into
//! place and mends files. Through a [`ShadowLower`] the very same code does that on pages of memory in front of the
//! lower files, which are only ever opened for reading. So a volume on a read-only filesystem, or one that nobody
//! should touch before it is copied, reads as it would after its recovery.
//!
//! What recovery never does is refused with `EROFS`; what it deletes is not looked at again, so deleting does nothing.
//! Memory holds as much as recovery writes: about what the journal does.

use super::{Fd, Lower, LowerEntry, SetTime, Stat, StatFs, SystemLower, Timespec};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

const PAGE: usize = 4096;

/// The real lower filesystem, behind what was written in memory.
#[derive(Debug, Default)]
pub struct ShadowLower {
    below: SystemLower,
    shadows: RwLock<Shadows>,
}

/// Files that were written to, by device and inode.
type Shadows = HashMap<(u64, u64), Arc<Mutex<Shadow>>>;

/// One file as it would be.
#[derive(Debug)]
struct Shadow {
    size: u64,
    /// The lower file shows below this offset, where no page is in front of it.
    shown: u64,
    /// Pages that were written, or punched: `None`.
    pages: BTreeMap<u64, Option<Box<[u8; PAGE]>>>,
    mtime: Option<Timespec>,
}

impl ShadowLower {
    fn shadow(&self, stat: &Stat) -> Option<Arc<Mutex<Shadow>>> {
        self.shadows.read().get(&(stat.dev, stat.ino)).cloned()
    }

    fn shadow_for_writing(&self, fd: &Fd) -> io::Result<Arc<Mutex<Shadow>>> {
        let stat = self.below.fstat(fd)?;
        let fresh = || Shadow { size: stat.size, shown: stat.size, pages: BTreeMap::new(), mtime: None };
        let mut shadows = self.shadows.write();
        let shadow = shadows.entry((stat.dev, stat.ino)).or_insert_with(|| Arc::new(Mutex::new(fresh())));
        Ok(Arc::clone(shadow))
    }

    fn shadowed(&self, stat: Stat) -> Stat {
        let Some(shadow) = self.shadow(&stat) else { return stat };
        let shadow = shadow.lock();
        let mtime = shadow.mtime.unwrap_or(stat.mtime);
        // Setting the time would have moved the ctime; to before now, for all the session that died can tell.
        let ctime = shadow.mtime.map_or(stat.ctime, |time| stat.ctime.max(time));
        Stat { size: shadow.size, mtime, ctime, ..stat }
    }
}

impl Shadow {
    fn read(&self, below: &SystemLower, fd: &Fd, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let len = (self.size.saturating_sub(at)).min(buf.len() as u64) as usize;
        let shown = (self.shown.saturating_sub(at)).min(len as u64) as usize;
        let found = below.pread(fd, &mut buf[..shown], at)?;
        buf[found..len].fill(0);
        let end = at + len as u64;
        for (number, page) in self.pages.range(at / PAGE as u64..end.div_ceil(PAGE as u64)) {
            let start = number * PAGE as u64;
            let (from, to) = (start.max(at), (start + PAGE as u64).min(end));
            let target = &mut buf[(from - at) as usize..(to - at) as usize];
            match page {
                Some(bytes) => {
                    target.copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                }
                None => target.fill(0),
            }
        }
        Ok(len)
    }

    /// Page `number`, as it is now, to be changed.
    fn page(&mut self, below: &SystemLower, fd: &Fd, number: u64) -> io::Result<&mut [u8; PAGE]> {
        if !matches!(self.pages.get(&number), Some(Some(_))) {
            let mut bytes = Box::new([0; PAGE]);
            self.read(below, fd, &mut bytes[..], number * PAGE as u64)?;
            self.pages.insert(number, Some(bytes));
        }
        let page = self.pages.get_mut(&number).and_then(Option::as_mut);
        Ok(page.expect("just made sure of"))
    }

    fn write(&mut self, below: &SystemLower, fd: &Fd, buf: &[u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let offset = at + done as u64;
            let within = (offset % PAGE as u64) as usize;
            let len = (PAGE - within).min(buf.len() - done);
            let page = self.page(below, fd, offset / PAGE as u64)?;
            page[within..within + len].copy_from_slice(&buf[done..done + len]);
            done += len;
        }
        self.size = self.size.max(at + buf.len() as u64);
        Ok(())
    }

    fn truncate(&mut self, below: &SystemLower, fd: &Fd, size: u64) -> io::Result<()> {
        let tail = (size % PAGE as u64) as usize;
        if size < self.size && tail > 0 {
            self.page(below, fd, size / PAGE as u64)?[tail..].fill(0);
        }
        self.pages.split_off(&size.div_ceil(PAGE as u64));
        self.shown = self.shown.min(size);
        self.size = size;
        Ok(())
    }

    fn next_data(&self, below: &SystemLower, fd: &Fd, at: u64) -> io::Result<Option<u64>> {
        let written = self.pages.range(at / PAGE as u64..).find(|(_, page)| page.is_some());
        let written = written.map(|(number, _)| at.max(number * PAGE as u64));
        let mut from = at;
        let below_it = loop {
            let data = match below.seek(fd, from, libc::SEEK_DATA) {
                Ok(data) if data < self.shown => data,
                Err(err) if err.raw_os_error() != Some(libc::ENXIO) => return Err(err),
                _ => break None,
            };
            let number = data / PAGE as u64;
            if !matches!(self.pages.get(&number), Some(None)) {
                break Some(data);
            }
            from = (number + 1) * PAGE as u64;
        };
        let first = written.into_iter().chain(below_it).min();
        Ok(first.filter(|data| *data < self.size))
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::from_raw_os_error(libc::EROFS))
}

impl Lower for ShadowLower {
    fn open(&self, dir: &Fd, name: &OsStr, flags: i32, mode: u32) -> io::Result<Fd> {
        if flags & libc::O_CREAT != 0 {
            return refused();
        }
        self.below.open(dir, name, flags & !(libc::O_ACCMODE | libc::O_TRUNC) | libc::O_RDONLY, mode)
    }

    fn stat(&self, dir: &Fd, name: &OsStr) -> io::Result<Stat> {
        self.below.stat(dir, name).map(|stat| self.shadowed(stat))
    }

    fn fstat(&self, fd: &Fd) -> io::Result<Stat> {
        self.below.fstat(fd).map(|stat| self.shadowed(stat))
    }

    fn read_dir(&self, dir: &Fd) -> io::Result<Vec<LowerEntry>> {
        self.below.read_dir(dir)
    }

    fn readlink(&self, dir: &Fd, name: &OsStr) -> io::Result<OsString> {
        self.below.readlink(dir, name)
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], at: u64) -> io::Result<usize> {
        match self.shadow(&self.below.fstat(fd)?) {
            Some(shadow) => shadow.lock().read(&self.below, fd, buf, at),
            None => self.below.pread(fd, buf, at),
        }
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], at: u64) -> io::Result<()> {
        self.shadow_for_writing(fd)?.lock().write(&self.below, fd, buf, at)
    }

    fn truncate(&self, fd: &Fd, size: u64) -> io::Result<()> {
        self.shadow_for_writing(fd)?.lock().truncate(&self.below, fd, size)
    }

    fn fallocate(&self, fd: &Fd, mode: i32, at: u64, len: u64) -> io::Result<()> {
        let whole_pages = at.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE as u64);
        if mode != libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE || !whole_pages {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let shadow = self.shadow_for_writing(fd)?;
        let mut shadow = shadow.lock();
        for number in at / PAGE as u64..(at + len) / PAGE as u64 {
            shadow.pages.insert(number, None);
        }
        Ok(())
    }

    fn seek(&self, fd: &Fd, at: u64, whence: i32) -> io::Result<u64> {
        let Some(shadow) = self.shadow(&self.below.fstat(fd)?) else {
            return self.below.seek(fd, at, whence);
        };
        if whence != libc::SEEK_DATA {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let data = shadow.lock().next_data(&self.below, fd, at)?;
        data.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))
    }

    fn utimens(&self, fd: &Fd, _atime: SetTime, mtime: SetTime) -> io::Result<()> {
        let time = match mtime {
            SetTime::At(time) => time,
            SetTime::Now => Timespec::now(),
            SetTime::Omit => return Ok(()),
        };
        self.shadow_for_writing(fd)?.lock().mtime = Some(time);
        Ok(())
    }

    fn get_xattr(&self, dir: &Fd, name: &OsStr, attr: &OsStr) -> io::Result<Vec<u8>> {
        self.below.get_xattr(dir, name, attr)
    }

    fn list_xattr(&self, dir: &Fd, name: &OsStr) -> io::Result<Vec<OsString>> {
        self.below.list_xattr(dir, name)
    }

    fn statfs(&self, fd: &Fd) -> io::Result<StatFs> {
        self.below.statfs(fd)
    }

    /// Nobody can be kept out of a filesystem that takes no locks from readers; then the volume counts as locked.
    fn try_lock(&self, fd: &Fd) -> io::Result<bool> {
        match self.below.try_lock(fd) {
            Err(err)
                if matches!(
                    err.raw_os_error(),
                    Some(libc::EBADF | libc::EROFS | libc::ENOLCK | libc::EOPNOTSUPP)
                ) =>
            {
                log::warn!("the volume cannot be locked ({err}); make sure that nobody has it mounted");
                Ok(true)
            }
            other => other,
        }
    }

    fn fsync(&self, _fd: &Fd) -> io::Result<()> {
        Ok(())
    }

    fn fdatasync(&self, _fd: &Fd) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _fd: &Fd) -> io::Result<()> {
        Ok(())
    }

    fn start_writeback(&self, _fd: &Fd) -> io::Result<()> {
        Ok(())
    }

    fn unlink(&self, _dir: &Fd, _name: &OsStr) -> io::Result<()> {
        Ok(())
    }

    fn rmdir(&self, _dir: &Fd, _name: &OsStr) -> io::Result<()> {
        Ok(())
    }

    /// Asked for where a mode keeps even the owner out, and cannot be lent here.
    fn chmod(&self, _fd: &Fd, _mode: u32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EACCES))
    }

    fn chmod_at(&self, _dir: &Fd, _name: &OsStr, _mode: u32) -> io::Result<()> {
        refused()
    }

    fn chown(&self, _fd: &Fd, _uid: Option<u32>, _gid: Option<u32>) -> io::Result<()> {
        refused()
    }

    fn chown_at(&self, _dir: &Fd, _name: &OsStr, _uid: Option<u32>, _gid: Option<u32>) -> io::Result<()> {
        refused()
    }

    fn utimens_at(&self, _dir: &Fd, _name: &OsStr, _atime: SetTime, _mtime: SetTime) -> io::Result<()> {
        refused()
    }

    fn mkdir(&self, _dir: &Fd, _name: &OsStr, _mode: u32) -> io::Result<()> {
        refused()
    }

    fn mknod(&self, _dir: &Fd, _name: &OsStr, _mode: u32, _rdev: u64) -> io::Result<()> {
        refused()
    }

    fn symlink(&self, _target: &OsStr, _dir: &Fd, _name: &OsStr) -> io::Result<()> {
        refused()
    }

    fn link(&self, _dir: &Fd, _name: &OsStr, _new_dir: &Fd, _new_name: &OsStr) -> io::Result<()> {
        refused()
    }

    fn rename(
        &self,
        _dir: &Fd,
        _name: &OsStr,
        _new_dir: &Fd,
        _new_name: &OsStr,
        _flags: u32,
    ) -> io::Result<()> {
        refused()
    }

    fn set_xattr(
        &self,
        _dir: &Fd,
        _name: &OsStr,
        _attr: &OsStr,
        _value: &[u8],
        _flags: i32,
    ) -> io::Result<()> {
        refused()
    }

    fn remove_xattr(&self, _dir: &Fd, _name: &OsStr, _attr: &OsStr) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::open_root;
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[derive(Debug, Clone)]
    enum Change {
        Write { at: u64, len: usize, byte: u8 },
        Truncate(u64),
        Punch { page: u64, pages: u64 },
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..40_000u64, 0..9000usize, 1..=255u8).prop_map(|(at, len, byte)| Change::Write {
                at,
                len,
                byte
            }),
            (0..50_000u64).prop_map(Change::Truncate),
            (0..12u64, 1..4u64).prop_map(|(page, pages)| Change::Punch { page, pages }),
        ]
    }

    fn apply(lower: &dyn Lower, fd: &Fd, change: &Change) {
        let page = PAGE as u64;
        match *change {
            Change::Write { at, len, byte } => lower.pwrite(fd, &vec![byte; len], at).unwrap(),
            Change::Truncate(size) => lower.truncate(fd, size).unwrap(),
            Change::Punch { page: first, pages } => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                lower.fallocate(fd, mode, first * page, pages * page).unwrap();
            }
        }
    }

    fn open(lower: &dyn Lower, dir: &Path, name: &str) -> Fd {
        lower.open(&open_root(dir).unwrap(), OsStr::new(name), libc::O_RDWR, 0).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn reads_as_the_written_file_would_while_the_real_one_stays(
            original in proptest::collection::vec(1u8.., 0..30_000),
            changes in proptest::collection::vec(change(), 0..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            for name in ["real", "shadowed"] {
                std::fs::write(dir.path().join(name), &original).unwrap();
            }
            let shadow = ShadowLower::default();
            let (real, shadowed) = (open(&SystemLower, dir.path(), "real"), open(&shadow, dir.path(), "shadowed"));
            for change in &changes {
                apply(&SystemLower, &real, change);
                apply(&shadow, &shadowed, change);
            }
            let size = SystemLower.fstat(&real).unwrap().size;
            prop_assert_eq!(shadow.fstat(&shadowed).unwrap().size, size);
            for at in [0, 1, 4095, 8192, 20_000] {
                let (mut expected, mut found) = (vec![7; 60_000], vec![7; 60_000]);
                let n = SystemLower.pread(&real, &mut expected, at).unwrap();
                prop_assert_eq!(shadow.pread(&shadowed, &mut found, at).unwrap(), n);
                prop_assert!(expected[..n] == found[..n], "differs from {}", at);
                // Where it says that there is none, there is no data.
                let mut zeros_from = at;
                while zeros_from < size {
                    let data = shadow.seek(&shadowed, zeros_from, libc::SEEK_DATA).unwrap_or(size);
                    let skipped = &expected[(zeros_from - at) as usize..(data - at) as usize];
                    prop_assert!(skipped.iter().all(|byte| *byte == 0));
                    zeros_from = data + PAGE as u64;
                }
            }
            prop_assert_eq!(std::fs::read(dir.path().join("shadowed")).unwrap(), original);
        }
    }

    #[test]
    fn times_are_kept_in_memory_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"content").unwrap();
        let (shadow, root) = (ShadowLower::default(), open_root(dir.path()).unwrap());
        let fd = open(&shadow, dir.path(), "file");
        let before = SystemLower.fstat(&fd).unwrap();
        let time = Timespec { sec: before.ctime.sec + 100, nsec: 5 };
        shadow.utimens(&fd, SetTime::Omit, SetTime::At(time)).unwrap();
        let stat = shadow.stat(&root, OsStr::new("file")).unwrap();
        assert_eq!((stat.mtime, stat.ctime, stat.atime), (time, time, before.atime));
        assert_eq!(SystemLower.fstat(&fd).unwrap().mtime, before.mtime);

        let made = shadow.open(&root, OsStr::new("new"), libc::O_RDWR | libc::O_CREAT, 0o600);
        assert_eq!(made.unwrap_err().raw_os_error(), Some(libc::EROFS));
        shadow.unlink(&root, OsStr::new("file")).unwrap();
        assert!(dir.path().join("file").exists());
    }
}
