//! Which attributes an object has, of which form, and who may set them when: tables after chapter 4 of PKCS#11 3.0.

use super::code::{Code, Result};
use super::template::{Template, number};
use cryptoki_sys as ck;

/// What a key may be used for.
const USES: [u64; 5] = [ck::CKA_ENCRYPT, ck::CKA_DECRYPT, ck::CKA_SIGN, ck::CKA_VERIFY, ck::CKA_DERIVE];

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One byte, 0 or 1.
    Flag,
    /// `CK_ULONG`
    Number,
    /// Any bytes.
    Bytes,
}

/// Who sets an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// The caller, when the object is made.
    Once,
    /// The caller, also later.
    Later,
    /// The caller, also later, but only to this value.
    LaterTo(bool),
    /// The token alone.
    Token,
}

/// An attribute of a kind of object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) kind: u64,
    pub(super) form: Form,
    pub(super) set: Set,
    /// What it is if nobody says; `None`: it is not there then.
    default: Option<&'static [u8]>,
}

const NO: &[u8] = &[0];
const YES: &[u8] = &[1];
const EMPTY: &[u8] = &[];
/// `CK_UNAVAILABLE_INFORMATION`
const UNAVAILABLE: &[u8] = &[0xff; 8];

const fn flag(kind: u64, default: &'static [u8], set: Set) -> Rule {
    Rule { kind, form: Form::Flag, set, default: Some(default) }
}

const fn number_of(kind: u64, set: Set) -> Rule {
    Rule { kind, form: Form::Number, set, default: None }
}

const fn bytes(kind: u64, set: Set) -> Rule {
    Rule { kind, form: Form::Bytes, set, default: None }
}

const fn text(kind: u64, set: Set) -> Rule {
    Rule { kind, form: Form::Bytes, set, default: Some(EMPTY) }
}

const OBJECT: &[Rule] = &[
    number_of(ck::CKA_CLASS, Set::Once),
    flag(ck::CKA_TOKEN, NO, Set::Once),
    flag(ck::CKA_PRIVATE, NO, Set::Once),
    flag(ck::CKA_MODIFIABLE, YES, Set::Once),
    flag(ck::CKA_COPYABLE, YES, Set::LaterTo(false)),
    flag(ck::CKA_DESTROYABLE, YES, Set::Once),
    text(ck::CKA_LABEL, Set::Later),
    bytes(ck::CKA_UNIQUE_ID, Set::Token),
];

const KEY: &[Rule] = &[
    number_of(ck::CKA_KEY_TYPE, Set::Once),
    text(ck::CKA_ID, Set::Later),
    text(ck::CKA_START_DATE, Set::Later),
    text(ck::CKA_END_DATE, Set::Later),
    flag(ck::CKA_DERIVE, NO, Set::LaterTo(false)),
    flag(ck::CKA_LOCAL, NO, Set::Token),
    Rule { kind: ck::CKA_KEY_GEN_MECHANISM, form: Form::Number, set: Set::Token, default: Some(UNAVAILABLE) },
];

const PUBLIC_KEY: &[Rule] = &[
    text(ck::CKA_SUBJECT, Set::Later),
    flag(ck::CKA_ENCRYPT, YES, Set::LaterTo(false)),
    flag(ck::CKA_VERIFY, YES, Set::LaterTo(false)),
    flag(ck::CKA_VERIFY_RECOVER, NO, Set::LaterTo(false)),
    flag(ck::CKA_WRAP, NO, Set::LaterTo(false)),
    flag(ck::CKA_TRUSTED, NO, Set::Token),
];

/// Of private and secret keys.
const GUARDED_KEY: &[Rule] = &[
    flag(ck::CKA_SENSITIVE, YES, Set::LaterTo(true)),
    flag(ck::CKA_EXTRACTABLE, NO, Set::LaterTo(false)),
    flag(ck::CKA_ALWAYS_SENSITIVE, NO, Set::Token),
    flag(ck::CKA_NEVER_EXTRACTABLE, NO, Set::Token),
    flag(ck::CKA_WRAP_WITH_TRUSTED, NO, Set::LaterTo(true)),
    flag(ck::CKA_DECRYPT, YES, Set::LaterTo(false)),
    flag(ck::CKA_SIGN, YES, Set::LaterTo(false)),
    flag(ck::CKA_UNWRAP, NO, Set::LaterTo(false)),
];

