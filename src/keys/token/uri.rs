//! `pkcs11:` URIs (RFC 7512): which token, which key in it; and through which module of this machine and with whose PIN.
//!
//! A volume's config records the path alone, in the form that [`TokenUri`] is displayed in. The query is about the machine
//! and comes from the user each time: what module is loaded into the process is not for the lower directory to say.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What every such URI begins with.
const SCHEME: &str = "pkcs11:";

/// A token that the user has named, and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    pub(super) token: TokenMatch,
    /// What a key must be called to serve; nothing said, any key of the token may.
    pub(super) key: KeyMatch,
    pub(super) module: PathBuf,
    pub(super) pin_source: Option<PathBuf>,
}

/// Attributes of a token; those that are not said match every token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TokenMatch {
    pub(super) label: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) slot: Option<u64>,
}

/// Attributes of a key; those that are not said match every key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyMatch {
    /// Its CKA_LABEL.
    pub(super) label: Option<String>,
    /// Its CKA_ID.
    pub(super) id: Option<Vec<u8>>,
}

/// A key of a token, as a volume's config records it in the place of an ARN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyUri {
    /// The label of the token that has it; nothing said, whichever token is asked.
    pub(super) token: Option<String>,
    pub(super) key: KeyMatch,
}

/// Everything that a URI may say.
#[derive(Default)]
struct Parts {
    token: TokenMatch,
    key: KeyMatch,
    module: Option<PathBuf>,
    pin_source: Option<PathBuf>,
}

impl TokenMatch {
    fn is_empty(&self) -> bool {
        *self == TokenMatch::default()
    }
}

impl KeyMatch {
    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        *self == KeyMatch::default()
    }

    /// What matches both; `None` if nothing can.
    pub(super) fn and(&self, other: &KeyMatch) -> Option<KeyMatch> {
        fn both<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<Option<T>> {
            match (a, b) {
                (Some(a), Some(b)) if a != b => None,
                _ => Some(a.clone().or_else(|| b.clone())),
            }
        }
        Some(KeyMatch { label: both(&self.label, &other.label)?, id: both(&self.id, &other.id)? })
    }
}

impl TokenUri {
    /// Whether `text` is meant to be such a URI.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Whether it says where the PIN is.
    pub fn has_pin_source(&self) -> bool {
        self.pin_source.is_some()
    }

    /// The whole URI, with what concerns this machine alone.
    pub fn with_query(&self) -> String {
        let mut text = format!("{self}?module-path={}", encoded(path_bytes(&self.module), is_of_path));
        if let Some(path) = &self.pin_source {
            write!(text, "&pin-source={}", encoded(path_bytes(path), is_of_path))
                .expect("a String takes every write");
        }
        text
    }
}

impl FromStr for TokenUri {
    type Err = String;

    /// No error repeats the text, which may hold a PIN against all advice.
    fn from_str(text: &str) -> Result<TokenUri, String> {
        let Parts { token, key, module, pin_source } = parse(text)?;
        if token.is_empty() {
            return Err("name the token, as in pkcs11:token=LABEL;object=KEY".into());
        }
        let module =
            module.ok_or("name the token's PKCS#11 module: ?module-path=/usr/lib/softhsm/libsofthsm2.so")?;
        Ok(TokenUri { token, key, module, pin_source })
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenMatch { label, manufacturer, model, serial, slot } = &self.token;
        let text = |text: &Option<String>| text.as_ref().map(|text| encoded(text.as_bytes(), is_unreserved));
        let attributes = [
            ("token", text(label)),
            ("manufacturer", text(manufacturer)),
            ("model", text(model)),
            ("serial", text(serial)),
            ("slot-id", slot.map(|slot| slot.to_string())),
            ("object", text(&self.key.label)),
            ("id", self.key.id.as_deref().map(encoded_id)),
        ];
        write_path(f, &attributes)
    }
}

