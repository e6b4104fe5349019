//! Big integers, unsigned and big-endian, as PKCS#11 has them.

#![expect(unsafe_code, reason = "see the module above")]

use super::{Refused, Result, made, owned};
use crate::crypto::SecretBytes;
use aws_lc_sys as c;

owned!(
    /// A big integer. It is wiped when it goes.
    Number,
    c::BIGNUM,
    c::BN_clear_free
);

impl Number {
    /// The number that these bytes are.
    pub(super) fn new(bytes: &[u8]) -> Result<Number> {
        // SAFETY: reads as many bytes as it is told; a null result asks for a new object.
        made(unsafe { c::BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) }).map(Number)
    }

    /// Gives the number away to an object that will free it.
    pub(super) fn give(self) -> *mut c::BIGNUM {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }
}

/// The bytes of a number that lives in another object, without leading zeros.
///
/// # Errors
/// There is none.
pub(super) fn bytes(number: *const c::BIGNUM) -> Result<SecretBytes> {
    if number.is_null() {
        return Err(Refused);
    }
    // SAFETY: the caller's object holds the number, and the room is as long as the number says.
    unsafe {
        let mut bytes = SecretBytes::zeroed(c::BN_num_bytes(number) as usize);
        let length = c::BN_bn2bin(number, bytes.expose_mut().as_mut_ptr());
        debug_assert_eq!(length, bytes.expose().len());
        Ok(bytes)
    }
}

/// The bytes of a number that lives in another object, with as many leading zeros as `length` takes.
pub(super) fn padded(number: *const c::BIGNUM, length: usize) -> Result<SecretBytes> {
    if number.is_null() {
        return Err(Refused);
    }
    let mut bytes = SecretBytes::zeroed(length);
    // SAFETY: as above.
    super::done(unsafe { c::BN_bn2bin_padded(bytes.expose_mut().as_mut_ptr(), length, number) })?;
    Ok(bytes)
}
