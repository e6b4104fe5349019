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
/// As [`line()`].
pub fn bytes(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    finish(out.write_all(data).and_then(|()| out.flush()))
}

/// Writes one JSON document, indented for people and ended by a newline.
///
/// # Errors
/// As [`line()`].
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
            "error": failure.message(), "name": failure.name(), "hint": failure.next_step(), "exit_code": failure.exit() as u8,
        });
        note(format_args!("{value}"));
        return;
    }
    match failure.name() {
        Some(name) => note(format_args!("kmsfs: {failure} ({name})")),
        None => note(format_args!("kmsfs: {failure}")),
    }
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

/// Writes a table: columns as wide as their widest cell, the last one unpadded. Nothing but the heading
/// goes missing in an empty one, so that it is seen to be empty.
///
/// # Errors
/// As [`line()`].
pub fn table(heading: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(printable(cell).chars().count());
        }
    }
    for row in std::iter::once(&heading).chain(&rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{:width$}", printable(cell))).collect();
        line(format_args!("{}", cells.join("  ").trim_end()))?;
    }
    Ok(())
}

/// Writes "name  value" lines; fields without a value are left out.
///
/// # Errors
/// As [`line()`].
pub fn fields(rows: &[(&str, String)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        line(format_args!("{name:width$}  {}", printable(value)))?;
    }
    Ok(())
}

/// `text` with control characters escaped, and those that reorder or hide what is beside them: names and descriptions come
/// from others and must not steer the terminal, break a line, or read otherwise than they are.
pub fn printable(text: &str) -> String {
    let misleads = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let written =
        |c: char| if c.is_control() || misleads(c) { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(written).collect()
}
