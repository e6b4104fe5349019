//! Encryption, decryption, digests, random numbers.

use crate::cipher::{Cipher, Way};
use crate::library::{library, no_key};
use crate::parameter;
use crate::raw::{self, Room, guarded};
use crate::session::{Progress, Session, begin, proceed};
use crate::signing::context;
use cryptoki_sys as ck;
use kmsfs::kms::token::mechanism::How;

/// Where a session has what goes on.
type Slot = fn(&mut Session) -> &mut Option<Cipher>;

const ENCRYPT: Slot = |session| &mut session.encrypt;
const DECRYPT: Slot = |session| &mut session.decrypt;

/// # Safety
/// As of the standard's functions.
unsafe fn init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
    (slot, way): (Slot, Way),
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let mut session = session.lock();
        // PKCS#11 3.0: no mechanism ends what goes on.
        if mechanism.is_null() {
            return slot(&mut session).take().map(drop).ok_or(ck::CKR_OPERATION_NOT_INITIALIZED);
        }
        begin(slot(&mut session), || {
            let key = library.id(key).map_err(no_key)?;
            // SAFETY: the program's mechanism.
            let mechanism = unsafe { parameter::mechanism(mechanism) }?;
            Cipher::new(key, &library.facts(&ticket, &key)?, mechanism, way)
        })
    })
}

/// # Safety
/// As of the standard's functions.
unsafe fn step(
    session: ck::CK_SESSION_HANDLE,
    slot: Slot,
    to: (*mut u8, *mut ck::CK_ULONG),
    step: impl FnOnce(&mut Cipher, &crate::library::Library, &crate::service::Id, Room) -> raw::Return<Progress>,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let (session, ticket) = library.session(session)?;
        let mut session = session.lock();
        let room = Room::new(to.0, to.1);
        proceed(slot(&mut session), |cipher| step(cipher, &library, &ticket, room?))
    })
}

pub(crate) unsafe extern "C" fn encrypt_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, (ENCRYPT, Way::Encrypt)) }
}

pub(crate) unsafe extern "C" fn decrypt_init(
    session: ck::CK_SESSION_HANDLE,
    mechanism: *mut ck::CK_MECHANISM,
    key: ck::CK_OBJECT_HANDLE,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe { init(session, mechanism, key, (DECRYPT, Way::Decrypt)) }
}

pub(crate) unsafe extern "C" fn encrypt(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, ENCRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.whole(library, ticket, &raw::copy(data, length)?, room)
        })
    }
}

pub(crate) unsafe extern "C" fn decrypt(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, DECRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.whole(library, ticket, &raw::copy(data, length)?, room)
        })
    }
}

pub(crate) unsafe extern "C" fn encrypt_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, ENCRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.update(library, ticket, &raw::copy(data, length)?, room)
        })
    }
}

pub(crate) unsafe extern "C" fn decrypt_update(
    session: ck::CK_SESSION_HANDLE,
    data: *mut u8,
    length: ck::CK_ULONG,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, DECRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.update(library, ticket, &raw::copy(data, length)?, room)
        })
    }
}

pub(crate) unsafe extern "C" fn encrypt_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, ENCRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.finish(library, ticket, room)
        })
    }
}

pub(crate) unsafe extern "C" fn decrypt_final(
    session: ck::CK_SESSION_HANDLE,
    to: *mut u8,
    to_length: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    // SAFETY: as of the standard.
    unsafe {
        step(session, DECRYPT, (to, to_length), |cipher, library, ticket, room| {
            cipher.finish(library, ticket, room)
        })
    }
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
