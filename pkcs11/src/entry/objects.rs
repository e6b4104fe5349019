//! Objects: making, reading, changing, finding.

use crate::library::{Library, library};
use crate::raw::{self, Return, guarded};
use crate::service::Id;
use crate::session::begin;
use cryptoki_sys as ck;

/// Has the service make an object, of the token or of the session, and gives its handle. What cannot be given is not made.
/// `read` takes what the program passes, and says whether the object is to be one of the token.
///
/// # Safety
/// `to` is null, or room for a handle.
pub(super) unsafe fn make<T>(
    session: ck::CK_SESSION_HANDLE,
    to: *mut ck::CK_OBJECT_HANDLE,
    read: impl FnOnce(&Library, &Id) -> Return<(bool, T)>,
    make: impl FnOnce(&Library, &Id, T) -> Return<Id>,
) -> ck::CK_RV {
    guarded(|| {
        raw::check_room(to)?;
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let (is_token, given) = read(&library, &ticket)?;
        let mut session = session.lock();
        session.check_may_write(is_token)?;
        let id = library.over(make(&library, &ticket, given))?;
        session.made(id, is_token);
        // SAFETY: the program's room.
        unsafe { raw::write(to, library.handle(id)) }
    })
}

pub(crate) unsafe extern "C" fn create_object(
    session: ck::CK_SESSION_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    let read = |_: &Library, _: &Id| {
        // SAFETY: the program's attributes.
        let template = unsafe { raw::template(template, count) }?;
        Ok((template.flag(ck::CKA_TOKEN), template))
    };
    // SAFETY: the program's room.
    unsafe { make(session, to, read, |library, ticket, template| library.service.create(ticket, &template)) }
}

pub(crate) unsafe extern "C" fn copy_object(
    session: ck::CK_SESSION_HANDLE,
    object: ck::CK_OBJECT_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
    to: *mut ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    let read = |library: &Library, ticket: &Id| {
        let object = library.id(object)?;
        // SAFETY: the program's attributes.
        let template = unsafe { raw::template(template, count) }?;
        let is_token = match template.get(ck::CKA_TOKEN) {
            Some(flag) => flag == [1],
            None => library.is_token(ticket, &object)?,
        };
        Ok((is_token, (object, template)))
    };
    // SAFETY: the program's room.
    unsafe {
        make(session, to, read, |library, ticket, (object, template)| {
            library.service.copy(ticket, &object, &template)
        })
    }
}

pub(crate) unsafe extern "C" fn destroy_object(
    session: ck::CK_SESSION_HANDLE,
    object: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let object = library.id(object)?;
        let mut session = session.lock();
        let is_of_session = session.objects.contains(&object);
        if !session.is_read_write && !is_of_session {
            session.check_may_write(library.is_token(&ticket, &object)?)?;
        }
        library.over(library.service.destroy(&ticket, &object))?;
        session.objects.retain(|own| *own != object);
        library.forget_facts(&object);
        Ok(())
    })
}

/// How much room an object takes is nobody's to know.
pub(crate) unsafe extern "C" fn get_object_size(
    session: ck::CK_SESSION_HANDLE,
    object: ck::CK_OBJECT_HANDLE,
    to: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        library.session(session)?;
        library.id(object)?;
        // SAFETY: the program's room.
        unsafe { raw::write(to, ck::CK_UNAVAILABLE_INFORMATION) }
    })
}

pub(crate) unsafe extern "C" fn get_attribute_value(
    session: ck::CK_SESSION_HANDLE,
    object: ck::CK_OBJECT_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (_, ticket) = library.session(session)?;
        let object = library.id(object)?;
        // SAFETY: the program's attributes.
        let wanted = unsafe { raw::attributes(template, count) }?;
        let kinds: Vec<u64> = wanted.iter().map(|attribute| attribute.type_).collect();
        let (values, codes) = library.over(library.service.read(&ticket, &object, &kinds))?;
        let mut result = Ok(());
        for (at, kind) in kinds.iter().enumerate() {
            let value = match codes.get(at) {
                Some(&ck::CKR_OK) => values.get(*kind).ok_or(ck::CKR_DEVICE_ERROR),
                Some(code) => Err(*code),
                None => Err(ck::CKR_DEVICE_ERROR),
            };
            // SAFETY: one of the program's `count` attributes, whose value has the room that it says.
            let given = unsafe { give(template.add(at), value) };
            result = result.and(given);
        }
        result
    })
}

/// Fills in one attribute (PKCS#11, C_GetAttributeValue): the others are filled in whatever becomes of it.
///
/// # Safety
/// It is one, and its value null or room for as much as it says.
unsafe fn give(attribute: *mut ck::CK_ATTRIBUTE, value: Return<&[u8]>) -> Return<()> {
    // SAFETY: the caller's.
    let attribute = unsafe { &mut *attribute };
    let result = value.and_then(|value| {
        if attribute.pValue.is_null() {
            return Ok(value);
        }
        if attribute.ulValueLen < value.len() as ck::CK_ULONG {
            return Err(ck::CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: there is room.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len()) };
        Ok(value)
    });
    attribute.ulValueLen = result.map_or(ck::CK_UNAVAILABLE_INFORMATION, |value| value.len() as ck::CK_ULONG);
    result.map(|_| ())
}

pub(crate) unsafe extern "C" fn set_attribute_value(
    session: ck::CK_SESSION_HANDLE,
    object: ck::CK_OBJECT_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let object = library.id(object)?;
        // SAFETY: the program's attributes.
        let template = unsafe { raw::template(template, count) }?;
        let session = session.lock();
        if !session.is_read_write {
            session.check_may_write(library.is_token(&ticket, &object)?)?;
        }
        let changed = library.over(library.service.change(&ticket, &object, &template));
        library.forget_facts(&object);
        changed
    })
}

pub(crate) unsafe extern "C" fn find_objects_init(
    session: ck::CK_SESSION_HANDLE,
    template: *mut ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        // SAFETY: the program's attributes.
        let template = unsafe { raw::template(template, count) }?;
        begin(&mut session.lock().find, || {
            Ok(library.over(library.service.find(&ticket, &template))?.into_iter())
        })
    })
}

pub(crate) unsafe extern "C" fn find_objects(
    session: ck::CK_SESSION_HANDLE,
    to: *mut ck::CK_OBJECT_HANDLE,
    room: ck::CK_ULONG,
    count: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, _) = library.session(session)?;
        let mut session = session.lock();
        let found = session.find.as_mut().ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)?;
        if count.is_null() || (to.is_null() && room > 0) {
            return Err(ck::CKR_ARGUMENTS_BAD);
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let handles: Vec<_> = found.by_ref().take(room).map(|id| library.handle(id)).collect();
        // SAFETY: there is room for that many.
        unsafe {
            if !handles.is_empty() {
                std::ptr::copy_nonoverlapping(handles.as_ptr(), to, handles.len());
            }
            raw::write(count, handles.len() as ck::CK_ULONG)
        }
    })
}

pub(crate) unsafe extern "C" fn find_objects_final(session: ck::CK_SESSION_HANDLE) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        let was = session.lock().find.take();
        was.map(drop).ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)
    })
}
