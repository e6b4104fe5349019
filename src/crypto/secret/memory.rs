//! Memory for secrets: pages that are locked (mlock), left out of core dumps (MADV_DONTDUMP), and zeroed slot by
//! slot when freed.
//!
//! A lock costs whole pages and RLIMIT_MEMLOCK is often 8 MiB, so small secrets share pages: a pool for each of
//! [`SLOT_SIZES`] carves [`CHUNK_SIZE`] of locked memory at a time into slots of that size. A thousand keys
//! take 32 KiB. Chunks are kept for reuse, so a pool stays as large as its peak. Larger secrets get a mapping of
//! their own, returned when they are dropped.
//!
//! A process that holds keys for others can have pages that nobody else reaches ([`hide`]): memfd_secret(2) takes them
//! out of the kernel's own view of memory, so that neither ptrace nor /proc/PID/mem shows them, not even to root. They
//! cannot be swapped either. The machine cannot hibernate meanwhile, so a mount on somebody's laptop does without.
//!
//! Where locking is refused (limit reached, no permission), secrets still work, in memory that could be swapped
//! out; this is logged once.
//!
//! Invariant on which all `unsafe` here rests: a slot belongs either to exactly one [`Locked`] or to the free
//! list of its pool, and a chunk is never unmapped.

#![expect(
    unsafe_code,
    reason = "mmap and its kin; slices over memory that this module hands out once at a time"
)]

use std::alloc::Layout;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use zeroize::Zeroize;

/// Keys; wrapped keys and passphrases; the largest KMS plaintext and any line of input.
const SLOT_SIZES: [usize; 3] = [32, 256, 4096];
/// Four pages: small enough that one chunk of each pool fits in the 64 KiB lock limit of older systems.
const CHUNK_SIZE: usize = 16 * 1024;

const _: () = {
    let mut i = 0;
    while i < SLOT_SIZES.len() {
        assert!(CHUNK_SIZE.is_multiple_of(SLOT_SIZES[i]), "slots fill a chunk exactly");
        i += 1;
    }
};

static POOLS: [Mutex<Pool>; SLOT_SIZES.len()] =
    [const { Mutex::new(Pool { free: Vec::new() }) }; SLOT_SIZES.len()];

/// The free slots of one size, all of them zero.
struct Pool {
    free: Vec<Slot>,
}

/// The start of a slot nobody uses.
struct Slot(NonNull<u8>);

// SAFETY: a slot is memory that belongs to no thread in particular.
unsafe impl Send for Slot {}

/// Exclusive ownership of `len` bytes of protected memory, zeroed when dropped.
pub(super) struct Locked {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: `Locked` owns its bytes alone, like `Box<[u8]>`: moving it moves the ownership, and through a shared
// reference they can only be read.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// `len` zero bytes.
    pub(super) fn zeroed(len: usize) -> Locked {
        let start = match pool_index(len) {
            Some(index) => POOLS[index].lock().take(SLOT_SIZES[index]),
            None => map_protected(len),
        };
        Locked { start, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: by the module's invariant these `len` initialised bytes are ours alone until drop, and `&self`
        // keeps `as_mut_slice` away.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes the borrow exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
        match pool_index(self.len) {
            Some(index) => POOLS[index].lock().free.push(Slot(self.start)),
            // SAFETY: `zeroed` mapped exactly this range for this value, and no slice of it outlives the value.
            // Unmapping unlocks. It can only fail for arguments mmap would not have given out.
            None => unsafe {
                libc::munmap(self.start.as_ptr().cast(), self.len);
            },
        }
    }
}

impl Pool {
    fn take(&mut self, slot_size: usize) -> NonNull<u8> {
        if self.free.is_empty() {
            let chunk = map_protected(CHUNK_SIZE);
            self.free.extend((0..CHUNK_SIZE).step_by(slot_size).map(|offset| {
                // SAFETY: `offset` is less than the chunk's length.
                Slot(unsafe { chunk.add(offset) })
            }));
        }
        self.free.pop().expect("a chunk holds at least one slot").0
    }
}

/// The pool with the smallest slots that hold `len` bytes.
fn pool_index(len: usize) -> Option<usize> {
    SLOT_SIZES.iter().position(|&slot_size| len <= slot_size)
}

/// Whether new pages are hidden.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// See [`super::hide_secrets`].
pub(super) fn hide() -> io::Result<()> {
    let tried = map_hidden(1)?;
    // SAFETY: just mapped, and nobody has it.
    unsafe { libc::munmap(tried.as_ptr().cast(), 1) };
    HIDDEN.store(true, Ordering::Relaxed);
    Ok(())
}

/// Fresh zero pages for `len` bytes that only this process can reach.
fn map_hidden(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: integer arguments only.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned the descriptor to us; nothing else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let size = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; it outlives the descriptor.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(mapped.cast()).expect("mmap without MAP_FIXED does not return address zero"))
}

