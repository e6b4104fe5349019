//! Ciphers, key derivation, secrets in locked memory; no I/O but the kernel's random number generator.
//!
//! | module | what it is for |
//! |---|---|
//! | [`aead`] | the three ciphers, accelerated (AWS-LC): what all bulk work goes through |
//! | [`portable`] | the same ciphers from RustCrypto: the second opinion of [`self_test`] and the tests |
//! | [`secret`] | keys and passphrases in memory that is locked, kept out of core dumps, and zeroed |
//! | [`kdf`] | one key from another: BLAKE3 under a fixed context string |
//! | [`asymmetric`] | key pairs: signatures, RSA encryption, key agreement and encapsulation |
//! | [`hmac`] | HMAC with SHA-2, for the KMS's callers |
//! | [`transport`] | unwrapping of key material that somebody brings |
//! | [`mac`] | keyed BLAKE3 over several parts |
//! | [`passphrase`] | a key from a passphrase: Argon2id |
//! | [`random`] | random bytes, or no process |
//! | `library` | which build of AWS-LC computes |
//!
//! `unsafe` appears only below [`secret`], for the system calls that lock and hide memory, and in
//! `asymmetric::aws_lc`, for what `aws-lc-rs` leaves out.

pub mod aead;
pub mod asymmetric;
mod cipher;
mod hash;
pub mod hmac;
pub mod kdf;
pub mod lc;
mod library;
pub mod mac;
pub mod passphrase;
pub mod portable;
pub mod random;
pub mod secret;
mod selftest;
pub mod transport;

pub use aead::AeadKey;
pub use cipher::{Cipher, KEY_LEN, NONCE_LEN, NotAuthentic, TAG_LEN, UnknownCipher};
pub use hash::{Hash, Hasher};
pub use library::library;
pub use secret::{Key, SecretBytes, harden_process, hide_secrets, lock_all_memory};
pub use selftest::{SelfTestError, self_test};
