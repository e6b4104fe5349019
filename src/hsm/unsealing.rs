//! Shares that come in one at a time, from any terminal, until there are enough. Pure: the caller tells the time.
//!
//! Shares wait in locked memory, and not for long: an unsealing that does not get on is given up. Whoever submits
//! shares that are none is slowed down, since they may be guessing at what a custodian mistyped.

use super::Sealed;
use super::shares::{self, Secret, Share};
use super::text::Labelled;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Shares are forgotten so long after the first of them came.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Wrong shares that are taken before it gets slow.
const FREE_FAILURES: u32 = 3;
/// How long no share is taken after one more; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a share was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// It belongs to another keystore.
    #[error("this is a share of another HSM ({})", hex(.0))]
    Elsewhere([u8; 4]),
    /// New shares were made since.
    #[error("this is an old share, of set {found}; the shares in use are of set {current}")]
    Old {
        /// Its set.
        found: u8,
        /// The set in use.
        current: u8,
    },
    /// It is not what was handed out.
    #[error(transparent)]
    Share(#[from] shares::Error),
    /// Too many wrong shares came.
    #[error("too many wrong shares: wait {0} seconds")]
    Wait(u64),
}

/// What a share that was taken comes to.
#[derive(Debug)]
pub enum Taken {
    /// More are needed.
    More {
        /// Custodians whose share is there.
        have: Vec<u8>,
        /// Shares needed.
        need: u8,
    },
    /// It was the last one needed.
    Complete(Secret),
}

/// The shares that are there.
#[derive(Debug, Default)]
pub struct Unsealing {
    shares: Vec<Share>,
    since: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Unsealing {
    /// Takes a share of `sealed`. After the last one needed, or [`PATIENCE`], none is there any more.
    ///
    /// # Errors
    /// [`Refused`]; what was there before stays.
    pub fn submit(&mut self, sealed: &Sealed, labelled: Labelled, now: Instant) -> Result<Taken, Refused> {
        self.expire(now);
        if let Some(left) = self.not_before.and_then(|until| until.checked_duration_since(now)) {
            return Err(Refused::Wait(left.as_secs() + 1));
        }
        match self.take(sealed, labelled) {
            Ok(()) => {}
            Err(refused) => {
                self.failures += 1;
                let over = self.failures.saturating_sub(FREE_FAILURES);
                if over > 0 {
                    let pause = FIRST_PAUSE * 2u32.saturating_pow(over.min(16) - 1);
                    self.not_before = Some(now + pause.min(LONGEST_PAUSE));
                }
                return Err(refused);
            }
        }
        self.since.get_or_insert(now);
        let need = sealed.quorum().threshold();
        if self.shares.len() < need.into() {
            return Ok(Taken::More { have: self.custodians(), need });
        }
        let shares = std::mem::take(self).shares;
        let secret = sealed.quorum().combine(&shares.iter().collect::<Vec<_>>())?;
        Ok(Taken::Complete(secret))
    }

    fn take(&mut self, sealed: &Sealed, labelled: Labelled) -> Result<(), Refused> {
        if labelled.keystore != sealed.fingerprint() {
            return Err(Refused::Elsewhere(labelled.keystore));
        }
        if labelled.set != sealed.set() {
            return Err(Refused::Old { found: labelled.set, current: sealed.set() });
        }
        sealed.quorum().verify(&labelled.share)?;
        if self.shares.iter().all(|share| share.index != labelled.share.index) {
            self.shares.push(labelled.share);
        }
        Ok(())
    }

    /// Forgets shares that have waited too long.
    pub fn expire(&mut self, now: Instant) {
        if self.since.is_some_and(|since| now.duration_since(since) >= PATIENCE) {
            self.shares.clear();
            self.since = None;
        }
    }

    /// Custodians whose share is there.
    pub fn custodians(&self) -> Vec<u8> {
        self.shares.iter().map(|share| share.index).collect()
    }

    /// How long until the shares are forgotten, if any are there.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| PATIENCE.saturating_sub(now.duration_since(since)))
    }
}

fn hex(bytes: &[u8; 4]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
