//! The members of a request, in the types of the model.

use super::json::Value;
use crate::api::error::{Error, Result};
use crate::api::model::{Member, Shape};
use crate::kms::{EncryptionContext, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The members of a structure that were given and that the model knows. Others are ignored: a client may be
/// newer than this service. `null` counts as not given.
#[derive(Debug)]
pub struct Input<'a> {
    shape: &'static [Member],
    members: Vec<(&'static str, Field<'a>)>,
}

/// The value of a member.
#[derive(Debug)]
pub enum Field<'a> {
    /// Of `Shape::Text` or `Shape::Enum`.
    Text(Cow<'a, str>),
    /// Bytes, decoded.
    Blob(Zeroizing<Vec<u8>>),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A moment.
    Timestamp(Timestamp),
    /// Values of one shape.
    List(Vec<Field<'a>>),
    /// Strings by name.
    Map(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// Named members.
    Structure(Input<'a>),
}

impl<'a> Input<'a> {
    /// Brings the members of `value` to the types of `shape`.
    ///
    /// # Errors
    /// `SerializationException` if one of them has another type, is not base64, or is no moment.
    pub fn decode(shape: &'static [Member], value: Value<'a>) -> Result<Input<'a>> {
        let Value::Object(given) = value else { return Err(mismatch(&value, "Structure")) };
        let mut members = Vec::with_capacity(given.len().min(shape.len()));
        for (name, value) in given {
            let known = shape.iter().find(|member| member.name == name);
            if let Some(member) = known
                && value != Value::Null
            {
                members.push((member.name, decode(member.shape, value)?));
            }
        }
        Ok(Input { shape, members })
    }

    /// The members that the model has.
    pub(super) fn shape(&self) -> &'static [Member] {
        self.shape
    }

    /// The member `name`, if it was given.
    ///
    /// # Panics
    /// In debug builds, if the model has no such member: a mistake in the operation.
    pub fn get(&self, name: &str) -> Option<&Field<'a>> {
        debug_assert!(self.shape.iter().any(|member| member.name == name), "the model has no {name}");
        self.members.iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|field| match field {
            Field::Text(text) => text.as_ref(),
            _ => unexpected(name, "a string"),
        })
    }

    /// A string that the model requires.
    pub fn required_text(&self, name: &str) -> &str {
        self.text(name).unwrap_or_else(|| missing(name))
    }

    /// Bytes.
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(|field| match field {
            Field::Blob(bytes) => bytes.as_slice(),
            _ => unexpected(name, "bytes"),
        })
    }

    /// Bytes that the model requires.
    pub fn required_blob(&self, name: &str) -> &[u8] {
        self.blob(name).unwrap_or_else(|| missing(name))
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).map(|field| match field {
            Field::Integer(number) => *number,
            _ => unexpected(name, "a number"),
        })
    }

    /// A whole number that the model requires.
    pub fn required_integer(&self, name: &str) -> i64 {
        self.integer(name).unwrap_or_else(|| missing(name))
    }

    /// A truth value; `false` if it was not given.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|field| match field {
            Field::Boolean(value) => *value,
            _ => unexpected(name, "a truth value"),
        })
    }

    /// A moment.
    pub fn timestamp(&self, name: &str) -> Option<Timestamp> {
        self.get(name).map(|field| match field {
            Field::Timestamp(moment) => *moment,
            _ => unexpected(name, "a moment"),
        })
    }

    /// Values of one shape; none if it was not given.
    pub fn list(&self, name: &str) -> &[Field<'a>] {
        self.get(name).map_or(&[], |field| match field {
            Field::List(items) => items,
            _ => unexpected(name, "a list"),
        })
    }

    /// Strings; none if it was not given.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let text = |field: &Field<'_>| match field {
            Field::Text(text) => text.clone().into_owned(),
            _ => unexpected(name, "a list of strings"),
        };
        self.list(name).iter().map(text).collect()
    }

    /// Strings of bytes; none if it was not given.
    pub fn blobs(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.list(name).iter().map(move |field| match field {
            Field::Blob(bytes) => bytes.as_slice(),
            _ => unexpected(name, "a list of bytes"),
        })
    }

    /// Structures; none if it was not given.
    pub fn structures(&self, name: &str) -> impl Iterator<Item = &Input<'a>> {
        self.list(name).iter().map(move |field| match field {
            Field::Structure(input) => input,
            _ => unexpected(name, "a list of structures"),
        })
    }

    /// A structure.
    pub fn structure(&self, name: &str) -> Option<&Input<'a>> {
        self.get(name).map(|field| match field {
            Field::Structure(input) => input,
            _ => unexpected(name, "a structure"),
        })
    }

    /// Strings by name, as an encryption context.
    pub fn context(&self, name: &str) -> Option<EncryptionContext> {
        self.get(name).map(|field| match field {
            Field::Map(pairs) => pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect(),
            _ => unexpected(name, "a map"),
        })
    }
}

