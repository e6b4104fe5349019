//! Between the filesystem's words and fuser's.

use crate::fs::{Attr, Caller, SetTime, Timespec};
use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What `stat` names as the preferred I/O size: one block. Larger values make sparse copies coarser.
const BLOCK_SIZE: u32 = 4096;

pub(crate) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

pub(crate) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: kind_of_mode(attr.mode),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        // The kernel's wire format and Linux's dev_t agree in their low 32 bits, and it has no others here.
        rdev: attr.rdev as u32,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Attributes that say "no such name" in a lookup's reply (node 0), and that stand for `.` and `..` in a
/// listing with attributes, where the kernel looks at number and type only.
pub(crate) fn bare(ino: u64, kind: FileType) -> FileAttr {
    let zero = Timespec::default();
    let mode = if kind == FileType::Directory { libc::S_IFDIR } else { libc::S_IFREG };
    attr(&Attr {
        ino,
        size: 0,
        blocks: 0,
        atime: zero,
        mtime: zero,
        ctime: zero,
        mode,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
    })
}

fn kind_of_mode(mode: u32) -> FileType {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

/// From a `DT_*` code, which is the type bits of a mode shifted.
pub(crate) fn kind_of_dirent(kind: u8) -> FileType {
    kind_of_mode(u32::from(kind) << 12)
}

fn system_time(time: Timespec) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nsec));
    let whole = Duration::from_secs(time.sec.unsigned_abs());
    let second = if time.sec >= 0 { UNIX_EPOCH.checked_add(whole) } else { UNIX_EPOCH.checked_sub(whole) };
    second.and_then(|t| t.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(crate) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Omit,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(requested_time(time)),
    }
}

/// The time a request carried, taken back out of fuser's `SystemTime`.
///
/// Before 1970, fuser 0.18 turns the wire's `(-s, ns)`, which means ns *after* second -s, into the moment ns
/// *before* it. So its distance from the epoch still holds both numbers as they were sent.
fn requested_time(time: SystemTime) -> Timespec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec { sec: after.as_secs() as i64, nsec: after.subsec_nanos() },
        Err(before) => {
            let distance = before.duration();
            Timespec { sec: 0i64.wrapping_sub_unsigned(distance.as_secs()), nsec: distance.subsec_nanos() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// fuser 0.18's `time::system_time_from_time`, which is private there.
    fn as_fuser_reads(sec: i64, nsec: u32) -> SystemTime {
        if sec >= 0 {
            UNIX_EPOCH + Duration::new(sec as u64, nsec)
        } else {
            UNIX_EPOCH - Duration::new(sec.unsigned_abs(), nsec)
        }
    }

    proptest! {
        #[test]
        fn requested_times_arrive_as_they_were_sent(sec in -(1i64 << 40)..1i64 << 40, nsec in 0u32..1_000_000_000) {
            prop_assert_eq!(requested_time(as_fuser_reads(sec, nsec)), Timespec { sec, nsec });
        }

        #[test]
        fn answered_times_are_the_moment_meant(sec in -(1i64 << 40)..1i64 << 40, nsec in 0u32..1_000_000_000) {
            let nanos = i128::from(sec) * 1_000_000_000 + i128::from(nsec);
            let got = match system_time(Timespec { sec, nsec }).duration_since(UNIX_EPOCH) {
                Ok(after) => after.as_nanos() as i128,
                Err(before) => -(before.duration().as_nanos() as i128),
            };
            prop_assert_eq!(got, nanos);
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for sec in [i64::MIN, i64::MAX] {
            let _ = system_time(Timespec { sec, nsec: 999_999_999 });
        }
        assert_eq!(requested_time(as_fuser_reads(i64::MIN, 0)).sec, i64::MIN);
    }

    #[test]
    fn types_survive() {
        for (dt, mode) in
            [(libc::DT_DIR, libc::S_IFDIR), (libc::DT_REG, libc::S_IFREG), (libc::DT_LNK, libc::S_IFLNK)]
        {
            assert_eq!(kind_of_dirent(dt), kind_of_mode(mode | 0o7777));
        }
    }
}