impl FromStr for KeyUri {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyUri, String> {
        let Parts { token, key, module, pin_source } = parse(text)?;
        let label = token.label.clone();
        if token != (TokenMatch { label: label.clone(), ..TokenMatch::default() }) {
            return Err("the name of a key has no more of its token than the label".into());
        }
        if key.is_empty() || module.is_some() || pin_source.is_some() {
            return Err("the name of a key has its object= or id=, and no query".into());
        }
        Ok(KeyUri { token: label, key })
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| text.as_ref().map(|text| encoded(text.as_bytes(), is_unreserved));
        write_path(
            f,
            &[
                ("token", text(&self.token)),
                ("object", text(&self.key.label)),
                ("id", self.key.id.as_deref().map(encoded_id)),
            ],
        )
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, attributes: &[(&str, Option<String>)]) -> fmt::Result {
    f.write_str(SCHEME)?;
    let said = attributes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    for (n, (name, value)) in said.enumerate() {
        write!(f, "{}{name}={value}", if n == 0 { "" } else { ";" })?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Parts, String> {
    let rest = text.strip_prefix(SCHEME).ok_or("a token is named by pkcs11:token=LABEL")?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = Parts::default();
    for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
        let (name, value) = split(attribute)?;
        let text = || string(name, value);
        match name {
            "token" => set(name, &mut parts.token.label, text()?)?,
            "manufacturer" => set(name, &mut parts.token.manufacturer, text()?)?,
            "model" => set(name, &mut parts.token.model, text()?)?,
            "serial" => set(name, &mut parts.token.serial, text()?)?,
            "slot-id" => {
                let number = value.parse().map_err(|_| "slot-id is not a number")?;
                set(name, &mut parts.token.slot, number)?;
            }
            "object" => set(name, &mut parts.key.label, text()?)?,
            "id" => set(name, &mut parts.key.id, decoded(name, value)?)?,
            "type" if value == "secret-key" => {}
            "type" => return Err("only keys of type=secret-key wrap data keys".into()),
            _ => return Err(unknown(name, "path")),
        }
    }
    for attribute in query.split('&').filter(|attribute| !attribute.is_empty()) {
        let (name, value) = split(attribute)?;
        match name {
            "module-path" => set(name, &mut parts.module, absolute(name, &string(name, value)?)?)?,
            "pin-source" => {
                let source = string(name, value)?;
                // file:PATH, and file://PATH, whose host is this one.
                let path = match source.strip_prefix("file:") {
                    Some(path) => path.strip_prefix("//").unwrap_or(path),
                    None => &source,
                };
                set(name, &mut parts.pin_source, absolute(name, path)?)?;
            }
            "pin-value" => {
                return Err("a PIN in an argument can be read by everybody on the machine, so pin-value is \
                            refused: put it into a file of mode 600, as in pin-source=/etc/kmsfs.pin"
                    .into());
            }
            _ => return Err(unknown(name, "query")),
        }
    }
    Ok(parts)
}

fn split(attribute: &str) -> Result<(&str, &str), String> {
    attribute.split_once('=').ok_or_else(|| "an attribute of a pkcs11: URI has the form NAME=VALUE".into())
}

fn set<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

/// Names are letters and dashes: anything else might be part of a PIN that was not encoded.
fn unknown(name: &str, place: &str) -> String {
    match name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        true => format!("{name} is no attribute that kmsfs knows in the {place} of a pkcs11: URI"),
        false => format!("the {place} of the pkcs11: URI has an attribute that kmsfs does not know"),
    }
}

fn absolute(name: &str, path: &str) -> Result<PathBuf, String> {
    match Path::new(path).is_absolute() {
        true => Ok(path.into()),
        false => Err(format!("{name} must be an absolute path")),
    }
}

fn string(name: &str, value: &str) -> Result<String, String> {
    String::from_utf8(decoded(name, value)?).map_err(|_| format!("{name} is not UTF-8"))
}

fn decoded(name: &str, value: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let pair = digit(high).zip(digit(low));
                let (high, low) = pair.ok_or_else(|| format!("{name} has a % without two digits"))?;
                ((high << 4 | low) as u8, after)
            }
            (b'%', _) => return Err(format!("{name} has a % without two digits")),
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    match bytes.is_empty() {
        true => Err(format!("{name} has no value")),
        false => Ok(bytes),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_of_path(byte: u8) -> bool {
    is_unreserved(byte) || byte == b'/'
}

fn encoded(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match plain(*byte) {
            true => text.push(char::from(*byte)),
            false => write!(text, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    text
}

fn encoded_id(id: &[u8]) -> String {
    encoded(id, |_| false)
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODULE: &str = "?module-path=/usr/lib/m.so";

    fn uri(text: &str) -> Result<TokenUri, String> {
        text.parse()
    }

    #[test]
    fn a_uri_says_token_key_module_and_pin_file() {
        let uri = uri("pkcs11:object=volume%20key;token=My%20HSM;id=%01%ff;type=secret-key;slot-id=7\
                       ?module-path=/usr/lib/m.so&pin-source=file:/etc/pin")
        .unwrap();
        assert_eq!(uri.token.label.as_deref(), Some("My HSM"));
        assert_eq!(uri.token.slot, Some(7));
        assert_eq!(uri.key, KeyMatch { label: Some("volume key".into()), id: Some(vec![1, 0xff]) });
        assert_eq!(uri.module, Path::new("/usr/lib/m.so"));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("/etc/pin")));
    }

    #[test]
    fn what_a_config_records_is_the_path_in_one_order() {
        let uri = uri(&format!("pkcs11:object=volume%20key;token=a;id=A{MODULE}&pin-source=/p")).unwrap();
        assert_eq!(uri.to_string(), "pkcs11:token=a;object=volume%20key;id=%41");
        assert_eq!(uri.with_query(), format!("{uri}{MODULE}&pin-source=/p"));
    }

    #[test]
    fn a_pin_in_the_uri_is_refused_and_not_repeated() {
        for text in [
            "pkcs11:token=a?module-path=/m&pin-value=4711",
            "pkcs11:token=a?pin-value=4711",
            "pkcs11:token=a?module-path=/m&4711",
            "pkcs11:token=a?module-path=/m&pin-valeu=4711",
            "pkcs11:token=a?module-path=/m&x4711=1",
        ] {
            let error = uri(text).unwrap_err();
            assert!(!error.contains("4711"), "{error}");
        }
        assert!(uri("pkcs11:token=a?pin-value=1").unwrap_err().contains("pin-source"));
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_named() {
        for (text, words) in [
            ("pkcs11:?module-path=/m", "name the token"),
            ("pkcs11:object=a?module-path=/m", "name the token"),
            ("pkcs11:token=a", "module-path"),
            ("pkcs11:token=a?module-path=m.so", "absolute"),
            ("pkcs11:token=a?module-path=/m&pin-source=pin", "absolute"),
            ("pkcs11:token=a;token=b?module-path=/m", "twice"),
            ("pkcs11:token=%4?module-path=/m", "two digits"),
            ("pkcs11:token=%zz?module-path=/m", "two digits"),
            ("pkcs11:token=%FF?module-path=/m", "UTF-8"),
            ("pkcs11:token=?module-path=/m", "no value"),
            ("pkcs11:token?module-path=/m", "NAME=VALUE"),
            ("pkcs11:token=a;slot-id=x?module-path=/m", "number"),
            ("pkcs11:token=a;type=private?module-path=/m", "secret-key"),
            ("pkcs11:token=a;colour=red?module-path=/m", "colour"),
            ("pkcs11:token=a?module-path=/m&module-name=x", "module-name"),
            ("local:", "pkcs11:"),
        ] {
            let error = uri(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_name_of_a_key_has_its_token_and_nothing_of_this_machine() {
        let name: KeyUri = "pkcs11:token=a;id=%01".parse().unwrap();
        assert_eq!(name.to_string(), "pkcs11:token=a;id=%01");
        for text in ["pkcs11:token=a", "pkcs11:serial=1;id=%01", "pkcs11:token=a;id=%01?module-path=/m"] {
            assert!(text.parse::<KeyUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_wishes_for_a_key_are_both_kept() {
        let key = |label: Option<&str>, id: Option<&[u8]>| KeyMatch {
            label: label.map(str::to_owned),
            id: id.map(<[u8]>::to_vec),
        };
        let (label, id) = (key(Some("a"), None), key(None, Some(b"1")));
        assert_eq!(label.and(&id), Some(key(Some("a"), Some(b"1"))));
        assert_eq!(label.and(&KeyMatch::default()), Some(label.clone()));
        assert_eq!(label.and(&key(Some("b"), None)), None);
        assert_eq!(id.and(&key(None, Some(b"2"))), None);
    }

    proptest! {
        #[test]
        fn any_names_read_back(
            token in "\\PC{1,20}", object in "\\PC{1,20}", id in proptest::collection::vec(any::<u8>(), 1..20),
            path in "/\\PC{0,20}",
        ) {
            let uri = TokenUri {
                token: TokenMatch { label: Some(token.clone()), ..TokenMatch::default() },
                key: KeyMatch { label: Some(object), id: Some(id) },
                module: path.clone().into(),
                pin_source: Some(path.into()),
            };
            prop_assert_eq!(uri.with_query().parse(), Ok(uri.clone()));
            let name = KeyUri { token: Some(token), key: uri.key };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn no_text_panics(text in "pkcs11:[a-z%=;?&/\\PC]{0,60}") {
            let _ = uri(&text);
        }
    }
}
