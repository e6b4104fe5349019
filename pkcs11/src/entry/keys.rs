//! Keys: making, wrapping, unwrapping, deriving.

use super::objects::make;
use crate::library::{Library, library, no_key};
use crate::parameter;
use crate::raw::{self, Room, guarded};
use crate::service::Id;
use cryptoki_sys as ck;

pub(crate) unsafe extern "C" fn generate_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    let read = |_: &Library, _: &Id| {
        // SAFETY: the program's mechanism and attributes.
        let ((mechanism, _), template) =
            unsafe { (parameter::mechanism(mechanism)?, raw::template(template, count)?) };
        Ok((template.flag(ck::CKA_TOKEN), (mechanism.number, template)))
    };
    // SAFETY: the program's room.
    unsafe {
        make(session, to, read, |library, ticket, (mechanism, template)| {
            library.service.generate(ticket, mechanism, &template)
        })
    }
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
    let read = |library: &Library, _: &Id| {
        let unwrapping = library.id(unwrapping).map_err(|_| ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID)?;
        // SAFETY: the program's mechanism, bytes and attributes.
        let (by, wrapped, template) = unsafe {
            (
                parameter::mechanism(mechanism)?,
                raw::bytes(wrapped, wrapped_length)?,
                raw::template(template, count)?,
            )
        };
        Ok((template.flag(ck::CKA_TOKEN), (unwrapping, by, wrapped, template)))
    };
    // SAFETY: the program's room.
    unsafe {
        make(session, to, read, |library, ticket, (unwrapping, (mechanism, parameter), wrapped, template)| {
            let by = (mechanism.number, &parameter);
            library.service.unwrap(ticket, &unwrapping, by, wrapped, &template)
        })
    }
}

pub(crate) unsafe extern "C" fn derive_key(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    base: ck::CK_OBJECT_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    let read = |library: &Library, _: &Id| {
        let base = library.id(base).map_err(no_key)?;
        // SAFETY: the program's mechanism and attributes.
        let (by, template) = unsafe { (parameter::mechanism(mechanism)?, raw::template(template, count)?) };
        Ok((template.flag(ck::CKA_TOKEN), (base, by, template)))
    };
    // SAFETY: the program's room.
    unsafe {
        make(session, to, read, |library, ticket, (base, (mechanism, parameter), template)| {
            library.service.derive(ticket, &base, mechanism.number, &parameter, &template)
        })
    }
}
