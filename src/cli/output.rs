//! Standard output and error: the only place that prints.
//!
//! Written with checked calls, since `println!` panics when the reader of a pipe has gone.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use super::exit::{Exit, Failure};

/// Writes one line to standard output. A reader that has gone (`kmsfs key list | head -1`) ends the
/// command quietly with success; any other failure to write is reported.
///
/// # Errors
/// Standard output is closed, or its device is full.
pub fn line(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    finish(out.write_fmt(text).and_then(|()| out.write_all(b"\n")))
}

/// Writes raw bytes to standard output.
///
/// # Errors
/// As [`line`].
pub fn bytes(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    finish(out.write_all(data).and_then(|()| out.flush()))
}

/// Writes one JSON document, indented for people and ended by a newline.
///
/// # Errors
/// As [`line`].
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(format_args!("{value:#}"))
}

/// Tells the user something that is not the command's result: on standard error, best effort.
pub fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a failure the way every command does.
pub fn failure(failure: &Failure, json: bool) {
    if json {
        let value = serde_json::json!({
            "error": failure.message(), "hint": failure.next_step(), "exit_code": failure.exit() as u8,
        });
        note(format_args!("{value}"));
        return;
    }
    note(format_args!("kmsfs: {failure}"));
    if let Some(hint) = failure.next_step() {
        note(format_args!("       {hint}"));
    }
}

fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Ok(()) => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_gone()),
        Err(err) => Err(Failure::new(Exit::Failure, format_args!("cannot write to standard output: {err}"))),
    }
}
