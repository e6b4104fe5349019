//! The KMSs that whoever opens a volume has named.

use super::{CallCost, Error, ErrorKind, KeyProvider, TokenUri};
use std::sync::Arc;

/// Providers by the URL that a volume's config has for them.
///
/// A config says where its CMKs live, but whoever can write to the lower directory can change that, so a config never
/// leads to a KMS that the user has not named.
#[derive(Clone)]
pub struct Sources(Vec<(String, Arc<dyn KeyProvider>)>);

impl Sources {
    /// One KMS, known as `url` to the config.
    pub fn one(url: impl Into<String>, provider: Arc<dyn KeyProvider>) -> Sources {
        Sources(vec![(url.into(), provider)])
    }

    /// And another.
    #[must_use]
    pub fn and(mut self, url: impl Into<String>, provider: Arc<dyn KeyProvider>) -> Sources {
        self.0.push((url.into(), provider));
        self
    }

    /// The KMS that a config calls `url`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the user has not named it.
    pub fn get(&self, url: &str) -> Result<&Arc<dyn KeyProvider>, Error> {
        let named = self.0.iter().find(|(known, _)| known == url);
        let missing = || {
            let named = Sources::argument(url);
            let what = format_args!("keys of this volume live in the KMS {url}: name it with --kms {named}");
            Error::new(ErrorKind::Unavailable, what)
        };
        named.map(|(_, provider)| provider).ok_or_else(missing)
    }

    /// How the user of a shell names the KMS that a config calls `url`. Of a token it does not say the module.
    pub fn argument(url: &str) -> String {
        match TokenUri::is_meant_by(url) {
            true => format!("'{url}?module-path=FILE'"),
            false => url.to_owned(),
        }
    }

    /// Whether a call of any provider leaves this process.
    pub fn may_wait(&self) -> bool {
        self.0.iter().any(|(_, provider)| provider.cost() > CallCost::Nothing)
    }

    /// A number that changes whenever that of any provider does.
    pub fn generation(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, provider)| sum.wrapping_add(provider.generation()))
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(url, _)| url)).finish()
    }
}
