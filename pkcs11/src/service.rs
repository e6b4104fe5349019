//! The service's operations on the token, and its errors as return codes.

use crate::raw::Return;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys as ck;
use kmsfs::fuse::control::{SYSTEM_DIR, make_runtime_directory};
use kmsfs::keys::{Caller, Error, ErrorKind, Place};
use kmsfs::kms::token::{Code, Function, Template};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where the service's socket is, if not in its usual place.
const SOCKET: &str = "KMSFS_PKCS11_SOCKET";
/// Whether to tell why calls fail.
const DEBUG: &str = "KMSFS_PKCS11_DEBUG";

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long making a key may take: primes are looked for until two are found.
const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// An object's or ticket's id.
pub(crate) type Id = [u8; 16];

/// The service.
pub(crate) struct Service {
    caller: Caller,
    tells: bool,
}

/// What an answer may hold. Bytes are base64.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    ticket: String,
    object: String,
    objects: String,
    template: Zeroizing<String>,
    codes: Vec<String>,
    result: Zeroizing<String>,
    serial: String,
    has_pin: bool,
    wrong_pins: bool,
    pin_locked: bool,
}

/// What the token tells of itself.
pub(crate) struct Info {
    pub(crate) serial: String,
    pub(crate) has_pin: bool,
    pub(crate) wrong_pins: bool,
    pub(crate) pin_locked: bool,
}

/// What to do with which key.
pub(crate) struct Use<'a> {
    pub(crate) key: &'a Id,
    pub(crate) function: Function,
    pub(crate) mechanism: u64,
    pub(crate) parameter: &'a Template,
    pub(crate) message: &'a [u8],
    pub(crate) is_digest: bool,
    pub(crate) signature: &'a [u8],
}

impl Service {
    /// The service of this user. Nothing is sent yet.
    ///
    /// # Errors
    /// `CKR_GENERAL_ERROR`
    pub(crate) fn new() -> Return<Service> {
        let socket = match variable(SOCKET) {
            Some(socket) => PathBuf::from(socket),
            None => usual_socket()?,
        };
        let caller = Caller::new(Place::Unix(socket)).map_err(|_| ck::CKR_GENERAL_ERROR)?;
        Ok(Service { caller, tells: variable(DEBUG).is_some() })
    }

    fn call(&self, operation: &str, body: Value, patience: Duration) -> Return<Answer> {
        let answer = self.caller.ask(operation, body, patience);
        let answer = answer.map_err(|error| self.code(operation, &error))?;
        if answer.is_empty() {
            return Ok(Answer::default());
        }
        serde_json::from_slice(&answer).map_err(|_| ck::CKR_DEVICE_ERROR)
    }

