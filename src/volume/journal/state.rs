//! The journal's state: is the volume in use, since when, and where the live segments begin.
//!
//! `kmsfs.journal/state` holds two copies of 128 bytes, at 0 and 512, written in turn; the higher counter with
//! a valid MAC wins. The file is made with the volume and only ever overwritten, so a full lower filesystem
//! cannot keep a volume from being mounted.
//!
//! ```text
//!   0  4  magic "KJS1"          24  8  session began, seconds
//!   4  1  1 while mounted       32  4  session began, nanoseconds
//!   5  3  zero                  36  4  process id of the mount
//!   8  8  counter               40  8  first live record
//!  16  8  first live segment    48 48  zero
//!                               96 32  MAC: keyed BLAKE3 of bytes 0..96
//! ```

use super::super::lower::{Fd, Lower, Timespec};
use super::super::{Error, Result};
use crate::crypto::mac;
use crate::crypto::secret::Key;

/// Name of the state file in the journal's directory.
pub const STATE_FILE: &str = "state";

const MAGIC: &[u8; 4] = b"KJS1";
const COPY: usize = 128;
const COPY_DISTANCE: u64 = 512;
const MAC_AT: usize = 96;

/// One copy of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// A mount uses the volume, or did when it died.
    pub mounted: bool,
    /// Grows with every write of the state.
    pub counter: u64,
    /// Segments before this one are dead.
    pub first_live: u64,
    /// Number of the first record that counts; each later one follows without a gap.
    pub first_lsn: u64,
    /// When the session began, by the lower filesystem's clock.
    pub began: Timespec,
    /// The mount's process.
    pub pid: u32,
}

impl State {
    /// The state of a new volume.
    pub const NEW: State = State {
        mounted: false,
        counter: 1,
        first_live: 1,
        first_lsn: 1,
        began: Timespec { sec: 0, nsec: 0 },
        pid: 0,
    };

    /// The bytes of this copy.
    pub fn encode(&self, key: &Key) -> [u8; COPY] {
        let mut s = [0u8; COPY];
        s[..4].copy_from_slice(MAGIC);
        s[4] = u8::from(self.mounted);
        s[8..16].copy_from_slice(&self.counter.to_le_bytes());
        s[16..24].copy_from_slice(&self.first_live.to_le_bytes());
        s[24..32].copy_from_slice(&self.began.sec.to_le_bytes());
        s[32..36].copy_from_slice(&self.began.nsec.to_le_bytes());
        s[36..40].copy_from_slice(&self.pid.to_le_bytes());
        s[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        let tag = mac::mac(key, &[b"state", &s[..MAC_AT]]);
        s[MAC_AT..].copy_from_slice(&tag);
        s
    }

    /// Reads one copy; `None` if it is not authentic.
    pub fn decode(s: &[u8], key: &Key) -> Option<State> {
        let s = s.get(..COPY)?;
        let tag: &[u8; 32] = s[MAC_AT..].try_into().expect("32 bytes");
        if s[..4] != *MAGIC || !mac::verify(key, &[b"state", &s[..MAC_AT]], tag) {
            return None;
        }
        let u64_at = |at: usize| u64::from_le_bytes(s[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(s[at..at + 4].try_into().expect("four bytes"));
        Some(State {
            mounted: s[4] != 0,
            counter: u64_at(8),
            first_live: u64_at(16),
            first_lsn: u64_at(40),
            began: Timespec { sec: u64_at(24) as i64, nsec: u32_at(32) },
            pid: u32_at(36),
        })
    }

    /// Reads the newer valid copy.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if neither copy is authentic.
    pub fn read(lower: &dyn Lower, fd: &Fd, key: &Key) -> Result<State> {
        let mut bytes = [0u8; COPY_DISTANCE as usize + COPY];
        let n = lower.pread(fd, &mut bytes, 0)?;
        [0, COPY_DISTANCE as usize]
            .into_iter()
            .filter_map(|at| State::decode(bytes[..n].get(at..)?, key))
            .max_by_key(|s| s.counter)
            .ok_or_else(|| {
                Error::corrupt("kmsfs.journal/state", "neither copy of the journal's state is authentic")
            })
    }

    /// Writes this state over the older copy.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub fn write(&self, lower: &dyn Lower, fd: &Fd, key: &Key) -> Result<()> {
        Ok(lower.pwrite(fd, &self.encode(key), self.counter % 2 * COPY_DISTANCE)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = Key::from_bytes(&mut [4; 32]);
        let state = State {
            mounted: true,
            counter: 9,
            first_live: 8,
            first_lsn: 80,
            began: Timespec { sec: 7, nsec: 6 },
            pid: 5,
        };
        let bytes = state.encode(&key);
        assert_eq!(State::decode(&bytes, &key), Some(state));
        for bit in 0..COPY * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&bad, &key), None, "bit {bit} went unnoticed");
        }
    }
}
