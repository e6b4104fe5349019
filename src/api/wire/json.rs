//! Reading JSON strictly: one document, UTF-8, no member twice, nesting bounded.
//!
//! JSON leaves open which of two members of one name counts; whatever signs, logs or proxies a request might
//! choose the other one. Nesting is bounded by serde_json (128 levels), so a hostile document cannot
//! exhaust the stack.

use crate::api::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A JSON value; strings without escapes are borrowed from the document.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number without fraction and exponent that fits.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object: its members in their order, each name once.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads a whole document. An empty one counts as `{}`: the protocol has servers accept either.
    ///
    /// # Errors
    /// `SerializationException`, with the place and never the content.
    pub fn parse(document: &'a [u8]) -> Result<Value<'a>> {
        if document.is_empty() {
            return Ok(Value::Object(Vec::new()));
        }
        let mut reader = serde_json::Deserializer::from_slice(document);
        let value = Value::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        value.map_err(|error| Error::serialization(format!("The request is not valid JSON: {error}")))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Value<'a>, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Number(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = entries.next_key()? {
            members.push((name, entries.next_value()?));
        }
        if has_duplicates(&members) {
            return Err(serde::de::Error::custom("a member appears twice"));
        }
        Ok(Value::Object(members))
    }
}

fn has_duplicates(members: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The name of a member, borrowed where it has no escapes (serde's own `Cow` is always owned).
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Name<'a>, D::Error> {
        struct NameReader;
        impl<'de> Visitor<'de> for NameReader {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_str<E>(self, name: &str) -> std::result::Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> std::result::Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
        }
        deserializer.deserialize_str(NameReader)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(document: &[u8]) -> String {
        let error = Value::parse(document).unwrap_err();
        assert_eq!(error.name(), "SerializationException");
        error.message().to_owned()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let document = br#"{"a":null,"b":true,"c":-3,"d":1.5,"e":"x","f":[1,"\u00e4"],"g":{}}"#;
        let Value::Object(members) = Value::parse(document).unwrap() else { panic!("an object") };
        let values: Vec<_> = members.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values[..4], [Value::Null, Value::Boolean(true), Value::Integer(-3), Value::Number(1.5)]);
        assert_eq!(values[4], Value::Text("x".into()));
        assert_eq!(values[5], Value::List(vec![Value::Integer(1), Value::Text("ä".into())]));
        assert_eq!(values[6], Value::Object(vec![]));
        assert_eq!(Value::parse(b"").unwrap(), Value::Object(vec![]));
        assert_eq!(Value::parse(b"18446744073709551615").unwrap(), Value::Number(u64::MAX as f64));
    }

    #[test]
    fn strings_without_escapes_are_not_copied() {
        let Value::Object(members) = Value::parse(br#"{"a":"b","\u0061b":"c\n"}"#).unwrap() else { panic!() };
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        assert!(borrowed(&members[0].0) && !borrowed(&members[1].0));
        assert!(matches!(&members[0].1, Value::Text(Cow::Borrowed("b"))));
        assert!(matches!(&members[1].1, Value::Text(Cow::Owned(_))));
    }

    #[test]
    fn a_member_may_not_appear_twice() {
        assert!(refused(br#"{"KeyId":"a","KeyId":"b"}"#).contains("twice"));
        assert!(refused(br#"{"Key\u0049d":"a","KeyId":"a"}"#).contains("twice"));
        assert!(refused(br#"{"a":{"b":1,"b":1}}"#).contains("twice"));
    }

    #[test]
    fn nesting_is_bounded() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes();
            assert!(Value::parse(&nested(100)).is_ok());
            assert!(refused(&nested(10_000)).contains("recursion"));
            assert!(refused(open.repeat(100_000).as_bytes()).contains("recursion"));
        }
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        for document in [
            &b"{"[..],
            b"{}{}",
            b"{} x",
            b"nul",
            b"{'a':1}",
            b"{a:1}",
            b"[1,]",
            b"\"\xff\"",
            b"{\"\xc3(\":1}",
            b"\"\\ud800\"",
            b"\"\x01\"",
            b"1e999",
            b"NaN",
            b"\xef\xbb\xbf{}",
        ] {
            refused(document);
        }
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(document in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::parse(&document);
        }
    }
}