fn decode<'a>(shape: &'static Shape, value: Value<'a>) -> Result<Field<'a>> {
    Ok(match (shape, value) {
        (Shape::Text { .. } | Shape::Enum(_), Value::Text(text)) => Field::Text(text),
        (Shape::Blob { .. }, Value::Text(text)) => Field::Blob(bytes(&text)?),
        (Shape::Integer { .. }, Value::Integer(number)) => Field::Integer(number),
        (Shape::Boolean, Value::Boolean(value)) => Field::Boolean(value),
        (Shape::Timestamp, Value::Integer(seconds)) => Field::Timestamp(moment(seconds as f64)?),
        (Shape::Timestamp, Value::Number(seconds)) => Field::Timestamp(moment(seconds)?),
        (Shape::List { of, .. }, Value::List(items)) => {
            Field::List(items.into_iter().map(|item| decode(of, item)).collect::<Result<_>>()?)
        }
        (Shape::Map, Value::Object(pairs)) => Field::Map(
            pairs
                .into_iter()
                .map(|(key, value)| match value {
                    Value::Text(text) => Ok((key, text)),
                    other => Err(mismatch(&other, "String")),
                })
                .collect::<Result<_>>()?,
        ),
        (Shape::Structure(members), value @ Value::Object(_)) => {
            Field::Structure(Input::decode(members, value)?)
        }
        (shape, value) => return Err(mismatch(&value, name_of(shape))),
    })
}

fn bytes(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    match STANDARD.decode_slice(text, &mut bytes) {
        Ok(length) => {
            bytes.truncate(length);
            Ok(bytes)
        }
        Err(_) => Err(Error::serialization("A blob is not valid base64")),
    }
}

/// Milliseconds are what is kept; a double holds them for any year that a timestamp can have.
fn moment(seconds: f64) -> Result<Timestamp> {
    let millis = (seconds * 1000.0).round() as i128;
    OffsetDateTime::from_unix_timestamp_nanos(millis.saturating_mul(1_000_000))
        .map_err(|_| Error::serialization("A timestamp is out of range"))
}

/// A type that does not fit, in the words of AWS's services.
fn mismatch(value: &Value<'_>, wanted: &str) -> Error {
    let token = match value {
        Value::List(_) => return Error::serialization("Start of list found where not expected"),
        Value::Object(_) => {
            return Error::serialization("Start of structure or map found where not expected.");
        }
        Value::Null => "NULL_VALUE",
        Value::Boolean(true) => "TRUE_VALUE",
        Value::Boolean(false) => "FALSE_VALUE",
        Value::Integer(_) => "NUMBER_VALUE",
        Value::Number(_) => "DECIMAL_VALUE",
        Value::Text(_) => "STRING_VALUE",
    };
    Error::serialization(format!("{token} cannot be converted to {wanted}"))
}

