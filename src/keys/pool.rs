//! Data keys made ahead, so that creating a file does not wait for a slow KMS.
//!
//! A zone whose files are created has a queue of data keys, each with the id of a file that does not exist yet. It is
//! filled by threads of its own as far as creations ask for: whenever one finds it empty, the queue may grow. A creation
//! that finds it empty makes its own call, so the worst that a pool does to it is nothing; and an error of a
//! call made ahead is nobody's: whoever creates a file gets the error of their own.
//!
//! A change of any key begins a new *epoch*: keys made or asked for before it serve nobody, like those in the
//! [cache](super::cache).

use super::{Envelope, Error, FileKey, Zone, ZoneId};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Calls to the KMS made at the same time, at most.
const FETCHERS: usize = 16;
/// Keys that a zone's queue is to hold when the zone's first file was created.
const LEAST: usize = 8;
/// Most keys that it is ever to hold.
const MOST: usize = 1024;
/// A zone in which nothing was created for so long has no keys made ahead.
const IDLE: Duration = Duration::from_secs(30);
/// After a call that failed, none is made ahead for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// A new file's id, its data key, and the same wrapped.
pub(super) struct Ready {
    pub(super) file: [u8; 16],
    pub(super) key: Arc<FileKey>,
    pub(super) envelope: Envelope,
}

/// Makes the key of a new file of a zone by a call to its KMS.
pub(super) type Make = dyn Fn(&Zone) -> Result<Ready, Error> + Send + Sync;

/// See the module.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    make: Box<Make>,
    /// How long a key may wait.
    age: Duration,
    state: Mutex<State>,
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    queues: HashMap<ZoneId, Queue>,
    epoch: u64,
    threads: usize,
    /// No call before this.
    paused: Option<Instant>,
    stopped: bool,
}

struct Queue {
    zone: Arc<Zone>,
    ready: VecDeque<(Instant, Ready)>,
    /// Calls in progress.
    coming: usize,
    target: usize,
    last_use: Instant,
}

impl Pool {
    /// A pool whose keys wait for `age` at most and are made by `make`. No thread is started before the first use.
    pub(super) fn new(age: Duration, make: Box<Make>) -> Pool {
        Pool { shared: Arc::new(Shared { make, age, state: Mutex::default(), wanted: Condvar::new() }) }
    }

    /// A key of `zone`, if one is there.
    pub(super) fn take(&self, zone: &Arc<Zone>) -> Option<Ready> {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        let queue = state.queues.entry(zone.id).or_insert_with(|| Queue {
            zone: Arc::clone(zone),
            ready: VecDeque::new(),
            coming: 0,
            target: LEAST / 2,
            last_use: now,
        });
        queue.last_use = now;
        queue.drop_old(self.shared.age, now);
        let ready = queue.ready.pop_front().map(|(_, ready)| ready);
        if ready.is_none() {
            queue.target = (2 * queue.target).clamp(LEAST, MOST);
        }
        let (missing, threads) =
            (queue.target.saturating_sub(queue.ready.len() + queue.coming), state.threads);
        let more = missing.min(FETCHERS).saturating_sub(threads);
        state.threads += more;
        drop(state);
        for _ in 0..more {
            self.start();
        }
        if missing > 1 {
            self.shared.wanted.notify_all();
        } else {
            self.shared.wanted.notify_one();
        }
        ready
    }

    fn start(&self) {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("kmsfs-data-keys".into());
        if let Err(e) = thread.spawn(move || shared.run()) {
            // Fewer keys are made ahead, and creations make their own calls.
            log::warn!("no thread to make data keys ahead: {e}");
        }
    }

    /// Throws all keys away, and those that are being made.
    pub(super) fn flush(&self) {
        let mut state = self.shared.state.lock();
        state.epoch += 1;
        state.paused = None;
        let queues = std::mem::take(&mut state.queues);
        drop(state);
        drop(queues); // wiping keys takes a moment
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Not joined: a call in progress may take its time, and what comes of it serves nobody.
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.queues.clear();
        drop(state);
        self.shared.wanted.notify_all();
    }
}

impl Shared {
    /// Makes keys until the pool is dropped.
    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            let (zone, epoch) = loop {
                if state.stopped {
                    return;
                }
                match state.next() {
                    Ok(zone) => break (zone, state.epoch),
                    Err(Some(wait)) => _ = self.wanted.wait_for(&mut state, wait),
                    Err(None) => self.wanted.wait(&mut state),
                }
            };
            drop(state);
            let made = (self.make)(&zone);
            self.enter(&zone.id, epoch, made);
        }
    }

    fn enter(&self, zone: &ZoneId, epoch: u64, made: Result<Ready, Error>) {
        let mut state = self.state.lock();
        if state.epoch != epoch {
            return;
        }
        let Some(queue) = state.queues.get_mut(zone) else { return };
        queue.coming -= 1;
        match made {
            Ok(ready) => queue.ready.push_back((Instant::now(), ready)),
            Err(e) => {
                log::debug!("a data key could not be made ahead: {e}");
                state.paused = Some(Instant::now() + PAUSE);
            }
        }
    }
}