const PRIVATE_KEY: &[Rule] = &[
    text(ck::CKA_SUBJECT, Set::Later),
    flag(ck::CKA_SIGN_RECOVER, NO, Set::LaterTo(false)),
    flag(ck::CKA_ALWAYS_AUTHENTICATE, NO, Set::Once),
    bytes(ck::CKA_PUBLIC_KEY_INFO, Set::Once),
];

const SECRET_KEY: &[Rule] = &[
    flag(ck::CKA_ENCRYPT, YES, Set::LaterTo(false)),
    flag(ck::CKA_VERIFY, YES, Set::LaterTo(false)),
    flag(ck::CKA_WRAP, NO, Set::LaterTo(false)),
    flag(ck::CKA_TRUSTED, NO, Set::Token),
    bytes(ck::CKA_VALUE, Set::Once),
    number_of(ck::CKA_VALUE_LEN, Set::Once),
    bytes(ck::CKA_CHECK_VALUE, Set::Once),
];

const RSA_PUBLIC: &[Rule] = &[
    bytes(ck::CKA_MODULUS, Set::Once),
    number_of(ck::CKA_MODULUS_BITS, Set::Once),
    bytes(ck::CKA_PUBLIC_EXPONENT, Set::Once),
];

const RSA_PRIVATE: &[Rule] = &[
    bytes(ck::CKA_MODULUS, Set::Once),
    bytes(ck::CKA_PUBLIC_EXPONENT, Set::Once),
    bytes(ck::CKA_PRIVATE_EXPONENT, Set::Once),
    bytes(ck::CKA_PRIME_1, Set::Once),
    bytes(ck::CKA_PRIME_2, Set::Once),
    bytes(ck::CKA_EXPONENT_1, Set::Once),
    bytes(ck::CKA_EXPONENT_2, Set::Once),
    bytes(ck::CKA_COEFFICIENT, Set::Once),
];

const EC_PUBLIC: &[Rule] = &[bytes(ck::CKA_EC_PARAMS, Set::Once), bytes(ck::CKA_EC_POINT, Set::Once)];
const EC_PRIVATE: &[Rule] = &[bytes(ck::CKA_EC_PARAMS, Set::Once), bytes(ck::CKA_VALUE, Set::Once)];

const DSA: &[Rule] = &[
    bytes(ck::CKA_PRIME, Set::Once),
    bytes(ck::CKA_SUBPRIME, Set::Once),
    bytes(ck::CKA_BASE, Set::Once),
    bytes(ck::CKA_VALUE, Set::Once),
];

const DH: &[Rule] = &[
    bytes(ck::CKA_PRIME, Set::Once),
    bytes(ck::CKA_BASE, Set::Once),
    bytes(ck::CKA_VALUE, Set::Once),
    number_of(ck::CKA_VALUE_BITS, Set::Once),
];

const ML_DSA_PUBLIC: &[Rule] =
    &[number_of(ck::CKA_PARAMETER_SET, Set::Once), bytes(ck::CKA_VALUE, Set::Once)];
const ML_DSA_PRIVATE: &[Rule] =
    &[number_of(ck::CKA_PARAMETER_SET, Set::Once), bytes(ck::CKA_SEED, Set::Once)];

const DATA: &[Rule] = &[
    text(ck::CKA_APPLICATION, Set::Later),
    text(ck::CKA_OBJECT_ID, Set::Later),
    Rule { kind: ck::CKA_VALUE, form: Form::Bytes, set: Set::Later, default: Some(EMPTY) },
];

