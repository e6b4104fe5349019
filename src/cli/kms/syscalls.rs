//! The system calls that the service can make.
//!
//! What is not on the list is refused with EPERM, so that a library that tries something new goes on without it. What
//! only somebody else's code would try (running a program, looking into other processes, loading things into the kernel)
//! ends the process at once, before it could be tried another way.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Calls by their numbers, with what their arguments must be: one of several rules, or anything if there is none.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

const MEMORY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_memfd_secret,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munlock,
    libc::SYS_munmap,
];

const THREADS: &[c_long] = &[
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// Which files, is up to Landlock.
const FILES: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchown,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

const CONNECTIONS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// Older forms of the above that the C library still uses.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What a keystore on a server takes besides.
const REMOTE: &[c_long] = &[libc::SYS_connect];

/// Calls that say which mode a file has, and in which argument.
#[cfg(target_arch = "x86_64")]
const MODES: &[(c_long, u8)] = &[(libc::SYS_fchmod, 1), (libc::SYS_openat, 3), (libc::SYS_open, 2)];
#[cfg(not(target_arch = "x86_64"))]
const MODES: &[(c_long, u8)] = &[(libc::SYS_fchmod, 1), (libc::SYS_openat, 3)];
/// The bits S_ISUID and S_ISGID.
const SET_IDS: u64 = 0o6000;
/// The part of a socket's type that is not flags (SOCK_TYPE_MASK of Linux).
const SOCKET_KIND: u64 = 0xf;
/// Commands of fcntl(2) that choose who is signalled (Linux, fcntl.h).
const F_SETOWN: u64 = 8;
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;

/// Terminals' modes, for a passphrase; and what libraries do with sockets.
const IOCTLS: &[u32] = &[
    0x5401,      // TCGETS
    0x5402,      // TCSETS
    0x5403,      // TCSETSW
    0x5404,      // TCSETSF
    0x5413,      // TIOCGWINSZ
    0x541b,      // FIONREAD
    0x5421,      // FIONBIO
    0x5451,      // FIOCLEX
    0x802c_542a, // TCGETS2
    0x402c_542b, // TCSETS2
    0x402c_542c, // TCSETSW2
    0x402c_542d, // TCSETSF2
];

/// Names of threads and of the allocator's memory.
const PRCTLS: &[i32] = &[libc::PR_SET_NAME, libc::PR_SET_VMA];

/// What nothing in this program does.
const DEADLY: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Restricts this thread, and those that it will start, to what the service needs; with a keystore on a server
/// (`remote`), to what that takes too.
///
/// # Errors
/// The kernel has no such filters, or this machine's processor is not known here.
pub(super) fn restrict(remote: bool) -> Result<(), seccompiler::Error> {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filters = [
        compile(all(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?,
        // Its flags are in memory, where no filter looks. The C library then makes its threads with the other one.
        compile(all(&[libc::SYS_clone3]), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?,
        compile(needed(remote)?, refused, SeccompAction::Allow)?,
    ];
    // The last is the list that has no place for installing another.
    filters.iter().try_for_each(|filter| apply_filter(filter))
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, BackendError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, others, these, processor)?.try_into()
}

fn all(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn needed(remote: bool) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for group in [MEMORY, THREADS, FILES, CONNECTIONS, OLDER, if remote { REMOTE } else { &[] }] {
        rules.append(&mut all(group));
    }
    // For clone3, the other filter has the word.
    rules.append(&mut all(&[libc::SYS_clone3]));
    rules.insert(libc::SYS_clone, vec![threads_only()?]);
    let (int, pointer) = (&Width::Dword, &Width::Qword);
    rules.insert(libc::SYS_ioctl, one_of(1, int, IOCTLS.iter().copied().map(u64::from))?);
    rules.insert(libc::SYS_prctl, one_of(0, int, PRCTLS.iter().map(|option| number(*option)))?);
    rules.append(&mut files()?);
    rules.append(&mut sockets(remote)?);
    // Limits may be read.
    rules.insert(libc::SYS_prlimit64, one_of(2, pointer, [0])?);
    // An abort, and nothing to other processes.
    rules.insert(libc::SYS_tgkill, one_of(0, int, [u64::from(std::process::id())])?);
    Ok(rules)
}

/// Files without set-user-ID and set-group-ID: they would run with this process's rights for whoever starts them. And nothing
/// that has the kernel signal other processes.
fn files() -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for (call, mode) in MODES {
        rules.insert(*call, vec![SeccompRule::new(vec![without(*mode, SET_IDS)?])?]);
    }
    let signals = [F_SETOWN, F_SETSIG, F_SETOWN_EX];
    let other = |command| SeccompCondition::new(1, Width::Dword, Is::Ne, command);
    let none = signals.into_iter().map(other).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(none)?]);
    Ok(rules)
}

/// Sockets of streams, and of datagrams for name servers and the service manager; none that connects by sending.
fn sockets(remote: bool) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let network = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let families = if remote { &network[..] } else { &network[..1] };
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
    let protocols = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
    let mut allowed = Vec::new();
    for family in families {
        for kind in kinds {
            for protocol in protocols {
                allowed.push(SeccompRule::new(vec![
                    SeccompCondition::new(0, Width::Dword, Is::Eq, number(*family))?,
                    SeccompCondition::new(1, Width::Dword, Is::MaskedEq(SOCKET_KIND), number(kind))?,
                    SeccompCondition::new(2, Width::Dword, Is::Eq, number(protocol))?,
                ])?);
            }
        }
    }
    rules.insert(libc::SYS_socket, allowed);
    let stream =
        SeccompCondition::new(1, Width::Dword, Is::MaskedEq(SOCKET_KIND), number(libc::SOCK_STREAM))?;
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![stream])?]);
    let fast_open = number(libc::MSG_FASTOPEN);
    let sending = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)];
    for (call, flags) in &sending[..if remote { 3 } else { 2 }] {
        rules.insert(*call, vec![SeccompRule::new(vec![without(*flags, fast_open)?])?]);
    }
    Ok(rules)
}

/// None of these bits is set in an argument.
fn without(argument: u8, bits: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Width::Dword, Is::MaskedEq(bits), 0)
}

/// clone(2) of a thread, in the namespaces of the others.
fn threads_only() -> Result<SeccompRule, BackendError> {
    let namespaces = libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWUTS;
    let looked_at = number(namespaces | libc::CLONE_THREAD);
    let thread = number(libc::CLONE_THREAD);
    SeccompRule::new(vec![SeccompCondition::new(0, Width::Qword, Is::MaskedEq(looked_at), thread)?])
}

/// Rules that a call's argument, as wide as the kernel reads it, is one of `values`.
fn one_of(
    argument: u8,
    width: &Width,
    values: impl IntoIterator<Item = u64>,
) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value| SeccompRule::new(vec![SeccompCondition::new(argument, width.clone(), Is::Eq, value)?]);
    values.into_iter().map(rule).collect()
}

/// The bits of a C constant.
fn number(constant: libc::c_int) -> u64 {
    u64::from(constant.cast_unsigned())
}
