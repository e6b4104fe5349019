//! Ciphers, key derivation, secrets in locked memory.
