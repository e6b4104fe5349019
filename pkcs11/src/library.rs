//! What is between C_Initialize and C_Finalize: sessions, handles of objects, the login.
//!
//! The service knows a program by a ticket, which is got with the first session. When the service does not know it any
//! more, since it was restarted or the HSM locked, all sessions are over: the next one begins anew.

use crate::raw::Return;
use crate::service::{Id, Info, Service};
use crate::session::Session;
use cryptoki_sys as ck;
use kmsfs::crypto::lc::ec::Curve;
use kmsfs::crypto::lc::ml_dsa::Set;
use kmsfs::kms::token::mechanism::{Mechanism, ml_dsa_set};
use kmsfs::kms::token::{Function, Template};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;

/// The id of no object: what the service says of it tells only whether it knows this program.
const NOTHING: Id = [0; 16];

/// The only slot.
pub(crate) const SLOT: ck::CK_SLOT_ID = 0;

/// The library between C_Initialize and C_Finalize, and the process that it is of: a child of a fork begins anew.
static LIBRARY: RwLock<Option<(u32, Arc<Library>)>> = RwLock::new(None);

/// See the module.
pub(crate) struct Library {
    pub(crate) service: Service,
    state: Mutex<State>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct State {
    ticket: Option<Id>,
    logged_in: bool,
    last: ck::CK_SESSION_HANDLE,
    /// How many sessions may write.
    writing: u64,
    sessions: HashMap<ck::CK_SESSION_HANDLE, Arc<Mutex<Session>>>,
}

#[derive(Default)]
struct Objects {
    /// An object's handle is its place here and one more.
    ids: Vec<Id>,
    handles: HashMap<Id, ck::CK_OBJECT_HANDLE>,
    facts: HashMap<Id, Facts>,
}

/// What the library knows of a key, to answer at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    key_type: u64,
    /// What it may be used for, by [`Function`].
    allows: [bool; Function::ALL.len()],
    /// The length of a modulus, of a curve's numbers, of a subprime, or of an ML-DSA signature, in bytes.
    pub(crate) size: usize,
}

/// The library.
///
/// # Errors
/// `CKR_CRYPTOKI_NOT_INITIALIZED`
pub(crate) fn library() -> Return<Arc<Library>> {
    match &*LIBRARY.read() {
        Some((process, library)) if *process == std::process::id() => Ok(Arc::clone(library)),
        _ => Err(ck::CKR_CRYPTOKI_NOT_INITIALIZED),
    }
}

/// C_Initialize
pub(crate) fn initialize() -> Return<()> {
    let mut library = LIBRARY.write();
    if library.as_ref().is_some_and(|(process, _)| *process == std::process::id()) {
        return Err(ck::CKR_CRYPTOKI_ALREADY_INITIALIZED);
    }
    let new = Library { service: Service::new()?, state: Mutex::default(), objects: Mutex::default() };
    if let Some((_, of_parent)) = library.replace((std::process::id(), Arc::new(new))) {
        // Its connections are the parent's: closing them is, too.
        std::mem::forget(of_parent);
    }
    Ok(())
}

/// C_Finalize
pub(crate) fn finalize() -> Return<()> {
    library()?;
    let Some((_, library)) = LIBRARY.write().take() else { return Ok(()) };
    let ticket = library.state.lock().ticket.take();
    // The service forgets silent programs by itself; it may be gone, which is no reason to fail.
    let _ = ticket.map(|ticket| library.service.close(&ticket));
    Ok(())
}

impl Library {
    /// What the token tells.
    ///
    /// # Errors
    /// `CKR_TOKEN_NOT_PRESENT`
    pub(crate) fn describe(&self) -> Return<Info> {
        self.service.describe().map_err(absent)
    }

    /// Opens a session.
    pub(crate) fn open_session(&self, is_read_write: bool) -> Return<ck::CK_SESSION_HANDLE> {
        // Whether the service still knows this program is to be known before, not after.
        let known = self.state.lock().ticket;
        if let Some(ticket) = known
            && self.service.read(&ticket, &NOTHING, &[]).is_err_and(is_over)
        {
            self.forget();
        }
        // Not under the lock: the service may take its time.
        let new = match self.state.lock().ticket {
            Some(_) => None,
            None => Some(self.service.open().map_err(absent)?),
        };
        let mut state = self.state.lock();
        match (state.ticket, new) {
            (None, new) => state.ticket = new,
            // Another thread was faster.
            (Some(_), Some(new)) => drop(self.service.close(&new)),
            (Some(_), None) => {}
        }
        state.last += 1;
        let handle = state.last;
        state.sessions.insert(handle, Arc::new(Mutex::new(Session::new(is_read_write))));
        state.writing += u64::from(is_read_write);
        Ok(handle)
    }

