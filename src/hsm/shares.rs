//! A secret split among custodians: Feldman's verifiable secret sharing over P-256. Pure.
//!
//! The secret is a random scalar. Shamir's polynomial of degree M − 1 has it at 0, and each custodian gets the value at
//! their index: any M of them make the secret again, fewer learn nothing of it. Commitments, the polynomial's
//! coefficients times the generator, are public and tell of each share alone whether it is what was handed out
//! ([Feldman, FOCS 1987](https://doi.org/10.1109/SFCS.1987.4)). The first of them is the secret times the generator: what
//! that tells of the secret is a discrete logarithm. So the secret is random, and serves as a key only by way of a
//! hash ([`Secret::key`]).
//!
//! The sharing is `vsss-rs`'s, the arithmetic `p256`'s.

use crate::crypto::{KEY_LEN, Key, kdf, random};
use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::group::GroupEncoding;
use p256::{ProjectivePoint, Scalar};
use thiserror::Error;
use vsss_rs::{
    DefaultShare, FeldmanVerifierSet, IdentifierPrimeField, ReadableShareSet, ValueGroup, feldman,
};
use zeroize::{Zeroize, Zeroizing};

/// Most custodians.
pub const CUSTODIANS_MAX: u8 = 16;
/// Bytes of a commitment: a point of P-256, compressed (SEC 1, 2.3.3).
pub const COMMITMENT_LEN: usize = 33;

type Element = IdentifierPrimeField<Scalar>;
type Point = DefaultShare<Element, Element>;
type Commitment = ValueGroup<ProjectivePoint>;

/// What is wrong with a quorum or a share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A quorum that would protect nothing, or could not be kept.
    #[error(
        "a quorum of {threshold}/{custodians}: at least 2 of at most {CUSTODIANS_MAX} custodians are needed"
    )]
    Quorum {
        /// Shares that open it.
        threshold: u8,
        /// Shares there are.
        custodians: u8,
    },
    /// A share that is not what was handed out to its custodian.
    #[error("the share of custodian {0} is not the one that was handed out")]
    Forged(u8),
    /// Not enough shares, each counted once.
    #[error("{have} of {need} shares")]
    TooFew {
        /// Different shares at hand.
        have: usize,
        /// Shares needed.
        need: usize,
    },
    /// Commitments that are no points of the curve, or none at all.
    #[error("the commitments of the quorum are damaged")]
    Commitments,
}

/// What is shared: a random scalar. Zeroed when dropped.
pub struct Secret(Scalar);

impl Secret {
    /// A new one.
    pub fn random() -> Secret {
        loop {
            let mut bytes = Zeroizing::new([0; KEY_LEN]);
            random::fill(&mut *bytes);
            // Most values are below the group's order; one that is not, or zero, would not be uniform.
            if let Some(scalar) = scalar(&bytes).filter(|scalar| !bool::from(scalar.is_zero())) {
                return Secret(scalar);
            }
        }
    }

    /// The key that it gives for `purpose`, which no other purpose has.
    pub fn key(&self, purpose: &[u8]) -> Key {
        let mut repr = self.0.to_repr();
        let scalar = Key::fill_with(|out| out.copy_from_slice(&repr));
        repr.zeroize();
        kdf::subkey_with("kmsfs hsm v1 quorum secret", &scalar, purpose)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What one custodian has.
#[derive(Debug)]
pub struct Share {
    /// Whose it is, from 1.
    pub index: u8,
    /// The polynomial's value there, big-endian.
    pub value: Key,
}

/// The public part of a quorum: how many shares open it, and what verifies each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    custodians: u8,
    /// One per coefficient; as many as shares are needed.
    commitments: Vec<[u8; COMMITMENT_LEN]>,
}

impl Quorum {
    /// Splits `secret`, so that any `threshold` of the `custodians` shares make it again.
    ///
    /// # Errors
    /// [`Error::Quorum`] unless 2 ≤ `threshold` ≤ `custodians` ≤ [`CUSTODIANS_MAX`].
    pub fn split(secret: &Secret, threshold: u8, custodians: u8) -> Result<(Quorum, Vec<Share>), Error> {
        let error = Error::Quorum { threshold, custodians };
        if threshold < 2 || threshold > custodians || custodians > CUSTODIANS_MAX {
            return Err(error);
        }
        let secret = Zeroizing::new(IdentifierPrimeField(secret.0));
        let (mut points, verifiers) = feldman::split_secret::<Point, Commitment>(
            threshold.into(),
            custodians.into(),
            &secret,
            None,
            random::SystemRandom,
        )
        .map_err(|_| error)?;
        let shares = points.iter().zip(1..).map(|(point, index)| {
            debug_assert_eq!(
                point.identifier.0,
                Scalar::from(u64::from(index)),
                "shares are numbered from 1"
            );
            Share { index, value: key(&point.value.0) }
        });
        let shares = shares.collect();
        points.iter_mut().for_each(|point| point.value.0.zeroize());
        // The generator comes first.
        let commitments = verifiers[1..].iter().map(|point| point.0.to_bytes().into()).collect();
        Ok((Quorum { custodians, commitments }, shares))
    }

