//! Secrets in memory: locked against swap, left out of core dumps, zeroed when dropped, never printed.
//!
//! [`Key`] is what ciphers, KDF and MACs take; [`SecretBytes`] holds secrets of any length, such as passphrases
//! and decrypted KMS payloads. Neither is `Clone`: share by reference or `Arc`. Both live in the pages of
//! the `memory` submodule, the only place in `crypto` with `unsafe`.
//!
//! Locks do not survive fork(2). A program that goes to the background by forking must do so before it makes
//! its first secret, or start itself anew.

mod memory;

use std::fmt;
use std::io;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use self::memory::Locked;
use super::{KEY_LEN, random};

/// Keeps this process's memory from other processes and from disk: not dumpable (which also bars other
/// processes of the same user from `ptrace` and `/proc/PID/mem`), no core files, and as much lockable memory as
/// the hard limit allows.
///
/// To be called first thing, before any secret is made.
///
/// # Errors
/// What prctl(2) or setrlimit(2) reported. Raising the lock limit is a convenience: its failure is not an error.
pub fn harden_process() -> io::Result<()> {
    memory::harden_process()
}

/// Locks all memory of this process, now and as it grows, so that nothing of it can reach swap: for a process whose
/// buffers hold secrets wherever a library puts them.
///
/// # Errors
/// The process may not lock as much memory as it likes (no root, no `LimitMEMLOCK=infinity`). Nothing is changed then.
pub fn lock_all_memory() -> io::Result<()> {
    memory::lock_all_memory()
}

/// From now on, secrets that are made lie in memory that nobody but this process can reach, root included: for a process
/// that holds keys for others. The machine cannot hibernate meanwhile. What libraries expand keys into is not covered.
///
/// # Errors
/// The kernel does not have memfd_secret(2), or has it switched off. Nothing is changed then.
pub fn hide_secrets() -> io::Result<()> {
    memory::hide()
}

/// A 256-bit key.
pub struct Key(Locked);

impl Key {
    /// A fresh random key.
    pub fn random() -> Key {
        Key::fill_with(|out| random::fill(out))
    }

    /// A key of the bytes in `source`, which is zeroed.
    pub fn from_bytes(source: &mut [u8; KEY_LEN]) -> Key {
        let key = Key::fill_with(|out| out.copy_from_slice(source));
        source.zeroize();
        key
    }

    /// A key that `write` puts straight into its locked memory (zeroed before), so that it is never on the stack.
    pub fn fill_with(write: impl FnOnce(&mut [u8; KEY_LEN])) -> Key {
        let mut key = Key(Locked::zeroed(KEY_LEN));
        write(key.bytes_mut());
        key
    }

    /// As [`Key::fill_with`], for what can fail, such as opening a wrapped key. On failure whatever was written
    /// is zeroed.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_fill_with<E>(write: impl FnOnce(&mut [u8; KEY_LEN]) -> Result<(), E>) -> Result<Key, E> {
        let mut key = Key(Locked::zeroed(KEY_LEN));
        write(key.bytes_mut())?;
        Ok(key)
    }

    /// The raw bytes. Whoever copies them must zero the copy.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.as_slice().try_into().expect("a key is allocated with KEY_LEN bytes")
    }

    fn bytes_mut(&mut self) -> &mut [u8; KEY_LEN] {
        self.0.as_mut_slice().try_into().expect("a key is allocated with KEY_LEN bytes")
    }
}

impl ConstantTimeEq for Key {
    fn ct_eq(&self, other: &Key) -> subtle::Choice {
        self.expose().ct_eq(other.expose())
    }
}

/// Takes the same time wherever the keys differ.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

/// A secret of any length, the empty one included.
pub struct SecretBytes {
    memory: Locked,
    /// At most the length of `memory`; the bytes past it are zero.
    len: usize,
}

impl SecretBytes {
    /// `len` zero bytes, to be written through [`SecretBytes::expose_mut`].
    pub fn zeroed(len: usize) -> SecretBytes {
        SecretBytes { memory: Locked::zeroed(len), len }
    }