fn name_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text { .. } | Shape::Enum(_) => "String",
        Shape::Blob { .. } => "Blob",
        Shape::Integer { .. } => "Integer",
        Shape::Boolean => "Boolean",
        Shape::Timestamp => "Timestamp",
        Shape::List { .. } => "List",
        Shape::Map => "Map",
        Shape::Structure(_) => "Structure",
    }
}

fn missing(name: &str) -> ! {
    panic!("{name} is required by the model, and requests are held against it first")
}

fn unexpected(name: &str, wanted: &str) -> ! {
    panic!("the model does not have {name} as {wanted}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::api::model::testing::EVERY_SHAPE;

    fn decoded(document: &str) -> Result<Input<'_>> {
        Input::decode(EVERY_SHAPE, Value::parse(document.as_bytes())?)
    }

    #[test]
    fn members_come_in_their_types() {
        let input = decoded(
            r#"{"Text":"t","Choice":"A","Blob":"AQI=","Number":7,"Flag":true,"Date":1.25,
                "Names":["x","y"],"Context":{"k":"v"},"Inner":{"Text":"i"},"Tags":[{"Text":"j"}]}"#,
        )
        .unwrap();
        assert_eq!((input.required_text("Text"), input.text("Choice")), ("t", Some("A")));
        assert_eq!((input.required_blob("Blob"), input.integer("Number")), (&[1, 2][..], Some(7)));
        assert!(input.flag("Flag"));
        assert_eq!(input.timestamp("Date").unwrap().unix_timestamp_nanos(), 1_250_000_000);
        assert_eq!(input.texts("Names"), ["x", "y"]);
        assert_eq!(input.context("Context").unwrap().pairs().collect::<Vec<_>>(), [("k", "v")]);
        assert_eq!(input.structure("Inner").unwrap().text("Text"), Some("i"));
        assert_eq!(input.structures("Tags").next().unwrap().text("Text"), Some("j"));
    }

    #[test]
    fn unknown_members_and_nulls_are_as_if_not_given() {
        let input = decoded(r#"{"Blob":null,"Whatever":[[{"x":1}]],"text":"no"}"#).unwrap();
        assert_eq!((input.blob("Blob"), input.text("Text"), input.flag("Flag")), (None, None, false));
        assert!(input.texts("Names").is_empty());
    }

    #[test]
    fn other_types_are_refused_in_aws_words() {
        for (document, message) in [
            (r#"{"Text":1}"#, "NUMBER_VALUE cannot be converted to String"),
            (r#"{"Choice":true}"#, "TRUE_VALUE cannot be converted to String"),
            (r#"{"Number":"1"}"#, "STRING_VALUE cannot be converted to Integer"),
            (r#"{"Number":1.0}"#, "DECIMAL_VALUE cannot be converted to Integer"),
            (r#"{"Number":99999999999999999999}"#, "DECIMAL_VALUE cannot be converted to Integer"),
            (r#"{"Flag":"true"}"#, "STRING_VALUE cannot be converted to Boolean"),
            (r#"{"Date":"2026-01-01"}"#, "STRING_VALUE cannot be converted to Timestamp"),
            (r#"{"Date":1e300}"#, "A timestamp is out of range"),
            (r#"{"Blob":"A"}"#, "A blob is not valid base64"),
            (r#"{"Blob":"AQI"}"#, "A blob is not valid base64"),
            (r#"{"Blob":"_-8="}"#, "A blob is not valid base64"),
            (r#"{"Blob":[1]}"#, "Start of list found where not expected"),
            (r#"{"Names":{}}"#, "Start of structure or map found where not expected."),
            (r#"{"Names":[null]}"#, "NULL_VALUE cannot be converted to String"),
            (r#"{"Context":{"k":null}}"#, "NULL_VALUE cannot be converted to String"),
            (r#"{"Context":[]}"#, "Start of list found where not expected"),
            ("[]", "Start of list found where not expected"),
            ("7", "NUMBER_VALUE cannot be converted to Structure"),
        ] {
            let error = decoded(document).unwrap_err();
            assert_eq!((error.name(), error.message()), ("SerializationException", message), "{document}");
        }
    }
}
