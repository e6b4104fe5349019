//! What the tests on a real mount share: a volume that is mounted, and the tools that work on it.
//!
//! Each test binary is compiled with all of it and uses a part.
#![allow(dead_code, reason = "each test binary uses a part of the harness")]

pub mod tools;
pub mod volume;
