//! PINs: one for each user of the token, beside what makes them somebody at the service's door.
//!
//! A PIN keeps other programs of the same user from the private objects. It is kept as an object of a class of its own,
//! which no search shows: Argon2id of it, in a sealed row. Guessing is slowed down: after three wrong PINs the next one
//! is looked at a second later, and each time twice as late, up to an hour.

use super::code::{Code, Result};
use super::object::{Object, ObjectId};
use super::template::Template;
use crate::crypto::passphrase::{Argon2Params, SALT_LEN, stretch};
use crate::crypto::{Key, SecretBytes, random};
use cryptoki_sys as ck;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lengths that a PIN may have, in bytes.
pub const PIN_LENGTHS: std::ops::RangeInclusive<usize> = 6..=255;

/// The class of the objects that PINs are: a vendor's, so no other is it.
pub(in crate::kms) const PIN_CLASS: u64 = ck::CKO_VENDOR_DEFINED | 0x70_69_6e;

/// What a guess costs: some ten milliseconds, since programs log in often.
const COST: Argon2Params = Argon2Params { m_kib: 19 << 10, t: 2, p: 1 };
/// Wrong PINs that cost nothing.
const FREE: u32 = 3;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// How long it takes until a wrong PIN is forgotten. A right one does not make the ones before right: programs log in
/// often, and a guess after each would be free.
const FORGET: Duration = Duration::from_secs(600);

/// The object that a new PIN of `owner`'s is.
///
/// # Errors
/// It is too short or too long.
pub(super) fn new(owner: &str, pin: &SecretBytes, cost: Option<Argon2Params>) -> Result<Object> {
    if !PIN_LENGTHS.contains(&pin.len()) {
        let (from, to) = (PIN_LENGTHS.start(), PIN_LENGTHS.end());
        return Err(Code::PIN_LEN_RANGE.because(format!("A PIN has {from} to {to} bytes.")));
    }
    let (cost, salt) = (cost.unwrap_or(COST), random::array::<SALT_LEN>());
    let hash = hash(pin, &salt, cost)?;
    let mut attributes = Template::default();
    attributes.set_number(ck::CKA_CLASS, PIN_CLASS);
    attributes.set_flag(ck::CKA_TOKEN, true);
    let numbers = [cost.m_kib, cost.t, cost.p].map(u32::to_le_bytes);
    attributes.set(ck::CKA_VALUE, [salt.as_slice(), numbers.as_flattened(), hash.expose()].concat());
    Ok(Object::of(ObjectId::random(), owner, attributes))
}

/// Whether it is that one.
fn is_right(kept: &Object, pin: &SecretBytes) -> Result<bool> {
    let broken = || Code::DEVICE_ERROR.because("The PIN's row is none.");
    let value = kept.attributes.get(ck::CKA_VALUE).ok_or_else(broken)?;
    let (salt, rest) = value.split_first_chunk::<SALT_LEN>().ok_or_else(broken)?;
    let (numbers, right) = rest.split_first_chunk::<12>().ok_or_else(broken)?;
    let number =
        |at: usize| u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
    let right: &[u8; 32] = right.try_into().map_err(|_| broken())?;
    let right = Key::fill_with(|out| *out = *right);
    Ok(hash(pin, salt, Argon2Params { m_kib: number(0), t: number(4), p: number(8) })? == right)
}

fn hash(pin: &SecretBytes, salt: &[u8; SALT_LEN], cost: Argon2Params) -> Result<Key> {
    stretch(pin, salt, cost)
        .map_err(|error| Code::DEVICE_ERROR.because(format!("A PIN cannot be hashed: {error}")))
}

/// Wrong PINs in a row, by owner.
#[derive(Default)]
pub(in crate::kms) struct Guesses(Mutex<HashMap<String, Arc<Mutex<Guess>>>>);

#[derive(Default)]
struct Guess {
    wrong: u32,
    /// When the last wrong one came, or when one was forgotten since.
    since: Option<Instant>,
    /// Not before then is another PIN looked at.
    next: Option<Instant>,
}

impl Guess {
    /// Forgets as many wrong PINs as the time that went by allows.
    fn forget(&mut self) {
        let Some(since) = self.since else { return };
        let past = u32::try_from(since.elapsed().as_secs() / FORGET.as_secs()).unwrap_or(u32::MAX);
        self.wrong = self.wrong.saturating_sub(past);
        self.since = (self.wrong > 0).then(|| since + FORGET * past);
    }
}

impl Guesses {
    /// Checks `owner`'s PIN. One at a time: guesses cannot be made side by side.
    ///
    /// # Errors
    /// It is wrong, or wrong ones came too often.
    pub(super) fn check(&self, owner: &str, kept: &Object, pin: &SecretBytes) -> Result<()> {
        let guess = Arc::clone(self.0.lock().entry(owner.to_owned()).or_default());
        let mut guess = guess.lock();
        if let Some(left) = guess.next.and_then(|next| next.checked_duration_since(Instant::now())) {
            let why = format!("Wrong PINs came too often: again in {} s.", left.as_secs() + 1);
            return Err(Code::PIN_LOCKED.because(why));
        }
        guess.forget();
        if is_right(kept, pin)? {
            return Ok(());
        }
        guess.wrong = guess.wrong.saturating_add(1);
        guess.since = Some(Instant::now());
        let doubled = guess.wrong.checked_sub(FREE).map(|over| Duration::from_secs(1 << over.min(12)));
        guess.next = doubled.map(|wait| Instant::now() + wait.min(WAIT_MAX));
        Err(Code::PIN_INCORRECT.because("The PIN is wrong."))
    }

    /// Whether the next wrong PIN has everybody wait, and whether a wait goes on.
    pub(super) fn state(&self, owner: &str) -> (bool, bool) {
        let Some(guess) = self.0.lock().get(owner).cloned() else { return (false, false) };
        // Held while a PIN is looked at: whoever only asks does not wait for that.
        let Some(mut guess) = guess.try_lock() else { return (false, false) };
        guess.forget();
        (guess.wrong > 0, guess.next.is_some_and(|next| next > Instant::now()))
    }
}
