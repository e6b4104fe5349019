//! Finding what a session that died has left in the journal.

use super::super::Result;
use super::super::lower::{Fd, Lower};
use super::record::{self, Kind, MAX_PAYLOAD, RECORD_HEADER, Record};
use super::segment::{SEGMENT_SIZE, Segment, segment_name, segment_seq};
use super::state::State;
use crate::crypto::secret::Key;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A record found at replay.
#[derive(Debug)]
pub struct Replayed {
    /// The record.
    pub record: Record,
    /// Its payload's place: segment and offset.
    pub segment: Arc<Segment>,
    /// Offset of the payload in the segment.
    pub payload_at: u64,
    /// The payload, without the ciphertexts: entries, or a path.
    pub head: Vec<u8>,
}

/// What the live segments hold.
pub(super) struct Scan {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) records: Vec<Replayed>,
    pub(super) bytes: u64,
    pub(super) next_lsn: u64,
    pub(super) next_seq: u64,
}

/// Reads the live segments until the first record that is missing, torn or out of order.
///
/// # Errors
/// Those of the lower filesystem.
pub(super) fn scan(lower: &dyn Lower, dir: &Fd, key: &Key, state: &State) -> Result<Scan> {
    let mut seqs: Vec<u64> = lower.read_dir(dir)?.iter().filter_map(|e| segment_seq(&e.name)).collect();
    seqs.sort_unstable();
    let mut scan = Scan {
        segments: Vec::new(),
        records: Vec::new(),
        bytes: 0,
        next_lsn: state.first_lsn,
        next_seq: state.first_live,
    };
    let live = seqs.iter().copied().skip_while(|s| *s < state.first_live);
    for (seq, expected) in live.zip(state.first_live..) {
        if seq != expected {
            break;
        }
        let fd = lower.open(dir, &segment_name(seq), libc::O_RDWR, 0)?;
        // Nobody vouches for the size of a file that was put here; ours are not longer.
        let longest = SEGMENT_SIZE + (MAX_PAYLOAD + RECORD_HEADER) as u64;
        let mut bytes = vec![0; lower.fstat(&fd)?.size.min(longest) as usize];
        let n = lower.pread(&fd, &mut bytes, 0)?;
        let len = AtomicU64::new(n as u64);
        let segment = Arc::new(Segment { fd: Some(fd), seq, first_lsn: scan.next_lsn, len });
        scan.next_seq = seq.saturating_add(1);
        scan.segments.push(Arc::clone(&segment));
        scan.bytes += n as u64;
        scan_segment(&mut scan, &segment, &bytes[..n], key);
    }
    Ok(scan)
}

fn scan_segment(scan: &mut Scan, segment: &Arc<Segment>, bytes: &[u8], key: &Key) {
    let mut at = 0;
    while let Some((record, position, payload)) = record::decode(&bytes[at..], key) {
        if position.segment != segment.seq || position.lsn != scan.next_lsn {
            return;
        }
        scan.next_lsn = position.lsn + 1;
        let head = if record.kind == Kind::Path {
            payload.len()
        } else {
            record.ciphertext_at(0).min(payload.len())
        };
        scan.records.push(Replayed {
            record,
            segment: Arc::clone(segment),
            payload_at: (at + RECORD_HEADER) as u64,
            head: payload[..head].to_vec(),
        });
        at += RECORD_HEADER + payload.len();
    }
}
