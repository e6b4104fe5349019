//! Block-range locks of one file: readers and writers proceed together where their blocks differ.
//!
//! Few requests are in flight on a file at a time (at most one a worker thread), so the held ranges are a short
//! list under a mutex; waiting is on one condition variable. Writers are not starved for long: a request holds
//! its range for one read or write only.

use parking_lot::{Condvar, Mutex};
use std::ops::Range;

#[derive(Debug)]
struct Held {
    blocks: Range<u64>,
    exclusive: bool,
    id: u64,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Held>,
    next_id: u64,
}

/// The locks of one file.
#[derive(Debug, Default)]
pub struct RangeLocks {
    state: Mutex<State>,
    released: Condvar,
}

/// A held range; released on drop.
#[derive(Debug)]
pub struct RangeGuard<'a> {
    locks: &'a RangeLocks,
    id: u64,
}

impl State {
    fn is_free(&self, blocks: &Range<u64>, exclusive: bool) -> bool {
        let overlap = |held: &Range<u64>| held.start < blocks.end && blocks.start < held.end;
        !self.held.iter().any(|h| (exclusive || h.exclusive) && overlap(&h.blocks))
    }
}

impl RangeLocks {
    /// Waits until no writer holds a block of `blocks`.
    pub fn shared(&self, blocks: Range<u64>) -> RangeGuard<'_> {
        self.acquire(blocks, false)
    }

    /// Waits until nobody holds a block of `blocks`.
    pub fn exclusive(&self, blocks: Range<u64>) -> RangeGuard<'_> {
        self.acquire(blocks, true)
    }

    /// The whole file, for what changes its shape.
    pub fn whole(&self) -> RangeGuard<'_> {
        self.acquire(0..u64::MAX, true)
    }

    /// The whole file, if nobody holds a block of it.
    pub fn try_whole(&self) -> Option<RangeGuard<'_>> {
        let mut state = self.state.lock();
        let (blocks, exclusive) = (0..u64::MAX, true);
        state.is_free(&blocks, exclusive).then(|| self.enter(&mut state, blocks, exclusive))
    }

    fn acquire(&self, blocks: Range<u64>, exclusive: bool) -> RangeGuard<'_> {
        let mut state = self.state.lock();
        while !state.is_free(&blocks, exclusive) {
            self.released.wait(&mut state);
        }
        self.enter(&mut state, blocks, exclusive)
    }

    fn enter(&self, state: &mut State, blocks: Range<u64>, exclusive: bool) -> RangeGuard<'_> {
        let id = state.next_id;
        state.next_id += 1;
        state.held.push(Held { blocks, exclusive, id });
        RangeGuard { locks: self, id }
    }
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.locks.state.lock();
        let at = state.held.iter().position(|h| h.id == self.id).expect("a guard's range is held");
        state.held.swap_remove(at);
        drop(state);
        self.locks.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn blocked(locks: &Arc<RangeLocks>, blocks: Range<u64>, exclusive: bool) -> bool {
        let (locks, got) = (Arc::clone(locks), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&got);
        let waiter = std::thread::spawn(move || {
            let _guard = locks.acquire(blocks, exclusive);
            seen.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(30));
        let blocked = !got.load(Ordering::SeqCst);
        drop(waiter);
        blocked
    }

    #[test]
    fn writers_exclude_only_their_blocks() {
        let locks = Arc::new(RangeLocks::default());
        let guard = locks.exclusive(10..20);
        assert!(blocked(&locks, 19..30, false));
        assert!(blocked(&locks, 0..11, true));
        assert!(!blocked(&locks, 20..30, true));
        assert!(!blocked(&locks, 0..10, false));
        drop(guard);
        assert!(!blocked(&locks, 0..u64::MAX, true));
    }

    #[test]
    fn readers_share() {
        let locks = Arc::new(RangeLocks::default());
        let _guard = locks.shared(0..5);
        assert!(!blocked(&locks, 3..4, false));
        assert!(blocked(&locks, 3..4, true));
    }
}
