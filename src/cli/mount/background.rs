//! Into the background: a child process mounts and stays, and its parent waits for word that the mount answers
//! before it reports success, or prints what went wrong and ends with that exit code.
//!
//! The child is made first thing, while there is one thread and no secret: locked memory is not inherited, and
//! a passphrase then lives in one process only. Until it reports, it belongs to the terminal, so it can ask for
//! the passphrase and dies by Ctrl-C; then it leaves.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::relay::{Relay, Sink};
use crate::cli::{Exit, Failure, exit};
use crate::fuse::sys::{self, Side};

/// The one message of the child.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The mount answers.
    Up,
    /// It does not; the parent is to print this and end with the code.
    Failed { exit: u8, message: String, name: Option<String>, hint: Option<String> },
}

/// The moment a mount answers: whom to tell, and where the log goes from then on.
#[derive(Debug)]
pub struct Ready {
    parent: Option<PipeWriter>,
    sink: Option<Sink>,
}

/// Keeps a redirected log alive.
#[derive(Debug)]
pub(crate) struct Detached {
    _relay: Option<Relay>,
}

impl Ready {
    /// Nobody waits; the log stays on standard error unless there is a file for it.
    pub(crate) fn foreground(log_file: Option<&Path>) -> Result<Ready, Failure> {
        let sink = log_file.map(|path| open_sink(Some(path))).transpose()?;
        Ok(Ready { parent: None, sink })
    }

    /// The mount answers. In the background: leaves the terminal and lets the parent go.
    pub(crate) fn report(self) -> Result<Detached, Failure> {
        let left = || -> io::Result<Detached> {
            let relay = match self.parent {
                None => self.sink.map(Relay::start).transpose()?,
                Some(mut parent) => {
                    leave_terminal()?;
                    let relay = Relay::start(self.sink.unwrap_or(Sink::System))?;
                    send(&mut parent, &Word::Up)?;
                    Some(relay)
                }
            };
            Ok(Detached { _relay: relay })
        };
        left().map_err(|e| Failure::new(Exit::Failure, format_args!("cannot go into the background: {e}")))
    }
}

fn leave_terminal() -> io::Result<()> {
    sys::new_session()?;
    // Do not keep whatever filesystem this was started from busy.
    std::env::set_current_dir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    sys::redirect(&null, 0)?;
    sys::redirect(&null, 1)
}

/// Runs `work` in a child process; returns when it reports, fails when it does.
pub(crate) fn run(
    log_file: Option<&Path>,
    work: impl FnOnce(Ready) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let sink = open_sink(log_file)?;
    let cannot = |e: io::Error| Failure::new(Exit::Failure, format_args!("cannot start a process: {e}"));
    let (reader, writer) = io::pipe().map_err(cannot)?;
    match sys::fork().map_err(cannot)? {
        Side::Parent(child) => {
            drop(writer);
            drop(sink);
            hear(reader, child)
        }
        Side::Child => {
            drop(reader);
            let outcome = writer
                .try_clone()
                .map_err(cannot)
                .and_then(|parent| work(Ready { parent: Some(parent), sink: Some(sink) }));
            end(writer, outcome)
        }
    }
}

/// The end of the child. The parent reads what went wrong, unless it has left: then the log has it.
fn end(mut parent: PipeWriter, outcome: Result<(), Failure>) -> ! {
    let Err(failure) = outcome else { std::process::exit(0) };
    let word = Word::Failed {
        exit: failure.exit() as u8,
        message: failure.message().to_owned(),
        name: failure.name().map(str::to_owned),
        hint: failure.next_step().map(str::to_owned),
    };
    let _ = send(&mut parent, &word);
    std::process::exit(i32::from(failure.exit() as u8))
}

fn send(parent: &mut PipeWriter, word: &Word) -> io::Result<()> {
    parent.write_all(serde_json::to_string(word)?.as_bytes())?;
    parent.write_all(b"\n")
}

/// Reads the child's one line.
fn hear(mut reader: impl Read, child: libc::pid_t) -> Result<(), Failure> {
    let mut line = Vec::new();
    let mut byte = [0u8; 1];
    // Byte by byte: the child keeps its end open for as long as it lives, so there is no end to read to.
    while let Ok(1) = reader.read(&mut byte) {
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    match serde_json::from_slice(&line) {
        Ok(Word::Up) => Ok(()),
        Ok(Word::Failed { exit, message, name, hint }) => {
            let mut failure = Failure::new(exit_of(exit), message);
            if let Some(name) = name {
                failure = failure.named(name);
            }
            if let Some(hint) = hint {
                failure = failure.hint(hint);
            }
            Err(failure)
        }
        Err(_) => Err(Failure::new(
            Exit::Failure,
            match sys::wait_for(child) {
                Ok(status) => format!("the mount's process died before the mount answered: {status}"),
                Err(e) => format!("the mount's process died before the mount answered: {e}"),
            },
        )),
    }
}

/// The exit code that another process named.
pub(crate) fn exit_of(code: u8) -> Exit {
    exit::TABLE.iter().map(|(exit, _)| *exit).find(|exit| *exit as u8 == code).unwrap_or(Exit::Failure)
}

fn open_sink(path: Option<&Path>) -> Result<Sink, Failure> {
    Sink::open(path).map_err(|e| Failure::io("open the log", path.unwrap_or(Path::new("")), &e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn heard(line: &str) -> Result<(), Failure> {
        hear(line.as_bytes(), -1)
    }

    #[test]
    fn the_parent_ends_as_the_child_says() {
        let (reader, mut writer) = io::pipe().unwrap();
        send(&mut writer, &Word::Up).unwrap();
        assert!(hear(reader, -1).is_ok());

        let (reader, mut writer) = io::pipe().unwrap();
        let word = Word::Failed {
            exit: 12,
            message: "in use\nby another".into(),
            name: Some("DisabledException".into()),
            hint: Some("look".into()),
        };
        send(&mut writer, &word).unwrap();
        let failure = hear(reader, -1).unwrap_err();
        assert_eq!((failure.exit(), failure.message()), (Exit::Busy, "in use\nby another"));
        assert_eq!((failure.name(), failure.next_step()), (Some("DisabledException"), Some("look")));
    }

    #[test]
    fn silence_is_a_failure() {
        assert!(heard("").unwrap_err().message().contains("died"));
        assert!(heard("\"U").unwrap_err().message().contains("died"));
    }
}
