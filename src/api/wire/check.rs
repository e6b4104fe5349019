//! Holds a request against the model's bounds, and says what is wrong in AWS's words.
//!
//! AWS reports all that it finds at once: `2 validation errors detected: Value '' at 'keyId' failed to satisfy
//! constraint: Member must have length greater than or equal to 1; Value null at 'plaintext' failed to satisfy
//! constraint: Member must not be null`. Clients and their tests compare these texts.

use super::input::{Field, Input};
use crate::api::error::{Error, Result};
use crate::api::model::{ANY, Shape};

/// Checks every member of a request.
///
/// # Errors
/// `ValidationException` with all that is wrong, in the order of the model's members.
pub fn check(input: &Input<'_>) -> Result<()> {
    let mut problems = Vec::new();
    check_members(input, "", &mut problems);
    match problems.len() {
        0 => Ok(()),
        count => {
            let plural = if count == 1 { "" } else { "s" };
            let all = problems.join("; ");
            Err(Error::new(
                "ValidationException",
                format!("{count} validation error{plural} detected: {all}"),
            ))
        }
    }
}

fn check_members(input: &Input<'_>, above: &str, problems: &mut Vec<String>) {
    for member in input.shape() {
        let field = input.get(member.name);
        if field.is_none() && !member.required {
            continue;
        }
        let path = format!("{above}{}", lower_first(member.name));
        match field {
            Some(field) => check_field(member.shape, field, &path, problems),
            None => problems.push(problem("Value null", &path, "Member must not be null")),
        }
    }
}

fn check_field(shape: &Shape, field: &Field<'_>, path: &str, problems: &mut Vec<String>) {
    let broken = broken_constraints(shape, field);
    if !broken.is_empty() {
        let value = shown(shape, field);
        problems.extend(broken.iter().map(|constraint| problem(&value, path, constraint)));
    }
    match (shape, field) {
        (_, Field::Structure(inner)) => check_members(inner, &format!("{path}."), problems),
        (Shape::List { of: of @ Shape::Structure(_), .. }, Field::List(items)) => {
            for (at, item) in (1..).zip(items) {
                check_field(of, item, &format!("{path}.{at}.member"), problems);
            }
        }
        _ => {}
    }
}

/// The constraints that the value itself breaks; those of members of structures are not among them.
fn broken_constraints(shape: &Shape, field: &Field<'_>) -> Vec<String> {
    match (shape, field) {
        (Shape::Text { min, max, pattern }, Field::Text(text)) => {
            let mut broken = outside(text.chars().count(), *min, *max, "length");
            if let Some(pattern) = pattern
                && !pattern.matches(text)
            {
                broken.push(regular_expression(pattern.text));
            }
            broken
        }
        (Shape::Enum(values), Field::Text(text)) if !values.contains(&text.as_ref()) => vec![one_of(values)],
        (Shape::Blob { min, max, .. }, Field::Blob(bytes)) => outside(bytes.len(), *min, *max, "length"),
        (Shape::Integer { min, max }, Field::Integer(number)) => outside(*number, *min, *max, "value"),
        (Shape::List { of, min, max }, Field::List(items)) => {
            let mut broken = outside(items.len(), *min, *max, "length");
            if items.iter().any(|item| !broken_constraints(of, item).is_empty()) {
                // About items, AWS recites all that holds for them, not what this one broke.
                broken.push(format!("Member must satisfy constraint: [{}]", constraints(of).join(", ")));
            }
            broken
        }
        _ => Vec::new(),
    }
}

fn outside<T: PartialOrd + std::fmt::Display>(value: T, min: T, max: T, what: &str) -> Vec<String> {
    match () {
        () if value < min => vec![at_least(min, what)],
        () if value > max => vec![at_most(max, what)],
        () => Vec::new(),
    }
}

/// All constraints of a simple shape.
fn constraints(shape: &Shape) -> Vec<String> {
    match shape {
        Shape::Text { min, max, pattern } => {
            let mut all = Vec::new();
            if *max != ANY {
                all.extend([at_most(*max, "length"), at_least(*min, "length")]);
            }
            all.extend(pattern.map(|pattern| regular_expression(pattern.text)));
            all
        }
        Shape::Enum(values) => vec![one_of(values)],
        _ => Vec::new(),
    }
}

fn at_least(bound: impl std::fmt::Display, what: &str) -> String {
    format!("Member must have {what} greater than or equal to {bound}")
}

