//! Finding the first place where a log is not what was written.

use super::chain::{ChainKey, Fault, Link};
use super::checkpoint::{SegmentDigest, SegmentHasher};
use super::directory::Directory;
use super::error::{Error, Result};
use super::event::Event;
use super::head::Head;
use super::recovery::beginning;
use super::walk::{Place, Position, Walk};
use std::fmt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What is known about a log from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The first segment that is still here; those before it were taken away on purpose. Without it, the log must
    /// begin with segment 1.
    pub first: Option<u64>,
    /// Lines that must be there, noted when they were the last ones.
    pub links: Vec<Link>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many segments and lines verify.
    pub segments: u64,
    /// See above.
    pub lines: u64,
    /// How many of the lines are calls.
    pub calls: u64,
    /// How many calls the log says it lost.
    pub lost: u64,
    /// The last line that verifies.
    pub end: Option<Link>,
    /// The log's id.
    pub log: Option<Uuid>,
    /// What the segments' lines are, as far as they verify.
    pub digests: Vec<SegmentDigest>,
    /// What the log tells about itself that is no break, and where.
    pub notes: Vec<Break>,
    /// The first place that is wrong.
    pub broken: Option<Break>,
}

/// A place in a log, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The segment's file.
    pub path: PathBuf,
    /// The line in it, from 1; `None` if it is about the whole file.
    pub line: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}, {}", self.path.display(), self.what),
            None => write!(f, "{} {}", self.path.display(), self.what),
        }
    }
}

/// Verifies the log in `directory` up to its end, or to the first place that is wrong. It may be written meanwhile.
///
/// # Errors
/// [`Error::Missing`], or a file cannot be read. What is wrong with the log is no error but the report.
pub fn verify(directory: &Path, key: &ChainKey, expectations: &Expectations) -> Result<Report> {
    let files = Directory::at(directory);
    // First, so that the log cannot be behind it.
    let head = Head::read(&files, key)?;
    let first = expectations.first.unwrap_or(1);
    let mut check = Check {
        key,
        first: expectations.first,
        link: expectations.first.is_none().then_some(Link::START),
        log: head.map(|head| head.log),
        head: head.map(|head| head.link),
        expected: expectations.links.clone(),
        running: false,
        hashing: None,
        report: Report::default(),
    };
    let mut walk = match Walk::from(directory, Position { segment: first, offset: 0 }) {
        Err(Error::Missing(_)) if head.is_some() => {
            return Ok(check.broken(files.segment(first), None, "is missing".to_owned()));
        }
        walk => walk?,
    };
    let mut next = first;
    let mut end = (first, 0);
    while let Some(place) = walk.advance()? {
        let (segment, line) = (place.position.segment, place.line);
        if line == 1 && segment != next {
            return Ok(check.broken(files.segment(next), None, "is missing".to_owned()));
        }
        if line == 1 {
            next += 1;
            check.report.segments += 1;
        }
        end = (segment, line);
        let path = files.segment(segment);
        if place.whole {
            if let Err(what) = check.line(&place, &path) {
                return Ok(check.broken(path, Some(line), what));
            }
        } else if place.is_too_long() || !walk.is_in_last() || !check.reached_head() {
            return Ok(check.broken(path, Some(line), Fault::NoLine.to_string()));
        } else {
            // Its writer may add the rest any moment: there is nothing more to verify.
            let what = "is not finished: it is being written, or was when the process died".to_owned();
            check.report.notes.push(Break { path, line: Some(line), what });
            break;
        }
    }
    if walk.segment() > end.0 {
        end = (walk.segment(), 0); // the last one has not even a first line
    }
    Ok(check.end(&files, end))
}

/// A verification under way.
struct Check<'a> {
    key: &'a ChainKey,
    /// The segment that the verification was told to begin with.
    first: Option<u64>,
    /// The end of the chain so far, if that is known.
    link: Option<Link>,
    log: Option<Uuid>,
    head: Option<Link>,
    expected: Vec<Link>,
    /// Whether a process that had begun to write has not said that it stopped.
    running: bool,
    /// Of the segment at hand.
    hashing: Option<SegmentHasher>,
    report: Report,
}