const CERTIFICATE: &[Rule] = &[
    number_of(ck::CKA_CERTIFICATE_TYPE, Set::Once),
    flag(ck::CKA_TRUSTED, NO, Set::Token),
    number_of(ck::CKA_CERTIFICATE_CATEGORY, Set::Once),
    bytes(ck::CKA_CHECK_VALUE, Set::Once),
    text(ck::CKA_START_DATE, Set::Later),
    text(ck::CKA_END_DATE, Set::Later),
    bytes(ck::CKA_PUBLIC_KEY_INFO, Set::Once),
    text(ck::CKA_SUBJECT, Set::Once),
    text(ck::CKA_ID, Set::Later),
    text(ck::CKA_ISSUER, Set::Later),
    text(ck::CKA_SERIAL_NUMBER, Set::Later),
    text(ck::CKA_VALUE, Set::Once),
    text(ck::CKA_URL, Set::Once),
    bytes(ck::CKA_HASH_OF_SUBJECT_PUBLIC_KEY, Set::Once),
    bytes(ck::CKA_HASH_OF_ISSUER_PUBLIC_KEY, Set::Once),
    number_of(ck::CKA_NAME_HASH_ALGORITHM, Set::Once),
    number_of(ck::CKA_JAVA_MIDP_SECURITY_DOMAIN, Set::Once),
    text(ck::CKA_OWNER, Set::Once),
];

const PARAMETERS: &[Rule] = &[
    number_of(ck::CKA_KEY_TYPE, Set::Once),
    flag(ck::CKA_LOCAL, NO, Set::Token),
    bytes(ck::CKA_PRIME, Set::Once),
    bytes(ck::CKA_SUBPRIME, Set::Once),
    bytes(ck::CKA_BASE, Set::Once),
    number_of(ck::CKA_PRIME_BITS, Set::Once),
    number_of(ck::CKA_SUBPRIME_BITS, Set::Once),
];

/// The tables of a kind of object.
///
/// # Errors
/// There is no such kind here.
pub(super) fn rules(class: u64, key_type: Option<u64>) -> Result<Vec<&'static Rule>> {
    let no_type = || Code::ATTRIBUTE_VALUE_INVALID.because("Keys of this type are not supported.");
    let of_key = |public: bool| -> Result<&'static [Rule]> {
        let missing = || Code::TEMPLATE_INCOMPLETE.because("A key has a type.");
        match (key_type.ok_or_else(missing)?, public) {
            (ck::CKK_RSA, true) => Ok(RSA_PUBLIC),
            (ck::CKK_RSA, false) => Ok(RSA_PRIVATE),
            (ck::CKK_EC | ck::CKK_EC_EDWARDS | ck::CKK_EC_MONTGOMERY, true) => Ok(EC_PUBLIC),
            (ck::CKK_EC | ck::CKK_EC_EDWARDS | ck::CKK_EC_MONTGOMERY, false) => Ok(EC_PRIVATE),
            (ck::CKK_ML_DSA, true) => Ok(ML_DSA_PUBLIC),
            (ck::CKK_ML_DSA, false) => Ok(ML_DSA_PRIVATE),
            (ck::CKK_DSA, _) => Ok(DSA),
            (ck::CKK_DH, _) => Ok(DH),
            _ => Err(no_type()),
        }
    };
    let tables: &[&[Rule]] = match class {
        ck::CKO_PUBLIC_KEY => &[OBJECT, KEY, PUBLIC_KEY, of_key(true)?],
        ck::CKO_PRIVATE_KEY => &[OBJECT, KEY, GUARDED_KEY, PRIVATE_KEY, of_key(false)?],
        ck::CKO_SECRET_KEY => match key_type {
            Some(kind) if is_secret_type(kind) => &[OBJECT, KEY, GUARDED_KEY, SECRET_KEY],
            Some(_) => return Err(no_type()),
            None => return Err(Code::TEMPLATE_INCOMPLETE.because("A key has a type.")),
        },
        ck::CKO_DATA => &[OBJECT, DATA],
        ck::CKO_CERTIFICATE => &[OBJECT, CERTIFICATE],
        ck::CKO_DOMAIN_PARAMETERS => &[OBJECT, PARAMETERS],
        _ => return Err(Code::ATTRIBUTE_VALUE_INVALID.because("Objects of this class are not supported.")),
    };
    Ok(tables.iter().copied().flatten().collect())
}

/// Whether secret keys of this type are known.
pub(super) fn is_secret_type(key_type: u64) -> bool {
    matches!(
        key_type,
        ck::CKK_AES
            | ck::CKK_GENERIC_SECRET
            | ck::CKK_DES2
            | ck::CKK_DES3
            | ck::CKK_SHA_1_HMAC
            | ck::CKK_SHA224_HMAC
            | ck::CKK_SHA256_HMAC
            | ck::CKK_SHA384_HMAC
            | ck::CKK_SHA512_HMAC
    )
}

