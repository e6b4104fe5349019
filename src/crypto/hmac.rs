//! HMAC with SHA-2 (RFC 2104, FIPS 198-1): the MACs that the KMS computes for its callers.
//!
//! The program's own MACs are keyed BLAKE3, in [`mac`](super::mac).

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::hmac;

use super::Hash;

/// A key for one of the four HMACs, ready for use.
///
/// AWS-LC keeps the two hash states that the key gives, not the key, on its own heap: wiped when dropped, not locked.
pub struct HmacKey {
    key: hmac::Key,
    hash: Hash,
}

impl HmacKey {
    /// The HMAC of `hash` under `key`, of any length.
    pub fn new(hash: Hash, key: &[u8]) -> HmacKey {
        let algorithm = match hash {
            Hash::Sha224 => hmac::HMAC_SHA224,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        HmacKey { key: hmac::Key::new(algorithm, key), hash }
    }

    /// The MAC of `message`, [`Hash::digest_len`] bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.key, message).as_ref().to_vec()
    }

    /// Whether `mac` is the whole MAC of `message`; takes the same time wherever they differ.
    #[must_use]
    pub fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.key, message, mac).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({}, redacted)", self.hash)
    }
}

/// How many bytes a key for the HMAC of `hash` may have that somebody else made: from the length of a digest (a
/// shorter one is weaker than the MAC) to the length of a block (a longer one is no stronger). AWS KMS's limits.
pub fn key_lengths(hash: Hash) -> RangeInclusive<usize> {
    hash.digest_len()..=hash.block_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: [Hash; 4] = [Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    #[test]
    fn a_mac_verifies_whole_and_unaltered_only() {
        for hash in HASHES {
            let key = HmacKey::new(hash, &[7; 64]);
            let mac = key.sign(b"message");
            assert_eq!(mac.len(), hash.digest_len());
            assert!(key.verify(b"message", &mac));
            for bit in 0..mac.len() * 8 {
                let mut bad = mac.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.verify(b"message", &bad), "{hash}, bit {bit}");
            }
            for len in 0..mac.len() {
                assert!(!key.verify(b"message", &mac[..len]), "{hash}, cut to {len} bytes");
            }
            assert!(!key.verify(b"message", &[&mac[..], &[0]].concat()), "{hash}, with a byte more");
            assert!(!key.verify(b"massage", &mac), "{hash}, of another message");
            assert!(!HmacKey::new(hash, &[8; 64]).verify(b"message", &mac), "{hash}, of another key");
        }
    }

    #[test]
    fn the_lengths_of_imported_keys_are_those_of_aws() {
        let lengths = HASHES.map(key_lengths);
        assert_eq!(lengths, [28..=64, 32..=64, 48..=128, 64..=128]);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", HmacKey::new(Hash::Sha256, b"AAAA")), "HmacKey(SHA-256, redacted)");
    }
}
