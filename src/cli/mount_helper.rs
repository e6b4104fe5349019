//! `mount.kmsfs`: called by mount(8) for `mount -t fuse.kmsfs` and fstab lines.

use super::{Exit, Failure};

/// Whether the program was started under the helper's name.
pub fn was_called() -> bool {
    false
}

/// Runs as the helper.
pub fn run() -> Result<(), Failure> {
    Err(Failure::new(Exit::Failure, "builder fuse replaces this file"))
}