    /// The return code of an error.
    #[expect(
        clippy::print_stderr,
        reason = "the user asked for it, and a library has nowhere else to tell it"
    )]
    fn code(&self, operation: &str, error: &Error) -> ck::CK_RV {
        if self.tells {
            eprintln!("kmsfs-pkcs11: {operation}: {error}");
        }
        match error.name() {
            Some("KeyUnavailableException") => ck::CKR_DEVICE_REMOVED,
            // The user is nobody here, or another one than before.
            Some("AccessDeniedException") => ck::CKR_DEVICE_REMOVED,
            Some(name) => Code::named(name).map_or(ck::CKR_FUNCTION_FAILED, |code| code.number),
            None if error.kind() == ErrorKind::Unavailable => ck::CKR_DEVICE_REMOVED,
            None => ck::CKR_DEVICE_ERROR,
        }
    }

    pub(crate) fn describe(&self) -> Return<Info> {
        let Answer { serial, has_pin, wrong_pins, pin_locked, .. } =
            self.call("DescribeToken", json!({}), PATIENCE)?;
        Ok(Info { serial, has_pin, wrong_pins, pin_locked })
    }

    pub(crate) fn open(&self) -> Return<Id> {
        id(&self.call("OpenToken", json!({}), PATIENCE)?.ticket)
    }

    pub(crate) fn close(&self, ticket: &Id) -> Return<()> {
        self.call("CloseToken", json!({ "Ticket": b64(ticket) }), PATIENCE).map(drop)
    }

    pub(crate) fn login(&self, ticket: &Id, pin: &[u8], confirms: bool) -> Return<()> {
        let body = json!({ "Ticket": b64(ticket), "Pin": b64(pin), "Confirms": confirms });
        self.call("LoginToken", body, PATIENCE).map(drop)
    }

    pub(crate) fn logout(&self, ticket: &Id) -> Return<()> {
        self.call("LogoutToken", json!({ "Ticket": b64(ticket) }), PATIENCE).map(drop)
    }

    pub(crate) fn set_pin(&self, old: &[u8], new: &[u8]) -> Return<()> {
        let body = json!({ "OldPin": b64(old), "NewPin": b64(new) });
        self.call("SetTokenPin", body, PATIENCE).map(drop)
    }

    pub(crate) fn create(&self, ticket: &Id, template: &Template) -> Return<Id> {
        let body = json!({ "Ticket": b64(ticket), "Template": b64(&template.encode()) });
        id(&self.call("CreateObject", body, PATIENCE)?.object)
    }

    pub(crate) fn copy(&self, ticket: &Id, object: &Id, template: &Template) -> Return<Id> {
        let body =
            json!({ "Ticket": b64(ticket), "Object": b64(object), "Template": b64(&template.encode()) });
        id(&self.call("CopyObject", body, PATIENCE)?.object)
    }

    pub(crate) fn destroy(&self, ticket: &Id, object: &Id) -> Return<()> {
        let body = json!({ "Ticket": b64(ticket), "Object": b64(object) });
        self.call("DestroyObject", body, PATIENCE).map(drop)
    }

    /// The attributes that can be seen, and of each kind the code of why it cannot, or `CKR_OK`.
    pub(crate) fn read(&self, ticket: &Id, object: &Id, kinds: &[u64]) -> Return<(Template, Vec<ck::CK_RV>)> {
        let kinds: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect();
        let body = json!({ "Ticket": b64(ticket), "Object": b64(object), "Kinds": b64(&kinds) });
        let answer = self.call("ReadObject", body, PATIENCE)?;
        let code = |name: &String| match name.as_str() {
            "" => ck::CKR_OK,
            name => Code::named(name).map_or(ck::CKR_DEVICE_ERROR, |code| code.number),
        };
        Ok((template(&answer.template)?, answer.codes.iter().map(code).collect()))
    }

    pub(crate) fn change(&self, ticket: &Id, object: &Id, template: &Template) -> Return<()> {
        let body =
            json!({ "Ticket": b64(ticket), "Object": b64(object), "Template": b64(&template.encode()) });
        self.call("ChangeObject", body, PATIENCE).map(drop)
    }

    pub(crate) fn find(&self, ticket: &Id, template: &Template) -> Return<Vec<Id>> {
        let body = json!({ "Ticket": b64(ticket), "Template": b64(&template.encode()) });
        ids(&self.call("FindObjects", body, PATIENCE)?.objects)
    }

    pub(crate) fn generate(&self, ticket: &Id, mechanism: u64, template: &Template) -> Return<Id> {
        let body =
            json!({ "Ticket": b64(ticket), "Mechanism": mechanism, "Template": b64(&template.encode()) });
        id(&self.call("GenerateObject", body, LONG_PATIENCE)?.object)
    }

    pub(crate) fn generate_pair(
        &self,
        ticket: &Id,
        mechanism: u64,
        public: &Template,
        private: &Template,
    ) -> Return<[Id; 2]> {
        let body = json!({
            "Ticket": b64(ticket), "Mechanism": mechanism,
            "Template": b64(&public.encode()), "PrivateTemplate": b64(&private.encode()),
        });
        let made = ids(&self.call("GenerateObjectPair", body, LONG_PATIENCE)?.objects)?;
        made.try_into().map_err(|_| ck::CKR_DEVICE_ERROR)
    }

    pub(crate) fn derive(
        &self,
        ticket: &Id,
        base: &Id,
        mechanism: u64,
        parameter: &Template,
        template: &Template,
    ) -> Return<Id> {
        let body = json!({
            "Ticket": b64(ticket), "Object": b64(base), "Mechanism": mechanism,
            "Parameter": b64(&parameter.encode()), "Template": b64(&template.encode()),
        });
        id(&self.call("DeriveObject", body, PATIENCE)?.object)
    }

    pub(crate) fn wrap(
        &self,
        ticket: &Id,
        with: &Id,
        key: &Id,
        mechanism: u64,
        parameter: &Template,
    ) -> Return<Zeroizing<Vec<u8>>> {
        let body = json!({
            "Ticket": b64(ticket), "Object": b64(with), "Key": b64(key), "Mechanism": mechanism,
            "Parameter": b64(&parameter.encode()),
        });
        bytes(&self.call("WrapObject", body, PATIENCE)?.result)
    }

    pub(crate) fn unwrap(
        &self,
        ticket: &Id,
        with: &Id,
        (mechanism, parameter): (u64, &Template),
        wrapped: &[u8],
        template: &Template,
    ) -> Return<Id> {
        let body = json!({
            "Ticket": b64(ticket), "Object": b64(with), "Mechanism": mechanism,
            "Parameter": b64(&parameter.encode()), "Wrapped": b64(wrapped),
            "Template": b64(&template.encode()),
        });
        id(&self.call("UnwrapObject", body, PATIENCE)?.object)
    }

    pub(crate) fn run(&self, ticket: &Id, what: &Use<'_>) -> Return<Zeroizing<Vec<u8>>> {
        let body = json!({
            "Ticket": b64(ticket), "Object": b64(what.key), "Function": what.function.name(),
            "Mechanism": what.mechanism, "Parameter": b64(&what.parameter.encode()),
            "Message": b64(what.message), "IsDigest": what.is_digest, "Signature": b64(what.signature),
        });
        bytes(&self.call("UseObject", body, PATIENCE)?.result)
    }
}

/// A variable of the environment. A program that runs with other rights than its caller's is not told where to send PINs.
fn variable(name: &str) -> Option<OsString> {
    if has_other_rights() {
        return None;
    }
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(unsafe_code, reason = "a system call wrapper")]
fn has_other_rights() -> bool {
    // SAFETY: it takes a number and gives one.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Where the service of this user has its socket. The directory is made if it is not there, so that nobody else makes it
/// and is given PINs.
///
/// # Errors
/// `CKR_GENERAL_ERROR`: the directory is somebody else's.
fn usual_socket() -> Return<PathBuf> {
    let directory = match has_other_rights() {
        true => Ok(PathBuf::from(SYSTEM_DIR)),
        false => make_runtime_directory(),
    };
    directory.map(|directory| directory.join("kms.sock")).map_err(|_| ck::CKR_GENERAL_ERROR)
}

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes(text: &str) -> Return<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| ck::CKR_DEVICE_ERROR)
}

fn id(text: &str) -> Return<Id> {
    bytes(text)?.as_slice().try_into().map_err(|_| ck::CKR_DEVICE_ERROR)
}

fn ids(text: &str) -> Return<Vec<Id>> {
    let bytes = bytes(text)?;
    let (ids, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(ids.to_vec()) } else { Err(ck::CKR_DEVICE_ERROR) }
}

fn template(text: &str) -> Return<Template> {
    Template::decode(&bytes(text)?).map_err(|_| ck::CKR_DEVICE_ERROR)
}
