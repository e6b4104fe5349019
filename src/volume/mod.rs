//! The volume format: what lies in the lower directory, and how it is read and written.

mod apply;
mod block;
pub mod check;
pub mod config;
pub mod dirrec;
mod error;
pub mod export;
pub mod file;
pub mod geometry;
pub mod header;
pub mod journal;
pub mod keys;
pub mod lower;
pub mod names;
mod open;
mod overlay;
pub mod pending;
mod ranges;
pub mod recover;
pub mod replay;
pub mod store;
pub mod survey;
pub mod symlink;
mod tags;
#[cfg(test)]
mod testing;
mod tree;
pub mod usage;
pub mod xattrs;

pub use error::{Error, Result};
pub use open::{Durability, Options, Recovered, Volume, change_settings, open_config, wrap_volume_key};

use std::path::PathBuf;

/// Tells where a file lies now, so that a journal record can say where to look for it after a crash.
pub trait PathHint: Send + Sync {
    /// One valid current path of the file, relative to the lower root; `None` if it has none left.
    fn lower_path(&self) -> Option<PathBuf>;
}
