//! Where a log goes on when a process begins to write it.
//!
//! Up to the head record, lines are durable and must be there. Behind it there may be whole lines, which the chain
//! vouches for, and then bytes that a crash left. Whatever is wrong, the log goes on: the service must not depend
//! on a log that somebody damaged. But it says so in a line that stays, and [`super::verify()`] finds the place.

use super::chain::{ChainKey, Link, parse};
use super::directory::Directory;
use super::error::{Error, Result};
use super::event::Event;
use super::head::Head;
use super::walk::Position;
use std::fs::File;
use std::os::unix::fs::FileExt;
use time::OffsetDateTime;
use uuid::Uuid;

/// How many of a torn line's bytes are kept in the line that tells of it.
const TORN_TEXT_MAX: usize = 1024;

/// Where a log ends, and what to say about it first.
#[derive(Debug)]
pub(super) struct End {
    pub(super) log: Uuid,
    pub(super) link: Link,
    /// The segment and offset to append at; `None` to begin segment `next`.
    pub(super) at: Option<(u64, u64)>,
    /// The number of the next segment.
    pub(super) next: u64,
    pub(super) notes: Vec<Event>,
}

/// Finds the end of the log in `directory`, whose head record is `head`, and cuts off what a crash left behind it.
pub(super) fn recover(
    directory: &Directory,
    key: &ChainKey,
    head: Option<&Head>,
    now: OffsetDateTime,
) -> Result<End> {
    let segments = directory.segments()?;
    let last = segments.last().copied();
    let Some(head) = head else {
        let Some(last) = last else {
            return Ok(End { log: Uuid::new_v4(), link: Link::START, at: None, next: 1, notes: Vec::new() });
        };
        let (log, link) = end_without_head(directory, key, &segments)?;
        let reason = "the head record was missing: whether lines are missing before this one cannot be told";
        return Ok(gap(log, link, last + 1, now, reason.to_owned()));
    };
    let next = last.unwrap_or(0).max(head.segment) + 1;
    if !is_at(directory, head.link, Position { segment: head.segment, offset: head.offset })? {
        let reason = format!("lines up to number {} had been written and are missing", head.link.sequence);
        return Ok(gap(head.log, head.link, next, now, reason));
    }
    let mut segment = head.segment;
    let mut found = scan(directory, key, head.link, segment, head.offset)?;
    while found.torn.is_none() && segments.contains(&(segment + 1)) {
        segment += 1;
        found = scan(directory, key, found.link, segment, 0)?;
    }
    if Some(segment) != last {
        let reason = format!("after line {}, segment {segment} does not go on", found.link.sequence);
        return Ok(gap(head.log, found.link, next, now, reason));
    }
    let notes = match found.torn {
        Some(torn) => vec![cut(directory, segment, found.offset, &torn, now)?],
        None => Vec::new(),
    };
    if found.offset == 0 {
        // Of its first line nothing is left: it is no segment yet.
        let path = directory.segment(segment);
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        return Ok(End { log: head.log, link: found.link, at: None, next: segment, notes });
    }
    Ok(End { log: head.log, link: found.link, at: Some((segment, found.offset)), next, notes })
}

fn gap(log: Uuid, link: Link, next: u64, time: OffsetDateTime, reason: String) -> End {
    End { log, link, at: None, next, notes: vec![Event::Gap { time, reason }] }
}

/// Whether the line `link` ends at `position`.
pub(super) fn is_at(directory: &Directory, link: Link, position: Position) -> Result<bool> {
    let path = directory.segment(position.segment);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    let mut end = [0; 80];
    let Some(from) = position.offset.checked_sub(end.len() as u64) else { return Ok(false) };
    match file.read_exact_at(&mut end, from) {
        Ok(()) => Ok(link.ends(&end)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// How far the chain goes in a segment.
struct Found {
    link: Link,
    /// Where the next line goes.
    offset: u64,
    /// What stands there instead.
    torn: Option<Vec<u8>>,
}

/// Follows the chain from `link`, at `offset` of a segment.
fn scan(directory: &Directory, key: &ChainKey, mut link: Link, segment: u64, offset: u64) -> Result<Found> {
    let mut lines = directory.read(segment, offset)?;
    while let Some((offset, whole)) = lines.advance()? {
        match link.follow(key, lines.line()) {
            Ok(next) if whole => link = next,
            _ => return Ok(Found { link, offset, torn: Some(lines.line().to_vec()) }),
        }
    }
    Ok(Found { link, offset: lines.offset(), torn: None })
}

/// What a segment's first line says: the log's id, and what it follows.
pub(super) fn beginning(line: &[u8]) -> Option<(Uuid, Link)> {
    let (_, link) = parse(line)?;
    match serde_json::from_slice(line).ok()? {
        Event::Segment { log, previous, .. } => {
            Some((log, Link { sequence: link.sequence.checked_sub(1)?, chain: previous }))
        }
        _ => None,
    }
}

/// The log's id and the end of its chain, from the last segment whose first line verifies.
fn end_without_head(directory: &Directory, key: &ChainKey, segments: &[u64]) -> Result<(Uuid, Link)> {
    for &segment in segments.iter().rev() {
        let Some((log, before)) = first_line(directory, segment, beginning)? else { continue };
        let found = scan(directory, key, before, segment, 0)?;
        if found.link != before {
            return Ok((log, found.link));
        }
    }
    Err(Error::Foreign(directory.path().to_owned()))
}

/// Cuts off what stands at `offset` of a segment, and tells of it.
fn cut(directory: &Directory, segment: u64, offset: u64, torn: &[u8], time: OffsetDateTime) -> Result<Event> {
    let path = directory.segment(segment);
    let cut = || -> std::io::Result<u64> {
        let file = File::options().write(true).open(&path)?;
        let length = file.metadata()?.len();
        file.set_len(offset)?;
        file.sync_all()?;
        Ok(length - offset)
    };
    let bytes = cut().map_err(Error::io("cut a torn line from", &path))?;
    log::warn!("{}: {bytes} bytes of unfinished lines at offset {offset} were cut off", path.display());
    let text = String::from_utf8_lossy(&torn[..torn.len().min(TORN_TEXT_MAX)]).into_owned();
    Ok(Event::Torn { time, segment, offset, bytes, text })
}

/// When a segment was begun, by its first line.
pub(super) fn begun(directory: &Directory, segment: u64) -> Result<Option<OffsetDateTime>> {
    first_line(directory, segment, |line| {
        serde_json::from_slice::<Event>(line).ok().map(|event| event.time())
    })
}

fn first_line<T>(
    directory: &Directory,
    segment: u64,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>> {
    let mut lines = directory.read(segment, 0)?;
    Ok(lines.advance()?.and_then(|_| read(lines.line())))
}
