//! Calls that the service does not need, made by its own process.

use super::{Service, Volume};
use crate::inject::{Injection, Outcome, Outcome::Returned};
use libc::{EACCES, EPERM, c_long};
use std::ffi::CString;

const READ: u64 = libc::O_RDONLY as u64;
const CREATE: u64 = (libc::O_WRONLY | libc::O_CREAT) as u64;
const HERE: u64 = libc::AT_FDCWD as u64;

fn refused(errno: i32) -> Outcome {
    Returned(-i64::from(errno))
}

fn open(intruder: &Injection, path: &str, flags: u64) -> Outcome {
    let path = intruder.text(&CString::new(path).unwrap());
    intruder.call(libc::SYS_openat, [HERE, path, flags, 0o600, 0, 0])
}

#[test]
fn files_that_are_not_its_own_are_out_of_reach() {
    let volume = Volume::bare();
    volume.keystore_create();
    let service = Service::start(&volume, &[]);
    let intruder = Injection::into(&service.process);
    let own = volume.keystore();
    let opened = open(&intruder, own.to_str().unwrap(), READ);
    assert!(matches!(opened, Returned(fd) if fd > 2), "the probe works: {opened:?}");
    let beside = own.with_file_name("made").display().to_string();
    assert!(matches!(open(&intruder, &beside, CREATE), Returned(fd) if fd > 2), "SQLite makes files");
    for path in ["/etc/passwd", "/proc/self/environ", "/proc/self/mem", "/", "/root"] {
        assert_eq!(open(&intruder, path, READ), refused(EACCES), "{path}");
    }
    for path in [volume.scratch("new"), volume.home().join("new")] {
        assert_eq!(open(&intruder, path.to_str().unwrap(), CREATE), refused(EACCES), "{path:?}");
        assert!(!path.exists());
    }
    drop(intruder);
    service.works();
}

#[test]
fn calls_that_it_does_not_need_are_refused() {
    let volume = Volume::bare();
    volume.keystore_create();
    let service = Service::start(&volume, &[]);
    let intruder = Injection::into(&service.process);
    let own = i64::from(service.process.id());
    assert_eq!(intruder.call(libc::SYS_getpid, [0; 6]), Returned(own), "the probe works");
    let number = |value: i32| value as u64;
    let (stream, child) = (number(libc::SOCK_STREAM), number(libc::SIGCHLD));
    let parent = u64::from(std::process::id());
    let (set_uid, create) = (0o4755, number(libc::O_CREAT | libc::O_WRONLY));
    let calls: [(&str, c_long, [u64; 6]); 17] = [
        ("a connection", libc::SYS_socket, [number(libc::AF_INET), stream, 0, 0, 0, 0]),
        ("a raw socket", libc::SYS_socket, [number(libc::AF_NETLINK), number(libc::SOCK_RAW), 0, 0, 0, 0]),
        ("connect", libc::SYS_connect, [0; 6]),
        ("listen", libc::SYS_listen, [0; 6]),
        ("a child", libc::SYS_clone, [child, 0, 0, 0, 0, 0]),
        ("another user", libc::SYS_setuid, [0; 6]),
        ("a signal", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        ("a signal to a thread of another", libc::SYS_tgkill, [parent, parent, 0, 0, 0, 0]),
        ("to be looked at", libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0]),
        ("typing for somebody", libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0, 0]),
        ("a program that runs as it", libc::SYS_fchmod, [0, set_uid, 0, 0, 0, 0]),
        ("a file of such a program", libc::SYS_openat, [0, 0, create, set_uid, 0, 0]),
        ("a connection by sending", libc::SYS_sendto, [0, 0, 0, number(libc::MSG_FASTOPEN), 0, 0]),
        (
            "a pair of datagram sockets",
            libc::SYS_socketpair,
            [number(libc::AF_UNIX), number(libc::SOCK_DGRAM), 0, 0, 0, 0],
        ),
        (
            "a socket of sequenced packets",
            libc::SYS_socket,
            [number(libc::AF_UNIX), number(libc::SOCK_SEQPACKET), 0, 0, 0, 0],
        ),
        ("the kernel's signals for another", libc::SYS_fcntl, [0, number(libc::F_SETOWN), parent, 0, 0, 0]),
        ("another filter", libc::SYS_seccomp, [0; 6]),
    ];
    for (what, number, arguments) in calls {
        assert_eq!(intruder.call(number, arguments), refused(EPERM), "{what}");
    }
    drop(intruder);
    service.works();
}

#[test]
fn calls_that_only_an_intruder_makes_end_it() {
    let volume = Volume::bare();
    volume.keystore_create();
    for (what, number) in [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("bpf", libc::SYS_bpf),
        ("finit_module", libc::SYS_finit_module),
        ("mount", libc::SYS_mount),
        ("keyctl", libc::SYS_keyctl),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
    ] {
        let service = Service::start(&volume, &["--no-audit"]);
        let intruder = Injection::into(&service.process);
        assert_eq!(intruder.call(number, [0; 6]), Outcome::Killed(libc::SIGSYS), "{what}");
    }
}
