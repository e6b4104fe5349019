//! A session with a token: finding the token, logging in, finding keys.

use super::login::Login;
use super::pin::Pin;
use super::trouble::Trouble;
use super::uri::{KeyMatch, KeyUri, TokenMatch, TokenUri};
use super::wrap::{Method, Wrapper};
use crate::keys::{Error, ErrorKind};
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Ck, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A user of a token.
pub(super) struct Client {
    uri: TokenUri,
    login: Login,
    pub(super) connected: Option<Connected>,
    proofs: Proofs,
}

/// What each key wrapped when it was first used, by the keys' names. A key that does not unwrap it is another one, in a token
/// that was put in the place of the first: files would be written that the first never opens.
type Proofs = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// An open session, logged in.
pub(super) struct Connected {
    session: Session,
    label: String,
    /// What the token can do.
    methods: Vec<Method>,
    /// What the user's URI says of keys.
    wanted: KeyMatch,
    /// Keys that were found, by their names.
    keys: HashMap<String, (ObjectHandle, Method)>,
    proofs: Proofs,
}

impl Client {
    pub(super) fn new(uri: TokenUri, pin: Option<Pin>) -> Client {
        Client { uri, login: Login::new(pin), connected: None, proofs: Proofs::default() }
    }

    /// Opens a session and logs in.
    ///
    /// # Errors
    /// The token is not there, there are several, or it refuses the PIN.
    pub(super) fn connect(&mut self, module: &Pkcs11) -> Result<&mut Connected, Trouble> {
        let (slot, token) = find(module, &self.uri)?;
        let session = module.open_ro_session(slot)?;
        self.login.log_in(&session, &token)?;
        let methods = methods(module, slot)?;
        let label = token.label().to_owned();
        let wanted = self.uri.key.clone();
        let (keys, proofs) = (HashMap::new(), Arc::clone(&self.proofs));
        Ok(self.connected.insert(Connected { session, label, methods, wanted, keys, proofs }))
    }
}

/// The one token that `uri` names.
pub(super) fn find(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), Trouble> {
    let mut found = None;
    for slot in module.get_slots_with_token()? {
        let token = match module.get_token_info(slot) {
            Ok(token) => token,
            Err(error) => {
                log::debug!("slot {} does not tell of its token: {error:?}", slot.id());
                continue;
            }
        };
        if !is_named(&uri.token, slot, &token) {
            continue;
        }
        if found.replace((slot, token)).is_some() {
            let what = format_args!("{uri}: several tokens are called so; name the serial= of one");
            return Err(Trouble::Final(Error::new(ErrorKind::NotFound, what)));
        }
    }
    found.ok_or_else(|| {
        Trouble::Lost(Error::new(ErrorKind::Unavailable, format_args!("{uri}: there is no such token")))
    })
}

fn is_named(wanted: &TokenMatch, slot: Slot, token: &TokenInfo) -> bool {
    let TokenMatch { label, manufacturer, model, serial, slot: slot_id } = wanted;
    let texts = [
        (label, token.label()),
        (manufacturer, token.manufacturer_id()),
        (model, token.model()),
        (serial, token.serial_number()),
    ];
    texts.iter().all(|(wanted, has)| wanted.as_ref().is_none_or(|wanted| wanted == has))
        && slot_id.is_none_or(|id| id == slot.id())
}

/// The methods of the token in `slot`, the better ones first.
fn methods(module: &Pkcs11, slot: Slot) -> Result<Vec<Method>, Trouble> {
    let about = |mechanism| match module.get_mechanism_info(slot, mechanism) {
        Ok(about) => Ok(Some(about)),
        Err(Ck::Pkcs11(RvError::MechanismInvalid, _)) => Ok(None),
        Err(error) => Err(error),
    };
    let gcm = about(MechanismType::AES_GCM)?.filter(|about| about.encrypt() && about.decrypt());
    let key_wrap = about(MechanismType::AES_KEY_WRAP)?.filter(|about| about.wrap() && about.unwrap());
    Ok(gcm.map(|_| Method::Gcm).into_iter().chain(key_wrap.map(|_| Method::KeyWrap)).collect())
}

