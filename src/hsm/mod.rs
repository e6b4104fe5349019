//! The software HSM: a keystore that no one person opens.
//!
//! Its only slot seals the root key under a secret that custodians share. Nothing else ever opens it, and there is no
//! recovery: whoever makes it names all that can.
//!
//! | module | what it is for |
//! |---|---|
//! | [`backup`] | copies of its keystore, and which of them may come back |
//! | [`shares`] | a secret split among custodians, any so many of whom make it again; each share can be verified |
//! | [`text`] | a share as words, for paper and for typing |
//! | [`unsealing`] | shares that come in one at a time |
//! | [`approval`] | operations that custodians approve, with signatures |

pub mod approval;
pub mod backup;
pub mod shares;
pub mod text;
pub mod unsealing;

use crate::kms::keystore::{self, Counter, Location, QuorumKey, QuorumShape, SlotKind, Unlock};
use crate::kms::{self, Call, HSM_REFRESH, HSM_REKEY, Kms};
use approval::arguments::Arguments;
use approval::{Refused, Signed};
use shares::{COMMITMENT_LEN, Quorum, Secret, Share};
use std::fmt;
use text::Labelled;
use uuid::Uuid;

/// What the quorum's secret gives a key for.
const ROOT: &[u8] = b"keystore root";
/// The first set of shares of a keystore.
const FIRST_SET: u8 = 0;
/// Combinations of custodians that a new keystore is tried with.
const TRIALS: usize = 64;

