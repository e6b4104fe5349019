//! Calls to providers: how many there were, and which CMKs are in trouble since when.

use super::{Cmk, Error, ErrorKind};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

/// A CMK whose last call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its ARN.
    pub cmk: String,
    /// Its KMS, as [`super::KeyProvider::description`] has it.
    pub kms: String,
    /// When the first of the calls failed since which none succeeded.
    pub since: SystemTime,
    /// When the last one did.
    pub last: SystemTime,
    /// How many did.
    pub failures: u64,
    /// What the last one was told.
    pub error: Error,
}

/// Counts calls.
#[derive(Default)]
pub(super) struct Calls {
    made: AtomicU64,
    failed: AtomicU64,
    /// Calls that have not been answered yet.
    under_way: AtomicUsize,
    troubles: Mutex<BTreeMap<String, Trouble>>,
    /// How many there are, so that calls need not look when all is well.
    troubled: AtomicUsize,
}

impl Calls {
    /// Makes a call for `cmk`, and counts it.
    pub(super) fn count<T>(&self, cmk: &Cmk, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let done = {
            let _call = UnderWay::new(&self.under_way);
            call()
        };
        match &done {
            Ok(_) => self.is_well(cmk),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // What was altered, or shredded, says nothing about the KMS.
                if !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Shredded) {
                    self.is_in_trouble(cmk, error);
                }
            }
        }
        done
    }

    fn is_well(&self, cmk: &Cmk) {
        if self.troubled.load(Ordering::Acquire) > 0 {
            let mut troubles = self.troubles.lock();
            troubles.remove(&cmk.arn);
            self.troubled.store(troubles.len(), Ordering::Release);
        }
    }

    fn is_in_trouble(&self, cmk: &Cmk, error: &Error) {
        let now = SystemTime::now();
        let mut troubles = self.troubles.lock();
        let trouble = troubles.entry(cmk.arn.clone()).or_insert_with(|| Trouble {
            cmk: cmk.arn.clone(),
            kms: cmk.provider.description(),
            since: now,
            last: now,
            failures: 0,
            error: error.clone(),
        });
        (trouble.last, trouble.error) = (now, error.clone());
        trouble.failures += 1;
        self.troubled.store(troubles.len(), Ordering::Release);
    }

    /// Whether somebody waits for an answer just now.
    pub(super) fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().values().cloned().collect()
    }
}

/// A call that has not been answered, also where it panics.
struct UnderWay<'a>(&'a AtomicUsize);

impl UnderWay<'_> {
    fn new(count: &AtomicUsize) -> UnderWay<'_> {
        count.fetch_add(1, Ordering::AcqRel);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
