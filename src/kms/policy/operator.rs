//! The operators of conditions, applied to one value of a request and one value of a policy.

use super::pattern::Pattern;
use super::{Attributes, Malformed};
use std::net::IpAddr;
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

/// What an operator compares with; parsed once, with the policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `StringEquals`, `StringLike`
    Text(Pattern),
    /// `StringEqualsIgnoreCase`
    AnyCase(Pattern),
    /// `ArnEquals`, `ArnLike`
    Arn(Pattern),
    /// `Bool`
    Bool(bool),
    /// `Numeric…`
    Number(Order, f64),
    /// `Date…`
    Date(Order, OffsetDateTime),
    /// `IpAddress`
    Network { address: IpAddr, prefix: u8 },
}

/// How a request's number or date must lie to a policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Order::Equal => value == bound,
            Order::Less => value < bound,
            Order::LessOrEqual => value <= bound,
            Order::Greater => value > bound,
            Order::GreaterOrEqual => value >= bound,
        }
    }
}

/// An operator, without what stands before (`ForAllValues:`) and after (`IfExists`) it, and without its `Not`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Arn,
    Bool,
    Numeric(Order),
    Date(Order),
    IpAddress,
}

impl Operator {
    /// The operator of this name, and whether it is negated.
    pub(super) fn find(name: &str) -> Option<(Operator, bool)> {
        use Operator::*;
        use Order::*;
        Some(match name {
            "StringEquals" => (StringEquals, false),
            "StringNotEquals" => (StringEquals, true),
            "StringEqualsIgnoreCase" => (StringEqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (StringEqualsIgnoreCase, true),
            "StringLike" => (StringLike, false),
            "StringNotLike" => (StringLike, true),
            "ArnEquals" | "ArnLike" => (Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Arn, true),
            "Bool" => (Bool, false),
            "NumericEquals" => (Numeric(Equal), false),
            "NumericNotEquals" => (Numeric(Equal), true),
            "NumericLessThan" => (Numeric(Less), false),
            "NumericLessThanEquals" => (Numeric(LessOrEqual), false),
            "NumericGreaterThan" => (Numeric(Greater), false),
            "NumericGreaterThanEquals" => (Numeric(GreaterOrEqual), false),
            "DateEquals" => (Date(Equal), false),
            "DateNotEquals" => (Date(Equal), true),
            "DateLessThan" => (Date(Less), false),
            "DateLessThanEquals" => (Date(LessOrEqual), false),
            "DateGreaterThan" => (Date(Greater), false),
            "DateGreaterThanEquals" => (Date(GreaterOrEqual), false),
            "IpAddress" => (IpAddress, false),
            "NotIpAddress" => (IpAddress, true),
            _ => return None,
        })
    }

    /// Reads a value of the policy.
    ///
    /// # Errors
    /// It is not of the operator's type.
    pub(super) fn operand(self, text: &str, variables: bool) -> Result<Operand, Malformed> {
        let wrong = |what: &str| Malformed::new(format_args!("'{text}' is no {what}"));
        Ok(match self {
            Operator::StringEquals => Operand::Text(Pattern::literal(text, variables)?),
            Operator::StringLike => Operand::Text(Pattern::parse(text, variables)?),
            Operator::StringEqualsIgnoreCase => Operand::AnyCase(Pattern::literal(text, variables)?),
            Operator::Arn => Operand::Arn(Pattern::parse(text, variables)?),
            Operator::Bool => Operand::Bool(boolean(text).ok_or_else(|| wrong("boolean"))?),
            Operator::Numeric(order) => Operand::Number(order, number(text).ok_or_else(|| wrong("number"))?),
            Operator::Date(order) => Operand::Date(order, date(text).ok_or_else(|| wrong("date"))?),
            Operator::IpAddress => {
                let (address, prefix) = network(text).ok_or_else(|| wrong("IP address or network"))?;
                Operand::Network { address, prefix }
            }
        })
    }
}

impl Operand {
    /// Whether a value of the request is as the policy wants it. A value of another type is not.
    pub(super) fn accepts(&self, value: &str, attributes: &dyn Attributes) -> bool {
        match self {
            Operand::Text(pattern) => pattern.matches(value, attributes),
            Operand::AnyCase(pattern) => pattern.matches_any_case(value, attributes),
            Operand::Arn(pattern) => pattern.matches_arn(value, attributes),
            Operand::Bool(wanted) => boolean(value) == Some(*wanted),
            Operand::Number(order, bound) => number(value).is_some_and(|value| order.holds(&value, bound)),
            Operand::Date(order, bound) => date(value).is_some_and(|value| order.holds(&value, bound)),
            Operand::Network { address, prefix } => {
                value.parse().is_ok_and(|value: IpAddr| is_within(value, *address, *prefix))
            }
        }
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match () {
        () if text.eq_ignore_ascii_case("true") => Some(true),
        () if text.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// ISO 8601, or seconds since 1970.
fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(seconds) = text.parse() {
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    match text.len() {
        10 => OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Iso8601::DEFAULT).ok(),
        _ => OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok(),
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(bits);
    (prefix <= bits).then_some((address, prefix))
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let differ = match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    prefix == 0 || differ >> (128 - u32::from(prefix)) == 0
}
