//! What custodians must approve before it is done, who they are, and which approvals were used.
//!
//! Whether custodians approve a call is for its [`Evidence`] to say, which comes with the [`super::Call`]. It is asked within
//! the transaction that does what was approved, about the custodians of that moment, and what it says is used up in that
//! same transaction: all of it happens, or nothing.

use super::call::Call;
use super::clock::Timestamp;
use super::error;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Most custodians who approve.
pub const APPROVERS_MAX: usize = 16;
/// For how long an approval may be good at most. Those that were used are remembered as long.
pub const APPROVAL_VALID: time::Duration = time::Duration::days(30);

/// What approvals can be required for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarded {
    /// A key, or material of it, is to be destroyed.
    DeleteKey,
    /// Key material is to be imported.
    ImportKey,
    /// A key is to have another key policy.
    KeyPolicy,
    /// Shred secrets are to be destroyed.
    Shred,
    /// The root key is to be shared anew.
    Refresh,
    /// The custodians who approve are to be others.
    Custodians,
    /// What needs approvals is to be changed.
    Policy,
}

impl Guarded {
    /// All of them.
    pub const ALL: [Guarded; 7] = [
        Guarded::DeleteKey,
        Guarded::ImportKey,
        Guarded::KeyPolicy,
        Guarded::Shred,
        Guarded::Refresh,
        Guarded::Custodians,
        Guarded::Policy,
    ];

    /// Its name in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Guarded::DeleteKey => "delete-key",
            Guarded::ImportKey => "import-key",
            Guarded::KeyPolicy => "key-policy",
            Guarded::Shred => "shred",
            Guarded::Refresh => "refresh",
            Guarded::Custodians => "custodians",
            Guarded::Policy => "policy",
        }
    }

    /// What an operation, by its name in the API, falls under; `None` if it never needs approvals.
    pub fn of(operation: &str) -> Option<Guarded> {
        Some(match operation {
            "ScheduleKeyDeletion" | "DeleteImportedKeyMaterial" => Guarded::DeleteKey,
            "ImportKeyMaterial" => Guarded::ImportKey,
            "PutKeyPolicy" => Guarded::KeyPolicy,
            "DestroySecrets" => Guarded::Shred,
            HSM_REFRESH | HSM_REKEY => Guarded::Refresh,
            HSM_ADD_CUSTODIAN | HSM_REMOVE_CUSTODIAN => Guarded::Custodians,
            HSM_SET_POLICY => Guarded::Policy,
            _ => return None,
        })
    }
}

/// The operation that shares the root key anew: `Threshold` and `Custodians`.
pub const HSM_REFRESH: &str = "HsmRefresh";
/// The operation that makes a new root key and shares it: `Threshold` and `Custodians`.
pub const HSM_REKEY: &str = "HsmRekey";
/// The operation that adds a custodian: `Name` and `PublicKey`.
pub const HSM_ADD_CUSTODIAN: &str = "HsmAddCustodian";
/// The operation that removes a custodian: `Name`.
pub const HSM_REMOVE_CUSTODIAN: &str = "HsmRemoveCustodian";
/// The operation that says what needs approvals: `Requirements`.
pub const HSM_SET_POLICY: &str = "HsmSetPolicy";

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Guarded {
    type Err = String;

    fn from_str(text: &str) -> Result<Guarded, String> {
        let found = Guarded::ALL.into_iter().find(|guarded| guarded.name() == text);
        found.ok_or_else(|| format!("expected one of {}", Guarded::ALL.map(Guarded::name).join(", ")))
    }
}

impl serde::Serialize for Guarded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Guarded {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Guarded, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// Somebody who requests and approves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Custodian {
    /// What the others call them.
    pub name: String,
    /// Their Ed25519 public key (RFC 8032).
    pub public_key: [u8; 32],
    /// When they were added.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub added: Timestamp,
}

/// An approval that was used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Used {
    nonce: Uuid,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    expires: Timestamp,
}

/// Custodians, what needs how many of them, and what was used, as the keystore holds it: sealed, as one row. There is no
/// row until somebody is a custodian.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Approvals {
    custodians: Vec<Custodian>,
    required: BTreeMap<Guarded, u8>,
    /// Those that would not have expired yet.
    used: Vec<Used>,
    /// When the last of them was used. What had expired then stays so, whatever the clock says later.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    last: Timestamp,
}

