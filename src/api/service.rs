//! One request: who asks, for what, and the answer.

use super::auth::{Claim, SigningKeyFigures, SigningKeys};
use super::checkpoint;
use super::ending::Ending;
use super::error::{Error, Result};
use super::identity::Identity;
use super::metrics::Figure;
use super::operations::{self, Place, Served};
use super::oversight::{Ongoing, Oversight};
use super::own::{Changes, Own};
use super::wire::Input;
use crate::kms::audit::{CallRecord, Source};
use crate::kms::{Clock, Kms, Timestamp, Trace};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::timeout;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Largest body of a request, in bytes.
pub const BODY_MAX: usize = 1 << 20;
/// Bodies above this size, in bytes, are read a few at a time: no operation of an ordinary day needs them, and
/// many at once would fill memory.
const LARGE_BODY: usize = 64 << 10;
/// How many large bodies are read at the same time.
const LARGE_BODIES: usize = 16;

const CONTENT: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Through the unix socket, from a process of this user.
    Peer {
        /// The user's number.
        uid: u32,
    },
    /// Over TCP.
    Address {
        /// Of the peer.
        address: SocketAddr,
        /// Whether over TLS.
        tls: bool,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Peer { uid } => write!(f, "user {uid}"),
            Origin::Address { address, .. } => write!(f, "{address}"),
        }
    }
}

/// The service: a KMS, and what serving it over a network needs besides.
pub struct Service {
    kms: Arc<Kms>,
    /// Whose process this is.
    own_uid: u32,
    clock: Arc<dyn Clock>,
    keys: SigningKeys,
    large_bodies: Semaphore,
    /// A place for each processor.
    computing: Arc<Semaphore>,
    changes: Changes,
    oversight: Oversight,
}

/// What a request comes to: the body of the answer, or an error.
type Outcome = Result<Zeroizing<Vec<u8>>>;

/// What a request asks for.
enum Route {
    Kms(&'static Served),
    Own(Own),
    /// A checkpoint of the audit log.
    Checkpoint,
}

impl Service {
    /// The service of `kms`, in a process of the user `own_uid`, which reads the time from `clock`.
    pub fn new(kms: Arc<Kms>, own_uid: u32, clock: Arc<dyn Clock>, oversight: Oversight) -> Service {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Service {
            changes: Changes::new(Arc::clone(&kms)),
            kms,
            own_uid,
            clock,
            keys: SigningKeys::default(),
            large_bodies: Semaphore::new(LARGE_BODIES),
            computing: Arc::new(Semaphore::new(processors)),
            oversight,
        }
    }

    /// Looks for changes of keys: whoever waits for one is told. Returns when the keystore has another root key than this
    /// service knows, or none.
    pub(super) async fn follow_changes(&self) {
        self.changes.follow().await;
    }

    /// Answers a request. A body may take `patience` to arrive; whatever waits without need ends when `ending`
    /// comes.
    pub async fn answer(
        self: &Arc<Self>,
        origin: &Origin,
        request: Request<Incoming>,
        patience: Duration,
        ending: Ending,
    ) -> Response<Full<Bytes>> {
        let id = Uuid::new_v4();
        let call = self.oversight.begin(record(id, origin, request.headers(), self.clock.now()));
        let outcome = self.outcome(call, origin, request, patience, ending).await;
        if let Err(error) = &outcome {
            log::debug!("{id}, {origin}: {}: {}", error.name(), error.message());
        }
        respond(id, outcome)
    }

    async fn outcome(
        self: &Arc<Self>,
        mut call: Ongoing,
        origin: &Origin,
        request: Request<Incoming>,
        patience: Duration,
        ending: Ending,
    ) -> Outcome {
        match self.admit(&mut call, origin, request, patience).await {
            Ok((Route::Kms(operation), identity, body)) => self.run(call, operation, identity, body).await,
            Ok((Route::Own(operation), _, body)) => {
                drop(call); // it touches no key
                operation.run(&self.changes, &body, ending).await
            }
            Ok((Route::Checkpoint, _, body)) => {
                let made = self.checkpoint(origin, body).await;
                self.oversight.end(call, made).await
            }
            Err(error) => self.oversight.end(call, Err(error)).await,
        }
    }

