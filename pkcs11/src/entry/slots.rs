//! The slot, and the token in it.

use super::general::{MANUFACTURER, version};
use crate::library::{SLOT, library};
use crate::raw::{self, Return, guarded, padded};
use cryptoki_sys as ck;
use kmsfs::kms::token::PIN_LENGTHS;
use kmsfs::kms::token::mechanism::{self, MECHANISMS};
use std::ffi::c_void;

pub(super) fn check_slot(slot: ck::CK_SLOT_ID) -> Return<()> {
    if slot == SLOT { Ok(()) } else { Err(ck::CKR_SLOT_ID_INVALID) }
}

pub(crate) unsafe extern "C" fn get_slot_list(
    only_with_token: ck::CK_BBOOL,
    to: *mut ck::CK_SLOT_ID,
    count: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        let is_there = only_with_token == ck::CK_FALSE || library.describe().is_ok();
        let slots: &[ck::CK_SLOT_ID] = if is_there { &[SLOT] } else { &[] };
        // SAFETY: the program's room.
        unsafe { raw::write_all(to, count, slots) }
    })
}

pub(crate) unsafe extern "C" fn get_slot_info(slot: ck::CK_SLOT_ID, to: *mut ck::CK_SLOT_INFO) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        check_slot(slot)?;
        let present = if library.describe().is_ok() { ck::CKF_TOKEN_PRESENT } else { 0 };
        let info = ck::CK_SLOT_INFO {
            slotDescription: padded("kmsfs KMS service"),
            manufacturerID: padded(MANUFACTURER),
            flags: ck::CKF_REMOVABLE_DEVICE | present,
            hardwareVersion: ck::CK_VERSION { major: 0, minor: 0 },
            firmwareVersion: version(),
        };
        // SAFETY: the program's room.
        unsafe { raw::write(to, info) }
    })
}

pub(crate) unsafe extern "C" fn get_token_info(
    slot: ck::CK_SLOT_ID,
    to: *mut ck::CK_TOKEN_INFO,
) -> ck::CK_RV {
    guarded(|| {
        let library = library()?;
        check_slot(slot)?;
        let token = library.describe()?;
        let mut flags = ck::CKF_RNG | ck::CKF_LOGIN_REQUIRED | ck::CKF_TOKEN_INITIALIZED;
        for (is_so, flag) in [
            (token.has_pin, ck::CKF_USER_PIN_INITIALIZED),
            (token.wrong_pins, ck::CKF_USER_PIN_COUNT_LOW),
            (token.pin_locked, ck::CKF_USER_PIN_LOCKED),
        ] {
            flags |= if is_so { flag } else { 0 };
        }
        let (sessions, writing) = library.count();
        let unknown = ck::CK_UNAVAILABLE_INFORMATION;
        let info = ck::CK_TOKEN_INFO {
            label: padded("kmsfs"),
            manufacturerID: padded(MANUFACTURER),
            model: padded("kmsfs"),
            serialNumber: padded(&token.serial),
            flags,
            ulMaxSessionCount: ck::CK_EFFECTIVELY_INFINITE,
            ulSessionCount: sessions,
            ulMaxRwSessionCount: ck::CK_EFFECTIVELY_INFINITE,
            ulRwSessionCount: writing,
            ulMaxPinLen: *PIN_LENGTHS.end() as ck::CK_ULONG,
            ulMinPinLen: *PIN_LENGTHS.start() as ck::CK_ULONG,
            ulTotalPublicMemory: unknown,
            ulFreePublicMemory: unknown,
            ulTotalPrivateMemory: unknown,
            ulFreePrivateMemory: unknown,
            hardwareVersion: ck::CK_VERSION { major: 0, minor: 0 },
            firmwareVersion: version(),
            utcTime: [0; 16],
        };
        // SAFETY: the program's room.
        unsafe { raw::write(to, info) }
    })
}

pub(crate) unsafe extern "C" fn get_mechanism_list(
    slot: ck::CK_SLOT_ID,
    to: *mut ck::CK_MECHANISM_TYPE,
    count: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        library()?;
        check_slot(slot)?;
        let all: Vec<ck::CK_MECHANISM_TYPE> = MECHANISMS.iter().map(|mechanism| mechanism.number).collect();
        // SAFETY: the program's room.
        unsafe { raw::write_all(to, count, &all) }
    })
}

pub(crate) unsafe extern "C" fn get_mechanism_info(
    slot: ck::CK_SLOT_ID,
    mechanism: ck::CK_MECHANISM_TYPE,
    to: *mut ck::CK_MECHANISM_INFO,
) -> ck::CK_RV {
    guarded(|| {
        library()?;
        check_slot(slot)?;
        let found = mechanism::find(mechanism).ok_or(ck::CKR_MECHANISM_INVALID)?;
        let info = ck::CK_MECHANISM_INFO {
            ulMinKeySize: found.sizes.0,
            ulMaxKeySize: found.sizes.1,
            flags: found.flags,
        };
        // SAFETY: the program's room.
        unsafe { raw::write(to, info) }
    })
}

/// Nothing is told of a token that comes or goes: programs ask.
pub(crate) unsafe extern "C" fn wait_for_slot_event(
    flags: ck::CK_FLAGS,
    _slot: *mut ck::CK_SLOT_ID,
    _reserved: *mut c_void,
) -> ck::CK_RV {
    guarded(|| {
        library()?;
        match flags & ck::CKF_DONT_BLOCK {
            0 => Err(ck::CKR_FUNCTION_NOT_SUPPORTED),
            _ => Err(ck::CKR_NO_EVENT),
        }
    })
}
