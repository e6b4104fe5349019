//! The tables that programs get PKCS#11's functions by: that of 2.40, and that of 3.0, which goes on where the other ends.

use crate::entry::unsupported::{no_1, no_3, no_4, no_5, no_7, no_8, no_9};
use crate::entry::{crypt, general, keys, objects, sessions, signing, slots, unsupported};
use cryptoki_sys as ck;

/// A table of this type and version, with the functions of 2.40 and `more`.
macro_rules! table {
    ($type:ident, $minor:literal of $major:literal, $info:path $(, $more:ident: $function:path)*) => {
        ck::$type {
            version: ck::CK_VERSION { major: $major, minor: $minor },
            C_Initialize: Some(general::initialize),
            C_Finalize: Some(general::finalize),
            C_GetInfo: Some($info),
            C_GetFunctionList: Some(general::C_GetFunctionList),
            C_GetSlotList: Some(slots::get_slot_list),
            C_GetSlotInfo: Some(slots::get_slot_info),
            C_GetTokenInfo: Some(slots::get_token_info),
            C_GetMechanismList: Some(slots::get_mechanism_list),
            C_GetMechanismInfo: Some(slots::get_mechanism_info),
            C_InitToken: Some(no_4),
            C_InitPIN: Some(no_3),
            C_SetPIN: Some(sessions::set_pin),
            C_OpenSession: Some(sessions::open_session),
            C_CloseSession: Some(sessions::close_session),
            C_CloseAllSessions: Some(sessions::close_all_sessions),
            C_GetSessionInfo: Some(sessions::get_session_info),
            C_GetOperationState: Some(no_3),
            C_SetOperationState: Some(no_5),
            C_Login: Some(sessions::login),
            C_Logout: Some(sessions::logout),
            C_CreateObject: Some(objects::create_object),
            C_CopyObject: Some(objects::copy_object),
            C_DestroyObject: Some(objects::destroy_object),
            C_GetObjectSize: Some(objects::get_object_size),
            C_GetAttributeValue: Some(objects::get_attribute_value),
            C_SetAttributeValue: Some(objects::set_attribute_value),
            C_FindObjectsInit: Some(objects::find_objects_init),
            C_FindObjects: Some(objects::find_objects),
            C_FindObjectsFinal: Some(objects::find_objects_final),
            C_EncryptInit: Some(crypt::encrypt_init),
            C_Encrypt: Some(crypt::encrypt),
            C_EncryptUpdate: Some(crypt::encrypt_update),
            C_EncryptFinal: Some(crypt::encrypt_final),
            C_DecryptInit: Some(crypt::decrypt_init),
            C_Decrypt: Some(crypt::decrypt),
            C_DecryptUpdate: Some(crypt::decrypt_update),
            C_DecryptFinal: Some(crypt::decrypt_final),
            C_DigestInit: Some(crypt::digest_init),
            C_Digest: Some(crypt::digest),
            C_DigestUpdate: Some(crypt::digest_update),
            C_DigestKey: Some(crypt::digest_key),
            C_DigestFinal: Some(crypt::digest_final),
            C_SignInit: Some(signing::sign_init),
            C_Sign: Some(signing::sign),
            C_SignUpdate: Some(signing::sign_update),
            C_SignFinal: Some(signing::sign_final),
            C_SignRecoverInit: Some(no_3),
            C_SignRecover: Some(no_5),
            C_VerifyInit: Some(signing::verify_init),
            C_Verify: Some(signing::verify),
            C_VerifyUpdate: Some(signing::verify_update),
            C_VerifyFinal: Some(signing::verify_final),
            C_VerifyRecoverInit: Some(no_3),
            C_VerifyRecover: Some(no_5),
            C_DigestEncryptUpdate: Some(no_5),
            C_DecryptDigestUpdate: Some(no_5),
            C_SignEncryptUpdate: Some(no_5),
            C_DecryptVerifyUpdate: Some(no_5),
            C_GenerateKey: Some(keys::generate_key),
            C_GenerateKeyPair: Some(keys::generate_key_pair),
            C_WrapKey: Some(keys::wrap_key),
            C_UnwrapKey: Some(keys::unwrap_key),
            C_DeriveKey: Some(keys::derive_key),
            C_SeedRandom: Some(crypt::seed_random),
            C_GenerateRandom: Some(crypt::generate_random),
            C_GetFunctionStatus: Some(unsupported::not_parallel),
            C_CancelFunction: Some(unsupported::not_parallel),
            C_WaitForSlotEvent: Some(slots::wait_for_slot_event),
            $($more: Some($function),)*
        }
    };
}

/// The functions of PKCS#11 2.40.
pub(crate) static V2_40: ck::CK_FUNCTION_LIST = table!(CK_FUNCTION_LIST, 40 of 2, general::get_info);

/// The functions of PKCS#11 3.0.
static V3_0: ck::CK_FUNCTION_LIST_3_0 = table!(
    CK_FUNCTION_LIST_3_0,
    0 of 3,
    general::get_info_3_0,
    C_GetInterfaceList: general::C_GetInterfaceList,
    C_GetInterface: general::C_GetInterface,
    C_LoginUser: sessions::login_user,
    C_SessionCancel: sessions::session_cancel,
    C_MessageEncryptInit: no_3,
    C_EncryptMessage: no_9,
    C_EncryptMessageBegin: no_5,
    C_EncryptMessageNext: no_8,
    C_MessageEncryptFinal: no_1,
    C_MessageDecryptInit: no_3,
    C_DecryptMessage: no_9,
    C_DecryptMessageBegin: no_5,
    C_DecryptMessageNext: no_8,
    C_MessageDecryptFinal: no_1,
    C_MessageSignInit: no_3,
    C_SignMessage: no_7,
    C_SignMessageBegin: no_3,
    C_SignMessageNext: no_7,
    C_MessageSignFinal: no_1,
    C_MessageVerifyInit: no_3,
    C_VerifyMessage: no_7,
    C_VerifyMessageBegin: no_3,
    C_VerifyMessageNext: no_7,
    C_MessageVerifyFinal: no_1
);

/// An interface, which is only read.
struct Interface(ck::CK_INTERFACE);

#[expect(unsafe_code, reason = "pointers to what never changes")]
// SAFETY: name and table are constants.
unsafe impl Sync for Interface {}

const NAME: *mut ck::CK_UTF8CHAR = c"PKCS 11".as_ptr().cast_mut().cast();

static INTERFACE_2_40: Interface = Interface(ck::CK_INTERFACE {
    pInterfaceName: NAME,
    pFunctionList: (&raw const V2_40).cast_mut().cast(),
    flags: 0,
});

static INTERFACE_3_0: Interface = Interface(ck::CK_INTERFACE {
    pInterfaceName: NAME,
    pFunctionList: (&raw const V3_0).cast_mut().cast(),
    flags: 0,
});

/// The interface of PKCS#11 3.0.
pub(crate) fn interface_3_0() -> &'static ck::CK_INTERFACE {
    &INTERFACE_3_0.0
}

/// That of 2.40.
pub(crate) fn interface_2_40() -> &'static ck::CK_INTERFACE {
    &INTERFACE_2_40.0
}

/// Both, the default one first.
pub(crate) fn interfaces() -> [ck::CK_INTERFACE; 2] {
    [INTERFACE_3_0.0, INTERFACE_2_40.0]
}