    /// The quorum with these commitments, as [`Quorum::commitments`] gave them.
    ///
    /// # Errors
    /// [`Error::Quorum`] or [`Error::Commitments`] if it cannot be one.
    pub fn from_parts(custodians: u8, commitments: Vec<[u8; COMMITMENT_LEN]>) -> Result<Quorum, Error> {
        let threshold = u8::try_from(commitments.len()).unwrap_or(u8::MAX);
        if threshold < 2 || threshold > custodians || custodians > CUSTODIANS_MAX {
            return Err(Error::Quorum { threshold, custodians });
        }
        let quorum = Quorum { custodians, commitments };
        quorum.verifiers().map(|_| quorum)
    }

    /// Shares that open it.
    pub fn threshold(&self) -> u8 {
        self.commitments.len() as u8
    }

    /// Shares there are.
    pub fn custodians(&self) -> u8 {
        self.custodians
    }

    /// What verifies shares: not secret.
    pub fn commitments(&self) -> &[[u8; COMMITMENT_LEN]] {
        &self.commitments
    }

    /// Is `share` what was handed out to its custodian?
    ///
    /// # Errors
    /// [`Error::Forged`] if not; [`Error::Commitments`].
    pub fn verify(&self, share: &Share) -> Result<(), Error> {
        let forged = Error::Forged(share.index);
        if share.index == 0 || share.index > self.custodians {
            return Err(forged);
        }
        let point = point(share).ok_or(forged.clone())?;
        FeldmanVerifierSet::<Point, Commitment>::verify_share(&self.verifiers()?, &point).map_err(|_| forged)
    }

    /// Makes the secret again of shares that each verify; one that is there twice counts once.
    ///
    /// # Errors
    /// [`Error::Forged`] with the first share that does not verify; [`Error::TooFew`].
    pub fn combine(&self, shares: &[&Share]) -> Result<Secret, Error> {
        let mut points: Vec<Point> = Vec::with_capacity(shares.len());
        for share in shares {
            self.verify(share)?;
            let point = point(share).ok_or(Error::Forged(share.index))?;
            if points.iter().all(|known| known.identifier != point.identifier) {
                points.push(point);
            }
        }
        let need = self.commitments.len();
        if points.len() < need {
            points.iter_mut().for_each(|point| point.value.0.zeroize());
            return Err(Error::TooFew { have: points.len(), need });
        }
        let secret = points.combine().map(|secret| Secret(secret.0));
        points.iter_mut().for_each(|point| point.value.0.zeroize());
        // Shares that verify lie on one polynomial, so this is what was split.
        let secret = secret.map_err(|_| Error::Commitments)?;
        let committed = (ProjectivePoint::GENERATOR * secret.0).to_bytes();
        match committed[..] == self.commitments[0] {
            true => Ok(secret),
            false => Err(Error::Commitments),
        }
    }