    /// Finds out what a request asks for and who sends it, and reads its body.
    async fn admit(
        &self,
        call: &mut Ongoing,
        origin: &Origin,
        request: Request<Incoming>,
        patience: Duration,
    ) -> Result<(Route, Identity, Bytes)> {
        let (head, body) = request.into_parts();
        let route = route(&head)?;
        self.catch_up().await?;
        let (identity, signature) = match origin {
            Origin::Peer { uid } if !head.headers.contains_key(AUTHORIZATION) => {
                (Identity::peer(&self.kms, *uid, self.own_uid)?, None)
            }
            _ => {
                let claim = Claim::read(&head, self.clock.now())?;
                call.record.access_key_id = Some(claim.authorization.access_key.to_owned());
                let (identity, secret) = Identity::claimed(&self.kms, &claim)?;
                (identity, Some((claim, secret)))
            }
        };
        let body = self.body(body, patience).await?;
        if let Some((claim, secret)) = &signature {
            claim.verify(&self.keys, secret, &body)?;
        }
        let identity = identity.sending(call.record.request_id, origin, &head.headers);
        call.record.principal = Some(identity.arn().to_owned());
        Ok((route, identity, body))
    }

    /// Runs an operation where it disturbs nobody, and records it, also if its client goes away meanwhile.
    async fn run(
        self: &Arc<Self>,
        mut call: Ongoing,
        operation: &'static Served,
        identity: Identity,
        body: Bytes,
    ) -> Outcome {
        let place = match self.ready(&mut call, operation, &identity, &body).await {
            Ok((Place::Here, input)) => {
                let trace = Trace::default();
                let outcome = operation.run(&self.kms, &identity, &input, &trace);
                drop(input);
                trace.tell(&mut call.record);
                return self.oversight.end(call, outcome).await;
            }
            Ok((place, _)) => place,
            Err(error) => return self.oversight.end(call, Err(error)).await,
        };
        let service = Arc::clone(self);
        let task = tokio::spawn(async move {
            let permit = match place {
                Place::Compute => Some(Arc::clone(&service.computing).acquire_owned().await),
                Place::Here | Place::Store => None,
            };
            let kms = Arc::clone(&service.kms);
            let ran = apart(move || {
                let _permit = permit;
                let trace = Trace::default();
                let outcome =
                    operation.read(&body).and_then(|input| operation.run(&kms, &identity, &input, &trace));
                Ok((outcome, trace))
            });
            let outcome = match ran.await {
                Ok((outcome, trace)) => {
                    trace.tell(&mut call.record);
                    outcome
                }
                Err(error) => Err(error),
            };
            service.oversight.end(call, outcome).await
        });
        task.await.unwrap_or_else(|error| Err(unserved(&error)))
    }

    /// Reads a request and says where it runs, if it may run now.
    async fn ready<'b>(
        &self,
        call: &mut Ongoing,
        operation: &'static Served,
        identity: &Identity,
        body: &'b Bytes,
    ) -> Result<(Place, Input<'b>)> {
        let input = operation.read(body)?;
        call.record.dry_run = operation.is_dry_run(&input);
        self.oversight.check()?;
        self.oversight.admit(operation.model.name, || operation.spec(&self.kms, identity, &input))?;
        let place = operation.place(&input);
        if place == Place::Here {
            self.catch_up().await?;
        }
        Ok((place, input))
    }

    /// Makes a checkpoint of the audit log, for who may have one.
    async fn checkpoint(self: &Arc<Self>, origin: &Origin, body: Bytes) -> Outcome {
        checkpoint::admit(origin, self.own_uid)?;
        let service = Arc::clone(self);
        apart(move || checkpoint::make(&service.kms, service.oversight.log(), &body, service.clock.now()))
            .await
    }

    /// Everything that is counted, as Prometheus reads it.
    pub fn figures(&self) -> String {
        let SigningKeyFigures { kept, found, missed } = self.keys.figures();
        let help = "Signing keys that were looked for, and whether they were kept from an earlier request.";
        self.oversight.expose(
            &self.kms,
            &[
                Figure {
                    name: "kmsfs_signing_keys",
                    help: "Signing keys that are kept.",
                    counts: false,
                    value: kept as u64,
                },
                Figure { name: "kmsfs_signing_key_hits_total", help, counts: true, value: found },
                Figure { name: "kmsfs_signing_key_misses_total", help, counts: true, value: missed },
            ],
        )
    }

