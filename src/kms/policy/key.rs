//! Names of condition keys: what a policy may ask about.
//!
//! A mistyped name is a key that no request ever has, and a denial under it would never deny. So names under `kms:` and
//! `aws:` must be known. Those that AWS knows and nothing here ever has, such as `aws:SourceVpc`, may be named: they are
//! absent, which has its meaning. Names of other services are absent too.
//!
//! Source: AWS KMS Developer Guide, *Condition keys for AWS KMS*; IAM User Guide, *Global condition context keys*.

use super::Malformed;

/// Names under `kms:`, in lower case.
const KMS: &[&str] = &[
    "bypasspolicylockoutsafetycheck",
    "calleraccount",
    "customermasterkeyspec",
    "customermasterkeyusage",
    "datakeypairspec",
    "encapsulationalgorithm",
    "encryptionalgorithm",
    "encryptioncontextkeys",
    "expirationmodel",
    "grantconstrainttype",
    "granteeprincipal",
    "grantisforawsresource",
    "grantoperations",
    "keyagreementalgorithm",
    "keyorigin",
    "keyspec",
    "keyusage",
    "macalgorithm",
    "messagetype",
    "multiregion",
    "multiregionkeytype",
    "policyname",
    "primaryregion",
    "reencryptonsamekey",
    "replicaregion",
    "requestalias",
    "resourcealiases",
    "retiringprincipal",
    "rotationperiodindays",
    "schedulekeydeletionpendingwindowindays",
    "signingalgorithm",
    "validto",
    "viaservice",
    "wrappingalgorithm",
    "wrappingkeyspec",
];

/// What names under `kms:` may begin with when a name of the request's follows.
const KMS_PREFIXES: &[&str] = &["encryptioncontext:", "recipientattestation:"];

/// Names under `aws:`, in lower case.
const AWS: &[&str] = &[
    "assumedroot",
    "calledvia",
    "calledviafirst",
    "calledvialast",
    "chatbotsourcearn",
    "currenttime",
    "ec2instancesourceprivateipv4",
    "ec2instancesourcevpc",
    "epochtime",
    "federatedprovider",
    "multifactorauthage",
    "multifactorauthpresent",
    "principalaccount",
    "principalarn",
    "principalisawsservice",
    "principalorgid",
    "principalorgpaths",
    "principalservicename",
    "principalservicenameslist",
    "principaltype",
    "referer",
    "requestedregion",
    "resourceaccount",
    "resourceorgid",
    "resourceorgpaths",
    "securetransport",
    "sourceaccount",
    "sourcearn",
    "sourceidentity",
    "sourceinstancearn",
    "sourceip",
    "sourceorgid",
    "sourceorgpaths",
    "sourceowner",
    "sourcevpc",
    "sourcevpcarn",
    "sourcevpce",
    "tagkeys",
    "tokenissuetime",
    "useragent",
    "userid",
    "username",
    "viaawsservice",
    "vpceaccount",
    "vpceorgid",
    "vpceorgpaths",
    "vpcsourceip",
];

/// What names under `aws:` may begin with when a tag's key follows.
const AWS_PREFIXES: &[&str] = &["principaltag/", "requesttag/", "resourcetag/"];

/// The name of a condition key in lower case: names are not case-sensitive.
///
/// # Errors
/// It is no condition key.
pub(super) fn lower(name: &str) -> Result<String, Malformed> {
    let lower = name.to_ascii_lowercase();
    let is_listed = |names: &[&str], prefixes: &[&str], name: &str| {
        let follows = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
        names.binary_search(&name).is_ok() || prefixes.iter().any(follows)
    };
    let known = match lower.split_once(':') {
        Some(("kms", rest)) => is_listed(KMS, KMS_PREFIXES, rest),
        Some(("aws", rest)) => is_listed(AWS, AWS_PREFIXES, rest),
        Some((service, rest)) => !service.is_empty() && !rest.is_empty(),
        None => false,
    };
    match known {
        true => Ok(lower),
        false => Err(Malformed::new(format_args!("'{name}' is no condition key"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_searchable() {
        for list in [KMS, AWS] {
            assert!(list.is_sorted() && list.iter().all(|name| *name == name.to_ascii_lowercase()));
        }
    }

    #[test]
    fn known_names_come_back_in_lower_case() {
        for (name, expected) in [
            ("kms:ViaService", "kms:viaservice"),
            ("KMS:EncryptionContext:AppName", "kms:encryptioncontext:appname"),
            ("kms:EncryptionContext:a:b", "kms:encryptioncontext:a:b"),
            ("aws:ResourceTag/Cost Center", "aws:resourcetag/cost center"),
            ("aws:SourceIP", "aws:sourceip"),
            ("s3:prefix", "s3:prefix"),
        ] {
            assert_eq!(lower(name).unwrap(), expected);
        }
    }

    #[test]
    fn mistyped_names_are_refused() {
        for name in [
            "kms:ViaServic",
            "kms:EncryptionContext",
            "kms:EncryptionContext:",
            "kms:",
            "aws:ResourceTag",
            "aws:ResourceTag/",
            "aws:UserName2",
            "viaservice",
            ":x",
            "",
        ] {
            assert!(lower(name).is_err(), "{name}");
        }
    }
}
