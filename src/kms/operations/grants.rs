//! CreateGrant, ListGrants, ListRetirableGrants, RetireGrant, RevokeGrant.

use super::check;
use crate::kms::Kms;
use crate::kms::arn::{KeyId, Naming};
use crate::kms::authorize::{Facts, authorize, authorize_retiring};
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::grant::{GrantConstraints, GrantId, GrantOperation, GrantRecord, Terms};
use crate::kms::key::KeyRecord;
use crate::kms::keystore::RecordKey;
use crate::kms::page::{self, Listed, Page};
use crate::kms::principal::of_arn;
use crate::kms::state::{Operation, check_exists};
use crate::kms::table::Table;

/// Most grants of one key.
const GRANTS_MAX: usize = 50_000;

/// The arguments of CreateGrant.
#[derive(Debug, Clone)]
pub struct CreateGrant<'a> {
    /// The key, by id or ARN.
    pub key: &'a str,
    /// The ARN of who may use it: a user, a role, a session of a role, or the account's root.
    pub grantee: &'a str,
    /// The ARN of who may retire the grant.
    pub retiring: Option<&'a str>,
    /// What is granted.
    pub operations: &'a [GrantOperation],
    /// The encryption contexts that it is good for.
    pub constraints: GrantConstraints,
    /// A name: a repeated request of the same name makes no second grant.
    pub name: Option<&'a str>,
}

/// What CreateGrant returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedGrant {
    /// The grant.
    pub id: GrantId,
    /// A token of it.
    pub token: String,
}

/// What ListGrants tells of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantEntry {
    /// The grant.
    pub id: GrantId,
    /// The key's id.
    pub key: KeyId,
    /// The key's ARN.
    pub key_arn: String,
    /// The name that it was given.
    pub name: Option<String>,
    /// The ARN of who may use the key.
    pub grantee: String,
    /// The ARN of who may retire the grant.
    pub retiring: Option<String>,
    /// What is granted.
    pub operations: Vec<GrantOperation>,
    /// The encryption contexts that it is good for.
    pub constraints: GrantConstraints,
    /// When it was made.
    pub created: Timestamp,
    /// The ARN of the account that it was made in.
    pub issuing_account: String,
}

impl Kms {
    /// CreateGrant: lets a principal use a key. If there is a grant of the same name and the same terms already, it is
    /// that one. Who may do this by a grant only, gives on no more than that grant gives.
    ///
    /// # Errors
    /// `ValidationException` if the key is not for an operation, or has no encryption context to constrain;
    /// `InvalidArnException` if a principal does not exist, `LimitExceededException`, `NotFoundException`,
    /// `DisabledException`, `KMSInvalidStateException`, `AccessDeniedException`, `InvalidGrantTokenException`,
    /// `DryRunOperationException`.
    pub fn create_grant(&self, call: &Call<'_>, request: &CreateGrant<'_>) -> Result<CreatedGrant> {
        let terms = terms(request)?;
        let facts = Facts { terms: Some(&terms), ..Facts::default() };
        let id =
            self.change_key(call, Operation::CreateGrant, request.key, &facts, |draft, naming, record| {
                let table = draft.table;
                for arn in [Some(request.grantee), request.retiring].into_iter().flatten() {
                    check_principal(table, arn)?;
                }
                check_fits(&record, &terms)?;
                let mut known = table.grants().to(record.id, request.grantee);
                let same = known.find(|grant| {
                    request.name.is_some() && grant.name.as_deref() == request.name && grant.has(&terms)
                });
                call.end_dry_run()?;
                if let Some(same) = same {
                    return Ok(same.id);
                }
                if table.grants().count(record.id) >= GRANTS_MAX {
                    return Err(Error::LimitExceeded(format!(
                        "{} has {GRANTS_MAX} grants already",
                        naming.key(record.id)
                    )));
                }
                let id = GrantId::random();
                draft.put_grant(GrantRecord {
                    id,
                    key: record.id,
                    name: request.name.map(str::to_owned),
                    grantee: terms.grantee.clone(),
                    retiring: terms.retiring.clone(),
                    operations: terms.operations.clone(),
                    constraints: terms.constraints.clone(),
                    created: draft.now,
                    issuing_account: format!("arn:aws:iam::{}:root", table.account()),
                });
                Ok(id)
            })?;
        Ok(CreatedGrant { id, token: id.token() })
    }

