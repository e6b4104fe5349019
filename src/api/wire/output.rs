//! Writing an answer.
//!
//! Answers carry plaintexts, so their buffer is zeroed when it is dropped and when it moves. What is written is
//! held against the model in debug builds: an operation that answers with a member, a type or a value that AWS's
//! clients do not know fails its tests.

use crate::api::model::{Member, Shape};
use crate::kms::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::convert::Infallible;
use std::io::Write;
use zeroize::Zeroizing;

/// The body of an answer in the making.
#[derive(Debug)]
pub struct Output {
    buffer: Zeroizing<Vec<u8>>,
}

impl Output {
    /// The document of the members that `write` writes. `shape` is what the model has for it.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn document<E>(
        shape: &'static [Member],
        write: impl FnOnce(&mut Object<'_>) -> Result<(), E>,
    ) -> Result<Zeroizing<Vec<u8>>, E> {
        const TYPICAL: usize = 1024;
        let mut output = Output { buffer: Zeroizing::new(Vec::with_capacity(TYPICAL)) };
        output.object(shape, write)?;
        Ok(output.buffer)
    }

    /// An object with the members of `shape`.
    fn object<E>(
        &mut self,
        shape: &'static [Member],
        write: impl FnOnce(&mut Object<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.raw(b"{");
        write(&mut Object { output: self, shape, empty: true })?;
        self.raw(b"}");
        Ok(())
    }

    /// A structure inside of another.
    fn structure(&mut self, shape: &'static Shape, write: impl FnOnce(&mut Object<'_>)) {
        let members: &[Member] = match shape {
            Shape::Structure(members) => members,
            _ => &[],
        };
        let Ok(()) = self.object(members, |object| {
            write(object);
            Ok::<_, Infallible>(())
        });
    }

    /// Appends bytes. A buffer that is too small is copied by hand, so that the old one is zeroed.
    fn raw(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.buffer.capacity())));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(self, text).expect("a string is written to memory");
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        write!(self, "{number}").expect("a number is written to memory");
    }

    fn base64(&mut self, bytes: &[u8]) {
        let length = base64::encoded_len(bytes.len(), true).expect("an answer fits into memory");
        self.raw(b"\"");
        self.reserve(length + 1);
        let at = self.buffer.len();
        self.buffer.resize(at + length, 0);
        let written = STANDARD.encode_slice(bytes, &mut self.buffer[at..]);
        debug_assert_eq!(written, Ok(length));
        self.raw(b"\"");
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An object in the making.
#[derive(Debug)]
pub struct Object<'o> {
    output: &'o mut Output,
    shape: &'static [Member],
    empty: bool,
}

