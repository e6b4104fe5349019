//! Passphrases typed at a terminal: a real one, made with openpty's calls, with the program as the leader of
//! its session.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::support::{CHEAP, Home, PASSPHRASE};

/// A program on the other side of a terminal.
struct Typist {
    terminal: File,
    child: Child,
    seen: String,
}

#[allow(unsafe_code, reason = "the pseudo-terminal calls of libc")]
fn pseudo_terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: openpty writes two descriptors to the integers it is given and takes null for the rest.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), null.cast()) };
    assert_eq!(made, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: openpty just made both for us.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

impl Typist {
    fn start(mut command: Command) -> Typist {
        let (ours, theirs) = pseudo_terminal();
        command.env_remove("KMSFS_PASSPHRASE_FILE");
        for end in [Command::stdin, Command::stdout, Command::stderr] {
            end(&mut command, theirs.try_clone().unwrap());
        }
        #[allow(unsafe_code, reason = "a session of its own, with the terminal as its controlling one")]
        // SAFETY: setsid and ioctl are async-signal-safe and touch no memory; descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        Typist { terminal: File::from(ours), child, seen: String::new() }
    }

    /// Waits until the program has shown `text` since the last call.
    fn expect(&mut self, text: &str) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(text) {
            assert!(Instant::now() < give_up && self.read(), "waiting for {text:?}, saw {:?}", self.seen);
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    /// Answers once the terminal does not echo, as a person who sees the prompt does.
    fn answer(&mut self, line: &str) {
        self.wait_for_no_echo();
        self.terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[allow(unsafe_code, reason = "tcgetattr has no safe wrapper here")]
    fn wait_for_no_echo(&self) {
        for _ in 0..2000 {
            // SAFETY: termios is plain data, and tcgetattr fills it.
            let mode = unsafe {
                let mut mode: libc::termios = std::mem::zeroed();
                assert_eq!(libc::tcgetattr(self.terminal.as_raw_fd(), &mut mode), 0);
                mode
            };
            if mode.c_lflag & libc::ECHO == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("a passphrase would have been echoed");
    }

    /// Reads what there is; false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 1024];
        match self.terminal.read(&mut buffer) {
            Ok(n) if n > 0 => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
                true
            }
            // A terminal whose other side has gone answers EIO.
            _ => false,
        }
    }

    /// The exit code, and what was shown since the last call of `expect`.
    fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.child.wait().unwrap().code(), self.seen)
    }
}

#[test]
fn a_new_passphrase_is_asked_for_twice_and_not_echoed() {
    let home = Home::empty();
    let mut typist = Typist::start(home.command(&["keystore", "create", "--argon2", CHEAP]));
    typist.expect("New passphrase");
    typist.answer(PASSPHRASE);
    typist.expect("again");
    typist.answer(PASSPHRASE);
    typist.expect("Made the keystore");
    let (code, rest) = typist.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(!rest.contains(PASSPHRASE));
    home.key();
}

#[test]
fn two_different_answers_make_nothing() {
    let home = Home::empty();
    let mut typist = Typist::start(home.command(&["keystore", "create", "--argon2", CHEAP]));
    typist.expect("New passphrase");
    typist.answer("one");
    typist.expect("again");
    typist.answer("two");
    typist.expect("differ");
    assert_eq!(typist.end().0, Some(4));
    assert!(!home.keystore().exists());
}

#[test]
fn a_mistyped_passphrase_may_be_tried_again() {
    let home = Home::new();
    let key = home.key();
    let mut typist = Typist::start(home.command(&["key", "list"]));
    typist.expect("Passphrase for");
    typist.answer("wrong");
    typist.expect("try again");
    typist.expect("Passphrase for");
    typist.answer(PASSPHRASE);
    typist.expect(&key);
    assert_eq!(typist.end().0, Some(0));

    let mut typist = Typist::start(home.command(&["key", "list"]));
    for _ in 0..3 {
        typist.expect("Passphrase for");
        typist.answer("wrong");
    }
    typist.expect("wrong passphrase");
    assert_eq!(typist.end().0, Some(3), "the third time is the last");
}

#[test]
fn a_terminal_gets_text_but_neither_binary_nor_data_keys() {
    let home = Home::new();
    let key = home.key();
    let with_file = |args: &[&str]| {
        let mut command = home.command(args);
        command.args(["--passphrase-file", home.path("pw").to_str().unwrap()]);
        Typist::start(command).end()
    };
    for (content, code, shows) in [(&b"plain text"[..], 0, "plain text"), (b"\x1b[2J", 1, "--out")] {
        let blob = home.ok_fed(&["key", "encrypt", &key], content);
        let file = home.arg("blob");
        std::fs::write(&file, blob).unwrap();
        let (ended, shown) = with_file(&["key", "decrypt", "--in", &file]);
        assert_eq!(ended, Some(code), "{shown}");
        assert!(shown.contains(shows), "{shown}");
    }
    assert_eq!(with_file(&["key", "generate-data-key", &key]).0, Some(1));
    assert_eq!(with_file(&["key", "generate-data-key", &key, "--force"]).0, Some(0));
    assert_eq!(with_file(&["key", "random", "8"]).0, Some(0));
}

#[test]
fn an_hsm_is_zeroized_by_its_name_alone() {
    let home = Home::empty();
    let status = || home.json(&["hsm", "status", "--socket", &home.arg("no.sock")]);
    assert_eq!(status()["State"], "Uninitialised");
    home.ok(&["hsm", "init", "--quorum", "2/3", "--shares-to", &home.arg("shares")]);
    let sealed = status();
    assert_eq!(sealed["State"], "Sealed");
    let name = sealed["Name"].as_str().unwrap();
    assert!(home.fails(2, &["hsm", "zeroize"]).contains("--yes"), "a script is not asked");
    for (answer, code, says) in [("yes", 10, "nothing was done"), (name, 0, "is zeroized")] {
        let mut typist = Typist::start(home.command(&["hsm", "zeroize"]));
        typist.expect(name);
        typist.terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
        typist.expect(says);
        assert_eq!(typist.end().0, Some(code), "{answer}");
    }
    assert_eq!(status()["State"], "Zeroized");
    home.ok(&["hsm", "zeroize"]);
    for command in [&["kms", "serve"][..], &["hsm", "refresh", "--quorum", "2/3"], &["key", "list"]] {
        assert!(home.fails(6, command).contains("zeroized"), "{command:?}");
    }
    let backup = home.arg("backup");
    assert!(home.fails(6, &["hsm", "backup", &backup]).contains("zeroized"));
}
