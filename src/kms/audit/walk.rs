//! Reading a log from some place to its end, line by line and segment by segment.

use super::chain::{self, ChainKey, Fault, Link};
use super::directory::{Directory, LINE_MAX, Lines};
use super::error::{Error, Result};
use super::event::Event;
use super::recovery;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// Whether the log in `directory` is the one whose line `link` ends at `position`, or may be: segments that were
/// archived cannot be asked.
///
/// # Errors
/// A file cannot be read.
pub fn goes_on(directory: &Path, link: Link, position: Position) -> Result<bool> {
    let directory = Directory::at(directory);
    let archived = directory.segments()?.first().is_some_and(|first| *first > position.segment);
    Ok(archived || recovery::is_at(&directory, link, position)?)
}

/// A line, or what stands in the place of one.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where it begins.
    pub position: Position,
    /// Which line of its segment it is, from 1; from where the walk began, if that was inside the segment.
    pub line: u64,
    /// Its bytes, without the line break.
    pub bytes: &'a [u8],
    /// Whether it has a line break.
    pub whole: bool,
    /// Where the next one begins.
    pub end: Position,
}

impl Place<'_> {
    /// The end of the chain with this line, if it is the one that follows `before`.
    ///
    /// # Errors
    /// Why it is not.
    pub fn follow(&self, key: &ChainKey, before: Link) -> std::result::Result<Link, Fault> {
        before.follow(key, self.bytes)
    }

    /// What the line says that it follows, if it is the first of a segment. It proves nothing.
    pub fn beginning(&self) -> Option<Link> {
        recovery::beginning(self.bytes).map(|(_, before)| before)
    }

    /// What the line says.
    pub fn event(&self) -> Option<Event> {
        self.link().and_then(|_| serde_json::from_slice(self.bytes).ok())
    }

    /// Whether it has no line break because no line is that long, and not because it is the last.
    pub fn is_too_long(&self) -> bool {
        !self.whole && self.bytes.len() as u64 >= LINE_MAX
    }

    /// The end of the chain that the line claims to be. It proves nothing.
    pub fn link(&self) -> Option<Link> {
        chain::parse(self.bytes).map(|(_, link)| link)
    }
}

/// Reads a log, also while it is being written: it ends with what was there when it got there. Then the last line may lack
/// its end; whoever reads on gets that as a line of its own.
pub struct Walk {
    directory: Directory,
    /// Segments that are still to be read.
    segments: VecDeque<u64>,
    lines: Option<Lines>,
    segment: u64,
    line: u64,
}

impl Walk {
    /// From the beginning of the lowest segment.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no segment, or the directory cannot be read.
    pub fn new(directory: &Path) -> Result<Walk> {
        let directory = Directory::at(directory);
        let segments = match directory.segments() {
            Ok(segments) => segments,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let Some(&segment) = segments.first() else {
            return Err(Error::Missing(directory.path().to_owned()));
        };
        Ok(Walk { directory, segments: segments.into(), lines: None, segment, line: 0 })
    }

    /// From `position`, if its segment is there.
    ///
    /// # Errors
    /// As [`Walk::new`].
    pub fn from(directory: &Path, position: Position) -> Result<Walk> {
        let mut walk = Walk::new(directory)?;
        walk.segments.retain(|segment| *segment >= position.segment);
        if walk.segments.front() == Some(&position.segment) {
            walk.segments.pop_front();
            walk.segment = position.segment;
            walk.lines = Some(walk.directory.read(position.segment, position.offset)?);
        }
        Ok(walk)
    }

    /// From the beginning of the segment that was being written at `time`.
    ///
    /// # Errors
    /// As [`Walk::new`].
    pub fn since(directory: &Path, time: OffsetDateTime) -> Result<Walk> {
        let mut walk = Walk::new(directory)?;
        while let Some(&second) = walk.segments.get(1) {
            match recovery::begun(&walk.directory, second)? {
                Some(begun) if begun <= time => walk.segments.pop_front(),
                _ => break,
            };
        }
        Ok(walk)
    }

    /// Whether no segment follows the one that was read last.
    pub(super) fn is_in_last(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segment that was read last.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// The file of a segment.
    pub fn path(&self, segment: u64) -> PathBuf {
        self.directory.segment(segment)
    }

    /// The next line, or `None` at the end of the log.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn advance(&mut self) -> Result<Option<Place<'_>>> {
        loop {
            let Some(mut lines) = self.lines.take() else {
                let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                self.lines = Some(self.directory.read(segment, 0)?);
                (self.segment, self.line) = (segment, 0);
                continue;
            };
            let Some((offset, whole)) = lines.advance()? else { continue };
            self.line += 1;
            let (segment, line) = (self.segment, self.line);
            let (position, end) =
                (Position { segment, offset }, Position { segment, offset: lines.offset() });
            let bytes = self.lines.insert(lines).line();
            return Ok(Some(Place { position, line, bytes, whole, end }));
        }
    }
}
