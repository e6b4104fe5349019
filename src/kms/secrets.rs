//! Shred secrets: random keys that are kept only so that they can be destroyed.
//!
//! What a secret has sealed is gone with it, and so is every copy. Each file of a shreddable zone has one of its own, and
//! a keystore may hold a million of them. So they are made in *batches*: a batch has a record like a CMK's, in memory and
//! under the manifest, which says which of its secrets are alive; the secrets themselves are rows of a table that is
//! read one row at a time. A secret that was destroyed and whose row somebody puts back from an old copy stays dead,
//! because its batch says so, and an old record of the batch does not fit the manifest. What opening a keystore costs
//! depends on the number of batches alone.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::context::EncryptionContext;
use super::error::{Error, Result};
use crate::crypto::random;
use std::fmt;

/// Most secrets that are made, or destroyed, by one call.
pub const SECRETS_MAX: usize = 1024;

const WORD: usize = u64::BITS as usize;

/// The id of a shred secret: its batch, 12 random bytes, and its number there, big-endian. Never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId([u8; 16]);

impl SecretId {
    pub(super) fn new(batch: BatchId, number: u32) -> SecretId {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&batch.0);
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        SecretId(bytes)
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> SecretId {
        SecretId(bytes)
    }

    /// The id's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn batch(&self) -> BatchId {
        BatchId(*self.0.first_chunk().expect("12 of 16 bytes"))
    }

    /// The number in the batch.
    pub(super) fn number(&self) -> u32 {
        u32::from_be_bytes(*self.0.last_chunk().expect("4 of 16 bytes"))
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The id of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct BatchId([u8; 12]);

impl BatchId {
    pub(super) fn random() -> BatchId {
        BatchId(random::array())
    }

    pub(super) fn from_bytes(bytes: [u8; 12]) -> BatchId {
        BatchId(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a keystore knows of a batch. It has a record while one of its secrets is alive.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct BatchRecord {
    pub(super) id: BatchId,
    /// The CMKs whose users may have the secrets, the first one first.
    pub(super) keys: Vec<KeyId>,
    /// What the secrets are for. They are given out for nothing else.
    pub(super) context: EncryptionContext,
    pub(super) created: Timestamp,
    /// A bit for each secret, the lowest of the first word first.
    alive: Vec<u64>,
}

impl BatchRecord {
    /// A new batch of so many secrets.
    pub(super) fn new(count: usize, key: KeyId, context: EncryptionContext, now: Timestamp) -> BatchRecord {
        let full = std::iter::repeat_n(u64::MAX, count / WORD);
        let rest = (!count.is_multiple_of(WORD)).then_some((1 << (count % WORD)) - 1);
        let alive = full.chain(rest).collect();
        BatchRecord { id: BatchId::random(), keys: vec![key], context, created: now, alive }
    }

    /// Whether the secret with this number exists and was not destroyed.
    pub(super) fn is_alive(&self, number: u32) -> bool {
        let at = number as usize;
        self.alive.get(at / WORD).is_some_and(|word| word >> (at % WORD) & 1 == 1)
    }

    /// Notes that a secret is destroyed. Returns whether it was alive.
    pub(super) fn destroy(&mut self, number: u32) -> bool {
        let (alive, at) = (self.is_alive(number), number as usize);
        if alive {
            self.alive[at / WORD] &= !(1 << (at % WORD));
        }
        alive
    }

    /// Whether no secret of the batch is alive.
    pub(super) fn is_dead(&self) -> bool {
        self.alive.iter().all(|word| *word == 0)
    }
}

/// The error that a secret does not exist, or not any more.
pub(super) fn gone(id: SecretId) -> Error {
    Error::NotFound(format!("Secret {id} does not exist: it was destroyed, or never made here."))
}

/// Refuses a number of secrets that one call cannot have.
pub(super) fn check_count(count: usize) -> Result<()> {
    match count {
        1..=SECRETS_MAX => Ok(()),
        _ => Err(Error::Validation(format!("a call is about 1 to {SECRETS_MAX} secrets, not {count}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> BatchRecord {
        let now = time::OffsetDateTime::UNIX_EPOCH;
        BatchRecord::new(count, KeyId::random(), EncryptionContext::new(), now)
    }

    #[test]
    fn a_batch_has_as_many_secrets_as_it_was_made_with() {
        for count in [1, 63, 64, 65, 128, SECRETS_MAX] {
            let batch = batch(count);
            let alive = (0..2 * SECRETS_MAX as u32).filter(|number| batch.is_alive(*number)).count();
            assert_eq!(alive, count);
            assert!(batch.is_alive(count as u32 - 1) && !batch.is_alive(count as u32));
            assert!(!batch.is_alive(u32::MAX));
        }
    }

    #[test]
    fn a_batch_dies_with_its_last_secret() {
        let mut batch = batch(65);
        for number in 0..65 {
            assert!(!batch.is_dead());
            assert!(batch.destroy(number));
            assert!(!batch.is_alive(number) && !batch.destroy(number));
        }
        assert!(batch.is_dead() && !batch.destroy(65));
    }

    #[test]
    fn an_id_tells_batch_and_number() {
        let batch = BatchId::random();
        let id = SecretId::new(batch, 0x0102_0304);
        assert_eq!((id.batch(), id.number()), (batch, 0x0102_0304));
        assert_eq!(SecretId::from_bytes(*id.as_bytes()), id);
    }
}
