//! What AWS has no name for and is about no key: operations of this service's own, under the target prefix `Kmsfs`.
//!
//! Whoever is somebody here may call them: they tell whether anything changed, not what. Those on keys are with the
//! others in [`super::operations`].

use super::ending::Ending;
use super::error::{Error, Result};
use super::model::{Operation, Shape, optional, required, text};
use super::wire::{self, Input, Output, Value};
use crate::kms::Kms;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// How often the KMS is asked whether anything changed.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long `WaitForChange` waits if it is not told, in seconds.
const WAIT_DEFAULT: i64 = 20;

static GENERATION: Shape = Shape::Integer { min: 0, max: i64::MAX };
static SECONDS: Shape = Shape::Integer { min: 0, max: 60 };
static UPTIME: Shape = Shape::Integer { min: 0, max: i64::MAX };
static VERSION: Shape = text(1, 64);

/// How the service is.
static STATUS: Operation = Operation {
    name: "Status",
    input: &[],
    output: &[
        required("Generation", &GENERATION),
        required("Version", &VERSION),
        required("UptimeSeconds", &UPTIME),
    ],
    errors: &[],
};

/// Waits until the generation is another than the one given, or the time is over; tells which it is.
static WAIT_FOR_CHANGE: Operation = Operation {
    name: "WaitForChange",
    input: &[required("Generation", &GENERATION), optional("TimeoutSeconds", &SECONDS)],
    output: &[required("Generation", &GENERATION)],
    errors: &[],
};

/// An operation of this service's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// How the service is.
    Status,
    /// Waits for a change of any key.
    WaitForChange,
}

impl Own {
    /// The operation of this name.
    ///
    /// # Errors
    /// `UnknownOperationException`.
    pub fn find(name: &str) -> Result<Own> {
        let all = [Own::Status, Own::WaitForChange];
        all.into_iter().find(|own| own.model().name == name).ok_or_else(Error::unknown_operation)
    }

    fn model(self) -> &'static Operation {
        match self {
            Own::Status => &STATUS,
            Own::WaitForChange => &WAIT_FOR_CHANGE,
        }
    }

    /// Runs the operation; a wait ends early when `ending` comes.
    ///
    /// # Errors
    /// `SerializationException`, `ValidationException`.
    pub async fn run(self, changes: &Changes, body: &[u8], mut ending: Ending) -> Result<Zeroizing<Vec<u8>>> {
        let input = Input::decode(self.model().input, Value::parse(body)?)?;
        wire::check(&input)?;
        let generation = match self {
            Own::Status => changes.current(),
            Own::WaitForChange => {
                let seconds = input.integer("TimeoutSeconds").unwrap_or(WAIT_DEFAULT);
                let time = Duration::from_secs(seconds.unsigned_abs());
                changes.wait(input.required_integer("Generation"), time, &mut ending).await
            }
        };
        Output::document(self.model().output, |output| {
            output.integer("Generation", generation);
            if self == Own::Status {
                output.text("Version", env!("CARGO_PKG_VERSION"));
                output.integer("UptimeSeconds", changes.uptime());
            }
            Ok(())
        })
    }
}

/// The KMS's generation, for those who wait until it is another.
#[derive(Debug)]
pub struct Changes {
    kms: Arc<Kms>,
    seen: watch::Sender<i64>,
    started: Instant,
}

impl Changes {
    /// That of `kms`. Nobody is told of changes unless [`Changes::follow`] runs.
    pub fn new(kms: Arc<Kms>) -> Changes {
        let seen = watch::Sender::new(generation(&kms));
        Changes { kms, seen, started: Instant::now() }
    }

    /// Looks for changes, until the keystore has another root key, or none.
    pub async fn follow(&self) {
        while !self.kms.is_superseded() {
            sleep(INTERVAL).await;
            let now = self.current();
            self.seen.send_if_modified(|seen| std::mem::replace(seen, now) != now);
        }
    }

    fn current(&self) -> i64 {
        generation(&self.kms)
    }

    /// Whole seconds since the service began.
    fn uptime(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_secs()).unwrap_or(i64::MAX)
    }

    /// Waits until the generation is not `known`, for at most `time`.
    async fn wait(&self, known: i64, time: Duration, ending: &mut Ending) -> i64 {
        if self.current() == known {
            let mut seen = self.seen.subscribe();
            let changed = async {
                tokio::select! {
                    _ = seen.wait_for(|seen| *seen != known) => {}
                    () = ending.come() => {}
                }
            };
            // Whichever it was: what counts is the generation now.
            let _ = timeout(time, changed).await;
        }
        self.current()
    }
}

/// A number that changes with any key's state, material or name, and whenever nobody can vouch for them any more.
fn generation(kms: &Kms) -> i64 {
    // Both only grow, so the sum differs after either did.
    i64::try_from(kms.generation() + kms.outages()).unwrap_or(i64::MAX)
}
