//! What calls and keys cost.

use crate::kms::spec::KeySpec;
use std::collections::BTreeMap;

/// Calls that have one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tariff {
    /// Everything that no other tariff covers: symmetric keys, HMACs, random bytes, management.
    Symmetric,
    /// Calls that use an RSA key of 2048 bits.
    #[serde(rename = "rsa_2048")]
    Rsa2048,
    /// Calls that use another key pair.
    Asymmetric,
    /// Making a data key pair on an elliptic curve.
    EccDataKeyPair,
    /// Making an RSA data key pair.
    RsaDataKeyPair,
}

impl Tariff {
    /// Every one there is.
    pub const ALL: [Tariff; 5] = [
        Tariff::Symmetric,
        Tariff::Rsa2048,
        Tariff::Asymmetric,
        Tariff::EccDataKeyPair,
        Tariff::RsaDataKeyPair,
    ];

    /// The tariff of a call of `operation` with `spec`, both by AWS KMS's names.
    pub fn of(operation: &str, spec: Option<&str>) -> Tariff {
        let Some(spec) = spec.and_then(|spec| spec.parse::<KeySpec>().ok()) else { return Tariff::Symmetric };
        match operation {
            "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" if spec.is_rsa() => {
                Tariff::RsaDataKeyPair
            }
            "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => Tariff::EccDataKeyPair,
            "Decrypt" | "DeriveSharedSecret" | "Encrypt" | "GetPublicKey" | "ReEncrypt" | "Sign"
            | "Verify"
                if spec.is_asymmetric() =>
            {
                if spec == KeySpec::Rsa2048 {
                    Tariff::Rsa2048
                } else {
                    Tariff::Asymmetric
                }
            }
            _ => Tariff::Symmetric,
        }
    }
}

/// A price table.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Where the prices come from.
    pub source: String,
    /// What they are in.
    pub currency: String,
    /// A key for a month; for parts of a month it is reckoned by the hour.
    pub key_month: f64,
    /// How many of a key's rotations cost as much as another key, from their day on.
    pub charged_rotations: u32,
    /// How many calls a month are free, of the tariff `symmetric`.
    pub free_requests: u64,
    /// Ten thousand calls of each tariff.
    pub per_10000_requests: BTreeMap<Tariff, f64>,
}

/// Why a price table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// It is no price table.
    #[error("not a price table: {0}")]
    Form(#[from] serde_json::Error),
    /// A price is missing, negative or infinite.
    #[error("not a price table: the price of {0} must be a number from 0 on")]
    Price(String),
}

impl Prices {
    /// AWS's published prices.
    pub fn aws() -> Prices {
        Prices::parse(include_str!("aws-prices.json")).expect("the table in the program is a price table")
    }

    /// Reads a price table: a JSON document with the members of this type.
    ///
    /// # Errors
    /// If it is none, or a price is impossible.
    pub fn parse(text: &str) -> Result<Prices, PricesError> {
        let prices: Prices = serde_json::from_str(text)?;
        let possible = |price: f64| price.is_finite() && price >= 0.0;
        if !possible(prices.key_month) {
            return Err(PricesError::Price("key_month".to_owned()));
        }
        for tariff in Tariff::ALL {
            if !prices.per_10000_requests.get(&tariff).copied().is_some_and(possible) {
                let name = serde_json::to_string(&tariff)?;
                return Err(PricesError::Price(name.trim_matches('"').to_owned()));
            }
        }
        Ok(prices)
    }

    /// What this many calls of a tariff cost.
    pub fn calls(&self, tariff: Tariff, calls: u64) -> f64 {
        let price = self.per_10000_requests.get(&tariff).copied().unwrap_or_default();
        calls as f64 * price / 10_000.0
    }
}
