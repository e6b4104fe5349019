//! The way in to a service: open all the time, or, where custodians open the keystore, when they have.
//!
//! A sealed HSM has no [`Service`]: there is no root key, so there is nothing that could serve. The gate takes
//! shares (`Kmsfs.HsmUnlock`), tells how far that is (`Kmsfs.HsmStatus`), and answers everything else with
//! `KeyUnavailableException`. Enough shares make a service; `Kmsfs.HsmLock` takes it away. Requests in progress are
//! finished, those that wait for something are sent home, and with the last of them the root key leaves memory. A root
//! key that is not the keystore's any more goes the same way.
//!
//! Shares are taken on the unix socket alone: they must not cross a network, TLS or not.

use super::ending::{End, Ending, end};
use super::error::{Error, Result};
use super::model::{Operation, Shape, optional, required, text};
use super::service::{Origin, Service, respond};
use super::wire::{self, Input, Output, Value};
use crate::crypto;
use crate::hsm::shares::Secret;
use crate::hsm::text::Labelled;
use crate::hsm::unsealing::{Taken, Unsealing};
use crate::hsm::{self, Sealed};
use crate::kms::keystore;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Largest body of an operation here, in bytes: a share has a few hundred letters.
const BODY_MAX: usize = 8192;

static STATE: Shape = Shape::Enum(&["Sealed", "Unsealing", "Operational", "Zeroized"]);
static COUNT: Shape = Shape::Integer { min: 0, max: i64::MAX };
static NAME: Shape = text(8, 8);
static COUNTER: Shape = text(18, 37);
static LIBRARY: Shape = text(1, 64);
static WORDS: Shape = text(1, 1024);
static INDEX: Shape = text(1, 3);
static INDICES: Shape = Shape::List { of: &INDEX, min: 0, max: 255 };

const STATUS_OUTPUT: &[super::model::Member] = &[
    required("State", &STATE),
    required("Name", &NAME),
    required("Threshold", &COUNT),
    required("Custodians", &COUNT),
    required("ShareSet", &COUNT),
    required("Counter", &COUNTER),
    required("Cryptography", &LIBRARY),
    required("Submitted", &INDICES),
    optional("SecondsLeft", &COUNT),
];

/// How the HSM is.
static STATUS: Operation = Operation { name: "HsmStatus", input: &[], output: STATUS_OUTPUT, errors: &[] };
/// Takes a share.
static UNLOCK: Operation = Operation {
    name: "HsmUnlock",
    input: &[required("Share", &WORDS)],
    output: STATUS_OUTPUT,
    errors: &["InvalidShareException"],
};
/// Takes the root key out of memory.
static LOCK: Operation = Operation { name: "HsmLock", input: &[], output: STATUS_OUTPUT, errors: &[] };

/// See the module.
pub struct Gate {
    /// `None` where the keystore is open as long as the process runs.
    hsm: Option<Hsm>,
    state: Mutex<State>,
    /// The state is another now.
    changed: Notify,
}

/// Makes the service of an HSM that was just unlocked.
pub type Unlocked = dyn Fn(&Sealed, &Secret) -> std::result::Result<Arc<Service>, String> + Send + Sync;

struct Hsm {
    /// As it was when somebody last asked before the first share of an unsealing came: shares may have been handed out
    /// anew since the process began.
    sealed: Mutex<Arc<Sealed>>,
    /// Whether nobody will unlock it again.
    zeroized: AtomicBool,
    unlocked: Box<Unlocked>,
    own_uid: u32,
}

impl Hsm {
    fn sealed(&self) -> Arc<Sealed> {
        Arc::clone(&self.sealed.lock())
    }

    fn is_zeroized(&self) -> bool {
        self.zeroized.load(Ordering::Acquire)
    }

    /// Reads the public part of the keystore again.
    fn look_again(&self) {
        match Sealed::find(self.sealed().location()) {
            Ok(found) => *self.sealed.lock() = Arc::new(found),
            Err(hsm::Error::Keystore(keystore::Error::Zeroized(_))) => {
                self.zeroized.store(true, Ordering::Release)
            }
            Err(e) => log::error!("what is known of the custodians may be old: {e}"),
        }
    }
}

enum State {
    Sealed(Unsealing),
    /// A service is being made: it reads all of the keystore, which takes a moment.
    Opening(Arc<()>),
    Open(Open),
}

impl State {
    /// Whether that attempt to open it goes on: a lock ends it.
    fn is_opening(&self, attempt: &Arc<()>) -> bool {
        matches!(self, State::Opening(opening) if Arc::ptr_eq(opening, attempt))
    }
}

struct Open {
    service: Arc<Service>,
    end: End,
    ending: Ending,
}

impl Open {
    fn new(service: Arc<Service>) -> Open {
        let (end, ending) = end();
        Open { service, end, ending }
    }

    fn close(self) {
        self.end.come();
        // What is known of the last calls is written down; that may take a moment.
        drop(tokio::task::spawn_blocking(move || self.service.close()));
    }
}

