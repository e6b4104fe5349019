//! kmsfs: an encrypted filesystem whose keys live in a KMS.
//!
//! Layers, from the top; each imports only from those below it:
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command line: prints, prompts, progress |
//! | [`api`] | the KMS as a network service: HTTP, unix socket, TLS, signatures, JSON |
//! | [`fuse`] | thin adapter between the kernel and [`fs`] |
//! | [`fs`] | the filesystem, without one FUSE type |
//! | [`volume`] | the format: config, names, directory records, file headers, blocks, journal |
//! | [`keys`] | where data keys come from: providers and the data-key cache |
//! | [`kms`] | the KMS core: keys, states, operations, keystore |
//! | [`sigv4`] | AWS's request signatures, for both sides of a connection; pure |
//! | [`crypto`] | ciphers, key derivation, secrets in locked memory; no I/O |
//!
//! `docs/architecture.md` is the guided tour, `docs/format.md` the byte-level contract.

pub mod api;
pub mod cli;
pub mod crypto;
pub mod fs;
pub mod fuse;
pub mod hsm;
pub mod keys;
pub mod kms;
pub mod sigv4;
pub mod volume;
