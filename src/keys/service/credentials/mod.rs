//! What to sign requests with: found where AWS's clients find it, in the order of AWS's SDK for Rust.
//!
//! 1. `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` in the environment
//! 2. the profile `AWS_PROFILE` (`default`) of `~/.aws/config` and `~/.aws/credentials`: an access key, a program that
//!    prints one, or a role to assume
//! 3. `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`: a role for whoever has the token (EKS)
//! 4. the container's role (ECS, EKS Pod Identity)
//! 5. the instance's role (EC2), by IMDSv2
//!
//! The first that has any is used; if it fails, the others are not asked. Credentials that end are replaced five
//! minutes before. Source: AWS SDKs and Tools Reference Guide, *Standardized credential providers*.

mod container;
mod instance;
mod process;
mod profiles;
mod sts;
#[cfg(test)]
mod tests;

use super::connection;
use super::http::{self, Answer};
use super::place::Endpoint;
use crate::crypto::SecretBytes;
use parking_lot::Mutex;
use profiles::Profiles;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long before their end credentials are replaced.
const EARLY: Duration = Duration::from_secs(300);
/// How long nobody tries again to replace credentials that still serve.
const AGAIN: Duration = Duration::from_secs(30);
/// How long the first credentials may take to be found.
const FIRST: Duration = Duration::from_secs(10);

/// An access key.
pub(super) struct Credentials {
    /// The public half.
    pub(super) access_key: String,
    /// The secret half.
    pub(super) secret: SecretBytes,
    /// The token of temporary credentials.
    pub(super) token: Option<String>,
    /// When they end.
    ends: Option<OffsetDateTime>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { access_key, ends, .. } = self;
        f.debug_struct("Credentials")
            .field("access_key", access_key)
            .field("ends", ends)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    fn end_within(&self, time: Duration) -> bool {
        self.ends.is_some_and(|ends| ends <= OffsetDateTime::now_utc() + time)
    }
}

/// Credentials as programs and AWS's metadata services print them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "Token")]
    session_token: Option<String>,
    expiration: Option<String>,
}

impl Printed {
    /// Reads credentials that `whose` has printed.
    fn parse(text: &[u8], whose: &str) -> Result<Credentials, String> {
        let printed: Printed =
            serde_json::from_slice(text).map_err(|_| format!("{whose}: what it gives are no credentials"))?;
        let ends = printed.expiration.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose();
        Ok(Credentials {
            access_key: printed.access_key_id,
            secret: SecretBytes::from(printed.secret_access_key),
            token: printed.session_token,
            ends: ends.map_err(|_| format!("{whose}: its credentials end at no time that can be read"))?,
        })
    }
}

/// Gives a variable by its name.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Variables of the environment, and what the home directory is.
struct Environment {
    variables: Box<Variables>,
    home: Option<PathBuf>,
}

impl Environment {
    /// This process's own.
    fn own() -> Environment {
        let variables = |name: &str| std::env::var(name).ok();
        Environment { variables: Box::new(variables), home: std::env::home_dir() }
    }

    /// A variable that is set, and not to nothing.
    fn get(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    /// The access key in it.
    fn access_key(&self) -> Option<Credentials> {
        let (access_key, secret) = (self.get("AWS_ACCESS_KEY_ID")?, self.get("AWS_SECRET_ACCESS_KEY")?);
        let (secret, token) = (SecretBytes::from(secret), self.get("AWS_SESSION_TOKEN"));
        Some(Credentials { access_key, secret, token, ends: None })
    }

    fn region(&self) -> Option<String> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"))
    }
}

/// Where credentials come from, and those that it gave.
pub(super) struct Chain {
    environment: Environment,
    known: Mutex<Known>,
    /// Held by the one who looks.
    looking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    credentials: Option<Arc<Credentials>>,
    /// When they were last looked for in vain, and why.
    failed: Option<(Instant, String)>,
}