impl Gate {
    /// A gate that is open for good.
    pub fn open(service: Arc<Service>) -> Gate {
        Gate { hsm: None, state: Mutex::new(State::Open(Open::new(service))), changed: Notify::new() }
    }

    /// The gate of an HSM that is sealed, in a process of the user `own_uid`.
    pub fn sealed(sealed: Sealed, own_uid: u32, unlocked: Box<Unlocked>) -> Gate {
        let (sealed, zeroized) = (Mutex::new(Arc::new(sealed)), AtomicBool::new(false));
        let hsm = Some(Hsm { sealed, zeroized, unlocked, own_uid });
        Gate { hsm, state: Mutex::new(State::Sealed(Unsealing::default())), changed: Notify::new() }
    }

    /// Answers a request; see [`Service::answer`].
    pub async fn answer(
        self: &Arc<Self>,
        origin: &Origin,
        request: Request<Incoming>,
        patience: Duration,
        ending: Ending,
    ) -> Response<Full<Bytes>> {
        if let Some((hsm, operation)) = self.own_operation(&request) {
            let outcome = self.run(hsm, operation, origin, request, patience).await;
            return respond(Uuid::new_v4(), outcome);
        }
        match self.service() {
            Some((service, until)) => service.answer(origin, request, patience, ending.or(until)).await,
            None => respond(Uuid::new_v4(), Err(self.closed())),
        }
    }

    /// The service, if there is one now, and how it hears that it is to go.
    fn service(&self) -> Option<(Arc<Service>, Ending)> {
        match &*self.state.lock() {
            State::Open(open) => Some((Arc::clone(&open.service), open.ending.clone())),
            State::Sealed(_) | State::Opening(_) => None,
        }
    }

    /// Why there is no service.
    fn closed(&self) -> Error {
        match self.hsm.as_ref().is_some_and(Hsm::is_zeroized) {
            true => {
                Error::new("KeyUnavailableException", "The HSM was zeroized: its keys are gone for good.")
            }
            false => sealed_error(),
        }
    }

