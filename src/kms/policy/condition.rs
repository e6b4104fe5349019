//! `Condition`: what else must hold of a request.
//!
//! A block is `{operator: {key: value or [values]}}`. All operators and all keys of a block must hold; of several values
//! one must, and under a negated operator none may be the request's. How keys with many values in the request are
//! compared says the part before the operator:
//!
//! | | the request's values |
//! |---|---|
//! | (nothing) | at least one must be as wanted; under a negated operator, all |
//! | `ForAnyValue:` | at least one must be as wanted |
//! | `ForAllValues:` | all must be as wanted; none at all is all |
//!
//! A request without the key is not as a plain operator wants it, but as a negated one does, and as `…IfExists` does.
//! `IfExists` means nothing to `ForAnyValue`, as AWS answers in practice: without a value there is not any value.

use super::json::Json;
use super::key;
use super::operator::{Operand, Operator, boolean};
use super::{Attributes, Malformed};

/// One operator on one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    key: String,
    test: Test,
}

/// Floating-point operands are finite, so that every condition equals itself.
impl Eq for Condition {}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// `Null`: whether the key must be absent.
    Absent(bool),
    Values {
        quantifier: Quantifier,
        negated: bool,
        if_exists: bool,
        operands: Vec<Operand>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Plain,
    Any,
    All,
}

impl Condition {
    /// Reads a block.
    ///
    /// # Errors
    /// [`Malformed`]
    pub(super) fn parse_block(block: &Json, variables: bool) -> Result<Vec<Condition>, Malformed> {
        let Json::Object(operators) = block else {
            return Err(Malformed::new("Condition must be an object"));
        };
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let Json::Object(keys) = keys else {
                return Err(Malformed::new(format_args!("Condition: {operator} must be an object")));
            };
            for (key, values) in keys {
                let test = Test::parse(operator, &texts(key, values)?, variables)?;
                conditions.push(Condition { key: key::lower(key)?, test });
            }
        }
        Ok(conditions)
    }

    /// Whether it holds of a request.
    pub(super) fn holds(&self, attributes: &dyn Attributes) -> bool {
        let values = attributes.values(&self.key);
        let (quantifier, negated, if_exists, operands) = match &self.test {
            Test::Absent(absent) => return values.is_none() == *absent,
            Test::Values { quantifier, negated, if_exists, operands } => {
                (*quantifier, *negated, *if_exists, operands)
            }
        };
        let wanted =
            |value: &str| operands.iter().any(|operand| operand.accepts(value, attributes)) != negated;
        let Some(values) = values else {
            return match quantifier {
                Quantifier::All => true,
                Quantifier::Any => false,
                Quantifier::Plain => negated || if_exists,
            };
        };
        let mut each = values.iter().map(|value| wanted(value));
        match quantifier {
            Quantifier::All => each.all(|wanted| wanted),
            Quantifier::Plain if negated => each.all(|wanted| wanted),
            Quantifier::Any | Quantifier::Plain => each.any(|wanted| wanted),
        }
    }
}

impl Test {
    fn parse(name: &str, values: &[String], variables: bool) -> Result<Test, Malformed> {
        let unknown = || Malformed::new(format_args!("'{name}' is no operator of conditions"));
        if name == "Null" {
            let [value] = values else { return Err(Malformed::new("Null takes one value, true or false")) };
            let absent = boolean(value).ok_or_else(|| Malformed::new("Null takes true or false"))?;
            return Ok(Test::Absent(absent));
        }
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return Err(unknown()),
            None => (Quantifier::Plain, name),
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (operator, negated) = Operator::find(rest).ok_or_else(unknown)?;
        let operands =
            values.iter().map(|value| operator.operand(value, variables)).collect::<Result<_, _>>()?;
        Ok(Test::Values { quantifier, negated, if_exists, operands })
    }
}

/// The values of a key, as text: a number or boolean may stand without quotes.
fn texts(key: &str, values: &Json) -> Result<Vec<String>, Malformed> {
    let one = |value: &Json| match value {
        Json::Text(text) => Ok(text.clone()),
        Json::Bool(value) => Ok(value.to_string()),
        Json::Number(value) => Ok(value.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => Err(Malformed::new(format_args!(
            "Condition: a value of {key} must be a string, number or boolean"
        ))),
    };
    match values {
        Json::List(list) if list.is_empty() => {
            Err(Malformed::new(format_args!("Condition: {key} has no value")))
        }
        Json::List(list) => list.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}
