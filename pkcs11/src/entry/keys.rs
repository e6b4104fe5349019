//! Keys: making, wrapping, unwrapping, deriving.

use crate::library::{library, no_key};
use crate::parameter;
use crate::raw::{self, Room, guarded};
use cryptoki_sys as ck;

pub(crate) unsafe extern "C" fn generate_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        raw::check_room(to)?;
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        // SAFETY: the program's mechanism and attributes.
        let ((mechanism, _), template) =
            unsafe { (parameter::mechanism(mechanism)?, raw::template(template, count)?) };
        let is_token = template.flag(ck::CKA_TOKEN);
        let mut session = session.lock();
        session.check_may_write(is_token)?;
        let id = library.over(library.service.generate(&ticket, mechanism.number, &template))?;
        session.made(id, is_token);
        // SAFETY: the program's room.
        unsafe { raw::write(to, library.handle(id)) }
    })
}

pub(crate) unsafe extern "C" fn generate_key_pair(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    public: *mut ck::CK_ATTRIBUTE,
    public_count: ck::CK_ULONG,
    private: *mut ck::CK_ATTRIBUTE,
    private_count: ck::CK_ULONG,
    to_public: *mut ck::CK_OBJECT_HANDLE,
    to_private: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        raw::check_room(to_public)?;
        raw::check_room(to_private)?;
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        // SAFETY: the program's mechanism.
        let (mechanism, _) = unsafe { parameter::mechanism(mechanism) }?;
        // SAFETY: the program's attributes.
        let (public, private) =
            unsafe { (raw::template(public, public_count)?, raw::template(private, private_count)?) };
        let are_token = [public.flag(ck::CKA_TOKEN), private.flag(ck::CKA_TOKEN)];
        let mut session = session.lock();
        session.check_may_write(are_token.contains(&true))?;
        let made = library.service.generate_pair(&ticket, mechanism.number, &public, &private);
        let made = library.over(made)?;
        for (id, is_token) in made.into_iter().zip(are_token) {
            session.made(id, is_token);
        }
        // SAFETY: the program's room.
        unsafe {
            raw::write(to_public, library.handle(made[0]))?;
            raw::write(to_private, library.handle(made[1]))
        }
    })
}

pub(crate) unsafe extern "C" fn wrap_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    wrapping: ck::CK_OBJECT_HANDLE,
    key: ck::CK_OBJECT_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (_, ticket) = library.session(session)?;
        let wrapping = library.id(wrapping).map_err(|_| ck::CKR_WRAPPING_KEY_HANDLE_INVALID)?;
        let key = library.id(key).map_err(no_key)?;
        // SAFETY: the program's mechanism.
        let (mechanism, parameter) = unsafe { parameter::mechanism(mechanism) }?;
        let room = Room::new(to, to_length)?;
        let wrapped = library.service.wrap(&ticket, &wrapping, &key, mechanism.number, &parameter);
        room.give(&library.over(wrapped)?)
    })
}

pub(crate) unsafe extern "C" fn unwrap_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    unwrapping: ck::CK_OBJECT_HANDLE,
    wrapped: *mut u8,
    wrapped_length: ck::CK_ULONG,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        raw::check_room(to)?;
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let unwrapping = library.id(unwrapping).map_err(|_| ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID)?;
        // SAFETY: the program's mechanism, bytes and attributes.
        let ((mechanism, parameter), wrapped, template) = unsafe {
            (
                parameter::mechanism(mechanism)?,
                raw::bytes(wrapped, wrapped_length)?,
                raw::template(template, count)?,
            )
        };
        let is_token = template.flag(ck::CKA_TOKEN);
        let mut session = session.lock();
        session.check_may_write(is_token)?;
        let by = (mechanism.number, &parameter);
        let id = library.over(library.service.unwrap(&ticket, &unwrapping, by, wrapped, &template))?;
        session.made(id, is_token);
        // SAFETY: the program's room.
        unsafe { raw::write(to, library.handle(id)) }
    })
}

pub(crate) unsafe extern "C" fn derive_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    base: ck::CK_OBJECT_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        raw::check_room(to)?;
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let base = library.id(base).map_err(no_key)?;
        // SAFETY: the program's mechanism and attributes.
        let ((mechanism, parameter), template) =
            unsafe { (parameter::mechanism(mechanism)?, raw::template(template, count)?) };
        let is_token = template.flag(ck::CKA_TOKEN);
        let mut session = session.lock();
        session.check_may_write(is_token)?;
        let derived = library.service.derive(&ticket, &base, mechanism.number, &parameter, &template);
        let id = library.over(derived)?;
        session.made(id, is_token);
        // SAFETY: the program's room.
        unsafe { raw::write(to, library.handle(id)) }
    })
}
