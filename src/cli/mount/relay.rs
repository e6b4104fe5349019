//! Where a daemon's log goes: its standard error is a pipe, and a thread carries each line on to a file or to
//! the system log. So panics and messages of libraries arrive there too.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::path::Path;
use std::thread::JoinHandle;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fuse::sys;

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// The system log.
    System,
    /// A file, each line with its time.
    File(File),
}

impl Sink {
    /// The file at `path`, made if it does not exist, or the system log.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Sink> {
        match path {
            None => Ok(Sink::System),
            Some(path) => Ok(Sink::File(OpenOptions::new().append(true).create(true).open(path)?)),
        }
    }

    fn take(&mut self, line: &str) {
        match self {
            Sink::System => sys::syslog(priority(line), line.strip_prefix("kmsfs: ").unwrap_or(line)),
            Sink::File(file) => {
                let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
                // A log that cannot be written has nowhere to say so.
                let _ = writeln!(file, "{now} {line}");
            }
        }
    }
}

/// Lines look like `kmsfs: warn: …`; anything else on standard error is worth an error.
fn priority(line: &str) -> libc::c_int {
    let level = line.strip_prefix("kmsfs: ").and_then(|rest| rest.split(':').next());
    match level {
        Some("warn") => libc::LOG_WARNING,
        Some("info") => libc::LOG_INFO,
        Some("debug" | "trace") => libc::LOG_DEBUG,
        _ => libc::LOG_ERR,
    }
}

/// A redirected standard error. Dropping it takes the redirection away and waits until all is carried on.
#[derive(Debug)]
pub(crate) struct Relay {
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Redirects standard error to `sink`.
    pub(crate) fn start(sink: Sink) -> io::Result<Relay> {
        let (reader, writer) = io::pipe()?;
        if matches!(sink, Sink::System) {
            sys::open_syslog();
        }
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || carry(reader, sink))?;
        sys::redirect(&writer, 2)?;
        Ok(Relay { thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The last writer gone, the thread reads the pipe's end.
        let gone = File::options().write(true).open("/dev/null").and_then(|null| sys::redirect(null, 2));
        if let (Ok(()), Some(thread)) = (gone, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn carry(reader: PipeReader, mut sink: Sink) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        sink.take(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn levels_become_priorities() {
        assert_eq!(priority("kmsfs: warn: in use"), libc::LOG_WARNING);
        assert_eq!(priority("kmsfs: info: x"), libc::LOG_INFO);
        assert_eq!(priority("thread panicked"), libc::LOG_ERR);
    }

    #[test]
    fn lines_reach_the_file_with_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"kmsfs: warn: one\n\xff two").unwrap();
        drop(writer);
        carry(reader, Sink::open(Some(&path)).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("Z kmsfs: warn: one"), "{text}");
        assert!(lines[1].ends_with("\u{fffd} two"));
    }
}
