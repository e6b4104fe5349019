//! The process's limit of open descriptors, and who may use how much of it.
//!
//! What applications hold open cannot be chosen; what kmsfs keeps open for speed can:
//!
//! | kept open | share of the limit | at most |
//! |---|---|---|
//! | directories that were used | a quarter | 1024 |
//! | files with changes in the journal, until a checkpoint | a quarter | 65536 |
//! | directory records that are not durable yet | an eighth | 256 |
//!
//! So with the usual limit of 1024, which nothing but a stricter administrator keeps it from raising, three eighths
//! are left for files that are open, for the journal and for the kernel's requests.

#![expect(unsafe_code, reason = "two system calls that are given valid pointers")]

use std::io;

/// What is assumed where the limit cannot be asked for: the default of Linux.
const USUAL: u64 = 1024;

/// Raises the limit to the hard limit, to be done before anything of a volume is opened; returns what holds then.
///
/// # Errors
/// The errno of `setrlimit`; the limit is then as it was.
pub fn raise_limit() -> io::Result<u64> {
    let mut limit = limit()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One `divisor`th of the limit as it is now, at most `most` and at least a few.
pub fn share(divisor: u64, most: usize) -> usize {
    let limit = limit().map_or(USUAL, |limit| limit.rlim_cur);
    usize::try_from(limit / divisor).unwrap_or(most).clamp(16, most)
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}
