//! Notices of changes: a thread always has a call waiting at the service that returns as soon as any key changes.

use super::answers::parse;
use super::client::{Client, PATIENCE};
use crate::keys::{Error, ErrorKind};
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long the service may leave a call for changes waiting, in seconds.
const WAIT_SECONDS: u64 = 20;
/// How long such a call may take to come back: the service may be busy.
const WAIT_PATIENCE: Duration = Duration::from_secs(WAIT_SECONDS + 10);
/// How soon the service is asked again after it did not answer.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Generation {
    generation: i64,
}

/// Changes that a service has told of. Nobody asks any more once this is dropped.
pub(super) struct Changes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Changes {
    /// Those of the service of `client`, from now on; `None` if it tells of none: AWS's own does not, nor do others of
    /// its API.
    ///
    /// # Errors
    /// `Unavailable`: the service does not answer, or there can be no thread.
    pub(super) fn follow(client: &Arc<Client>) -> Result<Option<Changes>, Error> {
        let Some(seen) = generation(client)? else { return Ok(None) };
        let shared = Arc::<Shared>::default();
        let (caller, told) = (Arc::clone(client), Arc::clone(&shared));
        let run = move || follow(&caller, &told, seen);
        let spawned = thread::Builder::new().name("kms-changes".into()).spawn(run);
        spawned.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format_args!("no thread to watch the KMS: {error}"))
        })?;
        Ok(Some(Changes(shared)))
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // The thread may have a call waiting for a while yet; it holds nothing that matters.
        *self.0.ended.lock() = true;
        self.0.ending.notify_all();
    }
}

/// The number that the service raises with every change; `None` if it has none.
fn generation(client: &Client) -> Result<Option<i64>, Error> {
    let (target, body) = ("Kmsfs.Status", json!({}));
    let answer = match client.once(target, &body, PATIENCE) {
        Ok(answer) => answer,
        Err(refused) if refused.unknown_operation => {
            log::info!(
                "the KMS at {} tells of no changes of keys ({}): cached keys serve until they are too old",
                client.place(),
                refused.error
            );
            return Ok(None);
        }
        Err(_) => client.call(target, &body)?,
    };
    Ok(Some(parse::<Generation>(&answer)?.generation))
}

/// Counts changes until nobody wants to know.
fn follow(client: &Client, shared: &Shared, mut seen: i64) {
    loop {
        let body = json!({ "Generation": seen, "TimeoutSeconds": WAIT_SECONDS });
        let answer = client.once("Kmsfs.WaitForChange", &body, WAIT_PATIENCE);
        match answer.map_err(|refused| refused.error).and_then(|answer| parse::<Generation>(&answer)) {
            Ok(Generation { generation }) if generation != seen => {
                seen = generation;
                shared.count.fetch_add(1, Ordering::AcqRel);
            }
            Ok(_) => {}
            Err(error) => {
                log::warn!("changes of keys are not noticed just now: {error}");
                let mut ended = shared.ended.lock();
                if !*ended {
                    shared.ending.wait_for(&mut ended, AGAIN);
                }
            }
        }
        if *shared.ended.lock() {
            return;
        }
    }
}
