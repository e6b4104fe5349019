//! The real `kmsfs` binary, as a person or a script meets it: results, errors, exit codes, JSON shapes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod audit;
mod crypt;
mod key_pairs;
mod keys;
mod keystore;
mod policies;
mod principals;
mod prompt;
mod reference;
mod support;
mod volume;
