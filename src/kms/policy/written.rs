//! A policy together with the text that it was read from, which is what its author gets back.

use super::{Kind, Malformed, Policy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A policy and its text, read once. Copies share both. In the keystore it is the text alone.
#[derive(Debug, Clone)]
pub struct Written(Arc<(String, Policy)>);

impl Written {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Malformed`], with what is wrong and where.
    pub fn parse(kind: Kind, text: &str) -> Result<Written, Malformed> {
        Ok(Written(Arc::new((text.to_owned(), Policy::parse(kind, text)?))))
    }

    /// The text, as its author wrote it.
    pub fn text(&self) -> &str {
        &self.0.0
    }

    /// What it says.
    pub fn policy(&self) -> &Policy {
        &self.0.1
    }

    /// The key policy of a record. What was understood when it was written and is not any more, since another release
    /// wrote it, denies everything: half a policy protects nothing.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn key_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Written>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map(|text| Written::or_denial(Kind::Key, text)))
    }

    /// An identity policy of a record, as [`Written::key_policy`].
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn identity_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        Ok(Written::or_denial(Kind::Identity, String::deserialize(deserializer)?))
    }

    fn or_denial(kind: Kind, text: String) -> Written {
        let policy = Policy::parse(kind, &text).unwrap_or_else(|why| {
            log::error!("a policy of the keystore denies everything, since it is not understood: {why}");
            Policy::denial()
        });
        Written(Arc::new((text, policy)))
    }
}

/// Equal texts are equal policies.
impl PartialEq for Written {
    fn eq(&self, other: &Written) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Written {}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
