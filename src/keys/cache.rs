//! The cache of data keys.
//!
//! Bounded in entries and in age, least recently used first out. It holds expanded keys, not raw bytes. A key
//! that leaves the cache while a file uses it lives on until the last user drops it. However many threads
//! miss the same key at once, one asks the provider and the others wait for its answer, its error
//! included; no lock is held meanwhile.
//!
//! A flush begins a new *epoch*. What was asked for in an old epoch is neither kept nor given to anyone
//! who asks after the flush: it may predate what the flush was for.

use super::{Error, ErrorKind, FileKey};
use lru::LruCache;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many keys a cache holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most keys.
    pub entries: NonZeroUsize,
    /// How long a key serves before the provider is asked again.
    pub age: Duration,
}

impl Default for CacheLimits {
    /// 16384 keys of some 2 KiB each, for five minutes.
    fn default() -> CacheLimits {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(16384).expect("not zero");
        CacheLimits { entries: ENTRIES, age: Duration::from_secs(300) }
    }
}

/// Figures of a cache; counts are since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Keys found.
    pub hits: u64,
    /// Keys not found, or found too old.
    pub misses: u64,
    /// Misses that waited for another thread's call instead of making their own.
    pub shared: u64,
    /// Keys that made room for others.
    pub evictions: u64,
    /// Keys found too old.
    pub expirations: u64,
    /// Times the cache was emptied.
    pub flushes: u64,
    /// Keys held now.
    pub entries: usize,
    /// Most keys it may hold.
    pub capacity: usize,
    /// How long ago the oldest key held now came in.
    pub oldest_age: Option<Duration>,
    /// How long a key may serve.
    pub max_age: Duration,
    /// Calls to the provider: keys generated and unwrapped.
    pub provider_calls: u64,
    /// Calls to the provider that failed.
    pub failures: u64,
}

/// A file's id, and a digest of its wrapped key: a file whose key was wrapped anew is asked for anew.
pub(super) type CacheKey = ([u8; 16], [u8; 16]);

/// See the module.
pub(super) struct DekCache {
    limits: CacheLimits,
    state: Mutex<State>,
}

struct State {
    kept: LruCache<CacheKey, Kept>,
    flights: HashMap<CacheKey, Arc<Flight>>,
    epoch: u64,
    stats: CacheStats,
}

struct Kept {
    key: Arc<FileKey>,
    since: Instant,
}

type Outcome = Result<Arc<FileKey>, Error>;

/// A call to the provider in progress.
#[derive(Default)]
struct Flight {
    outcome: Mutex<Option<Outcome>>,
    landed: Condvar,
}

impl Flight {
    fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.landed.wait(&mut outcome);
        }
    }
}

impl DekCache {
    pub(super) fn new(limits: CacheLimits) -> DekCache {
        let state = State {
            kept: LruCache::new(limits.entries),
            flights: HashMap::new(),
            epoch: 0,
            stats: CacheStats::default(),
        };
        DekCache { limits, state: Mutex::new(state) }
    }

    /// The key, from the cache or else from `fetch`.
    pub(super) fn get(&self, at: CacheKey, fetch: impl FnOnce() -> Outcome) -> Outcome {
        let landing = {
            let mut state = self.state.lock();
            if let Some(key) = state.lookup(&at, self.limits.age) {
                return Ok(key);
            }
            if let Some(flight) = state.flights.get(&at).cloned() {
                state.stats.shared += 1;
                drop(state);
                return flight.wait();
            }
            let flight = Arc::<Flight>::default();
            state.flights.insert(at, Arc::clone(&flight));
            Landing { cache: self, at, flight, epoch: state.epoch, outcome: None }
        };
        let outcome = fetch();
        landing.land(outcome)
    }

    /// The key that `make` makes, kept under the name that comes with it.
    pub(super) fn add<T>(
        &self,
        make: impl FnOnce() -> Result<(CacheKey, Arc<FileKey>, T), Error>,
    ) -> Result<(Arc<FileKey>, T), Error> {
        let epoch = self.state.lock().epoch;
        let made = make();
        let mut state = self.state.lock();
        state.count_call(made.is_ok());
        let (at, key, rest) = made?;
        state.keep(at, &key, epoch);
        Ok((key, rest))
    }

    /// Empties the cache, and disowns calls in progress.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.stats.flushes += 1;
        state.flights.clear();
        state.kept.clear();
    }

    pub(super) fn stats(&self) -> CacheStats {
        let state = self.state.lock();
        CacheStats {
            entries: state.kept.len(),
            capacity: self.limits.entries.get(),
            oldest_age: state.kept.iter().map(|(_, kept)| kept.since.elapsed()).max(),
            max_age: self.limits.age,
            ..state.stats
        }
    }
}

impl State {
    fn lookup(&mut self, at: &CacheKey, age: Duration) -> Option<Arc<FileKey>> {
        match self.kept.get(at) {
            Some(kept) if kept.since.elapsed() < age => {
                self.stats.hits += 1;
                return Some(Arc::clone(&kept.key));
            }
            Some(_) => {
                self.kept.pop(at);
                self.stats.expirations += 1;
            }
            None => {}
        }
        self.stats.misses += 1;
        None
    }

    /// Keeps a key that was asked for in `epoch`, if that is not over.
    fn keep(&mut self, at: CacheKey, key: &Arc<FileKey>, epoch: u64) {
        if epoch != self.epoch {
            return;
        }
        let kept = Kept { key: Arc::clone(key), since: Instant::now() };
        if self.kept.push(at, kept).is_some_and(|(pushed_out, _)| pushed_out != at) {
            self.stats.evictions += 1;
        }
    }

    fn count_call(&mut self, succeeded: bool) {
        self.stats.provider_calls += 1;
        self.stats.failures += u64::from(!succeeded);
    }
}

/// Ends a flight when dropped, even if the call to the provider panicked: nobody waits for ever.
struct Landing<'a> {
    cache: &'a DekCache,
    at: CacheKey,
    flight: Arc<Flight>,
    epoch: u64,
    outcome: Option<Outcome>,
}

impl Landing<'_> {
    fn land(mut self, outcome: Outcome) -> Outcome {
        self.outcome = Some(outcome.clone());
        outcome
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Unavailable, "the call to the key provider did not come to an end"))
        });
        {
            let mut state = self.cache.state.lock();
            state.count_call(outcome.is_ok());
            if let Ok(key) = &outcome {
                state.keep(self.at, key, self.epoch);
            }
            // After a flush, the place may belong to a later flight.
            if state.flights.get(&self.at).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
                state.flights.remove(&self.at);
            }
        }
        *self.flight.outcome.lock() = Some(outcome);
        self.flight.landed.notify_all();
    }
}
