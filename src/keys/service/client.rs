//! Calls of a KMS service: AWS JSON 1.1, signed where there is no unix socket.
//!
//! A call ends within [`PATIENCE`], whatever happens: until then it is made again after a pause where the service is
//! asked too much, could not be reached or failed. Every operation that is called so may be repeated. While the service
//! is known to be away, calls fail at once.

use super::connection::Connections;
use super::credentials::Chain;
use super::http;
use super::place::Place;
use super::signer::Signer;
use crate::crypto::random;
use crate::keys::circuit::Circuit;
use crate::keys::{Error, ErrorKind};
use crate::sigv4::SERVICE;
use serde::Deserialize;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a call may take, with all its attempts.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts at a call that fails for another reason than that too much is asked.
const ATTEMPTS: u32 = 4;
/// The longest pause after a first attempt; each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause at all.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// A KMS service. Calls block and may come from any thread.
pub(super) struct Client {
    place: Place,
    connections: Connections,
    circuit: Circuit,
    /// `None` on a unix socket: there the service knows its peer.
    identity: Option<(Chain, Signer)>,
}

/// An error that the service answered with.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    name: String,
    #[serde(default, alias = "Message")]
    message: String,
}

/// What another attempt may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// The same.
    Same,
    /// Something else, when the service is asked less.
    Throttled,
    /// Something else: the service failed.
    Failed,
    /// Something else: the service was not reached, or did not answer.
    Away,
    /// Something else, with other credentials.
    Expired,
}

/// Why an attempt failed.
pub(super) struct Refused {
    outlook: Outlook,
    /// Whether the service may be one that does not know the operation.
    pub(super) unknown_operation: bool,
    pub(super) error: Error,
}

impl Refused {
    fn new(outlook: Outlook, error: Error) -> Refused {
        Refused { outlook, unknown_operation: false, error }
    }
}

/// The text of a request, which may hold a key: wiped when dropped, and not copied to grow.
fn document(body: &serde_json::Value) -> Zeroizing<Vec<u8>> {
    const ROOM: usize = 16 << 10;
    let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
    serde_json::to_writer(&mut *text, body).expect("a JSON value can be written");
    text
}