impl Check<'_> {
    fn broken(mut self, path: PathBuf, line: Option<u64>, what: String) -> Report {
        self.report.broken = Some(Break { path, line, what });
        self.report
    }

    fn reached_head(&self) -> bool {
        self.head.is_none_or(|head| self.link.is_some_and(|link| link.sequence >= head.sequence))
    }

    /// Checks the next line.
    fn line(&mut self, place: &Place<'_>, path: &Path) -> std::result::Result<(), String> {
        let before = match self.link {
            Some(link) => link,
            None => beginning(place.bytes).ok_or("does not begin a segment")?.1,
        };
        let link = before.follow(self.key, place.bytes).map_err(|fault| fault.to_string())?;
        let event = place.event().ok_or("was written by a later release")?;
        match (&event, place.line) {
            (Event::Segment { segment, log, .. }, 1) => {
                if *segment != place.position.segment {
                    return Err(format!("belongs to segment {segment}: the file was renamed"));
                }
                if *self.log.get_or_insert(*log) != *log {
                    return Err(format!("belongs to another log, {log}"));
                }
            }
            (Event::Segment { .. }, _) => return Err("begins another segment".to_owned()),
            (_, 1) => return Err("does not begin a segment".to_owned()),
            _ => {}
        }
        for known in self.head.iter().chain(&self.expected) {
            if known.sequence == link.sequence && known.chain != link.chain {
                return Err(format!("is not the line {} that was known to be here", link.sequence));
            }
        }
        self.hash(place);
        self.expected.retain(|known| *known != link);
        self.link = Some(link);
        self.report.end = Some(link);
        self.report.lines += 1;
        self.tell(event, place.position.segment, place.line, path)
    }

    /// Adds a line that verifies to its segment's digest.
    fn hash(&mut self, place: &Place<'_>) {
        if place.line == 1 {
            let before = self.hashing.replace(SegmentHasher::new(place.position.segment));
            self.report.digests.extend(before.map(SegmentHasher::finish));
        }
        if let Some(hashing) = &mut self.hashing {
            hashing.update(place.bytes);
            hashing.update(b"\n");
        }
    }

    /// Counts what a line says.
    fn tell(
        &mut self,
        event: Event,
        segment: u64,
        line: u64,
        path: &Path,
    ) -> std::result::Result<(), String> {
        let what = match event {
            Event::Call(_) => {
                self.report.calls += 1;
                return Ok(());
            }
            Event::Segment { .. } => return Ok(()),
            Event::Stopped { .. } => {
                self.running = false;
                return Ok(());
            }
            Event::Started { .. } if std::mem::replace(&mut self.running, true) => {
                "follows a crash: what was not yet written then is missing".to_owned()
            }
            Event::Started { .. } => return Ok(()),
            Event::Lost { calls, .. } => {
                self.report.lost += calls;
                format!("says that {calls} calls could not be written")
            }
            Event::Torn { bytes, .. } => format!("says that {bytes} bytes of unfinished lines were cut off"),
            Event::Unsure { from, to, reason, .. } => {
                format!("says that lines {from} to {to} may not have become durable: {reason}")
            }
            Event::Gap { reason, .. } => {
                let what = format!("says that the log was damaged before: {reason}");
                if Some(segment) != self.first {
                    return Err(what);
                }
                what // about what was left out of this verification
            }
        };
        self.report.notes.push(Break { path: path.to_owned(), line: Some(line), what });
        Ok(())
    }

    /// Compares the end of the log with what is known of it.
    fn end(mut self, files: &Directory, (segment, line): (u64, u64)) -> Report {
        self.report.log = self.log;
        self.report.digests.extend(self.hashing.take().map(SegmentHasher::finish));
        let path = files.segment(segment);
        let Some(link) = self.link else {
            return self.broken(path, None, "is missing".to_owned());
        };
        match self.head {
            None => {
                let what = "is missing or invalid: whether lines are missing at the end cannot be told";
                return self.broken(files.head(), None, what.to_owned());
            }
            Some(head) if head.sequence > link.sequence => {
                let what = format!(
                    "should be there: lines {} to {} are missing at the end of the log",
                    link.sequence + 1,
                    head.sequence
                );
                return self.broken(path, Some(line + 1), what);
            }
            Some(_) => {}
        }
        match self.expected.first().copied() {
            Some(known) => {
                let what = format!("is where the log ends, and line {} was not found", known.sequence);
                self.broken(path, Some(line), what)
            }
            None => self.report,
        }
    }
}
