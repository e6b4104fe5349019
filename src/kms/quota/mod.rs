//! Quotas: how many calls a second are served, by what they ask for.
//!
//! AWS KMS has one quota for all cryptographic operations with symmetric keys, one for those with RSA keys, one for
//! those with other key pairs, and one for each other operation. They hold for an account, and so for a keystore.
//! Each is a token bucket that holds what one second brings, and at least one token.
//!
//! Source: AWS KMS Developer Guide, *Request quotas*.

use super::Kms;
use super::call::Call;
use super::spec::KeySpec;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;

/// Quotas that several operations share: cryptographic operations with keys of a kind.
const SYMMETRIC: &str = "symmetric";
const RSA: &str = "rsa";
const ECC: &str = "ecc";
const ML_DSA: &str = "ml_dsa";

/// Making data key pairs: a quota for each kind.
const PAIRS: &[(KeySpec, &str)] = &[
    (KeySpec::Rsa2048, "GenerateDataKeyPair:RSA_2048"),
    (KeySpec::Rsa3072, "GenerateDataKeyPair:RSA_3072"),
    (KeySpec::Rsa4096, "GenerateDataKeyPair:RSA_4096"),
    (KeySpec::P256, "GenerateDataKeyPair:ECC_NIST_P256"),
    (KeySpec::P384, "GenerateDataKeyPair:ECC_NIST_P384"),
    (KeySpec::P521, "GenerateDataKeyPair:ECC_NIST_P521"),
    (KeySpec::Secp256k1, "GenerateDataKeyPair:ECC_SECG_P256K1"),
    (KeySpec::Ed25519, "GenerateDataKeyPair:ECC_NIST_EDWARDS25519"),
];

/// Operations with a quota of their own, by their names.
const OPERATIONS: &[&str] = &[
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "CreateKey",
    "DeleteAlias",
    "DeleteImportedKeyMaterial",
    "DescribeKey",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "GetKeyLastUsage",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "GetParametersForImport",
    "GetPublicKey",
    "ImportKeyMaterial",
    "ListAliases",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListKeys",
    "ListResourceTags",
    "ListRetirableGrants",
    "PutKeyPolicy",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
];

/// The quota that a call counts against; `spec` is that of its key, or of the data key pair that it makes.
fn quota(operation: &str, spec: Option<KeySpec>) -> Option<&'static str> {
    match operation {
        "Decrypt"
        | "DeriveSharedSecret"
        | "Encrypt"
        | "GenerateDataKey"
        | "GenerateDataKeyWithoutPlaintext"
        | "GenerateMac"
        | "GenerateRandom"
        | "ReEncrypt"
        | "Sign"
        | "Verify"
        | "VerifyMac" => Some(match spec {
            Some(spec) if spec.is_rsa() => RSA,
            Some(KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87) => ML_DSA,
            Some(spec) if spec.is_asymmetric() => ECC,
            _ => SYMMETRIC,
        }),
        "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
            PAIRS.iter().find(|(pair, _)| spec == Some(*pair)).map(|(_, name)| *name)
        }
        _ => OPERATIONS.iter().find(|name| **name == operation).copied(),
    }
}

/// The quota of this name.
fn named(name: &str) -> Option<&'static str> {
    let shared = [SYMMETRIC, RSA, ECC, ML_DSA];
    let all = shared.into_iter().chain(PAIRS.iter().map(|(_, name)| *name)).chain(OPERATIONS.iter().copied());
    all.into_iter().find(|known| *known == name)
}

/// A call is one too many in its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")]
pub struct Throttled;

/// Why quotas cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// They are not JSON, or not an object of numbers.
    #[error("not quotas: {0}")]
    Form(#[from] serde_json::Error),
    /// A rate is zero, negative or infinite.
    #[error("not quotas: {0} must be a number above 0")]
    Rate(String),
    /// There is no such quota.
    #[error("not quotas: there is no quota {0}")]
    Unknown(String),
}

/// A second's calls of one quota.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let capacity = self.rate.max(1.0);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(capacity);
        self.filled = self.filled.max(now);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

impl Kms {
    /// The spec of the key that `key` names in any way, for the quota that a call on it counts against. It is decided
    /// later whether the call may know it.
    pub fn spec_of(&self, call: &Call<'_>, key: &str) -> Option<KeySpec> {
        let table = self.core.table().ok()?;
        table.find(call, key).ok().map(|entry| entry.record.spec)
    }
}