    /// Looks for changes of keys, for ever, whenever there is a service.
    pub(super) async fn follow_changes(self: &Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            match self.service() {
                Some((service, mut until)) => {
                    tokio::select! {
                        () = service.follow_changes() => self.outdated(&service),
                        () = until.come() => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Everything that is counted, as Prometheus reads it; nothing while sealed.
    pub fn figures(&self) -> String {
        self.service().map_or_else(String::new, |(service, _)| service.figures())
    }

    /// Writes down what is known of the calls that were served. To be called last.
    pub fn close(&self) {
        if let Some((service, _)) = self.service() {
            service.close();
        }
    }

    fn own_operation(&self, request: &Request<Incoming>) -> Option<(&Hsm, &'static Operation)> {
        let hsm = self.hsm.as_ref()?;
        let name = request.headers().get("x-amz-target")?.to_str().ok()?.strip_prefix("Kmsfs.")?;
        let operation = [&STATUS, &UNLOCK, &LOCK].into_iter().find(|operation| operation.name == name)?;
        Some((hsm, operation))
    }

    async fn run(
        self: &Arc<Self>,
        hsm: &Hsm,
        operation: &'static Operation,
        origin: &Origin,
        request: Request<Incoming>,
        patience: Duration,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let Origin::Peer { uid } = *origin else {
            let message = "Custodians use the service's unix socket, on its own machine.";
            return Err(Error::new("AccessDeniedException", message));
        };
        let body = Limited::new(request.into_body(), BODY_MAX).collect();
        let body =
            timeout(patience, body).await.map_err(|_| Error::serialization("The body took too long."))?;
        let body = body.map_err(|_| Error::serialization("The body broke off, or is too long."))?.to_bytes();
        let input = Input::decode(operation.input, Value::parse(&body)?)?;
        wire::check(&input)?;
        if operation.name == UNLOCK.name {
            self.submit(input.required_text("Share")).await?;
        } else if operation.name == LOCK.name {
            self.lock(hsm, uid)?;
        }
        self.status(hsm).await
    }

    /// Reads the public part of the keystore again, which may take a moment. Shares that wait were verified against what was
    /// there before: if that is something else now, they are forgotten.
    async fn look_again(self: &Arc<Self>) -> Result<()> {
        let gate = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || {
            let Some(hsm) = &gate.hsm else { return };
            let before = hsm.sealed();
            hsm.look_again();
            let mut state = gate.state.lock();
            if let State::Sealed(unsealing) = &mut *state
                && !unsealing.custodians().is_empty()
                && !hsm.sealed().succeeds(&before)
            {
                log::warn!(
                    "the keystore is another one, or an older copy: the shares that waited are forgotten"
                );
                *unsealing = Unsealing::default();
            }
        });
        look.await.map_err(|_| sealed_error())
    }

    async fn status(self: &Arc<Self>, hsm: &Hsm) -> Result<Zeroizing<Vec<u8>>> {
        self.look_again().await?;
        let sealed = hsm.sealed();
        let now = Instant::now();
        let mut state = self.state.lock();
        let (name, custodians, left) = match &mut *state {
            State::Sealed(unsealing) => {
                unsealing.expire(now);
                let custodians = unsealing.custodians();
                let name = match hsm.is_zeroized() {
                    true => "Zeroized",
                    false if custodians.is_empty() => "Sealed",
                    false => "Unsealing",
                };
                (name, custodians, unsealing.left(now))
            }
            State::Opening(_) => ("Unsealing", Vec::new(), None),
            State::Open(_) => ("Operational", Vec::new(), None),
        };
        drop(state);
        let quorum = sealed.quorum();
        let custodians: Vec<String> = custodians.iter().map(u8::to_string).collect();
        Output::document(STATUS_OUTPUT, |output| {
            output.text("State", name);
            output.text("Name", &sealed.to_string());
            output.integer("Threshold", i64::from(quorum.threshold()));
            output.integer("Custodians", i64::from(quorum.custodians()));
            output.integer("ShareSet", i64::from(sealed.set()));
            output.text("Counter", &sealed.counter().to_string());
            output.text("Cryptography", &crypto::library());
            output.texts("Submitted", custodians.iter().map(String::as_str));
            if let Some(left) = left {
                output.integer("SecondsLeft", i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
            }
            Ok(())
        })
    }

    /// Takes a share; the last one needed opens the gate.
    async fn submit(self: &Arc<Self>, words: &str) -> Result<()> {
        let hsm = self.hsm.as_ref().expect("only an HSM takes shares");
        let invalid = |why: &dyn std::fmt::Display| Error::new("InvalidShareException", why.to_string());
        let labelled = Labelled::from_words(words).map_err(|e| invalid(&e))?;
        let custodian = labelled.share.index;
        self.look_again().await?;
        if hsm.is_zeroized() {
            return Err(self.closed());
        }
        let sealed = hsm.sealed();
        let opening = Arc::new(());
        let secret = {
            let mut state = self.state.lock();
            let State::Sealed(unsealing) = &mut *state else { return Ok(()) };
            let taken = unsealing.submit(&sealed, labelled, Instant::now());
            match taken.inspect_err(|e| log::warn!("a share was not taken: {e}")).map_err(|e| invalid(&e))? {
                Taken::More { have, need } => {
                    log::info!("custodian {custodian} gave a share: {} of {need}", have.len());
                    return Ok(());
                }
                Taken::Complete(secret) => {
                    *state = State::Opening(Arc::clone(&opening));
                    secret
                }
            }
        };
        log::info!("custodian {custodian} gave the last share needed");
        let gate = Arc::clone(self);
        let attempt = Arc::clone(&opening);
        let opened = tokio::task::spawn_blocking(move || gate.enter(&secret, &attempt)).await;
        opened.unwrap_or_else(|_| Err("it came to no end".to_owned())).map_err(|why| {
            // Whatever it was, the custodians can try again.
            let mut state = self.state.lock();
            if state.is_opening(&opening) {
                *state = State::Sealed(Unsealing::default());
            }
            drop(state);
            log::error!("the HSM could not be opened: {why}");
            Error::new("KeyUnavailableException", format!("The HSM could not be opened: {why}"))
        })
    }

    fn enter(&self, secret: &Secret, opening: &Arc<()>) -> std::result::Result<(), String> {
        let hsm = self.hsm.as_ref().expect("only an HSM is opened");
        let sealed = hsm.sealed();
        let service = (hsm.unlocked)(&sealed, secret)?;
        let mut state = self.state.lock();
        if !state.is_opening(opening) {
            drop(state);
            service.close();
            return Err("it was locked meanwhile".to_owned());
        }
        *state = State::Open(Open::new(service));
        drop(state);
        self.changed.notify_waiters();
        log::warn!("the HSM {sealed} is operational");
        Ok(())
    }

    /// Seals the HSM: for root and the service's own user.
    fn lock(&self, hsm: &Hsm, uid: u32) -> Result<()> {
        if uid != 0 && uid != hsm.own_uid {
            let message = "Only the service's own user and root may lock the HSM.";
            return Err(Error::new("AccessDeniedException", message));
        }
        let before = std::mem::replace(&mut *self.state.lock(), State::Sealed(Unsealing::default()));
        if let State::Open(open) = before {
            log::warn!("user {uid} locked the HSM {}", hsm.sealed());
            open.close();
        }
        Ok(())
    }

    /// Seals the HSM if `service` still is what serves it: its keystore has another root key, or none.
    fn outdated(self: &Arc<Self>, service: &Arc<Service>) {
        let mut state = self.state.lock();
        let is_it = matches!(&*state, State::Open(open) if Arc::ptr_eq(&open.service, service));
        let before = is_it.then(|| std::mem::replace(&mut *state, State::Sealed(Unsealing::default())));
        drop(state);
        if let Some(State::Open(open)) = before {
            log::warn!("the HSM has a new root key, or none any more, and is sealed");
            open.close();
            let gate = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || gate.hsm.as_ref().map(Hsm::look_again)));
        }
    }
}

fn sealed_error() -> Error {
    let message = "The HSM is sealed: its custodians unlock it with `kmsfs hsm unlock`.";
    Error::new("KeyUnavailableException", message)
}