    /// ListGrants: the grants of a key, in the order of their creation; if told so, only that of an id, and only those to
    /// a principal of an ARN.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidArnException`, `InvalidGrantIdException`, `InvalidMarkerException`,
    /// `AccessDeniedException`.
    pub fn list_grants(
        &self,
        call: &Call<'_>,
        key: &str,
        grant: Option<&str>,
        grantee: Option<&str>,
        page: Page<'_>,
    ) -> Result<Listed<GrantEntry>> {
        let table = self.core.table()?;
        let naming = table.naming(call);
        let entry = table.find_id(call, naming.parse_id(key)?)?;
        check(&table, call, Operation::ListGrants, entry, &Facts::default())?;
        let grant = grant.map(|grant| find(&table, &entry.record, grant)).transpose()?;
        page::paginate(page::GRANTS, page, |after| {
            let grants = table.grants().of_after(entry.record.id, after);
            let wanted = grants.filter(|known| {
                grant.is_none_or(|grant| grant.id == known.id)
                    && grantee.is_none_or(|grantee| grantee == known.grantee)
            });
            Ok(wanted.map(|grant| ((grant.created, grant.id), grant_entry(naming, grant))))
        })
    }

    /// ListRetirableGrants: the grants that the principal of an ARN may retire, of whatever key, in the order of their
    /// creation. A principal needs `kms:ListRetirableGrants` on that principal.
    ///
    /// # Errors
    /// `InvalidArnException` if there is no such principal, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_retirable_grants(
        &self,
        call: &Call<'_>,
        retiring: &str,
        page: Page<'_>,
    ) -> Result<Listed<GrantEntry>> {
        let table = self.core.table()?;
        let naming = table.naming(call);
        let facts = Facts { retiring_principal: Some(retiring), ..Facts::default() };
        authorize(&table, call, Operation::ListRetirableGrants, None, &facts)?;
        check_principal(&table, retiring)?;
        page::paginate(page::RETIRABLE_GRANTS, page, |after| {
            let grants = table.grants().retirable_after(retiring, after);
            Ok(grants.map(|grant| ((grant.created, grant.id), grant_entry(naming, grant))))
        })
    }

    /// RetireGrant: gives back the grant that a grant token names.
    ///
    /// # Errors
    /// `InvalidGrantTokenException` if it is no token, or its grant is gone; `AccessDeniedException`,
    /// `DryRunOperationException`.
    pub fn retire_grant_by_token(&self, call: &Call<'_>, token: &str) -> Result<()> {
        self.core.change(|draft| {
            let grant = GrantId::of_token(token).and_then(|id| draft.table.grants().get(id));
            let grant = grant.ok_or_else(|| Error::InvalidGrantToken("Invalid grant token".into()))?;
            retire(draft.table, call, grant)?;
            draft.remove(RecordKey::Grant(grant.id));
            Ok(())
        })
    }

    /// RetireGrant: gives back the grant of a key, named by id or ARN.
    ///
    /// # Errors
    /// `NotFoundException` if the key has no such grant, `InvalidGrantIdException`, `InvalidArnException`,
    /// `AccessDeniedException`, `DryRunOperationException`.
    pub fn retire_grant(&self, call: &Call<'_>, key: &str, grant: &str) -> Result<()> {
        self.core.change(|draft| {
            let entry = draft.table.find_id(call, draft.table.naming(call).parse_id(key)?)?;
            let grant = find(draft.table, &entry.record, grant)?;
            retire(draft.table, call, grant)?;
            draft.remove(RecordKey::Grant(grant.id));
            Ok(())
        })
    }

    /// RevokeGrant: takes back a grant of a key, named by id or ARN. It allows nothing from then on.
    ///
    /// # Errors
    /// As [`Kms::retire_grant`].
    pub fn revoke_grant(&self, call: &Call<'_>, key: &str, grant: &str) -> Result<()> {
        self.core.change(|draft| {
            let entry = draft.table.find_id(call, draft.table.naming(call).parse_id(key)?)?;
            check(draft.table, call, Operation::RevokeGrant, entry, &Facts::default())?;
            let id = find(draft.table, &entry.record, grant)?.id;
            call.end_dry_run()?;
            draft.remove(RecordKey::Grant(id));
            Ok(())
        })
    }
}

