//! Between the kernel and [`crate::fs`]: mounting, serving requests, tuning, telling about itself. Knows every
//! FUSE type and no format, key or policy of the filesystem.
//!
//! | module | what it owns |
//! |---|---|
//! | [`options`] | `-o` options, parsed |
//! | [`mountinfo`] | what is mounted where |
//! | [`mount`] | mounting and unmounting, as root and as anyone |
//! | `kernel` | what is agreed with the kernel, read-ahead |
//! | `cache` | dropping what the kernel caches |
//! | `adapter`, `convert` | requests in, replies out |
//! | `guard` | what stands around every request: gate, panics, log |
//! | [`session`] | a mount being served, until its end |
//! | [`control`] | the socket `kmsfs status` and `kmsfs umount` ask |
//! | [`sys`] | system calls |

mod adapter;
mod cache;
pub mod control;
mod convert;
mod guard;
mod kernel;
pub mod mount;
pub mod mountinfo;
pub mod options;
pub mod session;
pub mod sys;