    /// The generator, and the commitments behind it.
    fn verifiers(&self) -> Result<Vec<Commitment>, Error> {
        let mut verifiers = vec![ValueGroup(ProjectivePoint::GENERATOR)];
        for commitment in &self.commitments {
            let point = Option::from(ProjectivePoint::from_bytes(&(*commitment).into()));
            verifiers.push(ValueGroup(point.ok_or(Error::Commitments)?));
        }
        Ok(verifiers)
    }
}

fn scalar(bytes: &[u8; KEY_LEN]) -> Option<Scalar> {
    Scalar::from_repr((*bytes).into()).into()
}

fn key(scalar: &Scalar) -> Key {
    let mut repr = scalar.to_repr();
    let key = Key::fill_with(|out| out.copy_from_slice(&repr));
    repr.zeroize();
    key
}

fn point(share: &Share) -> Option<Point> {
    let index = IdentifierPrimeField(Scalar::from(u64::from(share.index)));
    Some(DefaultShare { identifier: index, value: IdentifierPrimeField(scalar(share.value.expose())?) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn copy(share: &Share) -> Share {
        Share { index: share.index, value: Key::fill_with(|out| *out = *share.value.expose()) }
    }

    fn subset(shares: &[Share], bits: u32) -> Vec<Share> {
        shares.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, share)| copy(share)).collect()
    }

    #[test]
    fn every_subset_of_m_shares_opens_and_no_smaller_one_does() {
        for custodians in 2..=7 {
            for threshold in 2..=custodians {
                let secret = Secret::random();
                let (quorum, shares) = Quorum::split(&secret, threshold, custodians).unwrap();
                for bits in 0..1u32 << custodians {
                    let combined = quorum.combine(&subset(&shares, bits).iter().collect::<Vec<_>>());
                    let have = bits.count_ones() as usize;
                    if have < threshold.into() {
                        assert_eq!(combined.unwrap_err(), Error::TooFew { have, need: threshold.into() });
                    } else {
                        assert_eq!(
                            combined.unwrap().key(b"x"),
                            secret.key(b"x"),
                            "{threshold}/{custodians} {bits:b}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn fewer_shares_interpolate_to_something_else() {
        let secret = Secret::random();
        let (_, shares) = Quorum::split(&secret, 3, 5).unwrap();
        let points: Vec<Point> = shares[..2].iter().map(|share| point(share).unwrap()).collect();
        assert_ne!(points.combine().unwrap().0, secret.0);
    }

    #[test]
    fn every_flipped_bit_of_a_share_names_its_custodian() {
        let (quorum, shares) = Quorum::split(&Secret::random(), 2, 3).unwrap();
        for share in &shares {
            assert_eq!(quorum.verify(share), Ok(()));
            for bit in 0..8 * KEY_LEN {
                let mut bytes = *share.value.expose();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let bad = Share { index: share.index, value: Key::from_bytes(&mut bytes) };
                assert_eq!(quorum.verify(&bad), Err(Error::Forged(share.index)), "bit {bit}");
                let all = [&shares[usize::from(share.index) % 3], &bad];
                assert_eq!(quorum.combine(&all).unwrap_err(), Error::Forged(share.index));
            }
        }
    }

    #[test]
    fn a_share_counts_once_and_only_for_its_own_custodian_and_quorum() {
        let (quorum, shares) = Quorum::split(&Secret::random(), 2, 3).unwrap();
        let twice = [&shares[0], &shares[0]];
        assert_eq!(quorum.combine(&twice).unwrap_err(), Error::TooFew { have: 1, need: 2 });
        for index in [0, 2, 3, 4, 255] {
            let renamed = Share { index, ..copy(&shares[0]) };
            assert_eq!(quorum.verify(&renamed), Err(Error::Forged(index)));
        }
        let (other, _) = Quorum::split(&Secret::random(), 2, 3).unwrap();
        assert_eq!(other.verify(&shares[0]), Err(Error::Forged(1)));
    }

    #[test]
    fn a_new_polynomial_of_the_same_secret_makes_old_shares_useless_with_new_ones() {
        let secret = Secret::random();
        let (old, old_shares) = Quorum::split(&secret, 2, 3).unwrap();
        let (new, new_shares) = Quorum::split(&secret, 2, 3).unwrap();
        assert_eq!(old.commitments()[0], new.commitments()[0]);
        let mixed = [&old_shares[0], &new_shares[1]];
        assert_eq!(new.combine(&mixed).unwrap_err(), Error::Forged(1));
        assert_eq!(new.combine(&new_shares.iter().collect::<Vec<_>>()).unwrap().key(b"x"), secret.key(b"x"));
    }

    #[test]
    fn quorums_that_protect_nothing_are_refused() {
        for (threshold, custodians) in [(0, 3), (1, 3), (4, 3), (2, 17), (2, 1)] {
            let expected = Error::Quorum { threshold, custodians };
            assert_eq!(Quorum::split(&Secret::random(), threshold, custodians).unwrap_err(), expected);
            let commitments = vec![[2; COMMITMENT_LEN]; threshold.into()];
            assert_eq!(Quorum::from_parts(custodians, commitments).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_public_part_survives_and_damaged_commitments_are_noticed() {
        let (quorum, shares) = Quorum::split(&Secret::random(), 3, 5).unwrap();
        let read = Quorum::from_parts(5, quorum.commitments().to_vec()).unwrap();
        assert_eq!((read.threshold(), read.custodians()), (3, 5));
        assert_eq!(read, quorum);
        let mut commitments = quorum.commitments().to_vec();
        commitments[0][0] = 9;
        assert_eq!(Quorum::from_parts(5, commitments.clone()).unwrap_err(), Error::Commitments);
        commitments[0] = quorum.commitments()[1];
        let swapped = Quorum::from_parts(5, commitments).unwrap();
        assert_eq!(swapped.combine(&[&shares[0], &shares[1], &shares[2]]).unwrap_err(), Error::Forged(1));
    }

    /// Chi-squared over the bytes of many shares of one secret: uniform within what chance does once in a million times.
    #[test]
    fn shares_are_uniform() {
        let secret = Secret::random();
        let mut counts = [0u32; 256];
        for _ in 0..2000 {
            let (_, shares) = Quorum::split(&secret, 2, 2).unwrap();
            // The highest bytes are not quite uniform: the group's order is 2^256 − 2^224 + ….
            shares
                .iter()
                .flat_map(|share| &share.value.expose()[8..])
                .for_each(|b| counts[usize::from(*b)] += 1);
        }
        let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!((150.0..=375.0).contains(&chi), "chi-squared of 255 degrees of freedom: {chi}");
    }

    #[test]
    fn keys_are_for_one_purpose() {
        let secret = Secret::random();
        assert_eq!(secret.key(b"a"), secret.key(b"a"));
        assert_ne!(secret.key(b"a"), secret.key(b"b"));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
