//! PKCS#11's functions, a file per chapter of the standard. Each checks what C passes and hands it on.

#![expect(
    unsafe_code,
    reason = "the boundary to C: every pointer is the program's, as the standard says it must be"
)]

pub(crate) mod crypt;
pub(crate) mod general;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod sessions;
pub(crate) mod signing;
pub(crate) mod slots;
pub(crate) mod unsupported;
