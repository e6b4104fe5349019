//! A keystore that custodians open, as far as the KMS knows of them.

use super::*;
use keystore::{QuorumKey, QuorumShape};

/// What custodians make of their shares of a set.
pub(super) fn quorum(set: u8) -> QuorumKey {
    let key = Key::from_bytes(&mut [set; 32]);
    QuorumKey { key, shape: QuorumShape { set, threshold: 2, custodians: 3 }, verifier: vec![set; 66] }
}

pub(super) fn create(scratch: &Scratch) -> Kms {
    Kms::create(scratch.location(), &Unlock::Quorum(quorum(0)), "", scratch.options()).unwrap()
}

pub(super) fn open(scratch: &Scratch, set: u8) -> keystore::Result<Kms> {
    Kms::open(scratch.location(), &Unlock::Quorum(quorum(set)), scratch.options())
}
