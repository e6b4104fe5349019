//! Arguments of an operation, written in one way only: JSON without white space, members sorted by name, whole numbers.
//!
//! Two texts that mean the same come to the same bytes, so that bytes can be signed. Fractions are refused in place of
//! having a rule for them: no operation that custodians approve needs one.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};
use std::fmt;

/// What an operation is called with: a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments(String);

/// Why something cannot be arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("the arguments are not JSON: {0}")]
    Json(String),
    /// It is JSON, but no object.
    #[error("the arguments are not a JSON object, such as {{\"KeyId\": \"…\"}}")]
    NoObject,
    /// It has a number with a fraction, or one that does not fit into 64 bits.
    #[error("the arguments have the number {0}, which is not a whole one")]
    Fraction(String),
}

impl Arguments {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &str) -> Result<Arguments, Error> {
        Arguments::new(&serde_json::from_str(text).map_err(|error| Error::Json(error.to_string()))?)
    }

    /// Those of a JSON object.
    ///
    /// # Errors
    /// [`Error::NoObject`], [`Error::Fraction`].
    pub fn new(value: &Value) -> Result<Arguments, Error> {
        if !value.is_object() {
            return Err(Error::NoObject);
        }
        let mut text = String::new();
        write(value, &mut text)?;
        Ok(Arguments(text))
    }

    /// The JSON text, which is the only one for what it says.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The arguments by name.
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).expect("it was written as a JSON object")
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arguments, D::Error> {
        Arguments::new(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn write(value: &Value, out: &mut String) -> Result<(), Error> {
    match value {
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            return Err(Error::Fraction(number.to_string()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}
