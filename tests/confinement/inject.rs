//! System calls made by another process, as somebody who has come to run code in it would make them: ptrace(2) has the
//! process run the `syscall` instruction that it waits in with other arguments.
#![allow(unsafe_code, reason = "ptrace has no safe form")]

use crate::common::tools::need_root;
use std::ffi::{CStr, c_long};
use std::io;
use std::process::Child;
use std::time::Duration;

/// Below what a function of the C ABI may use of its caller's stack.
const BELOW_STACK: u64 = 4096;
/// `syscall`
const INSTRUCTION: [u8; 2] = [0x0f, 0x05];

/// A process whose first thread is stopped in a system call; it goes on with it when this is dropped.
pub struct Injection {
    pid: i32,
    before: libc::user_regs_struct,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its result; an error number with a minus sign.
    Returned(i64),
    /// This signal ended the process.
    Killed(i32),
}

impl Injection {
    pub fn into(process: &Child) -> Injection {
        need_root(); // the process lets nobody else look into it
        let pid = process.id() as i32;
        for _ in 0..1000 {
            request(libc::PTRACE_ATTACH, pid, 0, 0).unwrap();
            assert!(libc::WIFSTOPPED(wait(pid)), "it stops");
            let injection = Injection { pid, before: registers(pid) };
            let word = injection.peek(injection.before.rip - 2).to_ne_bytes();
            if word[..2] == INSTRUCTION {
                return injection;
            }
            drop(injection);
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("its first thread does not come to wait in a system call");
    }

    /// Makes a call.
    pub fn call(&self, number: c_long, arguments: [u64; 6]) -> Outcome {
        let mut registers = self.before;
        registers.rip -= 2;
        registers.rax = number as u64;
        registers.orig_rax = u64::MAX; // no call that would have to be begun again
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
        set_registers(self.pid, &registers);
        request(libc::PTRACE_SINGLESTEP, self.pid, 0, 0).unwrap();
        match wait(self.pid) {
            status if libc::WIFSIGNALED(status) => Outcome::Killed(libc::WTERMSIG(status)),
            _ => Outcome::Returned(self::registers(self.pid).rax as i64),
        }
    }

    /// Puts a text where calls can read it, in place of the one before.
    pub fn text(&self, text: &CStr) -> u64 {
        let at = self.before.rsp - BELOW_STACK;
        for (at, word) in (at..).step_by(8).zip(text.to_bytes_with_nul().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            request(libc::PTRACE_POKEDATA, self.pid, at, u64::from_ne_bytes(bytes)).unwrap();
        }
        at
    }

    fn peek(&self, at: u64) -> c_long {
        request(libc::PTRACE_PEEKDATA, self.pid, at, 0).unwrap()
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It may be dead, which may have been the point.
        if request(libc::PTRACE_SETREGS, self.pid, 0, &raw const self.before as u64).is_ok() {
            let _ = request(libc::PTRACE_DETACH, self.pid, 0, 0);
        }
    }
}

fn request(what: u32, pid: i32, address: u64, data: u64) -> io::Result<c_long> {
    // SAFETY: `errno` is the calling thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *errno = 0 };
    // SAFETY: addresses are the other process's, except of registers, where callers pass live ones of this one.
    let result = unsafe { libc::ptrace(what, pid, address, data) };
    // SAFETY: as above. What was peeked at may be -1 too.
    match unsafe { *errno } {
        0 => Ok(result),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn registers(pid: i32) -> libc::user_regs_struct {
    // SAFETY: all zero, they are numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, pid, 0, &raw mut registers as u64).unwrap();
    registers
}

fn set_registers(pid: i32, registers: &libc::user_regs_struct) {
    request(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers) as u64).unwrap();
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }, pid);
    status
}
