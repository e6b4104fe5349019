//! Where the data keys of a volume come from, for a command that opens one: the keystore, a KMS service or a token.

use std::{os::fd::RawFd, path::Path, str::FromStr, sync::Arc};

use super::{
    Exit, Failure, Global, access,
    secret::{self, UnlockArgs},
};
use crate::{
    keys::{KeyProvider, LocalProvider, Pin, Place, ServiceProvider, Sources, TokenProvider, TokenUri},
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
    /// A token.
    Token(Box<TokenUri>),
}

impl FromStr for Kms {
    type Err = String;

    fn from_str(text: &str) -> Result<Kms, String> {
        match text {
            LOCAL | "local" => Ok(Kms::Local),
            _ if TokenUri::is_meant_by(text) => text.parse().map(|uri| Kms::Token(Box::new(uri))),
            _ => text.parse().map(Kms::Service),
        }
    }
}

impl std::fmt::Display for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kms::Local => f.write_str(LOCAL),
            Kms::Service(place) => place.fmt(f),
            Kms::Token(uri) => uri.fmt(f),
        }
    }
}

/// Says which KMSs have the volume's keys. Flattened into every command that opens a volume.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KmsArgs {
    /// The KMS that has the volume's key: local:, unix:SOCKET, https://HOST:PORT or
    /// 'pkcs11:token=LABEL;object=KEY?module-path=FILE&pin-source=FILE'; several times for a volume with keys in several
    /// [default: local:, the keystore]
    #[arg(long, value_name = "URL", env = "KMSFS_KMS", hide_env_values = true, value_delimiter = ' ', value_parser = KmsParser)]
    pub kms: Vec<Kms>,
    /// Read the PIN of a token from the open file descriptor FD [default: pin-source of its URL, else it is asked for]
    #[arg(long, value_name = "FD")]
    pub pin_fd: Option<RawFd>,
}

/// Reads a KMS's URL. Unlike clap's own parsers it does not repeat what it refuses: a URL with a PIN.
#[derive(Debug, Clone, Copy)]
pub struct KmsParser;

impl clap::builder::TypedValueParser for KmsParser {
    type Value = Kms;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Kms, clap::Error> {
        let parsed = value.to_str().ok_or("a URL is text".to_owned()).and_then(str::parse);
        parsed.map_err(|err| {
            let name = argument.and_then(clap::Arg::get_long).unwrap_or("kms");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("--{name}: {err}\n"))
                .with_cmd(command)
        })
    }
}

/// Opens a KMS.
type Open<'a> = dyn FnMut(&Kms) -> Result<Arc<dyn KeyProvider>, Failure> + 'a;

impl KmsArgs {
    /// The KMSs of the volume in `lower`, and, where several are named, the others too.
    ///
    /// The volume's config says which they are, but whoever can write to the lower directory can change that: asking
    /// there could hand files to a key of theirs. So it is only ever what the user named, and the user's keystore.
    ///
    /// # Errors
    /// A KMS is needed that was not named; one cannot be had.
    pub fn open_for(&self, lower: &Path, global: &Global, unlock: &UnlockArgs) -> Result<Sources, Failure> {
        self.open_each_for(lower, &mut |kms| kms.open(global, unlock, self.pin_fd))
    }

    /// As [`KmsArgs::open_for`], with `open` to open each.
    ///
    /// # Errors
    /// As there.
    pub fn open_each_for(&self, lower: &Path, open: &mut Open<'_>) -> Result<Sources, Failure> {
        let root = std::fs::File::open(lower).map_err(|err| Failure::io("open", lower, &err))?;
        let config = Config::read(&SystemLower, &Fd::new(root.into()))
            .map_err(|err| Failure::from(err).context(lower.display()))?;
        let recorded = config.claimed().sources();
        let mut sources: Option<Sources> = None;
        for url in &recorded {
            let kms = self.kms_for(url, recorded.len()).ok_or_else(|| {
                let message = format!("{} has keys in the KMS {url}", lower.display());
                let named = Sources::argument(url);
                Failure::new(Exit::KeyUnusable, message)
                    .hint(format_args!("If that is yours, name it: --kms {named}"))
            })?;
            let provider = open(&kms)?;
            sources = Some(match sources {
                None => Sources::one(*url, provider),
                Some(sources) => sources.and(*url, provider),
            });
        }
        let mut sources = sources.expect("a config names at least one KMS");
        // Named beside them: for keys that the volume is to have there from now on.
        for kms in self.kms.iter().filter(|_| self.kms.len() > 1) {
            let url = kms.to_string();
            if !recorded.contains(&url.as_str()) {
                sources = sources.and(url, open(kms)?);
            }
        }
        Ok(sources)
    }

    /// The named KMS that is meant by `url` in a config that names `recorded` of them.
    fn kms_for(&self, url: &str, recorded: usize) -> Option<Kms> {
        if let Some(named) = self.kms.iter().find(|kms| kms.to_string() == url) {
            return Some(named.clone());
        }
        match &*self.kms {
            // A service may have moved since.
            [only] if recorded == 1 => Some(only.clone()),
            _ if url == LOCAL => Some(Kms::Local),
            _ => None,
        }
    }
}

impl Kms {
    /// A provider.
    ///
    /// # Errors
    /// It cannot be reached, or the keystore or the token does not open.
    pub fn open(
        &self,
        global: &Global,
        unlock: &UnlockArgs,
        pin_fd: Option<RawFd>,
    ) -> Result<Arc<dyn KeyProvider>, Failure> {
        match self {
            Kms::Local => Ok(Arc::new(LocalProvider::new(Arc::new(access::open(global, unlock)?)))),
            Kms::Service(place) => {
                access::prepare()?;
                Ok(Arc::new(ServiceProvider::new(place.clone())?))
            }
            Kms::Token(uri) => {
                access::prepare()?;
                let ask = || secret::pin(pin_fd, uri).map(Pin::Given);
                Ok(Arc::new(TokenProvider::new((**uri).clone(), ask)?))
            }
        }
    }

    /// As an argument to `--kms` that a shell takes for one word.
    pub fn argument(&self) -> String {
        match self {
            Kms::Local | Kms::Service(_) => self.to_string(),
            Kms::Token(uri) => format!("'{}'", uri.with_query()),
        }
    }
}