    /// A copy of `source`, which is zeroed.
    pub fn from_slice(source: &mut [u8]) -> SecretBytes {
        let mut secret = SecretBytes::zeroed(source.len());
        secret.expose_mut().copy_from_slice(source);
        source.zeroize();
        secret
    }

    /// A copy of `source`, of which the whole capacity is zeroed before it is freed.
    pub fn from_vec(mut source: Vec<u8>) -> SecretBytes {
        let secret = SecretBytes::from_slice(&mut source);
        source.zeroize();
        secret
    }

    /// The raw bytes. Whoever copies them must zero the copy.
    pub fn expose(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }

    /// The raw bytes, to be written.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first `len` bytes and zeroes the rest; nothing happens if there are no more than that. For
    /// reading a secret of unknown length into a buffer that is large enough.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.memory.as_mut_slice()[len..].zeroize();
            self.len = len;
        }
    }

    /// The key these bytes are, or the secret back if it is not [`KEY_LEN`] bytes long.
    ///
    /// # Errors
    /// The secret itself, for a message about its length.
    pub fn into_key(self) -> Result<Key, SecretBytes> {
        if self.len != KEY_LEN {
            return Err(self);
        }
        Ok(Key::fill_with(|out| out.copy_from_slice(self.expose())))
    }
}

impl From<String> for SecretBytes {
    fn from(source: String) -> SecretBytes {
        SecretBytes::from_vec(source.into_bytes())
    }
}

/// Takes the same time wherever the contents differ; lengths are not secret.
impl PartialEq for SecretBytes {
    fn eq(&self, other: &SecretBytes) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn making_a_key_wipes_its_source() {
        let mut source = [5; KEY_LEN];
        let key = Key::from_bytes(&mut source);
        assert_eq!(key.expose(), &[5; KEY_LEN]);
        assert_eq!(source, [0; KEY_LEN]);
    }

    #[test]
    fn keys_compare_by_content() {
        let (a, b) = (Key::random(), Key::random());
        assert_ne!(a, b);
        assert_eq!(a, Key::from_bytes(&mut { *a.expose() }));
    }

    #[test]
    fn debug_shows_nothing() {
        let key = Key::from_bytes(&mut [0x41; KEY_LEN]);
        let secret = SecretBytes::from(String::from("AAAA hunter2"));
        let shown = format!(
            "{key:?} {secret:?} {:?}",
            super::super::AeadKey::new(crate::crypto::Cipher::Aes256Gcm, &key)
        );
        assert_eq!(shown, "Key(redacted) SecretBytes(redacted) AeadKey(aes-256-gcm, redacted)");
    }

    #[test]
    fn a_failed_fill_gives_the_error() {
        let failed: Result<Key, &str> = Key::try_fill_with(|out| {
            out.fill(1);
            Err("no")
        });
        assert_eq!(failed.unwrap_err(), "no");
    }

    #[test]
    fn secrets_of_every_length_keep_their_bytes() {
        for len in [0, 1, 31, 32, 33, 256, 257, 4096, 4097, 100_000] {
            let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let secret = SecretBytes::from_vec(content.clone());
            assert_eq!((secret.expose(), secret.len(), secret.is_empty()), (&content[..], len, len == 0));
        }
    }

    #[test]
    fn truncating_zeroes_the_tail() {
        let mut secret = SecretBytes::from_slice(&mut [7; 100]);
        secret.truncate(200);
        assert_eq!(secret.len(), 100);
        secret.truncate(40);
        assert_eq!(secret.expose(), [7; 40]);
        assert!(secret.memory.as_slice()[40..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn only_32_bytes_make_a_key() {
        assert_eq!(SecretBytes::from_slice(&mut [3; 32]).into_key().unwrap().expose(), &[3; 32]);
        for len in [0, 31, 33] {
            assert_eq!(SecretBytes::zeroed(len).into_key().unwrap_err().len(), len);
        }
    }
}
