//! Finding, making, changing and using objects, on behalf of an application.

use super::applications::Ticket;
use super::code::{Code, Error, Result};
use super::mechanism::{self, Mechanism};
use super::object::{OBJECT_MAX, Object, ObjectId, Origin, is_key};
use super::operate::{self, Function, Message};
use super::template::Template;
use super::{derive, generate, pin, rules};
use crate::crypto::SecretBytes;
use crate::kms::call::{Call, Caller};
use crate::kms::table::Draft;
use crate::kms::{self, Kms};
use cryptoki_sys as ck;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many objects an owner may have in the keystore, and how many bytes.
const OWN_OBJECTS: (usize, usize) = (10_000, 64 << 20);
/// How many objects there may be in a keystore.
const OBJECTS: usize = 100_000;

/// The value of an attribute, or why there is none to see.
pub type Value = Result<Zeroizing<Vec<u8>>>;

/// What a token tells anybody who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The keystore's id, which is the token's serial number: 16 hexadecimal digits.
    pub serial: String,
    /// Whether the caller has a PIN.
    pub has_pin: bool,
    /// Whether the last PIN was wrong, and whether no other is looked at for a while.
    pub wrong_pins: (bool, bool),
}

/// The token, as an application has it open.
pub struct Token<'k> {
    kms: &'k Kms,
    owner: String,
    ticket: Ticket,
    is_logged_in: bool,
}

impl Kms {
    /// What the token tells.
    ///
    /// # Errors
    /// Those of the keystore.
    pub fn token_info(&self, call: &Call<'_>) -> Result<Info> {
        let owner = owner(call);
        let has_pin = self.core.table()?.objects().pin(&owner).is_some();
        let serial = self.token.keystore[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Info { serial, has_pin, wrong_pins: self.token.guesses.state(&owner) })
    }

    /// Opens the token for an application.
    pub fn token_open(&self, call: &Call<'_>) -> Ticket {
        self.token.applications.open(&owner(call))
    }

    /// Ends an application.
    pub fn token_close(&self, call: &Call<'_>, ticket: Ticket) {
        self.token.applications.close(&owner(call), ticket);
    }

    /// Logs an application in with the caller's PIN; or, where it is logged in, confirms the next use of a key that wants
    /// the PIN at every use.
    ///
    /// # Errors
    /// The PIN is wrong, there is none, or the application is logged in, or is not.
    pub fn token_login(
        &self,
        call: &Call<'_>,
        ticket: Ticket,
        pin: &SecretBytes,
        confirms: bool,
    ) -> Result<()> {
        let owner = owner(call);
        match (self.token.applications.is_logged_in(&owner, ticket)?, confirms) {
            (true, false) => return Err(Code::USER_ALREADY_LOGGED_IN.because("The user is logged in.")),
            (false, true) => return Err(Code::USER_NOT_LOGGED_IN.because("The user is not logged in.")),
            _ => {}
        }
        let kept = self.core.table()?.objects().pin(&owner);
        let none =
            || Code::USER_PIN_NOT_INITIALIZED.because("The user has no PIN: `kmsfs hsm pin` sets one.");
        self.token.guesses.check(&owner, &*kept.ok_or_else(none)?, pin)?;
        match confirms {
            true => self.token.applications.confirm(&owner, ticket),
            false => self.token.applications.set_logged_in(&owner, ticket, true),
        }
    }

    /// Logs an application out.
    ///
    /// # Errors
    /// It is not logged in.
    pub fn token_logout(&self, call: &Call<'_>, ticket: Ticket) -> Result<()> {
        let owner = owner(call);
        if !self.token.applications.is_logged_in(&owner, ticket)? {
            return Err(Code::USER_NOT_LOGGED_IN.because("The user is not logged in."));
        }
        self.token.applications.set_logged_in(&owner, ticket, false)
    }