    /// Closes a session, with the objects that it made. The last one takes the login along.
    pub(crate) fn close_session(&self, handle: ck::CK_SESSION_HANDLE) -> Return<()> {
        let mut state = self.state.lock();
        let session = state.sessions.remove(&handle).ok_or(ck::CKR_SESSION_HANDLE_INVALID)?;
        let is_read_write = session.lock().is_read_write;
        state.writing -= u64::from(is_read_write);
        let is_last = state.sessions.is_empty();
        let ticket = state.ticket;
        if is_last {
            state.ticket = None;
            state.logged_in = false;
        }
        drop(state);
        let Some(ticket) = ticket else { return Ok(()) };
        // As above: what cannot be told the service, it finds out.
        if is_last {
            let _ = self.service.close(&ticket);
            return Ok(());
        }
        for object in &session.lock().objects {
            let _ = self.service.destroy(&ticket, object);
        }
        Ok(())
    }

    /// Closes all sessions.
    pub(crate) fn close_all(&self) {
        let ticket = {
            let mut state = self.state.lock();
            let new = State { last: state.last, ..State::default() };
            std::mem::replace(&mut *state, new).ticket
        };
        let _ = ticket.map(|ticket| self.service.close(&ticket));
    }

    /// A session, and the ticket to call with.
    ///
    /// # Errors
    /// `CKR_SESSION_HANDLE_INVALID`
    pub(crate) fn session(&self, handle: ck::CK_SESSION_HANDLE) -> Return<(Arc<Mutex<Session>>, Id)> {
        let state = self.state.lock();
        let session = state.sessions.get(&handle).ok_or(ck::CKR_SESSION_HANDLE_INVALID)?;
        Ok((Arc::clone(session), state.ticket.ok_or(ck::CKR_SESSION_HANDLE_INVALID)?))
    }

    /// How many sessions there are, and how many of them may write.
    pub(crate) fn count(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.sessions.len() as u64, state.writing)
    }

    /// Whether the user is logged in.
    pub(crate) fn is_logged_in(&self) -> bool {
        self.state.lock().logged_in
    }

    /// C_Login; `confirms` is for one use of a key that wants the PIN at every use.
    pub(crate) fn login(&self, handle: ck::CK_SESSION_HANDLE, pin: &[u8], confirms: bool) -> Return<()> {
        let (_, ticket) = self.session(handle)?;
        self.over(self.service.login(&ticket, pin, confirms))?;
        self.state.lock().logged_in = true;
        Ok(())
    }

    /// C_Logout
    pub(crate) fn logout(&self, handle: ck::CK_SESSION_HANDLE) -> Return<()> {
        let (_, ticket) = self.session(handle)?;
        self.over(self.service.logout(&ticket))?;
        self.state.lock().logged_in = false;
        Ok(())
    }

    /// Passes a result of the service on. Where it does not know this program any more, nor do its sessions exist.
    pub(crate) fn over<T>(&self, result: Return<T>) -> Return<T> {
        if matches!(result, Err(code) if is_over(code)) {
            self.forget();
        }
        result
    }

    fn forget(&self) {
        let mut state = self.state.lock();
        // Handles of before must not name sessions of after.
        *state = State { last: state.last, ..State::default() };
    }

    /// The handle of an object.
    pub(crate) fn handle(&self, id: Id) -> ck::CK_OBJECT_HANDLE {
        let mut objects = self.objects.lock();
        let Objects { ids, handles, .. } = &mut *objects;
        *handles.entry(id).or_insert_with(|| {
            ids.push(id);
            ids.len() as ck::CK_OBJECT_HANDLE
        })
    }

    /// The object of a handle.
    ///
    /// # Errors
    /// `CKR_OBJECT_HANDLE_INVALID`
    pub(crate) fn id(&self, handle: ck::CK_OBJECT_HANDLE) -> Return<Id> {
        let at = usize::try_from(handle).ok().and_then(|handle| handle.checked_sub(1));
        let objects = self.objects.lock();
        at.and_then(|at| objects.ids.get(at)).copied().ok_or(ck::CKR_OBJECT_HANDLE_INVALID)
    }

    /// Whether an object is one of the token.
    ///
    /// # Errors
    /// `CKR_OBJECT_HANDLE_INVALID`
    pub(crate) fn is_token(&self, ticket: &Id, id: &Id) -> Return<bool> {
        Ok(self.over(self.service.read(ticket, id, &[ck::CKA_TOKEN]))?.0.flag(ck::CKA_TOKEN))
    }

    /// Forgets what is known of an object.
    pub(crate) fn forget_facts(&self, id: &Id) {
        self.objects.lock().facts.remove(id);
    }

    /// What is known of a key.
    ///
    /// # Errors
    /// `CKR_KEY_HANDLE_INVALID`
    pub(crate) fn facts(&self, ticket: &Id, id: &Id) -> Return<Facts> {
        if let Some(facts) = self.objects.lock().facts.get(id) {
            return Ok(*facts);
        }
        const KINDS: [u64; 9] = [
            ck::CKA_KEY_TYPE,
            ck::CKA_ENCRYPT,
            ck::CKA_DECRYPT,
            ck::CKA_SIGN,
            ck::CKA_VERIFY,
            ck::CKA_MODULUS,
            ck::CKA_EC_PARAMS,
            ck::CKA_SUBPRIME,
            ck::CKA_PARAMETER_SET,
        ];
        let read = self.over(self.service.read(ticket, id, &KINDS)).map_err(no_key)?;
        let facts = Facts::of(&read.0).ok_or(ck::CKR_KEY_HANDLE_INVALID)?;
        self.objects.lock().facts.insert(*id, facts);
        Ok(facts)
    }
}

