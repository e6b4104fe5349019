//! Texts with wildcards, `*` for any number of characters and `?` for one, and with policy variables.
//!
//! In a policy of version 2012-10-17, `${key}` stands for the value of a condition key of the request, `${key, 'text'}`
//! for `text` if the request has none, and `${*}`, `${?}`, `${$}` for the character itself.

use super::{Attributes, Malformed, key};

/// A text with wildcards and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Exactly this.
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
    /// The value of a condition key, named in lower case.
    Variable { key: String, default: Option<String> },
}

/// A character of a pattern whose variables are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    Any,
    One,
}

impl Pattern {
    /// Reads a pattern; `variables` says whether the policy's version knows them.
    ///
    /// # Errors
    /// A variable that is not closed, or names no condition key.
    pub(super) fn parse(text: &str, variables: bool) -> Result<Pattern, Malformed> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if variables && let Some(inside) = rest.strip_prefix("${") {
                let (name, after) = inside
                    .split_once('}')
                    .ok_or_else(|| Malformed::new(format_args!("'{text}': a variable is not closed")))?;
                parts.push(variable(name).ok_or_else(|| {
                    Malformed::new(format_args!("'{text}': '${{{name}}}' is no policy variable"))
                })?);
                rest = after;
                continue;
            }
            match (first, parts.last_mut()) {
                ('*', _) => parts.push(Part::Any),
                ('?', _) => parts.push(Part::One),
                (c, Some(Part::Text(text))) => text.push(c),
                (c, _) => parts.push(Part::Text(c.to_string())),
            }
            rest = &rest[first.len_utf8()..];
        }
        Ok(Pattern { parts })
    }

    /// A pattern that matches `text` alone: where wildcards mean nothing, variables still do.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub(super) fn literal(text: &str, variables: bool) -> Result<Pattern, Malformed> {
        let mut pattern = Pattern::parse(text, variables)?;
        for part in &mut pattern.parts {
            match part {
                Part::Any => *part = Part::Text("*".into()),
                Part::One => *part = Part::Text("?".into()),
                Part::Text(_) | Part::Variable { .. } => {}
            }
        }
        Ok(pattern)
    }

    /// Whether the pattern is `*`.
    pub(super) fn is_any(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Any])
    }

    /// Whether the pattern is all of `text`.
    pub(super) fn matches(&self, text: &str, attributes: &dyn Attributes) -> bool {
        match self.parts.as_slice() {
            [Part::Any] => true,
            [Part::Text(only)] => only == text,
            _ => self.tokens(attributes).is_some_and(|tokens| matches(&tokens, text, |a, b| a == b)),
        }
    }

    /// As [`Pattern::matches`], for texts whose case does not matter.
    pub(super) fn matches_any_case(&self, text: &str, attributes: &dyn Attributes) -> bool {
        self.tokens(attributes).is_some_and(|tokens| matches(&tokens, text, same_ignoring_case))
    }

    /// Whether the pattern is all of `text`, an action's name. Actions have no variables.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        match self.parts.as_slice() {
            [Part::Any] => true,
            [Part::Text(only)] => only.eq_ignore_ascii_case(text),
            [Part::Text(start), Part::Any] => {
                text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
            }
            _ => self.matches_any_case(text, &NoAttributes),
        }
    }

    /// The pattern as an ARN: the same number of parts between colons, each matched by itself; the last takes the rest.
    pub(super) fn matches_arn(&self, arn: &str, attributes: &dyn Attributes) -> bool {
        let Some(tokens) = self.tokens(attributes) else { return false };
        let pattern: Vec<&[Token]> = tokens.splitn(6, |token| *token == Token::Literal(':')).collect();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let same = |(pattern, text): (&&[Token], &&str)| matches(pattern, text, |a, b| a == b);
        match pattern.as_slice() {
            [[Token::Any]] => true,
            _ => pattern.len() == parts.len() && pattern.iter().zip(&parts).all(same),
        }
    }

    /// The pattern without variables; `None` if the request lacks one of them.
    fn tokens(&self, attributes: &dyn Attributes) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        for part in &self.parts {
            match part {
                Part::Any => tokens.push(Token::Any),
                Part::One => tokens.push(Token::One),
                Part::Text(text) => tokens.extend(text.chars().map(Token::Literal)),
                Part::Variable { key, default } => {
                    let values = attributes.values(key).unwrap_or_default();
                    match (values.as_slice(), default) {
                        ([value], _) => tokens.extend(value.chars().map(Token::Literal)),
                        (_, Some(default)) => tokens.extend(default.chars().map(Token::Literal)),
                        (_, None) => return None,
                    }
                }
            }
        }
        Some(tokens)
    }
}

