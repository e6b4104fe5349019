//! A key from a passphrase: Argon2id, version 0x13 (RFC 9106).
//!
//! Memory stays at 64 MiB and time is tuned by the number of passes: the daemon that unlocks a keystore has
//! to live within 200 MiB, and a keystore made on a workstation must open on a small server. Passes never go
//! below the three RFC 9106 pairs with that memory, however slow the machine. One lane, since the
//! computation here is sequential: more would help only the attacker.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize;

use super::{Key, SecretBytes};

/// Length of a salt, in bytes.
pub const SALT_LEN: usize = 16;

/// 64 MiB, of RFC 9106's second recommended option.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes of RFC 9106's second recommended option.
const MIN_TUNED_PASSES: u32 = 3;
/// Past this a faster machine gains nothing a better passphrase would not give sooner.
const MAX_TUNED_PASSES: u32 = 64;

// Stored parameters may have been written by anyone, so work is bounded before it is spent.

/// 1 GiB.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_LANES: u32 = 64;
/// Memory times passes: 16 GiB, some ten to thirty seconds.
const MAX_WORK_KIB: u64 = 16 * 1024 * 1024;

/// The cost of one guess. Stored beside the salt; not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over the memory.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

/// Why a passphrase could not be turned into a key. None of these says anything about the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// The stored cost is not one this program would have written: damaged, hostile, or from a later version.
    #[error("the stored passphrase cost is out of bounds (memory {} KiB, passes {}, lanes {})", .0.m_kib, .0.t, .0.p)]
    OutOfBounds(Argon2Params),
    /// The memory Argon2 needs is not to be had.
    #[error("not enough memory to check the passphrase: {} MiB are needed", .0.m_kib / 1024)]
    OutOfMemory(Argon2Params),
}

/// The parameters with which one [`stretch`] takes about `target` on this machine, and never less than RFC 9106's
/// second recommended option. Takes as long as four passes to find out, a fifth of a second or so.
pub fn tune(target: Duration) -> Argon2Params {
    let floor = Argon2Params { m_kib: MEMORY_KIB, t: MIN_TUNED_PASSES, p: 1 };
    // Two points, since the first touch of the memory costs about as much as a pass. The lower bound keeps one
    // delayed measurement from asking for far too many.
    let (Some(one), Some(least)) = (measure(Argon2Params { t: 1, ..floor }), measure(floor)) else {
        return floor;
    };
    let per_pass = least.saturating_sub(one).max(least / 8) / (MIN_TUNED_PASSES - 1);
    let more = target.saturating_sub(least).as_nanos() / per_pass.as_nanos().max(1);
    let t = u32::try_from(more).unwrap_or(u32::MAX).saturating_add(MIN_TUNED_PASSES).min(MAX_TUNED_PASSES);
    Argon2Params { t, ..floor }
}

/// How long one [`stretch`] takes; nothing if there is no memory for it, which the caller's own one will report.
fn measure(params: Argon2Params) -> Option<Duration> {
    let passphrase = SecretBytes::zeroed(0);
    let started = Instant::now();
    stretch(&passphrase, &[0; SALT_LEN], params).ok().map(|_| started.elapsed())
}

/// `Argon2id(passphrase, salt, params)`, 32 bytes.
///
/// # Errors
/// [`PassphraseError`]; a wrong passphrase is not an error here, it gives another key.
pub fn stretch(
    passphrase: &SecretBytes,
    salt: &[u8; SALT_LEN],
    params: Argon2Params,
) -> Result<Key, PassphraseError> {
    let checked = check(params)?;
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(checked.block_count()).map_err(|_| PassphraseError::OutOfMemory(params))?;
    blocks.resize(checked.block_count(), Block::new());

    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, checked);
    let key = Key::try_fill_with(|out| {
        argon2.hash_password_into_with_memory(passphrase.expose(), salt, out, &mut blocks)
    });
    // The blocks are all an attacker needs to test guesses cheaply.
    blocks.zeroize();
    key.map_err(|_| PassphraseError::OutOfBounds(params))
}