impl State {
    /// A zone that wants another key; or how long to wait until there may be one, if not until somebody asks.
    fn next(&mut self) -> Result<Arc<Zone>, Option<Duration>> {
        let now = Instant::now();
        if let Some(left) = self.paused.and_then(|until| until.checked_duration_since(now)) {
            return Err(Some(left));
        }
        self.paused = None;
        // Forgets a zone that nobody uses, its keys included.
        self.queues.retain(|_, queue| queue.coming > 0 || now.duration_since(queue.last_use) < IDLE);
        let wanting = self.queues.values_mut().find(|queue| queue.ready.len() + queue.coming < queue.target);
        if let Some(queue) = wanting {
            queue.coming += 1;
            return Ok(Arc::clone(&queue.zone));
        }
        Err((!self.queues.is_empty()).then_some(IDLE))
    }
}

impl Queue {
    fn drop_old(&mut self, age: Duration, now: Instant) {
        while self.ready.front().is_some_and(|(since, _)| now.duration_since(*since) >= age) {
            self.ready.pop_front();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Cmk, ErrorKind, NO_ZONE, WrapMode, WrappedKey};
    use super::*;
    use crate::crypto::{Cipher, Key};
    use crate::keys::tests::Fake;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// What the pool's calls meet.
    #[derive(Default)]
    struct Kms {
        calls: AtomicUsize,
        away: AtomicBool,
        slow: AtomicBool,
        gate: Mutex<()>,
    }

    fn pool(age: Duration) -> (Arc<Kms>, Pool, Arc<Zone>) {
        let kms = Arc::<Kms>::default();
        let asked = Arc::clone(&kms);
        let make = move |zone: &Zone| {
            let call = asked.calls.fetch_add(1, Ordering::SeqCst);
            if asked.slow.load(Ordering::SeqCst) {
                drop(asked.gate.lock());
            }
            if asked.away.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "away"));
            }
            let mut file = [0; 16];
            file[..8].copy_from_slice(&(call as u64).to_le_bytes());
            let wrapped = WrappedKey { key_id: zone.cmk.id, material: 1, blob: vec![1; 32] };
            let envelope =
                Envelope { zone: zone.id, mode: WrapMode::Direct, wrapped, secret: None, previous: None };
            Ok(Ready { file, key: Arc::new(FileKey::new(Cipher::Aes256Gcm, Key::random())), envelope })
        };
        let cmk = Cmk { provider: Arc::<Fake>::default(), arn: "cmk".into(), id: [1; 16] };
        let zone = Zone {
            id: NO_ZONE,
            name: None,
            cmk,
            former: Vec::new(),
            wrap: WrapMode::Direct,
            shreddable: false,
        };
        (kms, Pool::new(age, Box::new(make)), Arc::new(zone))
    }

    fn held(pool: &Pool) -> usize {
        pool.shared.state.lock().queues.values().map(|queue| queue.ready.len()).sum()
    }

    fn eventually(done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(10), "it never comes to that");
            thread::sleep(Duration::from_millis(2));
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn keys_are_made_ahead_once_a_file_was_created_and_each_serves_once() {
        let (kms, pool, zone) = pool(LONG);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(kms.calls.load(Ordering::SeqCst), 0, "nothing before the first use");
        assert!(pool.take(&zone).is_none());
        eventually(|| held(&pool) == LEAST);
        let mut files: Vec<_> = (0..LEAST).map(|_| pool.take(&zone).unwrap().file).collect();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), LEAST);
    }

    #[test]
    fn a_queue_grows_while_creations_find_it_empty_and_not_without_end() {
        let (kms, pool, zone) = pool(LONG);
        kms.slow.store(true, Ordering::SeqCst);
        let gate = kms.gate.lock();
        for _ in 0..100 {
            assert!(pool.take(&zone).is_none(), "no call has come back");
        }
        eventually(|| kms.calls.load(Ordering::SeqCst) == FETCHERS);
        drop(gate);
        eventually(|| held(&pool) == MOST);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(kms.calls.load(Ordering::SeqCst), MOST);
    }

    #[test]
    fn a_flush_disowns_what_is_there_and_what_is_coming() {
        let (kms, pool, zone) = pool(LONG);
        pool.take(&zone);
        eventually(|| held(&pool) == LEAST);
        kms.slow.store(true, Ordering::SeqCst);
        let gate = kms.gate.lock();
        pool.take(&zone).unwrap();
        eventually(|| kms.calls.load(Ordering::SeqCst) == LEAST + 1);
        pool.flush();
        assert!(pool.take(&zone).is_none(), "what was there is gone");
        let coming = kms.calls.load(Ordering::SeqCst);
        drop(gate);
        eventually(|| held(&pool) == LEAST);
        for _ in 0..LEAST {
            let file = pool.take(&zone).unwrap().file;
            let call = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert!(call > LEAST, "call {call} of {coming} was begun before the flush");
        }
    }

    #[test]
    fn an_old_key_does_not_serve() {
        let (_, pool, zone) = pool(Duration::from_millis(30));
        pool.take(&zone);
        eventually(|| held(&pool) == LEAST);
        thread::sleep(Duration::from_millis(40));
        assert!(pool.take(&zone).is_none());
    }

    #[test]
    fn a_kms_that_is_away_is_asked_once_a_second_and_no_more() {
        let (kms, pool, zone) = pool(LONG);
        kms.away.store(true, Ordering::SeqCst);
        for _ in 0..100 {
            assert!(pool.take(&zone).is_none());
        }
        eventually(|| kms.calls.load(Ordering::SeqCst) > 0);
        thread::sleep(Duration::from_millis(300));
        let calls = kms.calls.load(Ordering::SeqCst);
        assert!(calls <= FETCHERS, "{calls} calls");
        kms.away.store(false, Ordering::SeqCst);
        eventually(|| held(&pool) > 0);
    }
}