/// What stands between `${` and `}`.
fn variable(name: &str) -> Option<Part> {
    if let "*" | "?" | "$" = name {
        return Some(Part::Text(name.into()));
    }
    let (key, default) = match name.split_once(',') {
        Some((key, default)) => {
            let quoted = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key.trim(), Some(quoted.to_owned()))
        }
        None => (name.trim(), None),
    };
    Some(Part::Variable { key: key::lower(key).ok()?, default })
}

fn same_ignoring_case(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

/// Matches with one point of return: the last `*` takes one character more when what follows it does not fit. So the
/// time is bounded by the product of the lengths, whatever the pattern.
fn matches(pattern: &[Token], text: &str, same: impl Fn(char, char) -> bool) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Token::Any) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(Token::One) => (p, t) = (p + 1, t + 1),
            Some(Token::Literal(c)) if same(*c, text[t]) => (p, t) = (p + 1, t + 1),
            _ => match &mut retry {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|token| *token == Token::Any)
}

/// A request that says nothing.
struct NoAttributes;

impl Attributes for NoAttributes {
    fn resource(&self) -> std::borrow::Cow<'_, str> {
        "*".into()
    }

    fn values(&self, _key: &str) -> Option<Vec<std::borrow::Cow<'_, str>>> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_match(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, true).unwrap().matches(text, &NoAttributes)
    }

    /// What `*` and `?` mean, with all the time in the world.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
            Some(('?', rest)) => !text.is_empty() && reference(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && reference(rest, &text[1..]),
        }
    }

    #[test]
    fn a_long_pattern_of_stars_ends() {
        assert!(!is_match(&"*a".repeat(200), &"a".repeat(199)));
        assert!(is_match(&"*a".repeat(200), &"a".repeat(200)));
    }

    #[test]
    fn arns_match_part_by_part() {
        let arn = "arn:aws:kms:local:000000000000:key/a:b";
        for (pattern, expected) in [
            ("arn:aws:kms:*:*:key/*", true),
            ("arn:aws:kms:local:000000000000:key/a:b", true),
            ("arn:*:key/a:b", false),
            ("*", true),
            ("arn:aws:kms:local:000000000000:*", true),
            ("arn:aws:kms:loc??:000000000000:key/a*", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern, true).unwrap().matches_arn(arn, &NoAttributes),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn malformed_variables_are_refused() {
        for text in ["${", "a${aws:username", "${}", "${username}", "${aws:username, x}"] {
            assert!(Pattern::parse(text, true).is_err(), "{text}");
            assert!(Pattern::parse(text, false).is_ok(), "{text}: the old version knows no variables");
        }
    }

    proptest! {
        #[test]
        fn wildcards_match_as_the_reference_does(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(is_match(&pattern, &text), reference(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn any_text_matches_itself_as_a_literal(text in "\\PC{0,20}") {
            prop_assert!(Pattern::literal(&text, false).unwrap().matches(&text, &NoAttributes));
        }

        #[test]
        fn an_actions_case_does_not_matter(pattern in "[aB*?]{0,6}", text in "[aB]{0,6}") {
            let parsed = Pattern::parse(&pattern, false).unwrap();
            let lower = Pattern::parse(&pattern.to_lowercase(), false).unwrap();
            prop_assert_eq!(
                parsed.matches_ignoring_case(&text),
                lower.matches(&text.to_lowercase(), &NoAttributes)
            );
        }
    }
}