/// Refuses what would take too long, too much memory, or is no Argon2 at all. Low costs are let through: whoever
/// lowers a stored cost only makes the passphrase open nothing.
fn check(params: Argon2Params) -> Result<Params, PassphraseError> {
    let out_of_bounds = PassphraseError::OutOfBounds(params);
    let Argon2Params { m_kib, t, p } = params;
    if m_kib > MAX_MEMORY_KIB || p > MAX_LANES || u64::from(m_kib) * u64::from(t) > MAX_WORK_KIB {
        return Err(out_of_bounds);
    }
    Params::new(m_kib, t, p, Some(super::KEY_LEN)).map_err(|_| out_of_bounds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CHEAP: Argon2Params = Argon2Params { m_kib: 64, t: 1, p: 1 };

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::from(text.to_owned())
    }

    /// Expected values from another implementation: OpenSSL's, through Python's `cryptography` 48.
    #[test]
    fn agrees_with_openssl() {
        for (m_kib, t, p, expected) in [
            (65536, 2, 1, "fc33b78139231d34b71626bd6245c1d72efa190ad605c3d8166a72adcedfa2c2"),
            (256, 3, 4, "3ae75675fc1875866526c8f930cb40d6fe751ec0bea5ad3052bafca5369373b3"),
        ] {
            let params = Argon2Params { m_kib, t, p };
            let key = stretch(&secret("password"), b"somesaltsomesalt", params).unwrap();
            assert_eq!(hex::encode(key.expose()), expected);
        }
    }

    #[test]
    fn every_input_matters() {
        let salt = [1; SALT_LEN];
        let keys = [
            stretch(&secret("a"), &salt, CHEAP).unwrap(),
            stretch(&secret("b"), &salt, CHEAP).unwrap(),
            stretch(&secret(""), &salt, CHEAP).unwrap(),
            stretch(&secret("a"), &[2; SALT_LEN], CHEAP).unwrap(),
            stretch(&secret("a"), &salt, Argon2Params { m_kib: 72, ..CHEAP }).unwrap(),
            stretch(&secret("a"), &salt, Argon2Params { t: 2, ..CHEAP }).unwrap(),
            stretch(&secret("a"), &salt, Argon2Params { p: 2, ..CHEAP }).unwrap(),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b), "key {i} appears twice");
        }
        assert_eq!(keys[0], stretch(&secret("a"), &salt, CHEAP).unwrap());
    }

    #[test]
    fn hostile_parameters_are_refused_before_any_work() {
        let zero = Argon2Params { m_kib: 0, t: 0, p: 0 };
        let max = u32::MAX;
        for hostile in [
            zero,
            Argon2Params { m_kib: 7, ..CHEAP },
            Argon2Params { t: 0, ..CHEAP },
            Argon2Params { p: 0, ..CHEAP },
            Argon2Params { p: 9, ..CHEAP },
            Argon2Params { m_kib: MAX_MEMORY_KIB + 1, ..CHEAP },
            Argon2Params { m_kib: MAX_MEMORY_KIB, t: 17, p: 1 },
            Argon2Params { m_kib: max, t: max, p: max },
            Argon2Params { t: max, ..CHEAP },
            Argon2Params { p: max, ..CHEAP },
        ] {
            let error = stretch(&secret("a"), &[0; SALT_LEN], hostile).unwrap_err();
            assert_eq!(error, PassphraseError::OutOfBounds(hostile));
        }
    }

    #[test]
    fn tuning_never_goes_below_the_floor_and_stays_readable() {
        let floor = tune(Duration::ZERO);
        assert_eq!(floor, Argon2Params { m_kib: MEMORY_KIB, t: MIN_TUNED_PASSES, p: 1 });
        let ceiling = tune(Duration::from_secs(3600));
        assert_eq!(ceiling.t, MAX_TUNED_PASSES);
        assert!(check(ceiling).is_ok(), "what is written must be accepted when read");
    }
}
