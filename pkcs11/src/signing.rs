//! A message that is signed or verified, in parts or at once.
//!
//! Where a mechanism begins with a digest, the library computes it, and the message does not leave the program.

use crate::library::{Facts, Library};
use crate::raw::{Return, Room};
use crate::service::{Id, Use};
use crate::session::Progress;
use aws_lc_rs::digest;
use cryptoki_sys as ck;
use kmsfs::crypto::lc::{Digest, edwards};
use kmsfs::kms::token::mechanism::{How, Mechanism};
use kmsfs::kms::token::{Function, MESSAGE_MAX, Template};
use zeroize::Zeroizing;

/// See the module.
pub(crate) struct Signing {
    key: Id,
    mechanism: &'static Mechanism,
    parameter: Template,
    /// How long a signature is, in bytes.
    length: usize,
    digest: Option<digest::Context>,
    kept: Zeroizing<Vec<u8>>,
    /// A signature that did not fit.
    answer: Option<Zeroizing<Vec<u8>>>,
}

impl Signing {
    /// A message to sign, or to verify, for a key.
    ///
    /// # Errors
    /// Key and mechanism do not go together, or not with this.
    pub(crate) fn new(
        key: Id,
        facts: &Facts,
        (mechanism, parameter): (&'static Mechanism, Template),
        function: Function,
    ) -> Return<Signing> {
        facts.check(function, mechanism)?;
        let length = match mechanism.how {
            How::Ecdsa(_) | How::Dsa(_) => 2 * facts.size,
            How::Eddsa => edwards::SIGNATURE,
            How::Hmac(hash) => hash.length(),
            How::Cmac => 16,
            _ => facts.size,
        };
        let digest = mechanism.how.digest().map(context);
        Ok(Signing { key, mechanism, parameter, length, digest, kept: Zeroizing::default(), answer: None })
    }

    /// A part of the message.
    pub(crate) fn update(&mut self, data: &[u8]) -> Return<Progress> {
        match &mut self.digest {
            Some(digest) => digest.update(data),
            None if self.kept.len() + data.len() > MESSAGE_MAX => return Err(ck::CKR_DATA_LEN_RANGE),
            None => self.kept.extend_from_slice(data),
        }
        Ok(Progress::GoesOn)
    }

    /// The signature of the message so far, and `more` of it.
    pub(crate) fn sign(
        &mut self,
        library: &Library,
        ticket: &Id,
        more: &[u8],
        room: Room,
    ) -> Return<Progress> {
        if room.only_asks() {
            room.tell(self.length);
            return Ok(Progress::GoesOn);
        }
        if self.answer.is_none() {
            if room.size() < self.length {
                room.tell(self.length);
                return Err(ck::CKR_BUFFER_TOO_SMALL);
            }
            self.update(more)?;
            self.answer = Some(self.run(library, ticket, Function::Sign, &[])?);
        }
        let answer = self.answer.take().unwrap_or_default();
        if let Err(code) = room.give(&answer) {
            self.answer = Some(answer);
            return Err(code);
        }
        Ok(Progress::Over)
    }

    /// Verifies the signature of the message so far, and `more` of it.
    pub(crate) fn verify(
        &mut self,
        library: &Library,
        ticket: &Id,
        more: &[u8],
        signature: &[u8],
    ) -> Return<Progress> {
        self.update(more)?;
        self.run(library, ticket, Function::Verify, signature)?;
        Ok(Progress::Over)
    }

    fn run(
        &mut self,
        library: &Library,
        ticket: &Id,
        function: Function,
        signature: &[u8],
    ) -> Return<Zeroizing<Vec<u8>>> {
        let digest = self.digest.take().map(digest::Context::finish);
        let message = digest.as_ref().map_or(self.kept.as_slice(), AsRef::as_ref);
        let what = Use {
            key: &self.key,
            function,
            mechanism: self.mechanism.number,
            parameter: &self.parameter,
            message,
            is_digest: digest.is_some(),
            signature,
        };
        library.over(library.service.run(ticket, &what))
    }
}

/// A digest to compute.
pub(crate) fn context(digest: Digest) -> digest::Context {
    digest::Context::new(match digest {
        Digest::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha224 => &digest::SHA224,
        Digest::Sha256 => &digest::SHA256,
        Digest::Sha384 => &digest::SHA384,
        Digest::Sha512 => &digest::SHA512,
    })
}
