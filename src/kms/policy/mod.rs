//! IAM policies: JSON documents that say who may do what, and their evaluation.
//!
//! Two kinds hang on two things. A *key policy* hangs on a CMK and says in `Principal` whom it is about. An *identity
//! policy* hangs on a user or role, is about that one, and says in `Resource` which keys it means. A document is
//! parsed once, when it is given; what is not understood is refused then, because a policy that is half understood
//! protects nothing.
//!
//! Pure: a policy sees a [`Request`] and nothing of the KMS.
//!
//! Source: AWS IAM User Guide, *Policy evaluation logic* and *IAM JSON policy reference*; AWS KMS Developer Guide,
//! *Key policies in AWS KMS*.

mod condition;
mod document;
mod json;
mod key;
mod operator;
mod pattern;
mod principal;
mod written;

#[cfg(test)]
mod tests;

pub use written::Written;

use condition::Condition;
use pattern::Pattern;
use principal::{Principals, Reach};
use std::borrow::Cow;
use std::fmt;

/// Longest document, in bytes.
pub const DOCUMENT_MAX: usize = 32 << 10;

/// Why a document is no policy; `MalformedPolicyDocumentException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    fn new(what: impl fmt::Display) -> Malformed {
        Malformed(what.to_string())
    }
}

/// What a policy hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A CMK: every statement has a `Principal` or a `NotPrincipal`.
    Key,
    /// A user or role: no statement has one.
    Identity,
}

/// What a request looks like to a policy.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The ARN of who asks: the account's root, a user, or a role.
    pub principal: &'a str,
    /// The ARN of the session in which a role asks.
    pub session: Option<&'a str>,
    /// The account of who asks, twelve digits.
    pub account: &'a str,
    /// `kms:` and the operation's name.
    pub action: &'a str,
    /// Everything else.
    pub attributes: &'a dyn Attributes,
}

/// What statements and conditions may ask about a request; looked up when one does.
pub trait Attributes {
    /// The ARN of what it is about; `*` for an operation without a resource.
    fn resource(&self) -> Cow<'_, str>;

    /// The values of a condition key, whose name is in lower case; `None` if the request has no such key, or no value
    /// for it.
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>>;
}

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement denies it. Nothing can allow it.
    Denied,
    /// A statement allows it to this very principal, or to everybody.
    Allowed,
    /// A statement of a key policy allows it to the principal's account: it is for the principal's identity policies
    /// to say, and the account's root needs none.
    Delegated,
    /// No statement is about it.
    Silent,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    allows: bool,
    principals: Principals,
    actions: Listed,
    resources: Listed,
    conditions: Vec<Condition>,
}

/// A list of patterns, or all that is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    patterns: Vec<Pattern>,
    negated: bool,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Malformed`], with what is wrong and where.
    pub fn parse(kind: Kind, text: &str) -> Result<Policy, Malformed> {
        document::parse(kind, text)
    }

    /// A policy that denies everything to everybody.
    fn denial() -> Policy {
        let everything = || Listed { patterns: Vec::new(), negated: true };
        Policy {
            statements: vec![Statement {
                allows: false,
                principals: Principals::Except(Vec::new()),
                actions: everything(),
                resources: everything(),
                conditions: Vec::new(),
            }],
        }
    }

    /// The ARNs of users, roles and sessions that statements name.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| statement.principals.arns())
    }

    /// What the policy says to `request`. The order of statements does not matter: a denial wins over everything.
    pub fn evaluate(&self, request: &Request<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            match (statement.reach(request), statement.allows) {
                (Reach::Nobody, _) => {}
                (_, false) => return Verdict::Denied,
                (Reach::Directly, true) => verdict = Verdict::Allowed,
                (Reach::ThroughAccount, true) if verdict == Verdict::Silent => verdict = Verdict::Delegated,
                (Reach::ThroughAccount, true) => {}
            }
        }
        verdict
    }
}

impl Statement {
    /// How the statement is about a request, if it is.
    fn reach(&self, request: &Request<'_>) -> Reach {
        let about = self.actions.covers(|action| action.matches_ignoring_case(request.action))
            && self.resources.covers(|resource| {
                resource.is_any() || resource.matches(&request.attributes.resource(), request.attributes)
            });
        if !about {
            return Reach::Nobody;
        }
        let reach = self.principals.reach(request);
        let holds = reach != Reach::Nobody && self.conditions.iter().all(|c| c.holds(request.attributes));
        if holds { reach } else { Reach::Nobody }
    }
}

impl Listed {
    fn covers(&self, matches: impl FnMut(&Pattern) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.negated
    }
}