/// Fresh zero pages for `len` bytes, locked and left out of core dumps as far as the kernel allows.
fn map_protected(len: usize) -> NonNull<u8> {
    if HIDDEN.load(Ordering::Relaxed)
        && let Ok(hidden) = map_hidden(len)
    {
        return hidden;
    }
    // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
    let mapped = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        let layout = Layout::array::<u8>(len).expect("secrets are far smaller than the address space");
        std::alloc::handle_alloc_error(layout);
    }
    // SAFETY: `mapped` is a mapping of `len` bytes; neither call changes its content.
    let locked = unsafe {
        libc::madvise(mapped, len, libc::MADV_DONTDUMP);
        libc::mlock(mapped, len)
    };
    if locked != 0 {
        warn_unlocked(io::Error::last_os_error());
    }
    NonNull::new(mapped.cast()).expect("mmap without MAP_FIXED does not return address zero")
}

fn warn_unlocked(error: io::Error) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::warn!(
            "cannot lock memory for keys ({error}): they could reach swap; \
             raise the limit (ulimit -l, LimitMEMLOCK=) or encrypt swap"
        );
    });
}

/// See [`super::harden_process`].
pub(super) fn harden_process() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    set_limit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 })?;

    let mut lockable = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit`, which the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut lockable) } == 0 {
        lockable.rlim_cur = lockable.rlim_max;
        // Best effort: a refusal leaves the limit as it was, and running into it is reported by then.
        let _ = set_limit(libc::RLIMIT_MEMLOCK, &lockable);
    }
    Ok(())
}

/// See [`super::lock_all_memory`].
pub(super) fn lock_all_memory() -> io::Result<()> {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // Under any other limit, every allocation past it would fail.
    set_limit(libc::RLIMIT_MEMLOCK, &unlimited)?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the pointer is to a live `rlimit`, which the call only reads.
    check(unsafe { libc::setrlimit(resource, limit) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The block of `/proc/self/smaps` for the mapping that holds `address`.
    fn smaps_of(address: usize) -> String {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut found = None;
        for line in smaps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let bounds = range.and_then(|(from, to)| {
                Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
            });
            match (bounds, &mut found) {
                (Some((from, to)), None) if (from..to).contains(&address) => found = Some(String::new()),
                (Some(_), Some(_)) => break,
                (None, Some(block)) => *block += &format!("{line}\n"),
                _ => {}
            }
        }
        found.expect("the address is mapped")
    }

    #[test]
    fn pages_are_locked_and_left_out_of_core_dumps() {
        for len in [32, 256, 4096, 10_000] {
            let secret = Locked::zeroed(len);
            let smaps = smaps_of(secret.start.as_ptr() as usize);
            let flags = smaps.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
            assert!(flags.contains(" dd"), "{len}: not left out of dumps: {flags}");
            assert!(flags.contains(" lo"), "{len}: not locked: {flags}");
        }
    }

    #[test]
    fn hidden_pages_show_to_nobody_else_and_work_like_any() {
        if !in_child() {
            return rerun_in_child("hidden_pages_show_to_nobody_else_and_work_like_any");
        }
        if let Err(error) = hide() {
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "only a kernel without it is an excuse");
            return;
        }
        let mut secret = Locked::zeroed(32);
        secret.as_mut_slice().fill(0x5a);
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let at = secret.start.as_ptr() as u64;
        std::os::unix::fs::FileExt::read_at(&memory, &mut [0; 32], at).unwrap_err();
        assert!(secret.as_slice().iter().all(|byte| *byte == 0x5a));
        let large = Locked::zeroed(10_000);
        assert!(large.as_slice().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn live_slots_never_overlap_and_come_back_zeroed() {
        for round in 0..3u8 {
            let mut secrets: Vec<Locked> =
                (0..2000).map(|i| Locked::zeroed([32, 1, 200, 4096][i % 4])).collect();
            for (i, secret) in secrets.iter_mut().enumerate() {
                assert!(secret.as_slice().iter().all(|&byte| byte == 0), "round {round}, slot {i}");
                secret.as_mut_slice().fill(i as u8 ^ round);
            }
            for (i, secret) in secrets.iter().enumerate() {
                assert!(
                    secret.as_slice().iter().all(|&byte| byte == i as u8 ^ round),
                    "round {round}, slot {i}"
                );
            }
        }
    }

    #[test]
    fn threads_share_the_pools() {
        std::thread::scope(|scope| {
            for thread in 1..=4u8 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let mut secret = Locked::zeroed(32);
                        assert_eq!(secret.as_slice(), [0; 32]);
                        secret.as_mut_slice().fill(thread);
                        std::hint::black_box(&secret);
                        assert_eq!(secret.as_slice(), [thread; 32]);
                    }
                });
            }
        });
    }

    /// Runs the test `name` again in a process of its own, where [`in_child`] is true: limits, user ids and
    /// dumpability belong to the whole process, and the other tests run in this one.
    fn rerun_in_child(name: &str) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("crypto::secret::memory::tests::{name}"), "--nocapture"])
            .env("KMSFS_TEST_CHILD", "1")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && shown.contains("1 passed"), "{shown}{output:?}");
    }

    fn in_child() -> bool {
        std::env::var_os("KMSFS_TEST_CHILD").is_some()
    }

    #[test]
    fn secrets_work_where_locking_is_refused() {
        if !in_child() {
            return rerun_in_child("secrets_work_where_locking_is_refused");
        }
        static WARNINGS: CountWarnings = CountWarnings(std::sync::atomic::AtomicU32::new(0));
        log::set_logger(&WARNINGS).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        set_limit(libc::RLIMIT_MEMLOCK, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }).unwrap();
        // Root may lock past the limit. SAFETY: integer arguments only.
        if unsafe { libc::geteuid() } == 0 {
            check(unsafe { libc::setresuid(65534, 65534, 65534) }).unwrap();
        }

        for len in [32, 256, 4096, 10_000] {
            let mut secret = Locked::zeroed(len);
            secret.as_mut_slice().fill(1);
            assert!(secret.as_slice().iter().all(|&byte| byte == 1));
        }
        assert_eq!(WARNINGS.0.load(Ordering::Relaxed), 1, "warned once");
    }

    struct CountWarnings(std::sync::atomic::AtomicU32);

    impl log::Log for CountWarnings {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            assert!(record.args().to_string().contains("cannot lock memory"), "{}", record.args());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn flush(&self) {}
    }

    #[test]
    fn a_hardened_process_leaves_no_core() {
        if !in_child() {
            return rerun_in_child("a_hardened_process_leaves_no_core");
        }
        harden_process().unwrap();
        let mut core = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: integer arguments only, then a pointer to a live `rlimit`.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
            assert_eq!(libc::getrlimit(libc::RLIMIT_CORE, &mut core), 0);
        }
        assert_eq!((core.rlim_cur, core.rlim_max), (0, 0));
    }

    #[test]
    fn all_memory_is_locked_or_the_caller_is_told() {
        if !in_child() {
            return rerun_in_child("all_memory_is_locked_or_the_caller_is_told");
        }
        let outcome = lock_all_memory();
        let buffer = vec![1u8; 1 << 20];
        let smaps = smaps_of(buffer.as_ptr() as usize);
        let flags = smaps.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert_eq!(flags.contains(" lo"), outcome.is_ok(), "{outcome:?}: {flags}");
    }

    #[test]
    fn a_small_slot_is_used_for_a_small_secret() {
        assert_eq!([0, 1, 32, 33, 256, 257, 4096].map(pool_index), [0, 0, 0, 1, 1, 2, 2].map(Some));
        assert_eq!(pool_index(4097), None);
    }
}
