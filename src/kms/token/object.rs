//! Objects: keys, certificates, data, each with its attributes.
//!
//! What is secret of a key is kept apart, in locked memory, and shown only where the key's own attributes allow it.

use super::code::{Code, Result};
use super::material::Material;
use super::rules;
use super::template::Template;
use crate::crypto::{SecretBytes, random};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys as ck;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// The id of an object: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// A new one.
    pub(super) fn random() -> ObjectId {
        ObjectId(random::array())
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> ObjectId {
        ObjectId(bytes)
    }

    /// The id's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How large an object may be, in bytes, with all its attributes.
pub(super) const OBJECT_MAX: usize = 64 << 10;

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The caller brought it.
    Brought,
    /// Made here, by this mechanism.
    Made(u64),
    /// Unwrapped: others have it too.
    Unwrapped,
    /// Derived from a key that was always sensitive, and never extractable, or not.
    Derived { always_sensitive: bool, never_extractable: bool },
}

/// An object.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::kms) struct Object {
    pub(super) id: ObjectId,
    /// The ARN of the principal whose it is. Nobody else sees it.
    pub(super) owner: String,
    #[serde(with = "as_text")]
    pub(super) attributes: Template,
    #[serde(with = "as_secret_text")]
    secrets: Arc<SecretBytes>,
    /// The key, ready to be used. It is made at its first use, and goes with the object.
    #[serde(skip)]
    material: OnceLock<Material>,
}

impl Object {
    /// An object as `wanted` by a caller, with what the token adds: `made`.
    ///
    /// # Errors
    /// Attributes that are missing, unknown, not the caller's to set, or do not go together.
    pub(super) fn new(owner: &str, mut wanted: Template, made: Template, origin: Origin) -> Result<Object> {
        let class = wanted.number(ck::CKA_CLASS);
        let class = class.ok_or_else(|| Code::TEMPLATE_INCOMPLETE.because("An object has a class."))?;
        for (kind, value) in made.iter() {
            if wanted.get(kind).is_some_and(|wanted| wanted != value) {
                let why = format!("The attribute {kind:#x} is made here, not given.");
                return Err(Code::TEMPLATE_INCONSISTENT.because(why));
            }
        }
        rules::complete(&mut wanted, class)?;
        wanted.extend(made);
        let id = ObjectId::random();
        wanted.set(ck::CKA_UNIQUE_ID, id.to_string());
        if is_key(class) || class == ck::CKO_DOMAIN_PARAMETERS {
            wanted.set_flag(ck::CKA_LOCAL, matches!(origin, Origin::Made(_)));
        }
        if let (Origin::Made(mechanism), true) = (origin, is_key(class)) {
            wanted.set_number(ck::CKA_KEY_GEN_MECHANISM, mechanism);
        }
        if matches!(class, ck::CKO_PRIVATE_KEY | ck::CKO_SECRET_KEY) {
            let (sensitive, extractable) = (wanted.flag(ck::CKA_SENSITIVE), wanted.flag(ck::CKA_EXTRACTABLE));
            let (always, never) = match origin {
                Origin::Brought | Origin::Unwrapped => (false, false),
                Origin::Made(_) => (sensitive, !extractable),
                Origin::Derived { always_sensitive, never_extractable } => {
                    (always_sensitive && sensitive, never_extractable && !extractable)
                }
            };
            wanted.set_flag(ck::CKA_ALWAYS_SENSITIVE, always);
            wanted.set_flag(ck::CKA_NEVER_EXTRACTABLE, never);
        }
        if wanted.encoded_len() > OBJECT_MAX {
            let why = format!("An object has at most {OBJECT_MAX} bytes.");
            return Err(Code::DEVICE_MEMORY.because(why));
        }
        let mut object = Object::of(id, owner, wanted);
        let material = Material::of(&object)?;
        material.describe(&mut object.attributes)?;
        object.material = OnceLock::from(material);
        Ok(object)
    }

