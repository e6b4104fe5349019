//! C's pointers and lengths: reading what a program passes, writing where it says.
//!
//! Everything here trusts the program that pointers are what the standard says, as every PKCS#11 library must, and
//! checks what can be checked: null pointers, and room.

#![expect(unsafe_code, reason = "the boundary to C")]

use cryptoki_sys as ck;
use kmsfs::kms::token::Template;
use std::panic::{AssertUnwindSafe, catch_unwind};
use zeroize::Zeroizing;

/// The result of a step: `Err` is the code that the program gets.
pub(crate) type Return<T> = Result<T, ck::CK_RV>;

/// Runs a function of the standard. A panic must not unwind into C.
pub(crate) fn guarded(work: impl FnOnce() -> Return<()>) -> ck::CK_RV {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => ck::CKR_OK,
        Ok(Err(code)) => code,
        Err(_) => ck::CKR_GENERAL_ERROR,
    }
}

/// The `length` bytes at `at`.
///
/// # Safety
/// They are readable, and nobody writes them meanwhile.
pub(crate) unsafe fn bytes<'a>(at: *const u8, length: ck::CK_ULONG) -> Return<&'a [u8]> {
    // SAFETY: the caller's.
    unsafe { slice(at, length) }
}

/// # Safety
/// There are `length` of them at `at`.
unsafe fn slice<'a, T>(at: *const T, length: ck::CK_ULONG) -> Return<&'a [T]> {
    // No more than memory can hold: CK_UNAVAILABLE_INFORMATION is no length.
    let most = isize::MAX as usize / size_of::<T>();
    let length =
        usize::try_from(length).ok().filter(|length| *length <= most).ok_or(ck::CKR_ARGUMENTS_BAD)?;
    match (at.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(ck::CKR_ARGUMENTS_BAD),
        // SAFETY: the caller's.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(at, length) }),
    }
}

/// A copy of the `length` bytes at `at`, for functions whose answer may go to the same place.
///
/// # Safety
/// As of [`bytes`].
pub(crate) unsafe fn copy(at: *const u8, length: ck::CK_ULONG) -> Return<Zeroizing<Vec<u8>>> {
    // SAFETY: the caller's.
    unsafe { bytes(at, length) }.map(|bytes| Zeroizing::new(bytes.to_vec()))
}

/// Refuses null where something is to be written later.
///
/// # Errors
/// `CKR_ARGUMENTS_BAD`
pub(crate) fn check_room<T>(to: *mut T) -> Return<()> {
    if to.is_null() { Err(ck::CKR_ARGUMENTS_BAD) } else { Ok(()) }
}

/// What `at` points to.
///
/// # Safety
/// It is null, or points to a `T` that nobody writes meanwhile.
pub(crate) unsafe fn read<'a, T>(at: *const T) -> Return<&'a T> {
    // SAFETY: the caller's.
    unsafe { at.as_ref() }.ok_or(ck::CKR_ARGUMENTS_BAD)
}

/// Writes a `T` to where the program wants it.
///
/// # Safety
/// `to` is null, or points to room for one.
pub(crate) unsafe fn write<T>(to: *mut T, value: T) -> Return<()> {
    if to.is_null() {
        return Err(ck::CKR_ARGUMENTS_BAD);
    }
    // SAFETY: the caller's.
    unsafe { to.write(value) };
    Ok(())
}

/// Room for an answer of variable length (PKCS#11, section 5.2): null asks for the length alone.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    to: *mut u8,
    length: *mut ck::CK_ULONG,
}

impl Room {
    /// Room at `to`; `length` says how much, and is told how much was needed.
    ///
    /// # Errors
    /// There is nowhere to tell a length.
    pub(crate) fn new(to: *mut u8, length: *mut ck::CK_ULONG) -> Return<Room> {
        match length.is_null() {
            true => Err(ck::CKR_ARGUMENTS_BAD),
            false => Ok(Room { to, length }),
        }
    }

    /// Whether only the length is asked for.
    pub(crate) fn only_asks(&self) -> bool {
        self.to.is_null()
    }

    /// How many bytes fit.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: not null, and the program's to point to its length.
        let size = unsafe { self.length.read() };
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    /// Tells the length.
    pub(crate) fn tell(&self, length: usize) {
        // SAFETY: as above.
        unsafe { self.length.write(length as ck::CK_ULONG) };
    }

    /// Gives an answer, or says that it does not fit.
    ///
    /// # Errors
    /// `CKR_BUFFER_TOO_SMALL`
    pub(crate) fn give(&self, answer: &[u8]) -> Return<()> {
        let size = self.size();
        self.tell(answer.len());
        if self.only_asks() {
            return Ok(());
        }
        if size < answer.len() {
            return Err(ck::CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: the program says that there is room for `size` bytes.
        unsafe { std::ptr::copy_nonoverlapping(answer.as_ptr(), self.to, answer.len()) };
        Ok(())
    }
}

/// The attributes that a program passes.
///
/// # Safety
/// There are `count` of them at `at`, whose values are readable.
pub(crate) unsafe fn template(at: *const ck::CK_ATTRIBUTE, count: ck::CK_ULONG) -> Return<Template> {
    let mut template = Template::default();
    // SAFETY: the caller's.
    for attribute in unsafe { attributes(at, count) }? {
        // SAFETY: the caller's.
        let value = unsafe { bytes(attribute.pValue.cast(), attribute.ulValueLen) };
        let value = value.map_err(|_| ck::CKR_ATTRIBUTE_VALUE_INVALID)?;
        if template.get(attribute.type_).is_some() {
            return Err(ck::CKR_TEMPLATE_INCONSISTENT);
        }
        template.set(attribute.type_, value);
    }
    Ok(template)
}

/// As [`template`], as they are.
///
/// # Safety
/// There are `count` of them at `at`.
pub(crate) unsafe fn attributes<'a>(
    at: *const ck::CK_ATTRIBUTE,
    count: ck::CK_ULONG,
) -> Return<&'a [ck::CK_ATTRIBUTE]> {
    // SAFETY: the caller's.
    unsafe { slice(at, count) }
}

/// A text in one of the standard's fields: padded with blanks, never ended.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let length = text.len().min(N);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

/// Gives a list: null asks for its length alone.
///
/// # Errors
/// `CKR_BUFFER_TOO_SMALL`
///
/// # Safety
/// `to` is null, or has room for as many as `count` says.
pub(crate) unsafe fn write_all<T: Copy>(to: *mut T, count: *mut ck::CK_ULONG, list: &[T]) -> Return<()> {
    // SAFETY: the caller's.
    let room = *unsafe { read(count) }?;
    // SAFETY: as above.
    unsafe { count.write(list.len() as ck::CK_ULONG) };
    if to.is_null() {
        return Ok(());
    }
    if room < list.len() as ck::CK_ULONG {
        return Err(ck::CKR_BUFFER_TOO_SMALL);
    }
    // SAFETY: there is room.
    unsafe { std::ptr::copy_nonoverlapping(list.as_ptr(), to, list.len()) };
    Ok(())
}
