//! The regular expressions of the model. Nearly all are one class of characters, so each is a short function
//! beside the text that AWS's error messages quote.

use std::fmt;

/// What a string must match from its beginning to its end.
pub struct Pattern {
    /// The expression, as AWS's model and messages have it.
    pub text: &'static str,
    matches: fn(&str) -> bool,
}

impl Pattern {
    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        (self.matches)(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

pub(super) static ALIAS_NAME: Pattern =
    Pattern { text: "^[a-zA-Z0-9:/_-]+$", matches: |text| of(text, |c| alphanumeric_or(c, ":/_-")) };

pub(super) static KEY_MATERIAL_ID: Pattern =
    Pattern { text: "^[a-f0-9]+$", matches: |text| of(text, |c| matches!(c, 'a'..='f' | '0'..='9')) };

pub(super) static KEY_MATERIAL_DESCRIPTION: Pattern = Pattern {
    text: r"^[a-zA-Z0-9:/_\s.-]+$",
    matches: |text| of(text, |c| alphanumeric_or(c, ":/_.- \t\n\r\x0b\x0c")),
};

/// Zero characters match too.
pub(super) static MARKER: Pattern = Pattern {
    text: r"[\u0020-\u00FF]*",
    matches: |text| text.chars().all(|c| ('\u{20}'..='\u{ff}').contains(&c)),
};

pub(super) static POLICY: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u00FF]+",
    matches: |text| of(text, |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}')),
};

pub(super) static POLICY_NAME: Pattern =
    Pattern { text: r"[\w]+", matches: |text| of(text, |c| alphanumeric_or(c, "_")) };

pub(super) static PRINCIPAL: Pattern =
    Pattern { text: r"^[\w+=,.@:/-]+$", matches: |text| of(text, |c| alphanumeric_or(c, "_+=,.@:/-")) };

pub(super) static SERVICE_PRINCIPAL: Pattern = Pattern {
    text: r"^([A-Za-z0-9\-]+)\.([A-Za-z0-9\-]+)(\.[A-Za-z0-9\-]+)+$",
    matches: |text| text.split('.').count() >= 3 && text.split('.').all(|part| of(part, label)),
};

pub(super) static SOURCE_ARN: Pattern =
    Pattern { text: "^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$", matches: source_arn };

pub(super) static CLOUD_HSM_CLUSTER: Pattern = Pattern {
    text: "cluster-[2-7a-zA-Z]{11,16}",
    matches: |text| {
        let valid = |c: char| matches!(c, '2'..='7') || c.is_ascii_alphabetic();
        text.strip_prefix("cluster-").is_some_and(|id| (11..=16).contains(&id.len()) && of(id, valid))
    },
};

pub(super) static XKS_KEY_ID: Pattern =
    Pattern { text: "^[a-zA-Z0-9-_.]+$", matches: |text| of(text, |c| alphanumeric_or(c, "-_.")) };

pub(super) static REGION: Pattern = Pattern { text: r"^([a-z]+-){2,3}\d+$", matches: region };

fn of(text: &str, class: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(class)
}

fn alphanumeric_or(c: char, others: &str) -> bool {
    c.is_ascii_alphanumeric() || others.contains(c)
}

fn label(c: char) -> bool {
    alphanumeric_or(c, "-")
}

fn source_arn(text: &str) -> bool {
    let lower = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &[arn, partition, service, region, account, resource] = &parts[..] else { return false };
    arn == "arn"
        && partition.strip_prefix("aws").is_some_and(|rest| rest.chars().all(lower))
        && of(service, lower)
        && region.chars().all(lower)
        && account.len() == 12
        && of(account, |c| c.is_ascii_digit())
        && of(resource, |c| c != '\n')
}

fn region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let words: Vec<&str> = words.split('-').collect();
    of(number, |c| c.is_ascii_digit())
        && (2..=3).contains(&words.len())
        && words.iter().all(|word| of(word, |c| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_takes_what_its_text_says() {
        let table: &[(&Pattern, &[&str], &[&str])] = &[
            (&ALIAS_NAME, &["alias/a", "a:b_c-D9"], &["", "alias/ä", "a b", "a\n"]),
            (&KEY_MATERIAL_ID, &["0a", "f"], &["", "g", "A"]),
            (&KEY_MATERIAL_DESCRIPTION, &["a b\tc.d"], &["", "a;b", "é"]),
            (&MARKER, &["", "a b", "ÿ"], &["\t", "Ā"]),
            (&POLICY, &["{\n\t\"a\": 1}\r", "ÿ"], &["", "\u{1}", "Ā"]),
            (&POLICY_NAME, &["default", "a_9"], &["", "a-b", "é"]),
            (&PRINCIPAL, &["arn:aws:iam::000000000000:user/a+b=c,d.e@f"], &["", "a b", "a*"]),
            (&SERVICE_PRINCIPAL, &["ec2.amazonaws.com", "a.b.c.d"], &["", "a.b", "a..b", "a.b.c.", "a.b.c_"]),
            (
                &SOURCE_ARN,
                &["arn:aws-cn:ec2:eu-west-1:123456789012:instance/i:1"],
                &["arn:aws:s3:::b", "arn:aws:ec2::12345678901:x", "arn:aws:ec2::123456789012:", "arn:b:c"],
            ),
            (
                &CLOUD_HSM_CLUSTER,
                &["cluster-abcdefghij2"],
                &["cluster-abc", "cluster-abcdefghij1", "abcdefghij2"],
            ),
            (&XKS_KEY_ID, &["a-b_c.9"], &["", "a/b"]),
            (&REGION, &["eu-west-1", "us-gov-east-10"], &["eu-west", "eu-1", "a-b-c-d-1", "EU-west-1"]),
        ];
        for (pattern, good, bad) in table {
            for text in *good {
                assert!(pattern.matches(text), "{pattern:?} and {text:?}");
            }
            for text in *bad {
                assert!(!pattern.matches(text), "{pattern:?} and {text:?}");
            }
        }
    }
}
