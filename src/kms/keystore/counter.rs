//! The counter of a keystore: which of its states a copy is.
//!
//! A keystore cannot notice that the whole of it was put back to an older copy. Somebody who has noted its counter
//! elsewhere can: it goes up with every change. It is read without opening the keystore; who makes one up has made a
//! keystore that does not open, since the manifest covers it.
//!
//! Written, it is the generation and the beginning of the manifest's MAC, which tells states of the same
//! generation apart: `57:5f2b9c01d3e4a6b7`.

use super::database::Transaction;
use super::error::Result;
use std::fmt;
use std::str::FromStr;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    generation: u64,
    state: [u8; 8],
}

/// What a copy is, seen from a state that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// That state.
    Same,
    /// It went through more changes.
    Newer,
    /// It went through fewer changes.
    Older,
    /// It went through as many changes, and other ones.
    Other,
}

impl Counter {
    /// Reads that of a keystore; `None` if its own row is missing.
    pub(super) fn read(transaction: &Transaction<'_>) -> Result<Option<Counter>> {
        transaction.first("SELECT generation, manifest FROM keystore", |row| {
            let manifest: [u8; 32] = row.array(1)?;
            let state = *manifest.first_chunk().expect("a MAC is longer");
            Ok(Counter { generation: row.number(0)?, state })
        })
    }

    /// How many changes the keystore went through.
    pub fn generation(self) -> u64 {
        self.generation
    }

    /// What a copy with this counter is, seen from the state `known`.
    pub fn seen_from(self, known: Counter) -> Age {
        match self.generation.cmp(&known.generation) {
            std::cmp::Ordering::Greater => Age::Newer,
            std::cmp::Ordering::Less => Age::Older,
            std::cmp::Ordering::Equal if self.state == known.state => Age::Same,
            std::cmp::Ordering::Equal => Age::Other,
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.generation, u64::from_be_bytes(self.state))
    }
}

impl FromStr for Counter {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Counter, &'static str> {
        let parse = || {
            let (generation, state) = text.split_once(':')?;
            let plain = |digits: &str| !digits.starts_with('+');
            if state.len() != 16 || !plain(generation) || !plain(state) {
                return None;
            }
            let state = u64::from_str_radix(state, 16).ok()?.to_be_bytes();
            Some(Counter { generation: generation.parse().ok()?, state })
        };
        parse()
            .ok_or("expected a counter as `kmsfs hsm status` shows it: a number, a colon and 16 hex digits")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(generation: u64, state: [u8; 8]) {
            let counter = Counter { generation, state };
            prop_assert_eq!(counter.to_string().parse::<Counter>().unwrap(), counter);
        }
    }

    #[test]
    fn the_spelling_never_changes() {
        let counter = Counter { generation: 57, state: [0x5f, 0x2b, 0x9c, 1, 0xd3, 0xe4, 0xa6, 0xb7] };
        assert_eq!(counter.to_string(), "57:5f2b9c01d3e4a6b7");
        for wrong in
            ["", "57", "57:", "57:5f2b", "+57:5f2b9c01d3e4a6b7", "57:+f2b9c01d3e4a6b7", "-1:5f2b9c01d3e4a6b7"]
        {
            assert!(wrong.parse::<Counter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn copies_are_told_apart() {
        let counter = |generation, state| Counter { generation, state: [state; 8] };
        let known = counter(5, 1);
        assert_eq!(counter(5, 1).seen_from(known), Age::Same);
        assert_eq!(counter(5, 2).seen_from(known), Age::Other);
        assert_eq!(counter(4, 1).seen_from(known), Age::Older);
        assert_eq!(counter(6, 1).seen_from(known), Age::Newer);
    }
}
