//! Policy documents, from JSON.

use super::condition::Condition;
use super::json::Json;
use super::pattern::Pattern;
use super::principal::Principals;
use super::{DOCUMENT_MAX, Kind, Listed, Malformed, Policy, Statement};

/// The version that knows policy variables.
const WITH_VARIABLES: &str = "2012-10-17";
/// The version where none is given.
const WITHOUT_VARIABLES: &str = "2008-10-17";

/// Reads a document.
pub(super) fn parse(kind: Kind, text: &str) -> Result<Policy, Malformed> {
    if text.len() > DOCUMENT_MAX {
        return Err(Malformed::new(format_args!("the policy is longer than {DOCUMENT_MAX} bytes")));
    }
    let json: Json = serde_json::from_str(text).map_err(|e| Malformed::new(format_args!("no JSON: {e}")))?;
    let Json::Object(members) = &json else {
        return Err(Malformed::new("a policy must be a JSON object"));
    };
    only(members, &["Version", "Id", "Statement"], "the policy")?;
    let variables = match get(members, "Version") {
        None => false,
        Some(Json::Text(version)) if version == WITHOUT_VARIABLES => false,
        Some(Json::Text(version)) if version == WITH_VARIABLES => true,
        Some(_) => {
            return Err(Malformed::new(format_args!(
                "Version must be {WITH_VARIABLES} or {WITHOUT_VARIABLES}"
            )));
        }
    };
    if !matches!(get(members, "Id"), None | Some(Json::Text(_))) {
        return Err(Malformed::new("Id must be a string"));
    }
    let statements = match get(members, "Statement") {
        Some(Json::List(list)) if !list.is_empty() => list.iter().collect(),
        Some(object @ Json::Object(_)) => vec![object],
        _ => return Err(Malformed::new("Statement must be an object or a list of objects")),
    };
    let mut sids: Vec<&str> = Vec::new();
    for sid in statements.iter().filter_map(|statement| sid(statement)) {
        if sids.contains(&sid) {
            return Err(Malformed::new(format_args!("two statements have the Sid '{sid}'")));
        }
        sids.push(sid);
    }
    let statements = statements.into_iter().enumerate().map(|(at, json)| {
        statement(kind, json, variables)
            .map_err(|e| Malformed::new(format_args!("statement {}: {e}", at + 1)))
    });
    Ok(Policy { statements: statements.collect::<Result<_, _>>()? })
}

fn statement(kind: Kind, json: &Json, variables: bool) -> Result<Statement, Malformed> {
    let Json::Object(members) = json else { return Err(Malformed::new("it must be an object")) };
    let known = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    only(members, &known, "it")?;
    if !matches!(get(members, "Sid"), None | Some(Json::Text(_))) {
        return Err(Malformed::new("Sid must be a string"));
    }
    let allows = match get(members, "Effect") {
        Some(Json::Text(effect)) if effect == "Allow" => true,
        Some(Json::Text(effect)) if effect == "Deny" => false,
        _ => return Err(Malformed::new("Effect must be Allow or Deny")),
    };
    Ok(Statement {
        allows,
        principals: principals(kind, allows, members)?,
        actions: listed(members, "Action", "NotAction", action)?,
        resources: listed(members, "Resource", "NotResource", |text| resource(text, variables))?,
        conditions: match get(members, "Condition") {
            Some(block) => Condition::parse_block(block, variables)?,
            None => Vec::new(),
        },
    })
}

fn principals(kind: Kind, allows: bool, members: &[(String, Json)]) -> Result<Principals, Malformed> {
    match (kind, get(members, "Principal"), get(members, "NotPrincipal")) {
        (Kind::Key, Some(value), None) => Principals::parse(value, false),
        (Kind::Key, None, Some(_)) if allows => {
            Err(Malformed::new("NotPrincipal goes with Deny alone: allowing all but a few allows strangers"))
        }
        (Kind::Key, None, Some(value)) => Principals::parse(value, true),
        (Kind::Key, _, _) => Err(Malformed::new("it must have either Principal or NotPrincipal")),
        (Kind::Identity, None, None) => Ok(Principals::Holder),
        (Kind::Identity, _, _) => {
            Err(Malformed::new("a policy of a user or role has no Principal: it is about that one"))
        }
    }
}

/// An action: `*`, or a service's name, a colon and a pattern.
fn action(text: &str) -> Result<Pattern, Malformed> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '*' || c == '?';
    let is_action = text == "*"
        || text.split_once(':').is_some_and(|(service, name)| {
            !service.is_empty()
                && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !name.is_empty()
                && name.chars().all(legal)
        });
    match is_action {
        true => Pattern::parse(text, false),
        false => Err(Malformed::new(format_args!("'{text}' is no action such as kms:Decrypt"))),
    }
}

/// A resource: `*`, or a pattern of ARNs. Keys belong to no region, and who asks chooses the one in their ARNs. So the
/// region of a pattern is not compared: a denial could be stepped around.
fn resource(text: &str, variables: bool) -> Result<Pattern, Malformed> {
    let parts = arn_parts(text);
    let complete = parts.len() == 6 || parts.last() == Some(&"*");
    match parts.as_slice() {
        ["*"] => Pattern::parse(text, variables),
        ["arn", _, service, ..] if *service != "kms" && !service.contains(['*', '?', '$']) => {
            Pattern::parse(text, variables)
        }
        ["arn", partition, service, _, rest @ ..] if complete => {
            let mut any_region = vec!["arn", *partition, *service, "*"];
            any_region.extend(rest);
            Pattern::parse(&any_region.join(":"), variables)
        }
        ["arn", ..] if complete => Pattern::parse(text, variables),
        _ => Err(Malformed::new(format_args!("'{text}' is no resource: a whole ARN or *"))),
    }
}

/// The up to six parts of an ARN, between colons that are not inside of a variable.
fn arn_parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut inside) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => inside = true,
            b'}' => inside = false,
            b':' if !inside && parts.len() < 5 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// The strings of exactly one of two members, of which the second means all but those.
fn listed(
    members: &[(String, Json)],
    name: &str,
    negated_name: &str,
    pattern: impl Fn(&str) -> Result<Pattern, Malformed>,
) -> Result<Listed, Malformed> {
    let (value, negated) = match (get(members, name), get(members, negated_name)) {
        (Some(value), None) => (value, false),
        (None, Some(value)) => (value, true),
        _ => return Err(Malformed::new(format_args!("it must have either {name} or {negated_name}"))),
    };
    let one = |value: &Json| match value {
        Json::Text(text) if !text.is_empty() => pattern(text),
        _ => Err(Malformed::new(format_args!("{name} must be a string or a list of strings"))),
    };
    let patterns = match value {
        Json::List(list) if list.is_empty() => return Err(Malformed::new(format_args!("{name} is empty"))),
        Json::List(list) => list.iter().map(one).collect::<Result<_, _>>()?,
        value => vec![one(value)?],
    };
    Ok(Listed { patterns, negated })
}

fn get<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Refuses members that are not known: a mistyped `Condition` would otherwise protect nothing.
fn only(members: &[(String, Json)], known: &[&str], what: &str) -> Result<(), Malformed> {
    match members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(Malformed::new(format_args!("{what} has an unknown element '{name}'"))),
        None => Ok(()),
    }
}

fn sid(statement: &Json) -> Option<&str> {
    match statement {
        Json::Object(members) => match get(members, "Sid") {
            Some(Json::Text(sid)) => Some(sid),
            _ => None,
        },
        _ => None,
    }
}