/// What can go wrong with an HSM keystore.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] keystore::Error),
    /// A change of the keystore.
    #[error(transparent)]
    Kms(#[from] kms::Error),
    /// The shares.
    #[error(transparent)]
    Shares(#[from] shares::Error),
    /// It has slots of other kinds, and was not made for custodians.
    #[error("{0} is not the keystore of an HSM: `kmsfs hsm init` makes one")]
    NotAnHsm(Location),
    /// A copy that may not take the keystore's place.
    #[error(transparent)]
    Copy(#[from] backup::Refused),
    /// Shares that were just made do not open it. They may not be used.
    #[error("the keystore {0} does not open with the shares that were made for it")]
    SelfTest(Location),
}

/// A locked keystore that custodians open.
#[derive(Debug, Clone)]
pub struct Sealed {
    location: Location,
    keystore: Uuid,
    set: u8,
    quorum: Quorum,
    counter: Counter,
}

impl Sealed {
    /// Makes a keystore at `location` that any `threshold` of `custodians` open, and their shares, the first
    /// custodian's first. Nobody has its root key then: it is in memory no more, and on the disk only sealed.
    ///
    /// # Errors
    /// [`shares::Error::Quorum`]; [`keystore::Error::Exists`]; [`Error::SelfTest`], with nothing left behind.
    pub fn create(
        location: &Location,
        threshold: u8,
        custodians: u8,
        options: kms::Options,
    ) -> Result<(Sealed, Vec<Labelled>), Error> {
        let secret = Secret::random();
        let (quorum, shares) = Quorum::split(&secret, threshold, custodians)?;
        let shape = QuorumShape { set: FIRST_SET, threshold, custodians };
        let verifier = quorum.commitments().concat();
        let unlock = Unlock::Quorum(QuorumKey { key: secret.key(ROOT), shape, verifier });
        drop(secret);
        drop(Kms::create(location.clone(), &unlock, "", options)?);
        drop(unlock);
        let sealed = Sealed::find(location)?;
        sealed.try_out(&shares)?;
        let labelled = sealed.label(shares);
        Ok((sealed, labelled))
    }

    /// Reads what is public of the keystore at `location`.
    ///
    /// # Errors
    /// [`Error::NotAnHsm`] if it has other slots than one for custodians; [`shares::Error::Commitments`] if that is
    /// damaged; those of the keystore.
    pub fn find(location: &Location) -> Result<Sealed, Error> {
        let keystore::Locked { id, slots, counter } = Kms::inspect(location.clone())?;
        let not_an_hsm = || Error::NotAnHsm(location.clone());
        let [slot] = &*slots else { return Err(not_an_hsm()) };
        let SlotKind::Quorum(QuorumShape { set, threshold, custodians }) = slot.kind else {
            return Err(not_an_hsm());
        };
        let (commitments, rest) = slot.verifier.as_chunks::<COMMITMENT_LEN>();
        let quorum = Quorum::from_parts(custodians, commitments.to_vec())?;
        match rest.is_empty() && quorum.threshold() == threshold {
            true => {
                let keystore = Uuid::from_bytes(id);
                Ok(Sealed { location: location.clone(), keystore, set, quorum, counter })
            }
            false => Err(shares::Error::Commitments.into()),
        }
    }

    /// New shares, of this quorum or another, to the same secret: a new polynomial. Old shares are of no use together
    /// with new ones, so shares that were lost or seen, fewer than a quorum, are worth nothing any more. A quorum of old
    /// shares still is the secret: against that, [`Sealed::rekey`].
    ///
    /// # Errors
    /// [`shares::Error::Quorum`]; [`Error::SelfTest`].
    pub fn refresh(&self, secret: Secret, threshold: u8, custodians: u8) -> Result<NewShares, Error> {
        self.share_out(secret, RootKey::Kept, threshold, custodians)
    }

    /// Shares of a new secret, for a new root key. Old shares, however many, then open nothing but old copies.
    ///
    /// # Errors
    /// As [`Sealed::refresh`].
    pub fn rekey(&self, threshold: u8, custodians: u8) -> Result<NewShares, Error> {
        self.share_out(Secret::random(), RootKey::New, threshold, custodians)
    }

    fn share_out(
        &self,
        secret: Secret,
        root: RootKey,
        threshold: u8,
        custodians: u8,
    ) -> Result<NewShares, Error> {
        let (quorum, shares) = Quorum::split(&secret, threshold, custodians)?;
        let sealed = Sealed { set: self.set.wrapping_add(1), quorum, ..self.clone() };
        let key = secret.key(ROOT);
        sealed.combinations(&shares, |combined| combined.key(ROOT) == key)?;
        let labelled = sealed.label(shares);
        Ok(NewShares { sealed, secret, root, labelled })
    }

    /// Destroys the keystore for good; see [`Kms::zeroize`].
    ///
    /// # Errors
    /// Those of the keystore.
    pub fn zeroize(self) -> Result<bool, Error> {
        Ok(Kms::zeroize(&self.location, self.keystore.as_bytes())?)
    }

    fn label(&self, shares: Vec<Share>) -> Vec<Labelled> {
        let (keystore, set) = (self.fingerprint(), self.set);
        let (threshold, custodians) = (self.quorum.threshold(), self.quorum.custodians());
        shares.into_iter().map(|share| Labelled { keystore, set, threshold, custodians, share }).collect()
    }

    /// Opens the keystore.
    ///
    /// # Errors
    /// Those of the shares and of the keystore.
    pub fn open(&self, secret: &Secret, options: kms::Options) -> Result<Kms, Error> {
        let kms = Kms::open(self.location.clone(), &self.unlock(secret), options)?;
        // What custodians were shown is not vouched for before this. An older copy may have come in its place since.
        if kms.changes() < self.counter.generation() {
            let found = Sealed::find(&self.location)?.counter;
            return Err(backup::Refused::Unexpected { expected: self.counter, found }.into());
        }
        Ok(kms)
    }

    /// Whether it is the same keystore, shared out in the same way, and no older copy of it than `before`.
    pub fn succeeds(&self, before: &Sealed) -> bool {
        (self.keystore, self.set, &self.quorum) == (before.keystore, before.set, &before.quorum)
            && self.counter.generation() >= before.counter.generation()
    }

    /// Tries combinations of custodians: each must give the secret that opens the keystore.
    fn try_out(&self, shares: &[Share]) -> Result<(), Error> {
        self.combinations(shares, |secret| Kms::test(self.location.clone(), &self.unlock(secret)).is_ok())
    }

    /// Has the secret that each of some combinations of custodians gives be judged.
    fn combinations(&self, shares: &[Share], good: impl Fn(&Secret) -> bool) -> Result<(), Error> {
        let need = usize::from(self.quorum.threshold());
        let all = (0..1u32 << shares.len()).filter(|bits| bits.count_ones() as usize == need);
        for bits in all.take(TRIALS) {
            let chosen = shares.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
            let chosen: Vec<&Share> = chosen.map(|(_, share)| share).collect();
            if !self.quorum.combine(&chosen).is_ok_and(|secret| good(&secret)) {
                return Err(Error::SelfTest(self.location.clone()));
            }
        }
        Ok(())
    }

    fn unlock(&self, secret: &Secret) -> Unlock {
        Unlock::Quorum(self.quorum_key(secret))
    }

    fn quorum_key(&self, secret: &Secret) -> QuorumKey {
        let (threshold, custodians) = (self.quorum.threshold(), self.quorum.custodians());
        let shape = QuorumShape { set: self.set, threshold, custodians };
        QuorumKey { key: secret.key(ROOT), shape, verifier: self.quorum.commitments().concat() }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Its keystore's id.
    pub fn id(&self) -> Uuid {
        self.keystore
    }

    /// What its shares call it.
    pub fn fingerprint(&self) -> [u8; 4] {
        *self.keystore.as_bytes().first_chunk().expect("an id is longer")
    }

    /// Which set of shares opens it.
    pub fn set(&self) -> u8 {
        self.set
    }

    /// Which of its states the keystore was in when this was read.
    pub fn counter(&self) -> Counter {
        self.counter
    }

    /// How custodians share its secret.
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }
}

/// Shares that were tried out and open nothing yet: they are handed out first, so that no crash leaves a keystore whose
/// shares nobody has.
#[derive(Debug)]
pub struct NewShares {
    sealed: Sealed,
    secret: Secret,
    root: RootKey,
    labelled: Vec<Labelled>,
}

#[derive(Debug)]
enum RootKey {
    Kept,
    New,
}

impl NewShares {
    /// The shares, the first custodian's first.
    pub fn shares(&self) -> &[Labelled] {
        &self.labelled
    }

    /// The HSM that they will open.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Says whether [`NewShares::adopt`] would be approved, so that nobody is handed shares that come to nothing. What
    /// custodians signed is not used up.
    ///
    /// # Errors
    /// [`Error::Kms`] if not.
    pub fn check_approved(&self, kms: &Kms, signed: Option<&Signed>) -> Result<(), Error> {
        self.check_arguments(signed)?;
        Ok(kms.check_approved(&approved_by(signed), self.operation())?)
    }

    /// Has them open the keystore that `kms` has open, and the ones before them nothing any more. Where custodians must
    /// approve that, `signed` is what they signed.
    ///
    /// # Errors
    /// Those of the keystore, [`keystore::Error::Conflict`] if other shares were made meanwhile; [`Error::Kms`] if it is not
    /// approved. Nothing has changed then, unless it was the commit that failed, of which nobody knows.
    /// [`Error::SelfTest`].
    pub fn adopt(self, kms: Kms, signed: Option<&Signed>) -> Result<Sealed, Error> {
        self.check_arguments(signed)?;
        let (call, quorum) = (approved_by(signed), self.sealed.quorum_key(&self.secret));
        match self.root {
            RootKey::Kept => kms.change_quorum(&call, quorum)?,
            RootKey::New => kms.rekey(&call, quorum)?,
        }
        match Kms::test(self.sealed.location.clone(), &self.sealed.unlock(&self.secret)) {
            Ok(_) => Sealed::find(&self.sealed.location),
            Err(_) => Err(Error::SelfTest(self.sealed.location)),
        }
    }

    /// What custodians approve: its name in the API.
    fn operation(&self) -> &'static str {
        match self.root {
            RootKey::Kept => HSM_REFRESH,
            RootKey::New => HSM_REKEY,
        }
    }

    /// Says whether a request is for this quorum. Whether it is for this operation at all is for the KMS to ask.
    fn check_arguments(&self, signed: Option<&Signed>) -> Result<(), kms::Error> {
        let Some(request) = signed.map(Signed::request) else { return Ok(()) };
        let quorum = &self.sealed.quorum;
        let (threshold, custodians) = (quorum.threshold(), quorum.custodians());
        let arguments = serde_json::json!({ "Threshold": threshold, "Custodians": custodians });
        let is_it = Arguments::new(&arguments).is_ok_and(|arguments| request.arguments == arguments);
        match is_it || request.operation != self.operation() {
            true => Ok(()),
            false => {
                let refused = Refused::OtherArguments(request.arguments.text().to_owned());
                Err(kms::Refusal::from(refused).into())
            }
        }
    }
}

/// A call with what custodians signed.
fn approved_by(signed: Option<&Signed>) -> Call<'_> {
    let approval = signed.map(|signed| signed as &dyn kms::Evidence);
    Call { approval, ..Call::operator() }
}

/// The name of an HSM, for people: as on its shares.
impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
