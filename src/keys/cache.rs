//! A cache of keys: data keys of files, and zone keys.
//!
//! Bounded in entries and in age, least recently used first out. It holds expanded keys, not raw bytes. A key
//! that leaves the cache while somebody uses it lives on until the last user drops it. However many threads
//! miss the same key at once, one asks the provider and the others wait for its answer, its error
//! included; no lock is held meanwhile.
//!
//! A flush begins a new *epoch*. What was asked for in an old epoch is neither kept nor given to anyone
//! who asks after the flush: it may predate what the flush was for.

use super::{Error, ErrorKind};
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

/// Counts of a cache, since its creation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Keys found.
    pub(super) hits: u64,
    /// Keys not found, or found too old.
    pub(super) misses: u64,
    /// Misses that waited for another thread's call instead of making their own.
    pub(super) shared: u64,
    /// Keys that made room for others.
    pub(super) evictions: u64,
    /// Keys found too old.
    pub(super) expirations: u64,
    /// Times the cache was emptied.
    pub(super) flushes: u64,
}

/// The id of the file or zone that the key is for, and a digest of the wrapped key: a key that was wrapped anew is
/// asked for anew.
pub(super) type CacheKey = ([u8; 16], [u8; 16]);

/// See the module. `K` is a key.
pub(super) struct KeyCache<K> {
    limits: CacheLimits,
    state: Mutex<State<K>>,
}

struct State<K> {
    kept: LruCache<CacheKey, Kept<K>>,
    flights: HashMap<CacheKey, Arc<Flight<K>>>,
    epoch: u64,
    counts: Counts,
}

struct Kept<K> {
    key: Arc<K>,
    since: Instant,
}

type Outcome<K> = Result<Arc<K>, Error>;

/// A call to the provider in progress.
struct Flight<K> {
    outcome: Mutex<Option<Outcome<K>>>,
    landed: Condvar,
}

impl<K> Flight<K> {
    fn new() -> Flight<K> {
        Flight { outcome: Mutex::new(None), landed: Condvar::new() }
    }

    fn wait(&self) -> Outcome<K> {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.landed.wait(&mut outcome);
        }
    }
}

impl<K> KeyCache<K> {
    pub(super) fn new(limits: CacheLimits) -> KeyCache<K> {
        let state = State {
            kept: LruCache::new(limits.entries),
            flights: HashMap::new(),
            epoch: 0,
            counts: Counts::default(),
        };
        KeyCache { limits, state: Mutex::new(state) }
    }

    /// The key, from the cache or else from `fetch`.
    pub(super) fn get(&self, at: CacheKey, fetch: impl FnOnce() -> Outcome<K>) -> Outcome<K> {
        let landing = {
            let mut state = self.state.lock();
            if let Some(key) = state.lookup(&at, self.limits.age) {
                return Ok(key);
            }
            if let Some(flight) = state.flights.get(&at).cloned() {
                state.counts.shared += 1;
                drop(state);
                return flight.wait();
            }
            let flight = Arc::new(Flight::new());
            state.flights.insert(at, Arc::clone(&flight));
            Landing { cache: self, at, flight, epoch: state.epoch, outcome: None }
        };
        let outcome = fetch();
        landing.land(outcome)
    }

    /// What `make` makes, whose key is kept under the name that comes with it.
    pub(super) fn add<T>(
        &self,
        make: impl FnOnce() -> Result<(CacheKey, Arc<K>, T), Error>,
    ) -> Result<(Arc<K>, T), Error> {
        let epoch = self.state.lock().epoch;
        let (at, key, rest) = make()?;
        self.state.lock().keep(at, &key, epoch);
        Ok((key, rest))
    }

    /// Forgets a key.
    pub(super) fn remove(&self, at: &CacheKey) {
        self.state.lock().kept.pop(at);
    }

    /// Empties the cache, and disowns calls in progress.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.counts.flushes += 1;
        state.flights.clear();
        state.kept.clear();
    }

    /// The counts, the number of keys held, and the age of the oldest.
    pub(super) fn figures(&self) -> (Counts, usize, Option<Duration>) {
        let state = self.state.lock();
        let oldest = state.kept.iter().map(|(_, kept)| kept.since.elapsed()).max();
        (state.counts, state.kept.len(), oldest)
    }
}

impl<K> State<K> {
    fn lookup(&mut self, at: &CacheKey, age: Duration) -> Option<Arc<K>> {
        match self.kept.get(at) {
            Some(kept) if kept.since.elapsed() < age => {
                self.counts.hits += 1;
                return Some(Arc::clone(&kept.key));
            }
            Some(_) => {
                self.kept.pop(at);
                self.counts.expirations += 1;
            }
            None => {}
        }
        self.counts.misses += 1;
        None
    }

    /// Keeps a key that was asked for in `epoch`, if that is not over.
    fn keep(&mut self, at: CacheKey, key: &Arc<K>, epoch: u64) {
        if epoch != self.epoch {
            return;
        }
        let kept = Kept { key: Arc::clone(key), since: Instant::now() };
        if self.kept.push(at, kept).is_some_and(|(pushed_out, _)| pushed_out != at) {
            self.counts.evictions += 1;
        }
    }
}

/// Ends a flight when dropped, even if the call to the provider panicked: nobody waits for ever.
struct Landing<'a, K> {
    cache: &'a KeyCache<K>,
    at: CacheKey,
    flight: Arc<Flight<K>>,
    epoch: u64,
    outcome: Option<Outcome<K>>,
}

impl<K> Landing<'_, K> {
    fn land(mut self, outcome: Outcome<K>) -> Outcome<K> {
        self.outcome = Some(outcome.clone());
        outcome
    }
}

impl<K> Drop for Landing<'_, K> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Unavailable, "the call to the key provider did not come to an end"))
        });
        {
            let mut state = self.cache.state.lock();
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