/// What the request asks to be granted, in order.
fn terms(request: &CreateGrant<'_>) -> Result<Terms> {
    request.constraints.check()?;
    let mut operations = request.operations.to_vec();
    operations.sort_unstable();
    operations.dedup();
    if operations.is_empty() {
        return Err(Error::Validation(
            "1 validation error detected: Value '[]' at 'operations' failed to satisfy constraint: \
             Member must have length greater than or equal to 1"
                .into(),
        ));
    }
    Ok(Terms {
        grantee: request.grantee.to_owned(),
        retiring: request.retiring.map(str::to_owned),
        operations,
        constraints: request.constraints.clone(),
    })
}

/// Refuses a grantee or retiring principal that nobody is.
fn check_principal(table: &Table, arn: &str) -> Result<()> {
    let account = table.account();
    let exists = match of_arn(arn, account) {
        Some(name) => table.principals().named(name.kind(), name.name()).is_some(),
        None => arn == format!("arn:aws:iam::{account}:root"),
    };
    match exists {
        true => Ok(()),
        false => Err(Error::InvalidArn(format!("ARN does not refer to a valid principal: {arn}"))),
    }
}

/// Refuses terms that are not for a key of this kind.
fn check_fits(record: &KeyRecord, terms: &Terms) -> Result<()> {
    let (spec, usage) = (record.spec, record.usage);
    if let Some(operation) = terms.operations.iter().find(|operation| !operation.fits(spec, usage)) {
        return Err(Error::Validation(format!(
            "Operation {operation} is not supported for a key whose key spec is {spec} and key usage is {usage}"
        )));
    }
    if !terms.constraints.is_empty() && !spec.is_symmetric() {
        return Err(Error::Validation(format!(
            "Grant constraints are not supported for a key whose key spec is {spec}: it has no encryption context"
        )));
    }
    Ok(())
}

/// Says whether the call may retire `grant`.
fn retire(table: &Table, call: &Call<'_>, grant: &GrantRecord) -> Result<()> {
    let record = &table.find_id(call, grant.key)?.record;
    check_exists(record, table.naming(call))?;
    authorize_retiring(table, call, record, grant)?;
    call.end_dry_run()
}

fn grant_entry(naming: Naming<'_>, grant: &GrantRecord) -> GrantEntry {
    let GrantRecord { id, key, name, grantee, retiring, operations, constraints, created, issuing_account } =
        grant.clone();
    let key_arn = naming.key(key);
    GrantEntry {
        id,
        key,
        key_arn,
        name,
        grantee,
        retiring,
        operations,
        constraints,
        created,
        issuing_account,
    }
}

/// The grant of this id among those of a key.
fn find<'a>(table: &'a Table, record: &KeyRecord, id: &str) -> Result<&'a GrantRecord> {
    let grant = table.grants().get(id.parse()?).filter(|grant| grant.key == record.id);
    grant.ok_or_else(|| Error::NotFound(format!("Grant ID {id} not found")))
}
