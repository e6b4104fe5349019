//! Applications: programs that have the token open. Each has a ticket, session objects, and is logged in or not.
//!
//! They are in memory alone: what they made for their session goes with the service's process. Programs that end without
//! saying so are forgotten a day after their last call.

use super::code::{Code, Result};
use super::object::{Object, ObjectId};
use crate::crypto::random;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an application may be silent.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// How many applications of one owner are known at a time. One more, and the one that was silent for longest goes.
const APPLICATIONS: usize = 1024;
/// How many session objects there may be, of all applications, and how many bytes.
const OBJECTS: (usize, usize) = (20_000, 64 << 20);
/// How long a PIN that was given again waits for the use that it is for.
const CONFIRMATION: Duration = Duration::from_secs(60);

/// What an application shows with every call: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; 16]);

impl Ticket {
    /// The ticket with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Ticket {
        Ticket(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

struct Application {
    owner: String,
    logged_in: bool,
    /// The PIN was given again, for one use of a key that wants that.
    confirmed: Option<Instant>,
    used: Instant,
    objects: BTreeMap<ObjectId, Arc<Object>>,
}

/// All of them.
#[derive(Default)]
pub(in crate::kms) struct Applications(Mutex<HashMap<Ticket, Application>>);

impl Applications {
    /// A new one of `owner`'s.
    pub(super) fn open(&self, owner: &str) -> Ticket {
        let mut all = self.0.lock();
        all.retain(|_, application| application.used.elapsed() < IDLE);
        let own = all.iter().filter(|(_, application)| application.owner == owner);
        if own.clone().count() >= APPLICATIONS {
            let oldest = own.min_by_key(|(_, application)| application.used).map(|(ticket, _)| *ticket);
            oldest.and_then(|ticket| all.remove(&ticket));
        }
        let ticket = Ticket(random::array());
        let application = Application {
            owner: owner.to_owned(),
            logged_in: false,
            confirmed: None,
            used: Instant::now(),
            objects: BTreeMap::new(),
        };
        all.insert(ticket, application);
        ticket
    }

    /// Ends one, with its session objects. It may be gone already.
    pub(super) fn close(&self, owner: &str, ticket: Ticket) {
        let mut all = self.0.lock();
        if all.get(&ticket).is_some_and(|application| application.owner == owner) {
            all.remove(&ticket);
        }
    }

    /// Whether it is logged in.
    ///
    /// # Errors
    /// There is no such application of `owner`'s, or not any more.
    pub(super) fn is_logged_in(&self, owner: &str, ticket: Ticket) -> Result<bool> {
        self.with(owner, ticket, |application| Ok(application.logged_in))
    }

    /// Notes that it is logged in, or not any more. Who logs out loses the private objects of the session.
    pub(super) fn set_logged_in(&self, owner: &str, ticket: Ticket, logged_in: bool) -> Result<()> {
        self.with(owner, ticket, |application| {
            application.logged_in = logged_in;
            application.confirmed = None;
            if !logged_in {
                application.objects.retain(|_, object| !object.is_private());
            }
            Ok(())
        })
    }

    /// Notes that the PIN was given again.
    pub(super) fn confirm(&self, owner: &str, ticket: Ticket) -> Result<()> {
        self.with(owner, ticket, |application| {
            application.confirmed = Some(Instant::now());
            Ok(())
        })
    }

    /// Whether the PIN was given again. It is good for one use.
    pub(super) fn take_confirmation(&self, owner: &str, ticket: Ticket) -> Result<bool> {
        self.with(owner, ticket, |application| {
            Ok(application.confirmed.take().is_some_and(|at| at.elapsed() < CONFIRMATION))
        })
    }

    /// A session object.
    pub(super) fn object(&self, owner: &str, ticket: Ticket, id: ObjectId) -> Result<Option<Arc<Object>>> {
        self.with(owner, ticket, |application| Ok(application.objects.get(&id).cloned()))
    }

    /// All session objects.
    pub(super) fn objects(&self, owner: &str, ticket: Ticket) -> Result<Vec<Arc<Object>>> {
        self.with(owner, ticket, |application| Ok(application.objects.values().cloned().collect()))
    }

    /// Keeps new session objects.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn keep(&self, owner: &str, ticket: Ticket, objects: Vec<Arc<Object>>) -> Result<()> {
        let mut all = self.0.lock();
        let kept = all.values().flat_map(|application| application.objects.values());
        let (count, size) =
            kept.chain(&objects).fold((0, 0), |(count, size), object| (count + 1, size + object.size()));
        if count > OBJECTS.0 || size > OBJECTS.1 {
            return Err(Code::DEVICE_MEMORY.because("There are too many session objects."));
        }
        let application = find(&mut all, owner, ticket)?;
        application.objects.extend(objects.into_iter().map(|object| (object.id, object)));
        Ok(())
    }

    /// Changes a session object: nobody sees it between.
    ///
    /// # Errors
    /// There is no such object; those of the change.
    pub(super) fn change(
        &self,
        owner: &str,
        ticket: Ticket,
        id: ObjectId,
        change: impl FnOnce(&Object) -> Result<Object>,
    ) -> Result<()> {
        self.with(owner, ticket, |application| {
            let gone = || Code::OBJECT_HANDLE_INVALID.because("There is no such object.");
            let object = application.objects.get_mut(&id).ok_or_else(gone)?;
            *object = Arc::new(change(object)?);
            Ok(())
        })
    }

    /// Forgets a session object.
    pub(super) fn forget(&self, owner: &str, ticket: Ticket, id: ObjectId) -> Result<()> {
        self.with(owner, ticket, |application| {
            application.objects.remove(&id);
            Ok(())
        })
    }

    fn with<T>(
        &self,
        owner: &str,
        ticket: Ticket,
        work: impl FnOnce(&mut Application) -> Result<T>,
    ) -> Result<T> {
        work(find(&mut self.0.lock(), owner, ticket)?)
    }
}

/// The application of a ticket, if it is `owner`'s.
fn find<'a>(
    all: &'a mut HashMap<Ticket, Application>,
    owner: &str,
    ticket: Ticket,
) -> Result<&'a mut Application> {
    let application = all.get_mut(&ticket).filter(|application| application.owner == owner);
    let over = || Code::SESSION_HANDLE_INVALID.because("The application is not known any more.");
    let application = application.ok_or_else(over)?;
    application.used = Instant::now();
    Ok(application)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::kms::token::Template;

    fn object() -> Arc<Object> {
        Arc::new(Object::of(ObjectId::random(), "alice", Template::default()))
    }

    #[test]
    fn there_are_so_many_session_objects_and_the_last_one_may_be_changed() {
        let applications = Applications::default();
        let (ticket, other) = (applications.open("alice"), applications.open("bob"));
        let objects: Vec<_> = (0..OBJECTS.0).map(|_| object()).collect();
        let (first, last) = (objects[0].id, objects[OBJECTS.0 - 1].id);
        applications.keep("alice", ticket, objects).unwrap();
        let more = applications.keep("bob", other, vec![object()]);
        assert_eq!(more.unwrap_err().code(), Some(Code::DEVICE_MEMORY));
        let same = |object: &Object| Ok(Object::of(object.id, "alice", Template::default()));
        applications.change("alice", ticket, last, same).unwrap();
        applications.forget("alice", ticket, first).unwrap();
        applications.keep("bob", other, vec![object()]).unwrap();
        assert_eq!(applications.objects("alice", ticket).unwrap().len(), OBJECTS.0 - 1);
        let gone = applications.change("alice", ticket, first, same);
        assert_eq!(
            gone.unwrap_err().code(),
            Some(Code::OBJECT_HANDLE_INVALID),
            "what is gone does not come back"
        );
    }

    #[test]
    fn of_too_many_applications_the_one_that_was_silent_for_longest_goes() {
        let applications = Applications::default();
        let of_bob = applications.open("bob");
        let tickets: Vec<_> = (0..APPLICATIONS).map(|_| applications.open("alice")).collect();
        applications.is_logged_in("alice", tickets[0]).unwrap(); // which is a use
        let new = applications.open("alice");
        let is_known = |owner, ticket| applications.is_logged_in(owner, ticket).is_ok();
        assert!(!is_known("alice", tickets[1]));
        assert!(is_known("alice", tickets[0]) && is_known("alice", tickets[2]) && is_known("alice", new));
        assert!(is_known("bob", of_bob), "another owner's are not touched");
    }
}