    /// An object with all its attributes.
    pub(super) fn of(id: ObjectId, owner: &str, mut attributes: Template) -> Object {
        let class = attributes.number(ck::CKA_CLASS).unwrap_or(u64::MAX);
        let secret = attributes.split_off(|kind| rules::is_secret(class, kind));
        let mut secrets = SecretBytes::zeroed(secret.encoded_len());
        secret.write(secrets.expose_mut());
        let secrets = Arc::new(secrets);
        Object { id, owner: owner.to_owned(), attributes, secrets, material: OnceLock::new() }
    }

    pub(in crate::kms) fn id(&self) -> ObjectId {
        self.id
    }

    pub(in crate::kms) fn owner(&self) -> &str {
        &self.owner
    }

    /// How much it takes, in bytes.
    pub(in crate::kms) fn size(&self) -> usize {
        self.attributes.encoded_len() + self.secrets.len()
    }

    /// All attributes, the secret ones too.
    pub(super) fn whole(&self) -> Template {
        let mut whole = self.secrets();
        whole.extend(self.attributes.clone());
        whole
    }

    /// The secret attributes.
    pub(super) fn secrets(&self) -> Template {
        Template::parse(self.secrets.expose()).expect("written by this program, and sealed since")
    }

    pub(in crate::kms) fn class(&self) -> u64 {
        self.attributes.number(ck::CKA_CLASS).unwrap_or(u64::MAX)
    }

    pub(super) fn key_type(&self) -> Option<u64> {
        self.attributes.number(ck::CKA_KEY_TYPE)
    }

    pub(super) fn flag(&self, kind: u64) -> bool {
        self.attributes.flag(kind)
    }

    pub(super) fn is_token(&self) -> bool {
        self.flag(ck::CKA_TOKEN)
    }

    pub(super) fn is_private(&self) -> bool {
        self.flag(ck::CKA_PRIVATE)
    }

    /// Whether the key may leave the token in the clear.
    pub(super) fn shows_secrets(&self) -> bool {
        self.flag(ck::CKA_EXTRACTABLE) && !self.flag(ck::CKA_SENSITIVE)
    }

    /// The key, ready to be used.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn material(&self) -> Result<&Material> {
        if self.material.get().is_none() {
            let material = Material::of(self)?;
            let _ = self.material.set(material); // another thread may have been faster, with the same
        }
        Ok(self.material.get().expect("set just now"))
    }

    /// The value of an attribute, as a caller may see it.
    ///
    /// # Errors
    /// There is no such attribute, or it is secret.
    pub(super) fn read(&self, kind: u64) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(value) = self.attributes.get(kind) {
            return Ok(Zeroizing::new(value.to_vec()));
        }
        if rules::is_secret(self.class(), kind) {
            let secrets = self.secrets();
            match secrets.get(kind) {
                Some(value) if self.shows_secrets() => return Ok(Zeroizing::new(value.to_vec())),
                Some(_) => {
                    return Err(Code::ATTRIBUTE_SENSITIVE.because("The key does not leave the token."));
                }
                None => {}
            }
        }
        let why = format!("The object has no attribute {kind:#x}.");
        Err(Code::ATTRIBUTE_TYPE_INVALID.because(why))
    }

    /// Whether it has all of these attributes, as a caller may see it.
    pub(super) fn matches(&self, wanted: &Template) -> bool {
        wanted.iter().all(|(kind, value)| match self.attributes.get(kind) {
            Some(own) => own == value,
            None => self.read(kind).is_ok_and(|own| *own == value),
        })
    }
}

/// Whether objects of a class are keys.
pub(super) fn is_key(class: u64) -> bool {
    matches!(class, ck::CKO_PUBLIC_KEY | ck::CKO_PRIVATE_KEY | ck::CKO_SECRET_KEY)
}

/// A template as base64.
mod as_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        template: &Template,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(template.encode()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Template, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Template::parse(&bytes).ok_or_else(|| D::Error::custom("no template"))
    }
}

/// Secret bytes as base64 that is wiped.
mod as_secret_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        secret: &Arc<SecretBytes>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(secret.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Arc<SecretBytes>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        Ok(Arc::new(SecretBytes::from_vec(bytes)))
    }
}
