//! `Principal` and `NotPrincipal`: whom a statement is about.

use super::json::Json;
use super::{Malformed, Request};

/// How a statement is about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is not.
    Nobody,
    /// It names the principal's account, whose identity policies decide.
    ThroughAccount,
    /// It names the principal, or everybody.
    Directly,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principals {
    /// Whoever the policy hangs on.
    Holder,
    /// Those named.
    Named(Vec<Named>),
    /// All but those named.
    Except(Vec<Named>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Everybody,
    /// An account, by its twelve digits.
    Account(String),
    /// A user, a role or a session of a role, by ARN.
    Arn(String),
    /// A service of AWS, which is never who asks here.
    Elsewhere,
}

impl Principals {
    /// Reads the value of `Principal`, or of `NotPrincipal` if `negated`.
    pub(super) fn parse(value: &Json, negated: bool) -> Result<Principals, Malformed> {
        let named = match value {
            Json::Text(text) if text == "*" => vec![Named::Everybody],
            Json::Object(members) if !members.is_empty() => {
                let mut named = Vec::new();
                for (kind, value) in members {
                    named.extend(of_kind(kind, value)?);
                }
                named
            }
            _ => return Err(Malformed::new("Principal must be \"*\" or an object such as {\"AWS\": ARN}")),
        };
        Ok(if negated { Principals::Except(named) } else { Principals::Named(named) })
    }

    /// The ARNs among them.
    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        let named: &[Named] = match self {
            Principals::Holder => &[],
            Principals::Named(named) | Principals::Except(named) => named,
        };
        named.iter().filter_map(|named| match named {
            Named::Arn(arn) => Some(arn.as_str()),
            Named::Everybody | Named::Account(_) | Named::Elsewhere => None,
        })
    }

    /// How they are about who asks.
    pub(super) fn reach(&self, request: &Request<'_>) -> Reach {
        match self {
            Principals::Holder => Reach::Directly,
            Principals::Named(named) => {
                let reaches = || named.iter().map(|named| named.reach(request));
                if reaches().any(|reach| reach == Reach::Directly) {
                    Reach::Directly
                } else if reaches().any(|reach| reach == Reach::ThroughAccount) {
                    Reach::ThroughAccount
                } else {
                    Reach::Nobody
                }
            }
            Principals::Except(named) => match named.iter().any(|named| named.excepts(request)) {
                true => Reach::Nobody,
                false => Reach::Directly,
            },
        }
    }
}

impl Named {
    fn reach(&self, request: &Request<'_>) -> Reach {
        match self {
            Named::Everybody => Reach::Directly,
            Named::Account(account) if account == request.account => Reach::ThroughAccount,
            Named::Arn(arn) if arn == request.principal || Some(arn.as_str()) == request.session => {
                Reach::Directly
            }
            Named::Account(_) | Named::Arn(_) | Named::Elsewhere => Reach::Nobody,
        }
    }

    /// Whether naming this takes who asks out of a `NotPrincipal`. An account there stands for its root alone, so that
    /// the exception is as narrow as it can be read.
    fn excepts(&self, request: &Request<'_>) -> bool {
        match self {
            Named::Account(account) => request.principal == format!("arn:aws:iam::{account}:root"),
            other => other.reach(request) == Reach::Directly,
        }
    }
}

/// The principals under one of the names that `Principal` may have.
fn of_kind(kind: &str, value: &Json) -> Result<Vec<Named>, Malformed> {
    let texts = match value {
        Json::Text(text) => vec![text.as_str()],
        Json::List(list) if !list.is_empty() => list
            .iter()
            .map(|item| match item {
                Json::Text(text) => Ok(text.as_str()),
                _ => Err(Malformed::new("a principal must be a string")),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(Malformed::new("a principal must be a string or a list of strings")),
    };
    match kind {
        "AWS" => texts.into_iter().map(named).collect(),
        "Service" | "Federated" | "CanonicalUser" => Ok(vec![Named::Elsewhere]),
        _ => Err(Malformed::new(format_args!("'{kind}' is no kind of principal"))),
    }
}

fn named(text: &str) -> Result<Named, Malformed> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if text == "*" {
        return Ok(Named::Everybody);
    }
    if is_account(text) {
        return Ok(Named::Account(text.to_owned()));
    }
    let malformed =
        || Malformed::new(format_args!("'{text}' is no principal: an ARN of IAM, an account or *"));
    let rest = text.strip_prefix("arn:aws:iam::").or_else(|| text.strip_prefix("arn:aws:sts::"));
    let (account, name) = rest.and_then(|rest| rest.split_once(':')).ok_or_else(malformed)?;
    match name {
        _ if !is_account(account) || name.contains(['*', '?']) => Err(malformed()),
        "root" => Ok(Named::Account(account.to_owned())),
        _ if name.contains('/') => Ok(Named::Arn(text.to_owned())),
        _ => Err(malformed()),
    }
}