    /// Sets the caller's PIN, `old` being the one before if there is one.
    ///
    /// # Errors
    /// The old PIN is wrong; the new one has not the right length.
    pub fn token_set_pin(&self, call: &Call<'_>, old: &SecretBytes, new: &SecretBytes) -> Result<()> {
        let owner = owner(call);
        let before = self.core.table()?.objects().pin(&owner);
        if let Some(kept) = &before {
            self.token.guesses.check(&owner, kept, old)?;
        }
        let made = Arc::new(pin::new(&owner, new, self.core.cost)?);
        self.change(|draft| {
            // Somebody may have set it meanwhile, with another old one.
            let kept = draft.table.objects().pin(&owner);
            if kept.as_ref().map(|kept| kept.id) != before.as_ref().map(|kept| kept.id) {
                return Err(Code::PIN_INCORRECT.because("The PIN was changed just now."));
            }
            if let Some(kept) = kept {
                draft.remove_object(kept.id);
            }
            draft.put_object(made);
            Ok(())
        })
    }

    /// The token, for an application.
    ///
    /// # Errors
    /// There is no such application, or not any more.
    pub fn token(&self, call: &Call<'_>, ticket: Ticket) -> Result<Token<'_>> {
        let owner = owner(call);
        let is_logged_in = self.token.applications.is_logged_in(&owner, ticket)?;
        Ok(Token { kms: self, owner, ticket, is_logged_in })
    }

    /// A change of the keystore whose refusal is a token's.
    fn change<T>(&self, edit: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> Result<T> {
        // A refusal has put nothing into the draft, so nothing is written.
        self.core.change(|draft| match edit(draft) {
            Err(Error::Kms(error)) => Err(error),
            refused_or_done => Ok(refused_or_done),
        })?
    }
}

/// Whose objects a caller's are.
fn owner(call: &Call<'_>) -> String {
    match &call.caller {
        Caller::Principal(principal) => principal.arn.clone(),
        Caller::Operator | Caller::Filesystem => "operator".to_owned(),
    }
}

impl Token<'_> {
    fn is_visible(&self, object: &Object) -> bool {
        object.owner == self.owner
            && object.class() != pin::PIN_CLASS
            && (self.is_logged_in || !object.is_private())
    }

    fn object(&self, id: ObjectId) -> Result<Arc<Object>> {
        let applications = &self.kms.token.applications;
        let found = match applications.object(&self.owner, self.ticket, id)? {
            Some(object) => Some(object),
            None => self.kms.core.table()?.objects().get(id),
        };
        let none = || Code::OBJECT_HANDLE_INVALID.because("There is no such object.");
        found.filter(|object| self.is_visible(object)).ok_or_else(none)
    }

    /// A key, under the error that a function has for there being none.
    fn key(&self, id: ObjectId, none: Code) -> Result<Arc<Object>> {
        match self.object(id) {
            Ok(object) if is_key(object.class()) => Ok(object),
            Ok(_) => Err(none.because("The object is no key.")),
            Err(error) if error.code() == Some(Code::OBJECT_HANDLE_INVALID) => {
                Err(none.because("There is no such key."))
            }
            Err(error) => Err(error),
        }
    }

    fn check_may_keep(&self, object: &Object) -> Result<()> {
        match object.is_private() && !self.is_logged_in {
            true => Err(Code::USER_NOT_LOGGED_IN.because("Private objects take a login.")),
            false => Ok(()),
        }
    }

    /// Keeps new objects, all or none.
    fn keep(&self, objects: impl IntoIterator<Item = Object>) -> Result<Vec<ObjectId>> {
        let objects: Vec<Arc<Object>> = objects.into_iter().map(Arc::new).collect();
        objects.iter().try_for_each(|object| self.check_may_keep(object))?;
        let (stored, of_session): (Vec<_>, Vec<_>) =
            objects.iter().cloned().partition(|object| object.is_token());
        self.kms.token.applications.keep(&self.owner, self.ticket, of_session)?;
        if !stored.is_empty() {
            self.kms.change(|draft| {
                let (count, size) = draft.table.objects().count(&self.owner);
                let new: usize = stored.iter().map(|object| object.size()).sum();
                let is_over = count + stored.len() > OWN_OBJECTS.0 || size + new > OWN_OBJECTS.1;
                if is_over || draft.table.objects().len() + stored.len() > OBJECTS {
                    return Err(Code::DEVICE_MEMORY.because("There are too many objects."));
                }
                stored.into_iter().for_each(|object| draft.put_object(object));
                Ok(())
            })?;
        }
        Ok(objects.iter().map(|object| object.id).collect())
    }

    /// Makes an object that the caller brings.
    ///
    /// # Errors
    /// The template is none of an object; a private object without a login.
    pub fn create(&self, template: Template) -> Result<ObjectId> {
        let made = Object::new(&self.owner, template, Template::default(), Origin::Brought)?;
        self.keep([made]).map(|ids| ids[0])
    }

    /// Copies an object, with `changes`.
    ///
    /// # Errors
    /// The object may not be copied, or not so.
    pub fn copy(&self, id: ObjectId, changes: Template) -> Result<ObjectId> {
        let object = self.object(id)?;
        if !object.flag(ck::CKA_COPYABLE) {
            return Err(Code::ACTION_PROHIBITED.because("The object is not to be copied."));
        }
        let rules = rules::rules(object.class(), object.key_type())?;
        for (kind, value) in changes.iter() {
            let before = object.attributes.get(kind);
            match kind {
                // Of a copy these may be others; what is private, or not to be changed or destroyed, stays so.
                ck::CKA_TOKEN if matches!(value, [0 | 1]) => {}
                ck::CKA_PRIVATE if value == [1] => {}
                ck::CKA_MODIFIABLE | ck::CKA_DESTROYABLE if value == [0] => {}
                _ if before == Some(value) => {}
                _ if !object.flag(ck::CKA_MODIFIABLE) && !matches!(kind, ck::CKA_LABEL | ck::CKA_ID) => {
                    return Err(
                        Code::ACTION_PROHIBITED.because("The object is not to be changed, nor its copy.")
                    );
                }
                _ => rules::check_change(&rules, kind, before, value)?,
            }
        }
        let mut whole = object.whole();
        whole.extend(changes);
        let id = ObjectId::random();
        whole.set(ck::CKA_UNIQUE_ID, id.to_string());
        self.keep([Object::of(id, &self.owner, whole)]).map(|ids| ids[0])
    }

    /// Destroys an object, for ever.
    ///
    /// # Errors
    /// There is none, or it may not be destroyed.
    pub fn destroy(&self, id: ObjectId) -> Result<()> {
        let object = self.object(id)?;
        if !object.flag(ck::CKA_DESTROYABLE) {
            return Err(Code::ACTION_PROHIBITED.because("The object is not to be destroyed."));
        }
        if !object.is_token() {
            return self.kms.token.applications.forget(&self.owner, self.ticket, id);
        }
        self.kms.change(|draft| {
            draft.remove_object(id);
            Ok(())
        })?;
        Ok(self.kms.core.scrub()?)
    }

    /// The values of attributes, each by itself: a value, or why there is none to see.
    ///
    /// # Errors
    /// There is no such object.
    pub fn read(&self, id: ObjectId, kinds: &[u64]) -> Result<Vec<(u64, Value)>> {
        let object = self.object(id)?;
        Ok(kinds.iter().map(|kind| (*kind, object.read(*kind))).collect())
    }

    /// Changes attributes, all or none.
    ///
    /// # Errors
    /// The object may not be changed, or not so.
    pub fn set(&self, id: ObjectId, changes: &Template) -> Result<()> {
        let object = self.object(id)?;
        if !object.is_token() {
            let change = |object: &Object| self.changed(object, changes);
            return self.kms.token.applications.change(&self.owner, self.ticket, id, change);
        }
        self.kms.change(|draft| {
            let gone = || Code::OBJECT_HANDLE_INVALID.because("There is no such object.");
            let object = draft.table.objects().get(id).ok_or_else(gone)?;
            draft.put_object(Arc::new(self.changed(&object, changes)?));
            Ok(())
        })
    }

    fn changed(&self, object: &Object, changes: &Template) -> Result<Object> {
        if !object.flag(ck::CKA_MODIFIABLE) {
            return Err(Code::ACTION_PROHIBITED.because("The object is not to be changed."));
        }
        let rules = rules::rules(object.class(), object.key_type())?;
        let mut whole = object.whole();
        for (kind, value) in changes.iter() {
            // Secret attributes as if they were not there: that one stays what it is would confirm a guess.
            rules::check_change(&rules, kind, object.attributes.get(kind), value)?;
            whole.set(kind, value);
        }
        if whole.encoded_len() > OBJECT_MAX {
            return Err(Code::DEVICE_MEMORY.because("The object would be too large."));
        }
        Ok(Object::of(object.id, &self.owner, whole))
    }

    /// The objects that have all attributes of the template, in the order of their ids.
    ///
    /// # Errors
    /// Those of the keystore.
    pub fn find(&self, wanted: &Template) -> Result<Vec<ObjectId>> {
        let mut all = self.kms.token.applications.objects(&self.owner, self.ticket)?;
        all.extend(self.kms.core.table()?.objects().of(&self.owner));
        let found = all.iter().filter(|object| self.is_visible(object) && object.matches(wanted));
        let mut ids: Vec<ObjectId> = found.map(|object| object.id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Makes a secret key, or domain parameters.
    ///
    /// # Errors
    /// As of the mechanism.
    pub fn generate(&self, mechanism: u64, template: Template) -> Result<ObjectId> {
        let made = generate::one(&self.owner, find(mechanism)?, template)?;
        self.keep([made]).map(|ids| ids[0])
    }

    /// Makes a key pair: the public key's id, then the private one's.
    ///
    /// # Errors
    /// As of the mechanism.
    pub fn generate_pair(
        &self,
        mechanism: u64,
        public: Template,
        private: Template,
    ) -> Result<[ObjectId; 2]> {
        let made = generate::pair(&self.owner, find(mechanism)?, public, private)?;
        self.keep(made).map(|ids| [ids[0], ids[1]])
    }

    /// Derives a key from another one.
    ///
    /// # Errors
    /// As of the mechanism.
    pub fn derive(
        &self,
        base: ObjectId,
        mechanism: u64,
        parameter: &Template,
        template: Template,
    ) -> Result<ObjectId> {
        let base = self.key(base, Code::KEY_HANDLE_INVALID)?;
        self.confirmed(&base)?;
        let made = derive::derive(&self.owner, &base, find(mechanism)?, parameter, template)?;
        self.keep([made]).map(|ids| ids[0])
    }

    /// Refuses a key that wants the PIN at every use, unless it was given.
    fn confirmed(&self, key: &Object) -> Result<()> {
        if !key.flag(ck::CKA_ALWAYS_AUTHENTICATE) {
            return Ok(());
        }
        match self.kms.token.applications.take_confirmation(&self.owner, self.ticket)? {
            true => Ok(()),
            false => Err(Code::USER_NOT_LOGGED_IN.because("The key wants the PIN at every use.")),
        }
    }

    /// Wraps a key with another one.
    ///
    /// # Errors
    /// As of the mechanism; the key does not leave the token.
    pub fn wrap(
        &self,
        wrapping: ObjectId,
        key: ObjectId,
        mechanism: u64,
        parameter: &Template,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let wrapping = self.key(wrapping, Code::WRAPPING_KEY_HANDLE_INVALID)?;
        let key = self.key(key, Code::KEY_HANDLE_INVALID)?;
        derive::wrap(&wrapping, &key, find(mechanism)?, parameter)
    }

    /// Makes the object that a wrapped key is.
    ///
    /// # Errors
    /// As of the mechanism; it does not open.
    pub fn unwrap(
        &self,
        unwrapping: ObjectId,
        mechanism: u64,
        parameter: &Template,
        wrapped: &[u8],
        template: Template,
    ) -> Result<ObjectId> {
        let unwrapping = self.key(unwrapping, Code::UNWRAPPING_KEY_HANDLE_INVALID)?;
        self.confirmed(&unwrapping)?;
        let made = derive::unwrap(&self.owner, &unwrapping, find(mechanism)?, parameter, wrapped, template)?;
        self.keep([made]).map(|ids| ids[0])
    }

    /// Encrypts, decrypts, signs or verifies.
    ///
    /// # Errors
    /// As of the mechanism.
    pub fn run(
        &self,
        key: ObjectId,
        function: Function,
        mechanism: u64,
        parameter: &Template,
        message: Message<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let key = self.key(key, Code::KEY_HANDLE_INVALID)?;
        self.confirmed(&key)?;
        operate::run(&key, function, find(mechanism)?, parameter, message)
    }
}

fn find(mechanism: u64) -> Result<&'static Mechanism> {
    let none = || Code::MECHANISM_INVALID.because(format!("There is no mechanism {mechanism:#x} here."));
    mechanism::find(mechanism).ok_or_else(none)
}

impl From<kms::keystore::Error> for Error {
    fn from(error: kms::keystore::Error) -> Error {
        Error::Kms(error.into())
    }
}
