//! General purpose: beginning, ending, what the library is.

use crate::functions;
use crate::library;
use crate::raw::{self, guarded, padded};
use cryptoki_sys as ck;
use std::ffi::{CStr, c_void};

/// Who makes it.
pub(super) const MANUFACTURER: &str = "kmsfs";

/// The versions of the interfaces.
const V2_40: ck::CK_VERSION = ck::CK_VERSION { major: 2, minor: 40 };
const V3_0: ck::CK_VERSION = ck::CK_VERSION { major: 3, minor: 0 };

/// That of this library.
pub(super) fn version() -> ck::CK_VERSION {
    let part = |text: &str| text.parse().unwrap_or_default();
    ck::CK_VERSION {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
    }
}

pub(crate) unsafe extern "C" fn initialize(arguments: *mut c_void) -> ck::CK_RV {
    guarded(|| {
        // SAFETY: null, or the program's structure.
        if let Some(arguments) = unsafe { arguments.cast::<ck::CK_C_INITIALIZE_ARGS>().as_ref() } {
            let mutexes = [
                arguments.CreateMutex.is_some(),
                arguments.DestroyMutex.is_some(),
                arguments.LockMutex.is_some(),
                arguments.UnlockMutex.is_some(),
            ];
            let some = mutexes.contains(&true);
            if !arguments.pReserved.is_null() || (some && mutexes.contains(&false)) {
                return Err(ck::CKR_ARGUMENTS_BAD);
            }
            // Locks of the program's own are not used, so those of the system must do.
            if some && arguments.flags & ck::CKF_OS_LOCKING_OK == 0 {
                return Err(ck::CKR_CANT_LOCK);
            }
        }
        library::initialize()
    })
}

pub(crate) unsafe extern "C" fn finalize(reserved: *mut c_void) -> ck::CK_RV {
    guarded(|| if reserved.is_null() { library::finalize() } else { Err(ck::CKR_ARGUMENTS_BAD) })
}

/// Of the first interface, or the second: programs take the older number for the older one.
unsafe fn info(to: *mut ck::CK_INFO, of: ck::CK_VERSION) -> ck::CK_RV {
    guarded(|| {
        library::library()?;
        let info = ck::CK_INFO {
            cryptokiVersion: of,
            manufacturerID: padded(MANUFACTURER),
            flags: 0,
            libraryDescription: padded("kmsfs KMS service"),
            libraryVersion: version(),
        };
        // SAFETY: the program's room.
        unsafe { raw::write(to, info) }
    })
}

pub(crate) unsafe extern "C" fn get_info(to: *mut ck::CK_INFO) -> ck::CK_RV {
    // SAFETY: the program's room.
    unsafe { info(to, V2_40) }
}

pub(crate) unsafe extern "C" fn get_info_3_0(to: *mut ck::CK_INFO) -> ck::CK_RV {
    // SAFETY: the program's room.
    unsafe { info(to, V3_0) }
}

/// C_GetFunctionList: what every program looks for in the library.
///
/// # Safety
/// `to` is null, or room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(to: *mut *mut ck::CK_FUNCTION_LIST) -> ck::CK_RV {
    // SAFETY: the program's room. The table is only read.
    guarded(|| unsafe { raw::write(to, (&raw const functions::V2_40).cast_mut()) })
}

/// C_GetInterfaceList: what programs of PKCS#11 3.0 look for.
///
/// # Safety
/// `to` is null, or room for as many interfaces as `count` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(
    to: *mut ck::CK_INTERFACE,
    count: *mut ck::CK_ULONG,
) -> ck::CK_RV {
    guarded(|| {
        let interfaces = functions::interfaces();
        // SAFETY: the program's room.
        unsafe { raw::write_all(to, count, &interfaces) }
    })
}

/// C_GetInterface: one of them, by name and version.
///
/// # Safety
/// `name` is null or ends with a zero; `version` is null or one; `to` is null or room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut ck::CK_UTF8CHAR,
    version: *mut ck::CK_VERSION,
    to: *mut *mut ck::CK_INTERFACE,
    flags: ck::CK_FLAGS,
) -> ck::CK_RV {
    guarded(|| {
        // SAFETY: the program's.
        let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name.cast()) });
        // SAFETY: the program's.
        let version = unsafe { version.as_ref() };
        let of =
            |known: &ck::CK_VERSION| version.is_none_or(|v| (v.major, v.minor) == (known.major, known.minor));
        // Children of a fork must begin anew: no interface is safe for that.
        if name.is_some_and(|name| name != c"PKCS 11") || flags & !ck::CKF_INTERFACE_FORK_SAFE != 0 {
            return Err(ck::CKR_FUNCTION_FAILED);
        }
        let found = match (of(&V3_0), of(&V2_40)) {
            (true, _) => functions::interface_3_0(),
            (_, true) => functions::interface_2_40(),
            _ => return Err(ck::CKR_FUNCTION_FAILED),
        };
        // SAFETY: the program's room. The interface is only read.
        unsafe { raw::write(to, std::ptr::from_ref(found).cast_mut()) }
    })
}