impl Client {
    /// A client of the service at `place`. Nothing is sent yet.
    ///
    /// # Errors
    /// `Unavailable`: no credentials, or no certificates to trust.
    pub(super) fn new(place: Place) -> Result<Client, Error> {
        let unavailable = |what: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Unavailable, format_args!("{place}: {what}"))
        };
        let identity = match place {
            Place::Unix(_) => None,
            Place::Tcp(_) | Place::Aws(_) => {
                let chain = Chain::find().map_err(|what| unavailable(&what))?;
                let region = place.region().map(str::to_owned).or_else(|| chain.region());
                let signer = Signer::new(SERVICE, region.unwrap_or_else(|| "local".to_owned()));
                Some((chain, signer))
            }
        };
        let connections = Connections::new(place.clone()).map_err(|error| unavailable(&error))?;
        Ok(Client { place, connections, circuit: Circuit::default(), identity })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Calls `target`, such as `TrentService.Decrypt`, and gives the document of its answer.
    ///
    /// # Errors
    /// `Unavailable` if there is no answer; otherwise what the service says.
    pub(super) fn call(&self, target: &str, body: &serde_json::Value) -> Result<Zeroizing<Vec<u8>>, Error> {
        let began = Instant::now();
        self.circuit.enter(PATIENCE)?;
        let deadline = began + PATIENCE;
        let mut attempts = 1;
        loop {
            let Refused { outlook, error, .. } = match self.attempt(target, body, deadline, true) {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            let pause = pause(attempts);
            let again = match outlook {
                Outlook::Same => false,
                Outlook::Throttled => true,
                Outlook::Failed | Outlook::Away => attempts < ATTEMPTS,
                Outlook::Expired => attempts == 1,
            };
            if !again || Instant::now() + pause >= deadline {
                if outlook == Outlook::Away {
                    self.circuit.fails(began, &error);
                }
                return Err(error);
            }
            thread::sleep(pause);
            attempts += 1;
        }
    }

    /// Makes one attempt, which may take `time`. It reaches the service once or not at all.
    pub(super) fn once(
        &self,
        target: &str,
        body: &serde_json::Value,
        time: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        self.attempt(target, body, Instant::now() + time, false)
    }

    fn attempt(
        &self,
        target: &str,
        body: &serde_json::Value,
        deadline: Instant,
        again: bool,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let body = document(body);
        let authority = self.place.endpoint().map_or_else(|| "localhost".to_owned(), |to| to.authority());
        let mut headers = vec![
            ("host", authority.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
            ("x-kmsfs-via-service", "kmsfs"),
        ];
        let signature = match &self.identity {
            None => Vec::new(),
            Some((chain, signer)) => {
                let credentials = chain.current(deadline).map_err(|what| {
                    let what = format_args!("{}: {what}", self.place);
                    Refused::new(Outlook::Same, Error::new(ErrorKind::Unavailable, what))
                })?;
                signer.sign(&credentials, &headers, &body).ok_or_else(|| {
                    let what = "the access key or its token cannot be in a header";
                    Refused::new(Outlook::Same, Error::new(ErrorKind::Denied, what))
                })?
            }
        };
        headers.extend(signature.iter().map(|(name, value)| (*name, value.as_str())));
        let answer =
            self.connections.exchange(&http::post(&headers, &body), deadline, again).map_err(|error| {
                let what = format_args!("the KMS at {} does not answer: {error}", self.place);
                Refused::new(Outlook::Away, Error::new(ErrorKind::Unavailable, what))
            })?;
        let refused = match answer.status {
            200 => None,
            status => Some(self.refused(status, &answer.body)),
        };
        match refused {
            Some(refused) if refused.outlook == Outlook::Away => Err(refused),
            Some(refused) => {
                self.circuit.answers();
                Err(refused)
            }
            None => {
                self.circuit.answers();
                Ok(answer.body)
            }
        }
    }

    fn refused(&self, status: u16, body: &[u8]) -> Refused {
        let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
            let what = format_args!("the KMS at {} answers with status {status} and no reason", self.place);
            let outlook = match status {
                502..=504 => Outlook::Away, // a gateway speaks for a service that does not
                429 => Outlook::Throttled,
                500.. => Outlook::Failed,
                _ => Outlook::Same,
            };
            let unknown_operation = outlook == Outlook::Same || outlook == Outlook::Failed;
            return Refused {
                unknown_operation,
                ..Refused::new(outlook, Error::new(ErrorKind::Unavailable, what))
            };
        };
        // AWS's services may put their namespace before the name.
        let name = refusal.name.rsplit('#').next().unwrap_or_default();
        let kind = match name {
            "AccessDeniedException"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "UnrecognizedClientException" => ErrorKind::Denied,
            "DisabledException" | "KMSInvalidStateException" => ErrorKind::Disabled,
            "IncorrectKeyException" | "InvalidCiphertextException" => ErrorKind::Invalid,
            "InvalidArnException" | "NotFoundException" => ErrorKind::NotFound,
            "InvalidKeyUsageException" => ErrorKind::Unsuitable,
            "InvalidShareException" | "CKR_PIN_INCORRECT" | "CKR_PIN_LOCKED" => ErrorKind::Secret,
            _ => ErrorKind::Unavailable,
        };
        let outlook = match name {
            "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "TooManyRequestsException" => {
                Outlook::Throttled
            }
            "ExpiredTokenException" | "UnrecognizedClientException" if self.renew_credentials() => {
                Outlook::Expired
            }
            "KeyUnavailableException" => Outlook::Same, // a sealed service stays so until people come
            _ if kind == ErrorKind::Unavailable && (500..=599).contains(&status) && status != 501 => {
                Outlook::Failed
            }
            _ => Outlook::Same,
        };
        let message = match refusal.message.as_str() {
            "" => "the KMS gives no reason",
            message => message,
        };
        let unknown_operation =
            status == 501 || matches!(name, "UnknownOperationException" | "AccessDeniedException");
        Refused { unknown_operation, ..Refused::new(outlook, Error::new(kind, message).named(name)) }
    }

    /// Has the credentials looked for again; whether there may be others.
    fn renew_credentials(&self) -> bool {
        self.identity.as_ref().is_some_and(|(chain, _)| chain.renew())
    }
}

/// How long to wait after `attempts`: anything up to a bound that doubles, but at least half of it, so that callers
/// who were turned away together do not come back together.
fn pause(attempts: u32) -> Duration {
    let longest = (FIRST_PAUSE * (1 << (attempts.clamp(1, 16) - 1))).min(LAST_PAUSE);
    let part = f64::from(u32::from_ne_bytes(random::array())) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_never_the_same_for_all() {
        for (attempts, longest) in [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (u32::MAX, 2000)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<Duration> = (0..50).map(|_| pause(attempts)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
