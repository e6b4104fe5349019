//! The keystore's account and region.

use super::principals::check_administrator;
use crate::kms::Kms;
use crate::kms::arn::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::settings::SettingsRecord;
use crate::kms::table::Table;

/// Longest name of a region, in characters.
const REGION_MAX: usize = 32;

/// What ARNs say besides the names of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The account that owns everything: twelve digits, twelve zeros unless set.
    pub account: String,
    /// The region in ARNs, where a call has none of its own: `local` unless set.
    pub region: String,
}

impl Kms {
    /// The account and region.
    ///
    /// # Errors
    /// `KeyUnavailableException`.
    pub fn settings(&self) -> Result<Settings> {
        Ok(settings(&*self.core.table()?))
    }

    /// Sets the account, the region, or both. Keys and ciphertexts stay as they are, and volumes find their keys.
    ///
    /// # Errors
    /// `ValidationException` for what is none; `ConflictException` for another account once there are principals, key
    /// policies or grants, which name the old one; `AccessDeniedException`.
    pub fn change_settings(
        &self,
        call: &Call<'_>,
        account: Option<&str>,
        region: Option<&str>,
    ) -> Result<()> {
        check_administrator(call, "kmsfs:ChangeSettings")?;
        if let Some(account) = account {
            check_account(account)?;
        }
        if let Some(region) = region {
            check_region(region)?;
        }
        self.core.change(|draft| {
            let Settings { account: before, region: own } = settings(draft.table);
            let account = account.unwrap_or(&before).to_owned();
            if account != before && is_named(draft.table) {
                return Err(Error::Conflict(format!(
                    "the account stays {before}: users, roles, key policies, grants or objects of the token name it"
                )));
            }
            let region = region.map_or(own, str::to_owned);
            let known = draft.table.settings().cloned().unwrap_or_default();
            draft.put_settings(SettingsRecord { account, region, ..known });
            Ok(())
        })
    }
}

fn settings(table: &Table) -> Settings {
    match table.settings() {
        Some(settings) => Settings { account: settings.account.clone(), region: settings.region.clone() },
        None => Settings { account: DEFAULT_ACCOUNT.into(), region: DEFAULT_REGION.into() },
    }
}

/// Whether anything of the keystore names its account.
fn is_named(table: &Table) -> bool {
    table.principals().all().next().is_some()
        || table.grants().all().next().is_some()
        || table.entries_after(None).any(|entry| entry.record.policy.is_some())
        // The root user has an ARN without being a record.
        || table.objects().owners().any(|owner| owner.starts_with("arn:"))
}

fn check_account(account: &str) -> Result<()> {
    match account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(Error::Validation(format!("account '{account}' is not twelve digits"))),
    }
}

fn check_region(region: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match (1..=REGION_MAX).contains(&region.len()) && region.chars().all(valid) {
        true => Ok(()),
        false => Err(Error::Validation(format!(
            "region '{region}' must be 1 to {REGION_MAX} small letters, digits or '-'"
        ))),
    }
}