/// Whether an attribute is secret in objects of a class: it is kept in locked memory, and shown only where the key is
/// neither sensitive nor unextractable.
pub(super) fn is_secret(class: u64, kind: u64) -> bool {
    match class {
        ck::CKO_SECRET_KEY => kind == ck::CKA_VALUE,
        ck::CKO_PRIVATE_KEY => matches!(
            kind,
            ck::CKA_VALUE
                | ck::CKA_SEED
                | ck::CKA_PRIVATE_EXPONENT
                | ck::CKA_PRIME_1
                | ck::CKA_PRIME_2
                | ck::CKA_EXPONENT_1
                | ck::CKA_EXPONENT_2
                | ck::CKA_COEFFICIENT
        ),
        _ => false,
    }
}

/// Checks what a caller wants an object to be, and fills in what the caller leaves open.
///
/// # Errors
/// Attributes that are not of the kind of object, not the caller's, or malformed.
pub(super) fn complete(template: &mut Template, class: u64) -> Result<()> {
    let rules = rules(class, template.number(ck::CKA_KEY_TYPE))?;
    for (kind, value) in template.iter() {
        let rule = of(&rules, kind)?;
        // Who copies all attributes of a key from elsewhere names what a token would set: that which is so anyway.
        if rule.set == Set::Token && rule.default != Some(value) {
            return Err(read_only(kind));
        }
        check(rule, value)?;
    }
    let is_guarded = matches!(class, ck::CKO_PRIVATE_KEY | ck::CKO_SECRET_KEY);
    if is_guarded && template.get(ck::CKA_PRIVATE).is_none() {
        template.set_flag(ck::CKA_PRIVATE, true);
    }
    if template.flag(ck::CKA_ALWAYS_AUTHENTICATE) && !template.flag(ck::CKA_PRIVATE) {
        let why = "A key that wants the PIN at every use is private.";
        return Err(Code::TEMPLATE_INCONSISTENT.because(why));
    }
    // Whoever may decrypt with a key that wraps others can decrypt those (Clulow, 2003): not unless both are asked for.
    let wraps = template.flag(ck::CKA_WRAP) || template.flag(ck::CKA_UNWRAP);
    let default = |rule: &Rule| if wraps && USES.contains(&rule.kind) { Some(NO) } else { rule.default };
    let defaults = rules.iter().filter_map(|rule| Some((rule.kind, default(rule)?)));
    template.fill_from(defaults.collect());
    Ok(())
}

/// Checks a change of one attribute from what it is.
///
/// # Errors
/// It is not for callers to change, or not so.
pub(super) fn check_change(
    rules: &[&'static Rule],
    kind: u64,
    before: Option<&[u8]>,
    value: &[u8],
) -> Result<()> {
    let rule = of(rules, kind)?;
    check(rule, value)?;
    let may = match rule.set {
        _ if before == Some(value) => true,
        Set::Later => true,
        Set::LaterTo(to) => value == [u8::from(to)],
        Set::Once | Set::Token => false,
    };
    if may { Ok(()) } else { Err(read_only(kind)) }
}

fn of(rules: &[&'static Rule], kind: u64) -> Result<&'static Rule> {
    let found = rules.iter().copied().find(|rule| rule.kind == kind);
    let unknown =
        || Code::ATTRIBUTE_TYPE_INVALID.because(format!("Such an object has no attribute {kind:#x}."));
    found.ok_or_else(unknown)
}

fn check(rule: &Rule, value: &[u8]) -> Result<()> {
    let good = match rule.form {
        Form::Flag => matches!(value, [0 | 1]),
        Form::Number => number(value).is_some(),
        Form::Bytes => true,
    };
    let bad =
        || Code::ATTRIBUTE_VALUE_INVALID.because(format!("The attribute {:#x} cannot be that.", rule.kind));
    if good { Ok(()) } else { Err(bad()) }
}

fn read_only(kind: u64) -> super::code::Error {
    Code::ATTRIBUTE_READ_ONLY.because(format!("The attribute {kind:#x} cannot be set so."))
}
