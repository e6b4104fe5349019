//! Encryption contexts: names and values that a ciphertext is bound to.
//!
//! The context is additional authenticated data: it is not stored in the ciphertext, and decryption needs
//! exactly the same pairs, in any order. Bytes under authentication: `count u32`, then for each pair in
//! the order of its name's bytes `length u32 | name | length u32 | value`; integers big-endian. Lengths
//! go first, so no two contexts share an encoding.

use super::error::{Error, Result};
use std::collections::BTreeMap;

/// Longest encoding of a context, in bytes.
pub const CONTEXT_MAX: usize = 8192;

/// The names and values that a ciphertext is bound to. Never secret: it may appear in logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EncryptionContext {
    pairs: BTreeMap<String, String>,
}

impl EncryptionContext {
    /// No pairs.
    pub fn new() -> EncryptionContext {
        EncryptionContext::default()
    }

    /// This context with `name` set to `value`.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> EncryptionContext {
        self.pairs.insert(name.into(), value.into());
        self
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs, by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many canonical bytes there are.
    ///
    /// # Errors
    /// [`Error::Validation`] if they exceed [`CONTEXT_MAX`].
    pub(super) fn length(&self) -> Result<usize> {
        let length = 4 + self.pairs.iter().map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>();
        if length > CONTEXT_MAX {
            return Err(Error::Validation(format!(
                "the encryption context takes {length} bytes; at most {CONTEXT_MAX} are allowed"
            )));
        }
        Ok(length)
    }

    /// Appends the canonical bytes to `out`.
    ///
    /// # Errors
    /// As [`EncryptionContext::length`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.reserve(self.length()?);
        out.extend_from_slice(&be32(self.pairs.len()));
        for (name, value) in &self.pairs {
            for text in [name, value] {
                out.extend_from_slice(&be32(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> EncryptionContext {
        EncryptionContext { pairs: pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }
}

/// Counts and lengths here are bounded by [`CONTEXT_MAX`], so they fit.
fn be32(length: usize) -> [u8; 4] {
    (length as u32).to_be_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(context: &EncryptionContext) -> Vec<u8> {
        let mut out = Vec::new();
        context.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn the_encoding_is_fixed() {
        let context = EncryptionContext::new().with("b", "").with("a", "xy");
        assert_eq!(
            bytes(&context),
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02xy\0\0\0\x01b\0\0\0\0",
            "ciphertexts on disk depend on it"
        );
        assert_eq!(bytes(&EncryptionContext::new()), [0; 4]);
    }

    #[test]
    fn a_context_has_a_largest_size() {
        let fits = EncryptionContext::new().with("k", "v".repeat(CONTEXT_MAX - 13));
        assert_eq!(bytes(&fits).len(), CONTEXT_MAX);
        let over = EncryptionContext::new().with("k", "v".repeat(CONTEXT_MAX - 12));
        assert_eq!(over.encode(&mut Vec::new()).unwrap_err().name(), "ValidationException");
    }

    proptest! {
        #[test]
        fn order_is_free_and_different_pairs_differ(
            mut a in proptest::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 0..4),
            b in proptest::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 0..4),
        ) {
            a.sort();
            a.dedup_by(|x, y| x.0 == y.0);
            let forward: EncryptionContext = a.iter().cloned().collect();
            let backward: EncryptionContext = a.iter().rev().cloned().collect();
            prop_assert_eq!(bytes(&forward), bytes(&backward));
            let other: EncryptionContext = b.into_iter().collect();
            prop_assert_eq!(bytes(&forward) == bytes(&other), forward == other);
        }
    }
}