impl Chain {
    /// The chain of this process, which has credentials.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(super) fn find() -> Result<Chain, String> {
        let chain = Chain::new(Environment::own());
        chain.current(Instant::now() + FIRST)?;
        Ok(chain)
    }

    fn new(environment: Environment) -> Chain {
        Chain { environment, known: Mutex::default(), looking: Mutex::default() }
    }

    /// The region that the environment or the profile names.
    pub(super) fn region(&self) -> Option<String> {
        let environment = &self.environment;
        environment.region().or_else(|| Profiles::read(environment).ok()?.region(environment))
    }

    /// Credentials that are good now. Where that takes a call, it ends by `deadline`.
    ///
    /// # Errors
    /// What is missing or fails, in words.
    pub(super) fn current(&self, deadline: Instant) -> Result<Arc<Credentials>, String> {
        let began = Instant::now();
        let serving = {
            let known = self.known.lock();
            let serving = known.credentials.clone().filter(|known| !known.end_within(Duration::ZERO));
            let tried = known.failed.as_ref().is_some_and(|(when, _)| when.elapsed() < AGAIN);
            match serving {
                Some(credentials) if tried || !credentials.end_within(EARLY) => return Ok(credentials),
                serving => serving,
            }
        };
        // While there are some that serve, one caller looks for others and nobody waits.
        let looking = match &serving {
            Some(credentials) => match self.looking.try_lock() {
                Some(looking) => looking,
                None => return Ok(Arc::clone(credentials)),
            },
            None => {
                let looking = self.looking.try_lock_until(deadline);
                looking.ok_or("credentials were looked for, and not found in time")?
            }
        };
        {
            let known = self.known.lock();
            if let Some(credentials) = known.credentials.clone().filter(|known| !known.end_within(EARLY)) {
                return Ok(credentials);
            }
            if let (None, Some((when, what))) = (&serving, &known.failed)
                && *when >= began
            {
                return Err(what.clone());
            }
        }
        let looked = look(&self.environment, deadline);
        drop(looking);
        self.learn(looked, serving)
    }

    fn learn(
        &self,
        looked: Result<Credentials, String>,
        serving: Option<Arc<Credentials>>,
    ) -> Result<Arc<Credentials>, String> {
        let mut known = self.known.lock();
        match (looked, serving) {
            (Ok(credentials), _) => {
                let credentials = Arc::new(credentials);
                *known = Known { credentials: Some(Arc::clone(&credentials)), failed: None };
                Ok(credentials)
            }
            (Err(what), serving) => {
                known.failed = Some((Instant::now(), what.clone()));
                let credentials = serving.ok_or_else(|| what.clone())?;
                log::warn!("credentials that end soon cannot be replaced: {what}");
                Ok(credentials)
            }
        }
    }

    /// Forgets the credentials, which a service has refused; whether others may be found.
    pub(super) fn renew(&self) -> bool {
        self.known.lock().credentials.take().is_some()
    }
}

/// Goes through the chain.
fn look(environment: &Environment, deadline: Instant) -> Result<Credentials, String> {
    if let Some(credentials) = environment.access_key() {
        return Ok(credentials);
    }
    let profiles = Profiles::read(environment)?;
    if let Some(credentials) = profiles.credentials(environment, deadline)? {
        return Ok(credentials);
    }
    if let Some(credentials) = sts::web_identity(environment, profiles.region(environment), deadline)? {
        return Ok(credentials);
    }
    if let Some(credentials) = container::credentials(environment, deadline)? {
        return Ok(credentials);
    }
    let missing = || {
        "there are no credentials: neither in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) nor in \
         ~/.aws/credentials, and this is no container or instance with a role"
            .to_owned()
    };
    instance::credentials(environment, deadline)?.ok_or_else(missing)
}

/// Asks `endpoint` and gives the answer's body, if its status is 200. The headers need not have the host.
fn ask(
    endpoint: &Endpoint,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
    deadline: Instant,
) -> Result<Answer, String> {
    let authority = endpoint.authority();
    let all = [&[("host", authority.as_str())][..], headers].concat();
    connection::once(endpoint, &http::request(method, path, &all, body), deadline)
        .map_err(|error| format!("{endpoint} does not answer: {error}"))
}
