//! Key pairs: RSA, elliptic curves, ML-DSA and ML-KEM; signatures, RSA encryption, key agreement and encapsulation.
//!
//! Whatever touches a private key is AWS-LC's: constant time, RSA blinded and its results checked. The `rsa` crate,
//! whose private-key operations have a timing leak (RUSTSEC-2023-0071), does what needs no secret: it parses and
//! checks public keys and encrypts with them, and takes encodings apart.
//!
//! A private key rests as PKCS#8 DER (RFC 5208) in locked memory. Once parsed it lives on AWS-LC's own heap, which
//! AWS-LC wipes when it frees but does not lock; [`harden_process`](super::harden_process) keeps it out of core dumps.
//! Public keys are DER SubjectPublicKeyInfo (RFC 5280), which is what `openssl` reads and writes.
//!
//! | module | what it is for |
//! |---|---|
//! | `kinds` | types of keys, signature schemes, messages: names without code |
//! | `private` | [`PrivateKey`]: make, parse, sign, decrypt, agree, decapsulate |
//! | `public` | [`PublicKey`]: parse, verify, encrypt, encapsulate |
//! | `encoding` | PKCS#8 and SubjectPublicKeyInfo: is it a key of that type at all |
//! | `rsa_checks` | sizes, exponents and primes of RSA keys |
//! | `kem` | ML-KEM |
//! | `aws_lc` | what AWS-LC can do and `aws-lc-rs` does not pass on |

mod aws_lc;
mod encoding;
mod error;
mod kem;
mod kinds;
mod private;
mod public;
mod rsa_checks;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use kinds::{KeyType, Message, OaepHash, SignatureScheme};
pub use private::PrivateKey;
pub use public::PublicKey;