/// See the module. What has no quota is not limited.
#[derive(Debug)]
pub struct Quotas(HashMap<&'static str, Mutex<Bucket>>);

impl Quotas {
    /// AWS's default quotas.
    pub fn aws(now: Instant) -> Quotas {
        Quotas::parse(include_str!("aws.json"), now).expect("the quotas in the program are quotas")
    }

    /// Reads quotas: a JSON object of calls a second, by the quota's name. That is the name of an operation, or
    /// `symmetric`, `rsa`, `ecc`, `ml_dsa` for cryptographic operations with keys of a kind, or
    /// `GenerateDataKeyPair:` and a key spec.
    ///
    /// # Errors
    /// If it is none, or names a quota that does not exist.
    pub fn parse(text: &str, now: Instant) -> Result<Quotas, QuotaError> {
        let rates: HashMap<String, f64> = serde_json::from_str(text)?;
        let mut buckets = HashMap::new();
        for (name, rate) in rates {
            let name = named(&name).ok_or(QuotaError::Unknown(name))?;
            if !(rate.is_finite() && rate > 0.0) {
                return Err(QuotaError::Rate(name.to_owned()));
            }
            buckets.insert(name, Mutex::new(Bucket { rate, tokens: rate.max(1.0), filled: now }));
        }
        Ok(Quotas(buckets))
    }

    /// Counts a call of `operation` on a key of this spec; for a data key pair, the pair's.
    ///
    /// # Errors
    /// [`Throttled`] if it is one too many.
    pub fn admit(&self, operation: &str, spec: Option<KeySpec>, now: Instant) -> Result<(), Throttled> {
        let bucket = quota(operation, spec).and_then(|name| self.0.get(name));
        match bucket.is_none_or(|bucket| bucket.lock().take(now)) {
            true => Ok(()),
            false => Err(Throttled),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// How many of `calls` calls at `now` are admitted.
    fn admitted(
        quotas: &Quotas,
        operation: &str,
        spec: Option<KeySpec>,
        calls: usize,
        now: Instant,
    ) -> usize {
        (0..calls).filter(|_| quotas.admit(operation, spec, now).is_ok()).count()
    }

    #[test]
    fn a_second_has_as_many_calls_as_the_quota_says() {
        let start = Instant::now();
        let quotas = Quotas::parse(r#"{"CreateKey": 5}"#, start).unwrap();
        assert_eq!(admitted(&quotas, "CreateKey", None, 20, start), 5);
        assert_eq!(quotas.admit("CreateKey", None, start), Err(Throttled));
        assert_eq!(admitted(&quotas, "CreateKey", None, 20, start + Duration::from_millis(399)), 1);
        assert_eq!(
            admitted(&quotas, "CreateKey", None, 20, start + Duration::from_secs(60)),
            5,
            "no saving up"
        );
        assert_eq!(
            admitted(&quotas, "DisableKey", None, 1000, start),
            1000,
            "what has no quota is not limited"
        );
    }

    #[test]
    fn a_quota_below_one_is_one_call_in_some_seconds() {
        let start = Instant::now();
        let quotas = Quotas::parse(r#"{"GetParametersForImport": 0.25}"#, start).unwrap();
        let at = |seconds| {
            admitted(&quotas, "GetParametersForImport", None, 3, start + Duration::from_secs(seconds))
        };
        assert_eq!([at(0), at(3), at(4), at(5), at(8), at(100)], [1, 0, 1, 0, 1, 1]);
    }

    #[test]
    fn cryptographic_operations_share_a_quota_for_each_kind_of_key() {
        let start = Instant::now();
        let quotas = Quotas::parse(r#"{"symmetric": 10, "rsa": 3, "ecc": 2, "ml_dsa": 1}"#, start).unwrap();
        let count = |operation, spec, calls| admitted(&quotas, operation, spec, calls, start);
        assert_eq!(count("Decrypt", None, 4), 4);
        assert_eq!(count("Encrypt", Some(KeySpec::SymmetricDefault), 4), 4);
        assert_eq!(count("GenerateMac", Some(KeySpec::Hmac256), 4), 2);
        assert_eq!(count("Sign", Some(KeySpec::Rsa4096), 2), 2);
        assert_eq!(count("Encrypt", Some(KeySpec::Rsa2048), 2), 1);
        assert_eq!(count("Verify", Some(KeySpec::Ed25519), 4), 2);
        assert_eq!(count("Sign", Some(KeySpec::MlDsa65), 4), 1);
        assert_eq!(count("GenerateDataKeyPair", Some(KeySpec::Rsa2048), 9), 9, "has a quota of its own");
    }

    #[test]
    fn awss_quotas_are_those_of_its_guide() {
        let start = Instant::now();
        let quotas = Quotas::aws(start);
        let first_second = |operation, spec| admitted(&quotas, operation, spec, 50_000, start);
        assert_eq!(first_second("Decrypt", None), 10_000);
        assert_eq!(first_second("Sign", Some(KeySpec::Rsa2048)), 1000);
        assert_eq!(first_second("DescribeKey", Some(KeySpec::Rsa2048)), 2000);
        assert_eq!(first_second("GenerateDataKeyPairWithoutPlaintext", Some(KeySpec::Rsa4096)), 1);
        for operation in OPERATIONS.iter().filter(|operation| **operation != "GetKeyLastUsage") {
            assert!(quotas.0.contains_key(operation), "{operation}");
        }
    }

    #[test]
    fn the_message_is_awss() {
        assert_eq!(
            Throttled.to_string(),
            "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
        );
    }

    #[test]
    fn impossible_quotas_are_refused() {
        for bad in [
            "",
            "[]",
            r#"{"CreateKey": 0}"#,
            r#"{"CreateKey": -1}"#,
            r#"{"CreateKey": "5"}"#,
            r#"{"Create": 5}"#,
        ] {
            assert!(Quotas::parse(bad, Instant::now()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_span_has_more_calls_than_its_quota_and_one_second_more(
            rate in 1u32..50,
            pauses in proptest::collection::vec(0u64..400, 1..200),
        ) {
            let start = Instant::now();
            let quotas = Quotas::parse(&format!("{{\"CreateKey\": {rate}}}"), start).unwrap();
            let mut now = start;
            let mut granted = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                if quotas.admit("CreateKey", None, now).is_ok() {
                    granted.push(now);
                }
            }
            for (first, from) in granted.iter().enumerate() {
                for (last, to) in granted.iter().enumerate().skip(first) {
                    let allowed = f64::from(rate) * ((*to - *from).as_secs_f64() + 1.0);
                    prop_assert!((last - first + 1) as f64 <= allowed + 1e-6);
                }
            }
        }
    }
}
