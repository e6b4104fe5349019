//! Encryption, decryption, digests, random numbers.

use crate::cipher::Cipher;
use crate::library::{Library, library, no_key};
use crate::parameter;
use crate::raw::{self, Room, guarded};
use crate::service::Id;
use crate::session::{Progress, Session, begin, proceed};
use crate::signing::context;
use cryptoki_sys as ck;
use kmsfs::kms::token::Function;
use kmsfs::kms::token::mechanism::How;

/// Where a session has a message that is encrypted, or decrypted.
fn slot(session: &mut Session, function: Function) -> &mut Option<Cipher> {
    match function {
        Function::Decrypt => &mut session.decrypt,
        _ => &mut session.encrypt,
    }
}

/// # Safety
/// As of the standard's functions.
unsafe fn init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
    function: Function,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let mut session = session.lock();
        // PKCS#11 3.0: no mechanism ends what goes on.
        if mechanism.is_null() {
            return slot(&mut session, function).take().map(drop).ok_or(ck::CKR_OPERATION_NOT_INITIALIZED);
        }
        begin(slot(&mut session, function), || {
            let key = library.id(key).map_err(no_key)?;
            // SAFETY: the program's mechanism.
            let mechanism = unsafe { parameter::mechanism(mechanism) }?;
            Cipher::new(key, &library.facts(&ticket, &key)?, mechanism, function)
        })
    })
}

/// Where the program has data, and how much.
type Data = (*mut u8, ck::CK_ULONG);
/// Where the program has room, and where it says and is told how much.
type To = (*mut u8, *mut ck::CK_ULONG);

fn step(
    session: ck::CK_SESSION_HANDLE,
    function: Function,
    to: To,
    step: impl FnOnce(&mut Cipher, &Library, &Id, Room) -> raw::Return<Progress>,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let mut session = session.lock();
        let room = Room::new(to.0, to.1);
        proceed(slot(&mut session, function), |cipher| step(cipher, &library, &ticket, room?))
    })
}

/// # Safety
/// As of the standard's functions.
unsafe fn whole(session: ck::CK_SESSION_HANDLE, function: Function, data: Data, to: To) -> ck::CK_RV {
    step(session, function, to, |cipher, library, ticket, room| {
        // SAFETY: the program's data.
        cipher.whole(library, ticket, &unsafe { raw::copy(data.0, data.1) }?, room)
    })
}

/// # Safety
/// As of the standard's functions.
unsafe fn update(session: ck::CK_SESSION_HANDLE, function: Function, data: Data, to: To) -> ck::CK_RV {
    step(session, function, to, |cipher, library, ticket, room| {
        // SAFETY: the program's data.
        cipher.update(library, ticket, &unsafe { raw::copy(data.0, data.1) }?, room)
    })
}

fn finish(session: ck::CK_SESSION_HANDLE, function: Function, to: To) -> ck::CK_RV {
    step(session, function, to, |cipher, library, ticket, room| cipher.finish(library, ticket, room))
}

pub(crate) unsafe extern "C" fn encrypt_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, Function::Encrypt) }
}

pub(crate) unsafe extern "C" fn decrypt_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, Function::Decrypt) }
}

pub(crate) unsafe extern "C" fn encrypt(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { whole(session, Function::Encrypt, (data, length), (to, to_length)) }
}

pub(crate) unsafe extern "C" fn decrypt(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { whole(session, Function::Decrypt, (data, length), (to, to_length)) }
}

pub(crate) unsafe extern "C" fn encrypt_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { update(session, Function::Encrypt, (data, length), (to, to_length)) }
}

pub(crate) unsafe extern "C" fn decrypt_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { update(session, Function::Decrypt, (data, length), (to, to_length)) }
}

pub(crate) unsafe extern "C" fn encrypt_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    finish(session, Function::Encrypt, (to, to_length))
}

pub(crate) unsafe extern "C" fn decrypt_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    finish(session, Function::Decrypt, (to, to_length))
}

pub(crate) unsafe extern "C" fn digest_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        begin(&mut session.lock().digest, || {
            // SAFETY: the program's mechanism.
            match unsafe { parameter::mechanism(mechanism) }?.0.how {
                How::Digest(digest) => Ok(context(digest)),
                _ => Err(ck::CKR_MECHANISM_INVALID),
            }
        })
    })
}

pub(crate) unsafe extern "C" fn digest(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        proceed(&mut session.lock().digest, |digest| {
            // SAFETY: the program's data and room.
            let (data, room) = unsafe { (raw::bytes(data, length)?, Room::new(to, to_length)?) };
            // A copy: should there be no room, the program comes again with the same data.
            let mut whole = digest.clone();
            whole.update(data);
            give(whole, room)
        })
    })
}

pub(crate) unsafe extern "C" fn digest_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        proceed(&mut session.lock().digest, |digest| {
            // SAFETY: the program's data.
            digest.update(unsafe { raw::bytes(data, length) }?);
            Ok(Progress::GoesOn)
        })
    })
}

/// Of keys whose value may be seen.
pub(crate) unsafe extern "C" fn digest_key(
    session: ck::CK_SESSION_HANDLE,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let key = library.id(key).map_err(no_key)?;
        proceed(&mut session.lock().digest, |digest| {
            let kinds = [ck::CKA_CLASS, ck::CKA_VALUE];
            let (values, _) = library.over(library.service.read(&ticket, &key, &kinds)).map_err(no_key)?;
            match (values.number(ck::CKA_CLASS), values.get(ck::CKA_VALUE)) {
                (Some(ck::CKO_SECRET_KEY), Some(value)) => digest.update(value),
                _ => return Err(ck::CKR_KEY_INDIGESTIBLE),
            }
            Ok(Progress::GoesOn)
        })
    })
}

pub(crate) unsafe extern "C" fn digest_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let (session, _) = library()?.session(session)?;
        proceed(&mut session.lock().digest, |digest| give(digest.clone(), Room::new(to, to_length)?))
    })
}

fn give(digest: aws_lc_rs::digest::Context, room: Room) -> raw::Return<Progress> {
    room.give(digest.finish().as_ref())?;
    Ok(if room.only_asks() { Progress::GoesOn } else { Progress::Over })
}

/// A seed adds to the system's randomness, and cannot take from it.
pub(crate) unsafe extern "C" fn seed_random(
    session: ck::CK_SESSION_HANDLE,
    seed: *mut u8,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        library()?.session(session)?;
        // SAFETY: the program's seed.
        let seed = unsafe { raw::bytes(seed, length) }?;
        std::fs::write("/dev/urandom", seed).map_err(|_| ck::CKR_RANDOM_SEED_NOT_SUPPORTED)
    })
}

pub(crate) unsafe extern "C" fn generate_random(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    length: ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        library()?.session(session)?;
        let length = usize::try_from(length).map_err(|_| ck::CKR_ARGUMENTS_BAD)?;
        if to.is_null() {
            return if length == 0 { Ok(()) } else { Err(ck::CKR_ARGUMENTS_BAD) };
        }
        // SAFETY: the program's room.
        kmsfs::crypto::random::fill(unsafe { std::slice::from_raw_parts_mut(to, length) });
        Ok(())
    })
}
