//! Adding up the calls of an audit log, and remembering the sums.

use super::{Month, Tariff};
use crate::kms::audit::{self, CallRecord, ChainKey, Event, Link, Place, Position, Walk, sealed};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// Calls that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Group {
    /// The month.
    pub month: Month,
    /// Id of the key, since ARNs of one key differ by the region that a client speaks of; `None` where no key took
    /// part.
    pub key: Option<String>,
    /// ARN of the principal; `None` for callers who could not be authenticated.
    pub principal: Option<String>,
    /// The operation.
    pub operation: String,
    /// Their price.
    pub tariff: Tariff,
}

/// How many calls there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// That were answered.
    pub calls: u64,
    /// That were answered with an error.
    pub failed: u64,
}

/// The sums of an audit log up to some line.
///
/// They are kept in `usage.json` beside the log, sealed with the log's key. The file can be removed at any time: the log
/// is then read from its beginning.
#[derive(Debug, Default)]
pub struct Ledger {
    tallies: HashMap<Group, Tally>,
    /// When the deletion of a key was scheduled that was not cancelled afterwards, by the key's id.
    scheduled: HashMap<String, OffsetDateTime>,
    /// The last line that was read, and where the next one begins.
    read: Option<(Link, Position)>,
    /// How many lines were not counted because they do not verify.
    unverified: u64,
}

/// A ledger as it lies in its file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    version: u32,
    read: Option<(Link, Position)>,
    unverified: u64,
    tallies: Vec<(Group, Tally)>,
    scheduled: Vec<Scheduled>,
}

/// A key that is to be deleted.
#[derive(serde::Serialize, serde::Deserialize)]
struct Scheduled {
    key: String,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    at: OffsetDateTime,
}

/// Changes with what [`Saved`] holds, and with what is counted how.
const VERSION: u32 = 1;
const PURPOSE: &str = "usage";

impl Ledger {
    /// The sums of the log in `directory` up to its end. What was not summed up before is read, and the new sums are
    /// remembered; where they cannot be, the next reading takes longer, and a warning says why.
    ///
    /// # Errors
    /// There is no log, or it cannot be read.
    pub fn read(directory: &Path, key: &ChainKey) -> audit::Result<Ledger> {
        let mut ledger = Ledger::load(directory, key).unwrap_or_default();
        if let Some((link, position)) = ledger.read
            && !audit::goes_on(directory, link, position)?
        {
            ledger = Ledger::default(); // another log is there now
        }
        let before = ledger.read;
        ledger.follow(directory, key)?;
        if ledger.read != before
            && let Err(error) = ledger.save(directory, key)
        {
            log::warn!("cannot keep sums in {}: {error}", file(directory).display());
        }
        Ok(ledger)
    }

    /// The calls of a month, group by group.
    pub fn month(&self, month: Month) -> impl Iterator<Item = (&Group, Tally)> {
        self.tallies
            .iter()
            .filter(move |(group, _)| group.month == month)
            .map(|(group, tally)| (group, *tally))
    }

    /// When the deletion of a key was scheduled, if that was not cancelled; by the key's id.
    pub fn scheduled(&self, key: &str) -> Option<OffsetDateTime> {
        self.scheduled.get(key).copied()
    }

    /// How many lines of the log were not counted because they do not verify. `kmsfs kms audit --verify` says where.
    pub fn unverified(&self) -> u64 {
        self.unverified
    }

    fn load(directory: &Path, key: &ChainKey) -> Option<Ledger> {
        let text = std::fs::read(file(directory)).ok()?;
        let saved: Saved = sealed::open(key, PURPOSE, text.trim_ascii_end())?;
        (saved.version == VERSION).then(|| Ledger {
            tallies: saved.tallies.into_iter().collect(),
            scheduled: saved.scheduled.into_iter().map(|Scheduled { key, at }| (key, at)).collect(),
            read: saved.read,
            unverified: saved.unverified,
        })
    }

    fn save(&self, directory: &Path, key: &ChainKey) -> io::Result<()> {
        let saved = Saved {
            version: VERSION,
            read: self.read,
            unverified: self.unverified,
            tallies: self.tallies.iter().map(|(group, tally)| (group.clone(), *tally)).collect(),
            scheduled: self
                .scheduled
                .iter()
                .map(|(key, at)| Scheduled { key: key.clone(), at: *at })
                .collect(),
        };
        let (path, temporary) =
            (file(directory), directory.join(format!("usage.json.{}", std::process::id())));
        let write = || {
            let mut file =
                File::options().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
            file.write_all(&sealed::seal(key, PURPOSE, &saved))?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary); // it may never have been made
        })
    }

    /// Reads what the log has beyond what was read.
    fn follow(&mut self, directory: &Path, key: &ChainKey) -> audit::Result<()> {
        let mut walk = match self.read {
            Some((_, position)) => Walk::from(directory, position)?,
            None => Walk::new(directory)?,
        };
        while let Some(place) = walk.advance()? {
            if !place.whole {
                break; // it is being written
            }
            self.line(key, &place);
        }
        Ok(())
    }

    fn line(&mut self, key: &ChainKey, place: &Place<'_>) {
        let before = self.read.map(|(link, _)| link).or_else(|| place.beginning());
        let verified = before.is_some_and(|before| place.follow(key, before).is_ok());
        match place.event() {
            Some(Event::Call(record)) if verified => self.count(record),
            _ if verified => {}
            _ => self.unverified += 1,
        }
        // Behind a line that was altered, the next one still follows what that one claims to be.
        if let Some(link) = place.link() {
            self.read = Some((link, place.end));
        }
    }

    fn count(&mut self, record: CallRecord) {
        let key = record.key.as_deref().map(|arn| audit::key_id(arn).to_owned());
        if let Some(key) = key.as_ref().filter(|_| record.error.is_none()) {
            match &*record.operation {
                "ScheduleKeyDeletion" => drop(self.scheduled.insert(key.clone(), record.time)),
                "CancelKeyDeletion" => drop(self.scheduled.remove(key)),
                _ => {}
            }
        }
        let failed = record.error.is_some();
        let group = Group {
            month: Month::of(record.time),
            tariff: Tariff::of(&record.operation, record.spec.as_deref()),
            key,
            principal: record.principal,
            operation: record.operation.into_owned(),
        };
        let tally = self.tallies.entry(group).or_default();
        tally.calls += u64::from(!failed);
        tally.failed += u64::from(failed);
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("usage.json")
}
