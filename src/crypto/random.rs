//! Random bytes from AWS-LC's generator (a per-thread AES-256-CTR-DRBG, seeded and reseeded by the kernel).

use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;
use std::io::Write;

/// Fills `out` with random bytes fit for keys and nonces.
///
/// Never returns weak or missing randomness: if the generator fails, the process aborts with a message, since
/// neither a key nor a nonce can be had without it and an unwinding thread might leave others running.
pub fn fill(out: &mut [u8]) {
    if aws_lc_rs::rand::fill(out).is_err() {
        abort();
    }
}

/// `N` random bytes: a nonce, an id, a salt. Keys come from [`Key::random`](super::Key::random) instead, which
/// never has them on the stack.
pub fn array<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// The same generator, for crates that take one.
#[derive(Debug, Clone, Copy)]
pub struct SystemRandom;

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(array()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        fill(out);
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

#[cold]
fn abort() -> ! {
    const MESSAGE: &str =
        "the system's random number generator failed; stopping, since no key can be made safely";
    log::error!("{MESSAGE}");
    // Past the logger as well, which may be off. Nothing is left to do if this write fails.
    let _ = writeln!(std::io::stderr(), "kmsfs: {MESSAGE}");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_filled_to_its_end() {
        for len in [1, 12, 31, 32, 3072, 100_000] {
            // A byte that stays zero in 16 independent fills was not filled: chance 2^-128.
            let mut seen = vec![0u8; len];
            for _ in 0..16 {
                let mut out = vec![0u8; len];
                fill(&mut out);
                seen.iter_mut().zip(out).for_each(|(seen, byte)| *seen |= byte);
            }
            assert!(seen.iter().all(|&byte| byte != 0), "length {len}");
        }
        fill(&mut []);
    }

    #[test]
    fn two_fills_differ() {
        assert_ne!(array::<32>(), array::<32>());
    }
}