impl Connected {
    /// The key whose name, as [`Connected::resolve`] gives it, is `name`.
    ///
    /// # Errors
    /// As there.
    pub(super) fn key(&mut self, name: &str) -> Result<Wrapper<'_>, Trouble> {
        let (key, method) = match self.keys.get(name) {
            Some(known) => *known,
            None => {
                let uri: KeyUri = name.parse().map_err(|what| {
                    let what = format_args!("{name} is not the name of a token's key: {what}");
                    Trouble::Final(Error::new(ErrorKind::NotFound, what))
                })?;
                let key = self.find(&uri)?;
                let method = self.method(key, name)?;
                let wrapper = Wrapper { session: &self.session, key, method };
                let proof = wrapper.prove()?;
                let mut proofs = self.proofs.lock();
                if let Some(first) = proofs.get(name) {
                    wrapper.check_proof(first, name)?;
                } else {
                    proofs.insert(name.to_owned(), proof);
                }
                drop(proofs);
                self.keys.insert(name.to_owned(), (key, method));
                (key, method)
            }
        };
        Ok(Wrapper { session: &self.session, key, method })
    }

    /// The name for good of the key that is called `called`, after making sure that it can serve.
    ///
    /// # Errors
    /// There is none or more than one, or it cannot serve.
    pub(super) fn resolve(&mut self, called: &KeyUri) -> Result<String, Trouble> {
        if called.key.is_empty() && self.wanted.is_empty() {
            return Err(not_found(
                "which key of the token? Name its label with --key or as object= in the URL",
            ));
        }
        let key = self.find(called)?;
        let mut about = KeyMatch::default();
        for attribute in self.session.get_attributes(key, &[AttributeType::Id, AttributeType::Label])? {
            match attribute {
                Attribute::Id(id) if !id.is_empty() => about.id = Some(id),
                Attribute::Label(label) => about.label = String::from_utf8(label).ok(),
                _ => {}
            }
        }
        // Labels are for people, who change them; an id stays.
        if about.id.is_some() {
            about.label = None;
        }
        let name = KeyUri { token: Some(self.label.clone()), key: about }.to_string();
        self.key(&name)?;
        Ok(name)
    }

    /// The one secret key that is called so.
    fn find(&self, called: &KeyUri) -> Result<ObjectHandle, Trouble> {
        let label = &self.label;
        if called.token.as_ref().is_some_and(|token| token != label) {
            return Err(not_found(format_args!("{called} is not in the token {label}")));
        }
        let both = self.wanted.and(&called.key);
        let both =
            both.ok_or_else(|| not_found(format_args!("{called} is not the key that the URL names")))?;
        let shown = KeyUri { token: Some(label.clone()), key: both.clone() };
        let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
        template.extend(both.label.map(|label| Attribute::Label(label.into_bytes())));
        template.extend(both.id.map(Attribute::Id));
        match &*self.session.find_objects(&template)? {
            [only] => Ok(*only),
            [] => Err(not_found(format_args!("{shown}: the token has no such secret key"))),
            several => Err(not_found(format_args!(
                "{shown}: {} secret keys are called so; give one an id of its own",
                several.len()
            ))),
        }
    }

    /// How a key can wrap.
    fn method(&self, key: ObjectHandle, name: &str) -> Result<Method, Trouble> {
        let mut about = About::default();
        for attribute in self.session.get_attributes(key, &About::ATTRIBUTES)? {
            match attribute {
                Attribute::KeyType(kind) => about.is_aes = kind == KeyType::AES,
                Attribute::ValueLen(bytes) => about.bytes = u64::from(bytes),
                Attribute::Encrypt(may) => about.encrypts[0] = may,
                Attribute::Decrypt(may) => about.encrypts[1] = may,
                Attribute::Wrap(may) => about.wraps[0] = may,
                Attribute::Unwrap(may) => about.wraps[1] = may,
                Attribute::Extractable(may) => about.leaves = may,
                _ => {}
            }
        }
        if !about.is_aes || about.bytes != 32 {
            return Err(Trouble::unsuitable(format_args!("{name} is not an AES key of 256 bits")));
        }
        if about.leaves {
            log::warn!("{name} can be taken out of its token: it is CKA_EXTRACTABLE");
        }
        let may = |method: &Method| match method {
            Method::Gcm => about.encrypts == [true; 2],
            Method::KeyWrap => about.wraps == [true; 2],
        };
        self.methods.iter().copied().find(|method| may(method)).ok_or_else(|| {
            Trouble::unsuitable(format_args!(
                "{name} cannot wrap data keys: that takes CKM_AES_GCM with CKA_ENCRYPT and CKA_DECRYPT, or \
                 CKM_AES_KEY_WRAP with CKA_WRAP and CKA_UNWRAP"
            ))
        })
    }
}

/// What a token tells of a key.
#[derive(Default)]
struct About {
    is_aes: bool,
    bytes: u64,
    encrypts: [bool; 2],
    wraps: [bool; 2],
    leaves: bool,
}

impl About {
    const ATTRIBUTES: [AttributeType; 7] = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Wrap,
        AttributeType::Unwrap,
        AttributeType::Extractable,
    ];
}

fn not_found(what: impl std::fmt::Display) -> Trouble {
    Trouble::Final(Error::new(ErrorKind::NotFound, what))
}
