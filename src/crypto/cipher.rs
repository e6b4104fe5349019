//! Which ciphers there are, their names, codes and sizes. The algorithms are in `aead` and `portable`.

use std::fmt;
use std::str::FromStr;

/// Length of a key, in bytes, for every cipher.
pub const KEY_LEN: usize = 32;
/// Length of a nonce, in bytes, for every cipher.
pub const NONCE_LEN: usize = 12;
/// Length of an authentication tag, in bytes, for every cipher.
pub const TAG_LEN: usize = 16;

/// An authenticated cipher. All three take the same key, nonce and tag lengths, so a volume's layout does not
/// depend on which one it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cipher {
    /// AES-256-GCM-SIV (RFC 8452): a repeated nonce reveals only whether two plaintexts are equal.
    Aes256GcmSiv = 1,
    /// AES-256-GCM (NIST SP 800-38D): the fastest; with random nonces at most 2^32 seals under one key.
    Aes256Gcm = 2,
    /// ChaCha20-Poly1305 (RFC 8439): for machines without AES instructions; the same limit on random nonces.
    ChaCha20Poly1305 = 3,
}

impl Cipher {
    /// Every cipher, in the order of their codes.
    pub const ALL: [Cipher; 3] = [Cipher::Aes256GcmSiv, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

    /// The number that stands for this cipher on disk. Never reused for another.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The name users write, such as `aes-256-gcm-siv`.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes256GcmSiv => "aes-256-gcm-siv",
            Cipher::Aes256Gcm => "aes-256-gcm",
            Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Cipher {
    type Err = UnknownCipher;

    fn from_str(name: &str) -> Result<Cipher, UnknownCipher> {
        Cipher::ALL
            .into_iter()
            .find(|cipher| cipher.name() == name)
            .ok_or_else(|| UnknownCipher { given: format!("{name:?}") })
    }
}

impl TryFrom<u8> for Cipher {
    type Error = UnknownCipher;

    fn try_from(code: u8) -> Result<Cipher, UnknownCipher> {
        Cipher::ALL
            .into_iter()
            .find(|cipher| cipher.code() == code)
            .ok_or_else(|| UnknownCipher { given: format!("number {code}") })
    }
}

/// A name or number that stands for no cipher known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown cipher {given}: expected aes-256-gcm-siv, aes-256-gcm or chacha20-poly1305")]
pub struct UnknownCipher {
    given: String,
}

/// The ciphertext, its tag, the nonce or the associated data are not what was sealed under this key.
///
/// Deliberately says no more: which of them differs must not be learned from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed: altered data, or another key")]
pub struct NotAuthentic;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_and_codes_round_trip() {
        for cipher in Cipher::ALL {
            assert_eq!(cipher.to_string().parse::<Cipher>().unwrap(), cipher);
            assert_eq!(Cipher::try_from(cipher.code()).unwrap(), cipher);
        }
    }

    #[test]
    fn names_and_codes_are_those_of_the_format() {
        let listed: Vec<_> = Cipher::ALL.iter().map(|c| (c.code(), c.name())).collect();
        assert_eq!(listed, [(1, "aes-256-gcm-siv"), (2, "aes-256-gcm"), (3, "chacha20-poly1305")]);
    }

    #[test]
    fn unknown_ones_are_refused_by_name() {
        assert!("AES-256-GCM".parse::<Cipher>().is_err(), "names are exact");
        let error = "rot13".parse::<Cipher>().unwrap_err().to_string();
        assert!(error.contains("\"rot13\"") && error.contains("chacha20-poly1305"), "{error}");
        for code in [0, 4, 255] {
            assert!(Cipher::try_from(code).unwrap_err().to_string().contains(&code.to_string()));
        }
    }
}
