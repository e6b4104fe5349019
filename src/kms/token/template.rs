//! Templates: attributes by their types, and the bytes in which they travel and are kept.
//!
//! | bytes | of each attribute, in the order of types |
//! |---|---|
//! | 8 | type, little-endian |
//! | 4 | length of the value, little-endian |
//! | n | the value: `CK_ULONG` as 8 bytes little-endian, `CK_BBOOL` as one, everything else as PKCS#11 has it |
//!
//! The parameter of a mechanism travels in the same form, its parts numbered from 0.

use super::code::{Code, Result};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Longest template on the wire, in bytes.
pub const TEMPLATE_MAX: usize = 256 << 10;

/// Attributes by type. All values are wiped when dropped: any may be secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Template(BTreeMap<u64, Zeroizing<Vec<u8>>>);

impl Template {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// They are no template: cut off, or with a type that comes twice.
    pub fn decode(bytes: &[u8]) -> Result<Template> {
        Template::parse(bytes).ok_or_else(|| Code::ARGUMENTS_BAD.because("That is no template."))
    }

    pub(super) fn parse(mut bytes: &[u8]) -> Option<Template> {
        let mut template = Template::default();
        while !bytes.is_empty() {
            let (kind, rest) = bytes.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let before = template.0.insert(u64::from_le_bytes(*kind), Zeroizing::new(value.to_vec()));
            if before.is_some() {
                return None;
            }
            bytes = rest;
        }
        Some(template)
    }

    /// How many bytes [`Template::write`] fills.
    pub(super) fn encoded_len(&self) -> usize {
        self.0.values().map(|value| 12 + value.len()).sum()
    }

    /// Writes it into `out`, which is as long as it takes.
    pub(super) fn write(&self, out: &mut [u8]) {
        let mut rest = out;
        let mut put = |bytes: &[u8]| {
            let (to, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            to.copy_from_slice(bytes);
            rest = after;
        };
        for (kind, value) in &self.0 {
            put(&kind.to_le_bytes());
            put(&u32::try_from(value.len()).expect("values came with such a length").to_le_bytes());
            put(value);
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(vec![0; self.encoded_len()]);
        self.write(&mut out);
        out
    }

    /// The value of an attribute.
    pub fn get(&self, kind: u64) -> Option<&[u8]> {
        self.0.get(&kind).map(|value| value.as_slice())
    }

    /// Sets an attribute.
    pub fn set(&mut self, kind: u64, value: impl Into<Vec<u8>>) {
        self.0.insert(kind, Zeroizing::new(value.into()));
    }

    /// Sets a number.
    pub fn set_number(&mut self, kind: u64, value: u64) {
        self.set(kind, value.to_le_bytes());
    }

    /// Sets a flag.
    pub fn set_flag(&mut self, kind: u64, value: bool) {
        self.set(kind, [u8::from(value)]);
    }

    /// Takes an attribute out.
    pub fn take(&mut self, kind: u64) -> Option<Zeroizing<Vec<u8>>> {
        self.0.remove(&kind)
    }

    /// The number that an attribute is, if it is one.
    pub fn number(&self, kind: u64) -> Option<u64> {
        number(self.get(kind)?)
    }

    /// Whether a flag is there and set.
    pub fn flag(&self, kind: u64) -> bool {
        self.get(kind) == Some(&[1])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All attributes, by type.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.0.iter().map(|(kind, value)| (*kind, value.as_slice()))
    }

    /// Takes over those of `other` that are not there yet.
    pub(super) fn fill_from(&mut self, other: Template) {
        for (kind, value) in other.0 {
            self.0.entry(kind).or_insert(value);
        }
    }

    /// Takes over all of `other`.
    pub(super) fn extend(&mut self, other: Template) {
        self.0.extend(other.0);
    }

    /// The attributes of which `which` says so, taken out.
    pub(super) fn split_off(&mut self, which: impl Fn(u64) -> bool) -> Template {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(kind, _): &(u64, _)| which(*kind));
        self.0 = left;
        Template(taken)
    }
}

/// Only which attributes there are.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<V: Into<Vec<u8>>> FromIterator<(u64, V)> for Template {
    fn from_iter<I: IntoIterator<Item = (u64, V)>>(attributes: I) -> Template {
        Template(attributes.into_iter().map(|(kind, value)| (kind, Zeroizing::new(value.into()))).collect())
    }
}

/// The `CK_ULONG` that these bytes are.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_template_reads_back(attributes: BTreeMap<u64, Vec<u8>>) {
            let template: Template = attributes.into_iter().collect();
            let bytes = template.encode();
            prop_assert_eq!(Template::decode(&bytes).unwrap(), template);
            if !bytes.is_empty() {
                prop_assert!(Template::decode(&bytes[..bytes.len() - 1]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(template) = Template::decode(&bytes) {
                prop_assert_eq!(Template::decode(&template.encode()).unwrap(), template);
            }
        }
    }

    #[test]
    fn a_type_that_comes_twice_is_refused() {
        let one: Template = [(3, b"label".to_vec())].into_iter().collect();
        let twice = [one.encode().as_slice(), one.encode().as_slice()].concat();
        assert_eq!(Template::decode(&twice).unwrap_err().code(), Some(Code::ARGUMENTS_BAD));
    }
}