fn at_most(bound: impl std::fmt::Display, what: &str) -> String {
    format!("Member must have {what} less than or equal to {bound}")
}

fn regular_expression(text: &str) -> String {
    format!("Member must satisfy regular expression pattern: {text}")
}

fn one_of(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

fn problem(value: &str, path: &str, constraint: &str) -> String {
    format!("{value} at '{path}' failed to satisfy constraint: {constraint}")
}

/// `Value '…'` as AWS shows it: nothing of what is secret, of other bytes only how many they are.
fn shown(shape: &Shape, field: &Field<'_>) -> String {
    match (shape, field) {
        (Shape::Blob { sensitive: true, .. }, _) => "Value".to_owned(),
        _ => format!("Value '{}'", plain(field)),
    }
}

fn plain(field: &Field<'_>) -> String {
    match field {
        Field::Text(text) => text.clone().into_owned(),
        Field::Integer(number) => number.to_string(),
        Field::Blob(bytes) => {
            let n = bytes.len();
            format!("java.nio.HeapByteBuffer[pos=0 lim={n} cap={n}]")
        }
        Field::List(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Field::Boolean(_) | Field::Timestamp(_) | Field::Map(_) | Field::Structure(_) => String::new(),
    }
}

/// `KeyId` → `keyId`: AWS's messages have members as its Java code does.
fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::json::Value;
    use super::*;
    use crate::api::model::testing::EVERY_SHAPE;

    fn message(document: &str) -> String {
        let value = Value::parse(document.as_bytes()).unwrap();
        let error = check(&Input::decode(EVERY_SHAPE, value).unwrap()).unwrap_err();
        assert_eq!(error.name(), "ValidationException");
        error.message().to_owned()
    }

    const FAILED: &str = "failed to satisfy constraint: Member must";

    #[test]
    fn a_good_request_passes() {
        let good = r#"{"Text":"t","Choice":"A","Blob":"AQI=","Number":7,"Names":["x"],
                       "Inner":{"Text":"i"},"Tags":[{"Text":"j"}]}"#;
        check(&Input::decode(EVERY_SHAPE, Value::parse(good.as_bytes()).unwrap()).unwrap()).unwrap();
    }

    #[test]
    fn each_constraint_has_aws_words() {
        for (members, value, path, constraint) in [
            (r#""Text":"""#, "Value ''", "text", "have length greater than or equal to 1"),
            (r#""Text":"äbcdef""#, "Value 'äbcdef'", "text", "have length less than or equal to 5"),
            (r#""Text":"t","Choice":"a""#, "Value 'a'", "choice", "satisfy enum value set: [A, B]"),
            (r#""Text":"t","Secret":"""#, "Value", "secret", "have length greater than or equal to 1"),
            (r#""Text":"t","Number":0"#, "Value '0'", "number", "have value greater than or equal to 1"),
            (r#""Text":"t","Number":11"#, "Value '11'", "number", "have value less than or equal to 10"),
            (
                r#""Text":"t","Names":["x","y","z"]"#,
                "Value '[x, y, z]'",
                "names",
                "have length less than or equal to 2",
            ),
            (r#""Text":"t","Inner":{}"#, "Value null", "inner.text", "not be null"),
            (
                r#""Text":"t","Tags":[{"Text":"j"},{"Text":""}]"#,
                "Value ''",
                "tags.2.member.text",
                "have length greater than or equal to 1",
            ),
            (
                r#""Text":"t","Alias":"a b""#,
                "Value 'a b'",
                "alias",
                "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
            ),
            (
                r#""Text":"t","Blob":"AQID""#,
                "Value 'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]'",
                "blob",
                "have length less than or equal to 2",
            ),
            (
                r#""Text":"t","Names":["x",""]"#,
                "Value '[x, ]'",
                "names",
                "satisfy constraint: [Member must have length less than or equal to 5, \
                 Member must have length greater than or equal to 1]",
            ),
        ] {
            assert_eq!(
                message(&format!("{{{members}}}")),
                format!("1 validation error detected: {value} at '{path}' {FAILED} {constraint}")
            );
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        assert_eq!(
            message(r#"{"Number":0,"Choice":"C"}"#),
            format!(
                "3 validation errors detected: Value null at 'text' {FAILED} not be null; \
                 Value 'C' at 'choice' {FAILED} satisfy enum value set: [A, B]; \
                 Value '0' at 'number' {FAILED} have value greater than or equal to 1"
            )
        );
    }
}
