//! Where the data keys of a volume come from, for a command that opens one: the keystore or a KMS service.

use std::{path::Path, str::FromStr, sync::Arc};

use super::{Exit, Failure, Global, access, secret::UnlockArgs};
use crate::{
    keys::{KeyProvider, LocalProvider, Place, ServiceProvider},
    volume::{
        config::Config,
        lower::{Fd, SystemLower},
    },
};

/// How a volume's config names the keystore of whoever opens it; where that is, is the user's affair.
pub const LOCAL: &str = "local:";

/// Which KMS has a volume's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kms {
    /// The keystore, opened by this process.
    Local,
    /// A service.
    Service(Place),
}

impl FromStr for Kms {
    type Err = String;

    fn from_str(text: &str) -> Result<Kms, String> {
        match text {
            LOCAL | "local" => Ok(Kms::Local),
            _ => text.parse().map(Kms::Service),
        }
    }
}

impl std::fmt::Display for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kms::Local => f.write_str(LOCAL),
            Kms::Service(place) => place.fmt(f),
        }
    }
}

/// Says which KMS has the volume's key. Flattened into every command that opens a volume.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KmsArgs {
    /// The KMS that has the volume's key: local:, unix:SOCKET or https://HOST:PORT [default: local:, the keystore]
    #[arg(long, value_name = "URL", env = "KMSFS_KMS", hide_env_values = true)]
    pub kms: Option<Kms>,
}

impl KmsArgs {
    /// The one that was named, or the keystore.
    pub fn kms(&self) -> Kms {
        self.kms.clone().unwrap_or(Kms::Local)
    }

    /// A provider for the volume in `lower`.
    ///
    /// The volume's config says which KMS it was made with, but whoever can write to the lower directory can change
    /// that: asking there could hand files to a key of theirs. So it is only ever what the user named.
    ///
    /// # Errors
    /// The volume was made with a service and none is named; the KMS cannot be had.
    pub fn open_for(
        &self,
        lower: &Path,
        global: &Global,
        unlock: &UnlockArgs,
    ) -> Result<Arc<dyn KeyProvider>, Failure> {
        if self.kms.is_none() {
            let root = std::fs::File::open(lower).map_err(|err| Failure::io("open", lower, &err))?;
            let config = Config::read(&SystemLower, &Fd::new(root.into()))
                .map_err(|err| Failure::from(err).context(lower.display()))?;
            let recorded = &config.claimed().kms;
            if recorded != LOCAL {
                let message = format!("{} was made with the KMS {recorded}", lower.display());
                return Err(Failure::new(Exit::KeyUnusable, message)
                    .hint(format_args!("If that is yours, name it: --kms {recorded}")));
            }
        }
        match self.kms() {
            Kms::Local => Ok(Arc::new(LocalProvider::new(Arc::new(access::open(global, unlock)?)))),
            Kms::Service(place) => Ok(Arc::new(service(place)?)),
        }
    }
}

/// A provider on the service at `place`.
///
/// # Errors
/// It cannot be reached.
pub fn service(place: Place) -> Result<ServiceProvider, Failure> {
    access::prepare()?;
    Ok(ServiceProvider::new(place)?)
}