impl Facts {
    /// Refuses a key for a function of a mechanism that is not for it.
    ///
    /// # Errors
    /// `CKR_MECHANISM_INVALID`, `CKR_KEY_TYPE_INCONSISTENT`, `CKR_KEY_FUNCTION_NOT_PERMITTED`
    pub(crate) fn check(&self, function: Function, mechanism: &Mechanism) -> Return<()> {
        if mechanism.flags & function.flag() == 0 {
            return Err(ck::CKR_MECHANISM_INVALID);
        }
        if !mechanism.how.takes(self.key_type) {
            return Err(ck::CKR_KEY_TYPE_INCONSISTENT);
        }
        match self.allows[function as usize] {
            true => Ok(()),
            false => Err(ck::CKR_KEY_FUNCTION_NOT_PERMITTED),
        }
    }

    fn of(attributes: &Template) -> Option<Facts> {
        let curve = attributes.get(ck::CKA_EC_PARAMS).and_then(|parameters| {
            Curve::ALL.into_iter().find(|curve| curve.oid() == parameters).map(|curve| curve.length())
        });
        let post_quantum = attributes.number(ck::CKA_PARAMETER_SET).and_then(ml_dsa_set);
        let length = |kind| attributes.get(kind).map(<[u8]>::len);
        Some(Facts {
            key_type: attributes.number(ck::CKA_KEY_TYPE)?,
            allows: Function::ALL.map(|function| attributes.flag(function.attribute())),
            size: length(ck::CKA_MODULUS)
                .or(curve)
                .or(post_quantum.map(Set::signature_length))
                .or(length(ck::CKA_SUBPRIME))
                .unwrap_or_default(),
        })
    }
}

/// The code of functions that take a key, for a handle that is none.
pub(crate) fn no_key(code: ck::CK_RV) -> ck::CK_RV {
    match code {
        ck::CKR_OBJECT_HANDLE_INVALID => ck::CKR_KEY_HANDLE_INVALID,
        other => other,
    }
}

/// The code of functions that ask for the token, where there is none.
fn absent(code: ck::CK_RV) -> ck::CK_RV {
    match code {
        ck::CKR_DEVICE_REMOVED => ck::CKR_TOKEN_NOT_PRESENT,
        other => other,
    }
}

/// Whether the service does not know this program any more. One that is away may know it when it is back.
fn is_over(code: ck::CK_RV) -> bool {
    code == ck::CKR_SESSION_HANDLE_INVALID
}
