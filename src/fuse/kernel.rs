//! What is agreed with the kernel when a mount begins, and what is tuned after it.

use super::mount::Mounted;
use fuser::{InitFlags, KernelConfig};

/// The largest request: as much as `fs.fuse.max_pages_limit` (256 pages) lets through by default.
const MAX_WRITE: u32 = 1 << 20;

/// Read-ahead and asynchronous direct requests under way at once; the kernel's default of 12 leaves cores idle.
pub(super) const MAX_BACKGROUND: u16 = 128;

/// The read-ahead the kernel is asked for after mounting, so that buffered reads arrive as whole [`MAX_WRITE`]
/// requests; its default is 128 KiB.
const READ_AHEAD_KIB: u32 = 2048;

/// Wanted where the kernel has them, each for its reason. Not wanted, since fuser 0.18 takes them but does not
/// serve them: SETXATTR_EXT, OVER_IO_URING, ALLOW_IDMAP, CREATE_SUPP_GROUP. Not wanted, since locks are best
/// left to the kernel when no other machine shares them: POSIX_LOCKS, FLOCK_LOCKS. Not wanted, since it makes
/// the kernel the owner of sizes and times: WRITEBACK_CACHE. Not wanted, since every change passes through the
/// kernel: AUTO_INVAL_DATA. Not wanted, since with it opening a running program with O_TRUNC cuts the program
/// before it is refused with ETXTBSY: ATOMIC_O_TRUNC.
const WANTED: &[InitFlags] = &[
    // Several reads of a file, and several lookups in a directory, at once.
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_ASYNC_DIO,
    // Requests of MAX_WRITE bytes.
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_MAX_PAGES,
    // Fewer requests: attributes with the listing, targets of links kept.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    // Without it the kernel asks for security.capability before every single write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // ACLs: checked by the kernel; the umask comes along, since a default ACL overrides it.
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
    // Shared mappings of files opened with O_DIRECT.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

/// What was agreed, as far as it changes how requests are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The kernel checks permissions.
    pub(crate) kernel_checks: bool,
    /// `FOPEN_DIRECT_IO` is safe beside buffered handles of the same file: the kernels that can map such a
    /// file (Linux 6.6) are those that drop its cached pages at a direct write.
    pub(crate) direct_io: bool,
}

impl Terms {
    /// Asks for everything in [`WANTED`] that the kernel offers.
    pub(crate) fn negotiate(&mut self, config: &mut KernelConfig) {
        for &flag in WANTED {
            // With it the kernel checks permissions, asked to or not.
            if flag == InitFlags::FUSE_POSIX_ACL && !self.kernel_checks {
                continue;
            }
            if config.add_capabilities(flag).is_err() {
                log::info!("this kernel does not offer {flag:?}");
            }
        }
        // Each setter answers with the nearest value it takes, which then is the right one.
        if let Err(nearest) = config.set_max_write(MAX_WRITE) {
            let _ = config.set_max_write(nearest);
        }
        if let Err(nearest) = config.set_max_readahead(READ_AHEAD_KIB << 10) {
            let _ = config.set_max_readahead(nearest);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config.set_congestion_threshold(MAX_BACKGROUND / 4 * 3);
        self.direct_io = config.capabilities().contains(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
    }
}

/// Raises the read-ahead of a mount whose agreement stands. Only root may; without it reads are smaller.
pub(crate) fn raise_read_ahead(mounted: &Mounted) {
    let path = format!("/sys/class/bdi/{}/read_ahead_kb", mounted.device());
    if let Err(e) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) {
        log::info!("read-ahead stays at the kernel's default: {path}: {e}");
    }
}
