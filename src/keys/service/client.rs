//! Calls of a KMS service: AWS JSON 1.1, signed where there is no unix socket.

use super::connection::Connections;
use super::credentials::Credentials;
use super::http;
use super::place::Place;
use crate::crypto::SecretBytes;
use crate::crypto::hmac::HmacKey;
use crate::keys::{Error, ErrorKind};
use crate::sigv4::{self, ALGORITHM, SERVICE, Signed, TERMINATOR, format_date, hex, signing_key};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a throttled call is made again; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such wait; after it the call has failed.
const LAST_PAUSE: Duration = Duration::from_millis(1600);

/// A KMS service. Calls block and may come from any thread.
pub(super) struct Client {
    place: Place,
    connections: Connections,
    /// `None` on a unix socket: there the service knows its peer.
    signer: Option<Signer>,
}

/// An error that the service answered with.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    name: String,
    #[serde(default, alias = "Message")]
    message: String,
}

/// Why a call failed.
pub(super) struct Refused {
    /// Whether it may succeed a little later.
    throttled: bool,
    pub(super) error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { throttled: false, error }
    }
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
        let signer = match place {
            Place::Unix(_) => None,
            Place::Tcp { .. } => Some(Signer::new(Credentials::find().map_err(|what| unavailable(&what))?)),
        };
        let connections = Connections::new(place.clone()).map_err(|error| unavailable(&error))?;
        Ok(Client { place, connections, signer })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Calls `target`, such as `TrentService.Decrypt`, and gives the document of its answer. A service that is asked too
    /// much is asked again a little later.
    ///
    /// # Errors
    /// `Unavailable` if there is no answer; otherwise what the service says.
    pub(super) fn call(&self, target: &str, body: &serde_json::Value) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.call_within(target, body, PATIENCE) {
                Err(Refused { throttled: true, .. }) if pause <= LAST_PAUSE => {
                    thread::sleep(pause);
                    pause *= 2;
                }
                outcome => return outcome.map_err(|refused| refused.error),
            }
        }
    }

    /// As [`Client::call`], for an answer that may take `time`.
    pub(super) fn call_within(
        &self,
        target: &str,
        body: &serde_json::Value,
        time: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let body = serde_json::to_vec(body).expect("a JSON value can be written");
        let authority = self.place.authority();
        let mut headers = vec![
            ("host", authority.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
            ("x-kmsfs-via-service", "kmsfs"),
        ];
        let signature = self.signer.as_ref().map(|signer| {
            let unusable =
                || Error::new(ErrorKind::Denied, "the access key or its token cannot be in a header");
            signer.sign(&headers, &body).ok_or_else(unusable)
        });
        let signature = signature.transpose()?;
        if let Some(signature) = &signature {
            headers.extend(signature.iter().map(|(name, value)| (*name, value.as_str())));
        }
        let answer = self.connections.exchange(&http::request(&headers, &body), time).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format_args!("the KMS at {} does not answer: {error}", self.place),
            )
        })?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(self.refused(status, &answer.body)),
        }
    }

    fn refused(&self, status: u16, body: &[u8]) -> Refused {
        let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
            let what = format_args!("the KMS at {} answers with status {status} and no reason", self.place);
            return Error::new(ErrorKind::Unavailable, what).into();
        };
        // AWS's services may put their namespace before the name.
        let name = refusal.name.rsplit('#').next().unwrap_or_default();
        let kind = match name {
            "AccessDeniedException"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "UnrecognizedClientException" => ErrorKind::Denied,
            "DisabledException" | "KMSInvalidStateException" => ErrorKind::Disabled,
            "IncorrectKeyException" | "InvalidCiphertextException" => ErrorKind::Invalid,
            "InvalidArnException" | "NotFoundException" => ErrorKind::NotFound,
            "InvalidKeyUsageException" => ErrorKind::Unsuitable,
            _ => ErrorKind::Unavailable,
        };
        let error = match refusal.message.as_str() {
            "" => Error::new(kind, name),
            message => Error::new(kind, format_args!("{name}: {message}")),
        };
        Refused { throttled: name == "ThrottlingException", error }
    }
}

/// Signs requests with an access key.
struct Signer {
    credentials: Credentials,
    /// The signing key of the day it is for.
    today: Mutex<Option<(String, Arc<HmacKey>)>>,
}

impl Signer {
    fn new(credentials: Credentials) -> Signer {
        Signer { credentials, today: Mutex::default() }
    }

    /// The headers that sign a request with these headers, as of now. `None` if the credentials are not such as can
    /// be in a header.
    fn sign(&self, headers: &[(&str, &str)], body: &[u8]) -> Option<Vec<(&'static str, String)>> {
        let Credentials { access_key, token, region, .. } = &self.credentials;
        let date = format_date(OffsetDateTime::now_utc());
        let mut added = vec![("x-amz-date", date.clone())];
        added.extend(token.iter().map(|token| ("x-amz-security-token", token.clone())));
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
        all.sort_unstable();
        let signed_headers = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let header = |(name, value): &(&str, &str)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        };
        let headers: HeaderMap = all.iter().map(header).collect::<Option<_>>()?;
        let signed = Signed {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            signed_headers: &signed_headers,
            body,
        };
        let canonical = signed.canonical()?;
        let scope = format!("{}/{region}/{SERVICE}/{TERMINATOR}", &date[..8]);
        let signature = hex(&sigv4::sign(&self.key(&date[..8]), &date, &scope, &canonical));
        added.push((
            "authorization",
            format!(
                "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
            ),
        ));
        Some(added)
    }

    fn key(&self, day: &str) -> Arc<HmacKey> {
        let mut today = self.today.lock();
        if let Some((_, key)) = today.as_ref().filter(|(of, _)| of == day) {
            return Arc::clone(key);
        }
        let secret: &SecretBytes = &self.credentials.secret;
        let key = Arc::new(signing_key(secret, day, &self.credentials.region, SERVICE));
        *today = Some((day.to_owned(), Arc::clone(&key)));
        key
    }
}