impl Default for Approvals {
    fn default() -> Approvals {
        Approvals {
            custodians: Vec::new(),
            required: BTreeMap::new(),
            used: Vec::new(),
            last: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Approvals {
    /// The custodians, in the order in which they were added.
    pub fn custodians(&self) -> &[Custodian] {
        &self.custodians
    }

    /// The custodian who has this key.
    pub fn custodian(&self, public_key: &[u8; 32]) -> Option<&Custodian> {
        self.custodians.iter().find(|custodian| custodian.public_key == *public_key)
    }

    /// How many custodians must approve, besides the one who asks for it. What could be a way around a requirement takes
    /// as many: an import, which can set the date when material is destroyed; the deletion of a key, which destroys shred
    /// secrets with it; and changes of who approves and what.
    pub fn required(&self, guarded: Guarded) -> u8 {
        let set = |guarded| self.required.get(&guarded).copied().unwrap_or(0);
        match guarded {
            Guarded::Custodians | Guarded::Policy => self.strictest(),
            Guarded::ImportKey => set(Guarded::ImportKey).max(self.required(Guarded::DeleteKey)),
            Guarded::DeleteKey => set(Guarded::DeleteKey).max(set(Guarded::Shred)),
            _ => set(guarded),
        }
    }

    /// What was set, none of it zero.
    pub fn requirements(&self) -> &BTreeMap<Guarded, u8> {
        &self.required
    }

    /// Whether a request with this nonce was carried out.
    pub fn is_used(&self, nonce: Uuid) -> bool {
        self.used.iter().any(|used| used.nonce == nonce)
    }

    /// Whether a request has expired that is good until `expires`.
    pub fn is_over(&self, expires: Timestamp, now: Timestamp) -> bool {
        expires <= now.max(self.last)
    }

    /// Says whether `operation` is approved; what is used up by that, if anything is.
    ///
    /// # Errors
    /// `AccessDeniedException` if the call comes without approvals that are needed; what is wrong with them.
    pub(super) fn judge(
        &self,
        call: &Call<'_>,
        operation: &str,
        now: Timestamp,
    ) -> error::Result<Option<Approved>> {
        let Some(guarded) = Guarded::of(operation) else { return Ok(None) };
        let need = self.required(guarded);
        match call.approval {
            Some(evidence) => Ok(Some(evidence.check(operation, need, self, now)?)),
            None if need == 0 => Ok(None),
            None => {
                let others = match need {
                    1 => "another custodian".to_owned(),
                    _ => format!("{need} other custodians"),
                };
                Err(error::Error::AccessDenied(format!(
                    "{operation} takes the request of a custodian of the HSM and the approval of {others}: see \
                     `kmsfs hsm request`"
                )))
            }
        }
    }

    /// Uses an approval up.
    pub(super) fn spend(&mut self, approved: &Approved, now: Timestamp) {
        self.last = self.last.max(now);
        let last = self.last;
        self.used.retain(|used| used.expires > last);
        self.used.push(Used { nonce: approved.nonce, expires: approved.expires });
    }

    /// Adds a custodian.
    pub(super) fn add(&mut self, custodian: Custodian) {
        self.custodians.push(custodian);
    }

    /// Removes the custodian of this name; says whether there is one.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.custodians.len();
        self.custodians.retain(|custodian| custodian.name != name);
        self.custodians.len() < before
    }

    /// Requires these numbers, and no others.
    pub(super) fn require(&mut self, required: BTreeMap<Guarded, u8>) {
        self.required = required;
        self.required.retain(|_, approvals| *approvals > 0);
    }

    /// Whether there are custodians enough for every requirement: somebody asks, and the others approve.
    pub(super) fn can_be_met(&self) -> bool {
        let strictest = usize::from(self.strictest());
        strictest == 0 || strictest < self.custodians.len()
    }

    fn strictest(&self) -> u8 {
        self.required.values().copied().max().unwrap_or(0)
    }
}

/// What custodians signed for one call. Made by [`crate::hsm::approval`].
pub trait Evidence: fmt::Debug + Send + Sync {
    /// Says whether `need` custodians out of `known` approve `operation`, at the time `now`.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(
        &self,
        operation: &str,
        need: u8,
        known: &Approvals,
        now: Timestamp,
    ) -> Result<Approved, Refusal>;
}

/// What custodians have approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Of the request: it is good once.
    pub nonce: Uuid,
    /// Until when it would be good.
    pub expires: Timestamp,
    /// The name of the custodian who asked for it.
    pub requester: String,
    /// The names of those who approved, sorted.
    pub approvers: Vec<String>,
}

/// Why something counts as not approved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The name of the error in the API.
    pub name: &'static str,
    /// What to tell people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn approved(nonce: u128, expires: i64) -> Approved {
        Approved {
            nonce: Uuid::from_u128(nonce),
            expires: at(expires),
            requester: "alice".to_owned(),
            approvers: Vec::new(),
        }
    }

    #[test]
    fn what_was_used_is_known_until_it_expires_and_over_from_then_on() {
        let mut approvals = Approvals::default();
        approvals.spend(&approved(1, 100), at(10));
        assert!(approvals.is_used(Uuid::from_u128(1)) && !approvals.is_over(at(100), at(99)));
        approvals.spend(&approved(2, 200), at(150));
        assert!(!approvals.is_used(Uuid::from_u128(1)), "nothing is remembered for ever");
        assert!(approvals.is_over(at(100), at(20)), "though the clock was set back");
        assert!(approvals.is_used(Uuid::from_u128(2)));
    }

    #[test]
    fn what_could_be_a_way_around_a_requirement_takes_as_many_approvals() {
        let mut approvals = Approvals::default();
        assert_eq!(approvals.required(Guarded::Policy), 0);
        approvals.require([(Guarded::DeleteKey, 2), (Guarded::ImportKey, 1), (Guarded::Policy, 1)].into());
        assert_eq!(Guarded::ALL.map(|guarded| approvals.required(guarded)), [2, 2, 0, 0, 0, 2, 2]);
    }

    #[test]
    fn a_key_takes_as_many_approvals_as_the_secrets_that_go_with_it() {
        let mut approvals = Approvals::default();
        approvals.require([(Guarded::Shred, 2)].into());
        assert_eq!(Guarded::ALL.map(|guarded| approvals.required(guarded)), [2, 2, 0, 2, 0, 2, 2]);
    }

    #[test]
    fn a_requirement_leaves_one_custodian_to_ask() {
        let mut approvals = Approvals::default();
        assert!(approvals.can_be_met());
        for number in 0..3 {
            let custodian = Custodian { name: number.to_string(), public_key: [number; 32], added: at(0) };
            approvals.add(custodian);
        }
        approvals.require([(Guarded::DeleteKey, 2)].into());
        assert!(approvals.can_be_met());
        assert!(approvals.remove("1") && !approvals.remove("1") && !approvals.can_be_met());
    }

    #[test]
    fn names_of_policies_read_back() {
        for guarded in Guarded::ALL {
            assert_eq!(guarded.name().parse(), Ok(guarded));
        }
        assert!("everything".parse::<Guarded>().is_err());
    }
}
