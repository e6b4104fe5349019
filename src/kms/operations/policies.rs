//! GetKeyPolicy, PutKeyPolicy, ListKeyPolicies.

use super::check;
use crate::kms::Kms;
use crate::kms::authorize::{Facts, keeps_policy};
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::KeyRecord;
use crate::kms::policy::{Kind, Written};
use crate::kms::principal::of_arn;
use crate::kms::state::Operation;
use crate::kms::table::Table;

/// The name of every key's only policy.
pub const POLICY_NAME: &str = "default";

impl Kms {
    /// GetKeyPolicy: the text of the key policy, as it was given. A key that none was given for has the default of its
    /// management type.
    ///
    /// # Errors
    /// `NotFoundException` for the key and for a policy of another name than [`POLICY_NAME`], `InvalidArnException`,
    /// `AccessDeniedException`.
    pub fn get_key_policy(&self, call: &Call<'_>, key: &str, name: Option<&str>) -> Result<String> {
        let facts = policy_facts(name);
        let table = self.core.table()?;
        let entry = table.find_id(call, table.naming(call).parse_id(key)?)?;
        check(&table, call, Operation::GetKeyPolicy, entry, &facts)?;
        check_policy_name(name)?;
        Ok(table.policy(&entry.record).text().to_owned())
    }

    /// PutKeyPolicy: from now on `policy` says who may do what with the key. Unless `bypass` is set, the caller must be
    /// able to do this again under the new policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocumentException`, `NotFoundException`, `InvalidArnException`, `AccessDeniedException`.
    pub fn put_key_policy(
        &self,
        call: &Call<'_>,
        key: &str,
        name: Option<&str>,
        policy: &str,
        bypass: bool,
    ) -> Result<()> {
        let facts = Facts { bypass_lockout_check: bypass, ..policy_facts(name) };
        self.change_key(call, Operation::PutKeyPolicy, key, &facts, |draft, _, mut record| {
            check_policy_name(name)?;
            set_policy(draft.table, call, &mut record, policy, bypass)?;
            draft.put(record);
            Ok(())
        })
    }

    /// ListKeyPolicies: the names of the key's policies.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidArnException`, `AccessDeniedException`.
    pub fn list_key_policies(&self, call: &Call<'_>, key: &str) -> Result<Vec<&'static str>> {
        self.view_key(call, Operation::ListKeyPolicies, key, &Facts::default(), |_| vec![POLICY_NAME])
    }
}

/// Gives the key of `record`, which need not exist yet, the policy `text`.
///
/// # Errors
/// `MalformedPolicyDocumentException`.
pub(super) fn set_policy(
    table: &Table,
    call: &Call<'_>,
    record: &mut KeyRecord,
    text: &str,
    bypass: bool,
) -> Result<()> {
    let malformed = |why: &dyn ToString| Error::MalformedPolicy(why.to_string());
    let written = Written::parse(Kind::Key, text).map_err(|why| malformed(&why))?;
    if let Some(arn) = written.policy().named().find(|arn| !can_exist(table, arn)) {
        return Err(malformed(&format_args!(
            "Policy contains a statement with one or more invalid principals: {arn} does not exist"
        )));
    }
    record.policy = Some(written);
    if !bypass && !keeps_policy(table, call, record) {
        return Err(malformed(
            &"The new key policy will not allow you to update the key policy in the future.",
        ));
    }
    Ok(())
}

/// Whether an ARN is that of a principal of the keystore, or of another account, about which nothing is known here.
fn can_exist(table: &Table, arn: &str) -> bool {
    let account = table.account();
    if arn.split(':').nth(4) != Some(account) {
        return true;
    }
    of_arn(arn, account).is_some_and(|name| table.principals().named(name.kind(), name.name()).is_some())
}

fn policy_facts(name: Option<&str>) -> Facts<'_> {
    Facts { policy_name: Some(name.unwrap_or(POLICY_NAME)), ..Facts::default() }
}

fn check_policy_name(name: Option<&str>) -> Result<()> {
    match name {
        None | Some(POLICY_NAME) => Ok(()),
        Some(_) => Err(Error::NotFound("No such policy exists".into())),
    }
}