impl Object<'_> {
    /// A string, or one of an enumeration.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name, |shape| match shape {
            Shape::Text { .. } => true,
            Shape::Enum(values) => values.contains(&value),
            _ => false,
        });
        self.output.string(value);
    }

    /// Bytes.
    pub fn blob(&mut self, name: &str, value: &[u8]) {
        self.name(name, |shape| matches!(shape, Shape::Blob { .. }));
        self.output.base64(value);
    }

    /// A whole number.
    pub fn integer(&mut self, name: &str, value: impl Into<i64>) {
        self.name(name, |shape| matches!(shape, Shape::Integer { .. }));
        self.output.number(value.into());
    }

    /// A truth value.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.name(name, |shape| matches!(shape, Shape::Boolean));
        self.output.raw(if value { b"true" } else { b"false" });
    }

    /// A moment: seconds since 1970, to the millisecond, as AWS sends it.
    pub fn timestamp(&mut self, name: &str, value: Timestamp) {
        self.name(name, |shape| matches!(shape, Shape::Timestamp));
        let millis = value.unix_timestamp_nanos() / 1_000_000;
        let sign = if millis < 0 { "-" } else { "" };
        let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
        match rest {
            0 => self.output.number(format_args!("{sign}{seconds}")),
            _ => self.output.number(format_args!("{sign}{seconds}.{rest:03}")),
        }
    }

    /// Strings.
    pub fn texts<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) {
        let of = self.list(name);
        let mut separator: &[u8] = b"[";
        for value in values {
            debug_assert!(
                matches!(of, Shape::Text { .. })
                    || matches!(of, Shape::Enum(known) if known.contains(&value)),
                "the model has no {value} in {name}"
            );
            self.output.raw(separator);
            self.output.string(value);
            separator = b",";
        }
        self.output.raw(if separator == b"[" { b"[]" } else { b"]" });
    }

    /// Strings by name.
    pub fn pairs<'t>(&mut self, name: &str, pairs: impl IntoIterator<Item = (&'t str, &'t str)>) {
        self.name(name, |shape| matches!(shape, Shape::Map));
        let mut separator: &[u8] = b"{";
        for (key, value) in pairs {
            self.output.raw(separator);
            self.output.string(key);
            self.output.raw(b":");
            self.output.string(value);
            separator = b",";
        }
        self.output.raw(if separator == b"{" { b"{}" } else { b"}" });
    }

    /// A structure.
    pub fn structure(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        let shape = self.name(name, |shape| matches!(shape, Shape::Structure(_)));
        self.output.structure(shape, write);
    }

    /// Structures, one for each of `items`.
    pub fn structures<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Object<'_>, T),
    ) {
        let of = self.list(name);
        let mut separator: &[u8] = b"[";
        for item in items {
            self.output.raw(separator);
            self.output.structure(of, |object| write(object, item));
            separator = b",";
        }
        self.output.raw(if separator == b"[" { b"[]" } else { b"]" });
    }

    /// Begins the list `name`, and gives the shape of its items.
    fn list(&mut self, name: &str) -> &'static Shape {
        match self.name(name, |shape| matches!(shape, Shape::List { .. })) {
            Shape::List { of, .. } => of,
            other => other,
        }
    }

    /// Begins the member `name`, and gives its shape.
    fn name(&mut self, name: &str, fits: impl FnOnce(&Shape) -> bool) -> &'static Shape {
        let member = self.shape.iter().find(|member| member.name == name);
        let member = member.unwrap_or_else(|| panic!("the model has no {name} here"));
        debug_assert!(fits(member.shape), "{name} is not what the model says");
        self.output.raw(if self.empty { b"\"" } else { b",\"" });
        self.output.raw(name.as_bytes());
        self.output.raw(b"\":");
        self.empty = false;
        member.shape
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::api::model::testing::EVERY_SHAPE;
    use time::OffsetDateTime;

    fn written(write: impl FnOnce(&mut Object<'_>)) -> String {
        let document = Output::document(EVERY_SHAPE, |object| {
            write(object);
            Ok::<_, Infallible>(())
        });
        String::from_utf8(document.unwrap().to_vec()).unwrap()
    }

    fn moment(millis: i128) -> Timestamp {
        OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap()
    }

    #[test]
    fn every_kind_of_member_is_written() {
        let text = written(|o| {
            o.text("Text", "a\"\n\u{1}ä");
            o.text("Choice", "A");
            o.blob("Blob", &[1, 2]);
            o.integer("Number", 7);
            o.flag("Flag", false);
            o.timestamp("Date", moment(1_250));
            o.texts("Names", ["x", "y"]);
            o.pairs("Context", [("k", "\"")]);
            o.structure("Inner", |inner| inner.text("Text", "i"));
            o.structures("Tags", ["j", "k"], |tag, text| tag.text("Text", text));
        });
        assert_eq!(
            text,
            r#"{"Text":"a\"\n\u0001ä","Choice":"A","Blob":"AQI=","Number":7,"Flag":false,"Date":1.250,"#
                .to_owned()
                + r#""Names":["x","y"],"Context":{"k":"\""},"Inner":{"Text":"i"},"Tags":[{"Text":"j"},{"Text":"k"}]}"#
        );
    }

    #[test]
    fn what_is_empty_is_still_json() {
        let nothing: [&str; 0] = [];
        let text = written(|o| {
            o.texts("Names", nothing);
            o.pairs("Context", []);
            o.structures("Tags", nothing, |_, _| {});
            o.blob("Blob", &[]);
        });
        assert_eq!(text, r#"{"Names":[],"Context":{},"Tags":[],"Blob":""}"#);
        assert_eq!(written(|_| {}), "{}");
    }

    #[test]
    fn moments_keep_their_milliseconds() {
        for (millis, text) in [(0, "0"), (1_000, "1"), (1_001, "1.001"), (-1, "-0.001"), (-1_500, "-1.500")] {
            assert_eq!(written(|o| o.timestamp("Date", moment(millis))), format!(r#"{{"Date":{text}}}"#));
        }
    }

    #[test]
    fn long_answers_outgrow_their_buffer() {
        let bytes = vec![7; 100_000];
        let text = written(|o| o.blob("Blob", &bytes));
        assert_eq!(text, format!(r#"{{"Blob":"{}"}}"#, STANDARD.encode(&bytes)));
    }

    #[test]
    #[should_panic(expected = "not what the model says")]
    fn a_value_that_the_model_does_not_know_is_a_mistake() {
        written(|o| o.text("Choice", "C"));
    }
}