    /// Writes down what is known of the calls that were served. To be called last: none is recorded any more.
    pub fn close(&self) {
        self.oversight.close();
    }

    /// Waits for the keystore, if it has not answered for a while, so that what comes next need not.
    async fn catch_up(&self) -> Result<()> {
        if self.kms.is_current() {
            return Ok(());
        }
        let kms = Arc::clone(&self.kms);
        apart(move || Ok(kms.catch_up()?)).await
    }

    async fn body(&self, mut body: Incoming, patience: Duration) -> Result<Bytes> {
        let hint = body.size_hint();
        if hint.lower() > BODY_MAX as u64 {
            return Err(too_large());
        }
        let read = async {
            let mut permit = None;
            let mut all: Vec<u8> = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame =
                    frame.map_err(|error| Error::serialization(format!("The body broke off: {error}")))?;
                let Ok(data) = frame.into_data() else { continue }; // trailers say nothing
                if all.is_empty() && body.is_end_stream() {
                    return Ok(data);
                }
                if all.len() + data.len() > BODY_MAX {
                    return Err(too_large());
                }
                if permit.is_none() && all.len() + data.len() > LARGE_BODY {
                    permit = Some(self.large_bodies.acquire().await);
                }
                all.extend_from_slice(&data);
            }
            Ok(Bytes::from(all))
        };
        timeout(patience, read).await.unwrap_or_else(|_| Err(Error::serialization("The body took too long.")))
    }
}

/// Runs what may take long on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(unserved(&error)))
}

fn unserved(error: &JoinError) -> Error {
    log::error!("a call came to no end: {error}");
    Error::new("KMSInternalException", "The request could not be served.")
}

/// What is known of a call when it arrives.
fn record(id: Uuid, origin: &Origin, headers: &HeaderMap, now: Timestamp) -> CallRecord {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let source = match origin {
        Origin::Peer { uid } => Source::User(*uid),
        Origin::Address { address, .. } => Source::Address(address.ip()),
    };
    let target = text("x-amz-target").unwrap_or_default();
    let own = target.strip_prefix("Kmsfs.").and_then(operations::find_own);
    let operation: Cow<'static, str> = match target.strip_prefix("TrentService.").unwrap_or(target) {
        "" => "none".into(),
        name => {
            let served = own.or_else(|| operations::find(name).ok());
            served.map_or_else(|| name.to_owned().into(), |served| served.model.name.into())
        }
    };
    let mut record = CallRecord::new(now, id, source, operation);
    record.user_agent = text("user-agent").map(str::to_owned);
    record
}

fn too_large() -> Error {
    Error::new("RequestEntityTooLargeException", format!("A request has at most {BODY_MAX} bytes."))
}

/// What the head of a request asks for.
fn route(head: &Parts) -> Result<Route> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let content_type = text("content-type").split(';').next().unwrap_or("").trim_end();
    if head.method != Method::POST || !content_type.eq_ignore_ascii_case("application/x-amz-json-1.1") {
        return Err(Error::unknown_operation());
    }
    match text("x-amz-target").split_once('.') {
        Some(("TrentService", name)) => operations::find(name).map(Route::Kms),
        Some(("Kmsfs", name)) if checkpoint::is_it(name) => Ok(Route::Checkpoint),
        Some(("Kmsfs", name)) => match operations::find_own(name) {
            Some(operation) => Ok(Route::Kms(operation)),
            None => Own::find(name).map(Route::Own),
        },
        _ => Err(Error::unknown_operation()),
    }
}

/// The response with an answer or an error. What a KMS says is for nobody to keep.
pub(super) fn respond(id: Uuid, outcome: Result<Zeroizing<Vec<u8>>>) -> Response<Full<Bytes>> {
    let mut response = match outcome {
        // An operation without members in its answer has an empty body.
        Ok(body) if body.as_slice() == b"{}" => Response::default(),
        Ok(body) => Response::new(Full::new(Bytes::from_owner(body))),
        Err(error) => {
            let mut response = Response::new(Full::new(Bytes::from(error.body())));
            *response.status_mut() = error.status();
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.name()));
            response
        }
    };
    let headers = response.headers_mut();
    let text = id.as_hyphenated().to_string();
    headers.insert("x-amzn-requestid", HeaderValue::try_from(text).expect("a UUID is ASCII"));
    headers.insert(CONTENT_TYPE, CONTENT);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, private"));
    response
}
