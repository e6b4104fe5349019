//! A message that is encrypted or decrypted, in parts or at once.
//!
//! Block ciphers go to the service piece by piece, each with the vector that the one before left. Everything else is
//! kept until the end, up to a bound: the service answers for a whole message or not at all.

use crate::library::{Facts, Library};
use crate::parameter::COUNTER_BITS;
use crate::raw::{Return, Room};
use crate::service::{Id, Use};
use crate::session::Progress;
use cryptoki_sys as ck;
use kmsfs::crypto::lc::block::{Block, Mode};
use kmsfs::kms::token::mechanism::{How, Mechanism};
use kmsfs::kms::token::{Function, MESSAGE_MAX, Template};
use zeroize::Zeroizing;

/// How much goes to the service at once, in bytes: whole blocks.
const PIECE: usize = 256 << 10;

/// See the module.
pub(crate) struct Cipher {
    key: Id,
    mechanism: &'static Mechanism,
    parameter: Template,
    /// To encrypt or to decrypt.
    function: Function,
    /// The length of an RSA key's modulus.
    modulus: usize,
    /// What has not gone to the service yet.
    kept: Zeroizing<Vec<u8>>,
    /// How many blocks a counter has left.
    blocks_left: u128,
    /// An answer that did not fit.
    answer: Option<Zeroizing<Vec<u8>>>,
}

impl Cipher {
    /// A message for a key.
    ///
    /// # Errors
    /// Key and mechanism do not go together, or not with this.
    pub(crate) fn new(
        key: Id,
        facts: &Facts,
        (mechanism, parameter): (&'static Mechanism, Template),
        function: Function,
    ) -> Return<Cipher> {
        facts.check(function, mechanism)?;
        let mut cipher = Cipher {
            key,
            mechanism,
            parameter,
            function,
            modulus: facts.size,
            kept: Zeroizing::default(),
            blocks_left: u128::MAX,
            answer: None,
        };
        cipher.check_parameter()?;
        Ok(cipher)
    }

    fn check_parameter(&mut self) -> Return<()> {
        let length = self.parameter.get(0).map(<[u8]>::len);
        let good = match self.mechanism.how {
            How::Block(cipher, Mode::Cbc | Mode::CbcPad) => length == Some(cipher.length()),
            How::Gcm => matches!(self.parameter.number(2), Some(96 | 104 | 112 | 120 | 128)),
            _ => true,
        };
        if let (How::Block(_, Mode::Ctr), Some(bits)) =
            (self.mechanism.how, self.parameter.number(COUNTER_BITS))
        {
            let counter = self.counter()?;
            let mask = u128::MAX.checked_shr(128 - u32::try_from(bits).unwrap_or(128)).unwrap_or_default();
            // The counter has as many values as are left until it begins anew.
            self.blocks_left = (mask - (counter & mask)).saturating_add(1);
        }
        if good { Ok(()) } else { Err(ck::CKR_MECHANISM_PARAM_INVALID) }
    }

    fn counter(&self) -> Return<u128> {
        let block = self.parameter.get(0).and_then(|block| block.try_into().ok());
        block.map(u128::from_be_bytes).ok_or(ck::CKR_MECHANISM_PARAM_INVALID)
    }

    /// The whole message at once.
    pub(crate) fn whole(
        &mut self,
        library: &Library,
        ticket: &Id,
        data: &[u8],
        room: Room,
    ) -> Return<Progress> {
        if room.only_asks() {
            room.tell(self.bound(data.len()));
            return Ok(Progress::GoesOn);
        }
        if self.answer.is_none() {
            // An answer whose length is known is not computed in vain.
            if self.function == Function::Encrypt && room.size() < self.bound(data.len()) {
                room.tell(self.bound(data.len()));
                return Err(ck::CKR_BUFFER_TOO_SMALL);
            }
            self.answer = Some(self.run(library, ticket, data)?);
        }
        self.give(room)
    }

    /// What comes of the whole message, of which nothing is kept.
    fn run(&mut self, library: &Library, ticket: &Id, data: &[u8]) -> Return<Zeroizing<Vec<u8>>> {
        let in_one = self.kept.is_empty() && data.len() <= PIECE;
        match self.mechanism.how {
            How::Block(_, Mode::Ecb | Mode::Cbc | Mode::CbcPad) if in_one => {
                self.send(library, ticket, self.mechanism.number, data)
            }
            _ => {
                let mut answer = self.take(library, ticket, data)?;
                answer.extend_from_slice(&self.end(library, ticket)?);
                Ok(answer)
            }
        }
    }

    /// A part of the message.
    pub(crate) fn update(
        &mut self,
        library: &Library,
        ticket: &Id,
        data: &[u8],
        room: Room,
    ) -> Return<Progress> {
        let length = self.ready(self.kept.len() + data.len());
        if room.only_asks() || room.size() < length {
            room.tell(length);
            return if room.only_asks() { Ok(Progress::GoesOn) } else { Err(ck::CKR_BUFFER_TOO_SMALL) };
        }
        let answer = self.take(library, ticket, data)?;
        room.give(&answer)?;
        Ok(Progress::GoesOn)
    }

    /// The end of the message.
    pub(crate) fn finish(&mut self, library: &Library, ticket: &Id, room: Room) -> Return<Progress> {
        if room.only_asks() {
            room.tell(self.bound(0));
            return Ok(Progress::GoesOn);
        }
        if self.answer.is_none() {
            self.answer = Some(self.end(library, ticket)?);
        }
        self.give(room)
    }

    fn give(&mut self, room: Room) -> Return<Progress> {
        let answer = self.answer.take().unwrap_or_default();
        if let Err(code) = room.give(&answer) {
            self.answer = Some(answer);
            return Err(code);
        }
        Ok(Progress::Over)
    }

    /// How long the answer to what is kept and `more` bytes is at most.
    fn bound(&self, more: usize) -> usize {
        let length = self.kept.len() + more;
        match (self.mechanism.how, self.function) {
            (How::Block(cipher, Mode::CbcPad), Function::Encrypt) => {
                (length / cipher.length() + 1) * cipher.length()
            }
            (How::Gcm, Function::Encrypt) => length + self.tag(),
            (How::Gcm, Function::Decrypt) => length.saturating_sub(self.tag()),
            (How::Block(..), _) => length,
            _ => self.modulus,
        }
    }

    fn tag(&self) -> usize {
        self.parameter.number(2).map_or(16, |bits| bits as usize / 8)
    }

    /// How many of `length` bytes that are there can go to the service.
    fn ready(&self, length: usize) -> usize {
        let How::Block(cipher, mode) = self.mechanism.how else { return 0 };
        let whole = length - length % cipher.length();
        // The last block shows the padding, and which is the last is not known yet.
        match (mode, self.function) {
            (Mode::CbcPad, Function::Decrypt) if whole == length => whole.saturating_sub(cipher.length()),
            _ => whole,
        }
    }

    /// Takes data in, and gives what came of it.
    fn take(&mut self, library: &Library, ticket: &Id, data: &[u8]) -> Return<Zeroizing<Vec<u8>>> {
        let How::Block(..) = self.mechanism.how else {
            if self.kept.len() + data.len() > MESSAGE_MAX {
                return Err(self.bad_length());
            }
            self.kept.extend_from_slice(data);
            return Ok(Zeroizing::default());
        };
        let ready = self.ready(self.kept.len() + data.len());
        let mut all = std::mem::take(&mut self.kept);
        all.extend_from_slice(data);
        self.kept.extend_from_slice(&all[ready..]);
        let mut answer = Zeroizing::new(Vec::with_capacity(ready));
        for piece in all[..ready].chunks(PIECE) {
            answer.extend_from_slice(&self.piece(library, ticket, piece)?);
        }
        Ok(answer)
    }

    /// Sends whole blocks, and moves the vector on.
    fn piece(&mut self, library: &Library, ticket: &Id, piece: &[u8]) -> Return<Zeroizing<Vec<u8>>> {
        let How::Block(cipher, mode) = self.mechanism.how else { return Err(ck::CKR_GENERAL_ERROR) };
        let number = match (mode, cipher) {
            // Padding is for the end.
            (Mode::CbcPad, Block::Aes) => ck::CKM_AES_CBC,
            (Mode::CbcPad, Block::Des3) => ck::CKM_DES3_CBC,
            _ => self.mechanism.number,
        };
        let blocks = piece.len().div_ceil(cipher.length()) as u128;
        if mode == Mode::Ctr {
            self.blocks_left = self.blocks_left.checked_sub(blocks).ok_or(self.bad_length())?;
        }
        let answer = self.send(library, ticket, number, piece)?;
        let chained = if self.function == Function::Encrypt { &answer } else { piece };
        match mode {
            Mode::Cbc | Mode::CbcPad => {
                let last = chained.len().checked_sub(cipher.length()).ok_or(ck::CKR_DEVICE_ERROR)?;
                self.parameter.set(0, &chained[last..]);
            }
            Mode::Ctr => {
                let next = self.counter()?.wrapping_add(blocks);
                self.parameter.set(0, next.to_be_bytes());
            }
            Mode::Ecb => {}
        }
        Ok(answer)
    }

    /// What comes of the rest.
    fn end(&mut self, library: &Library, ticket: &Id) -> Return<Zeroizing<Vec<u8>>> {
        let kept = std::mem::take(&mut self.kept);
        match self.mechanism.how {
            How::Block(_, Mode::Ecb | Mode::Cbc) if kept.is_empty() => Ok(Zeroizing::default()),
            How::Block(_, Mode::Ecb | Mode::Cbc) => Err(self.bad_length()),
            How::Block(_, Mode::Ctr) if kept.is_empty() => Ok(Zeroizing::default()),
            How::Block(_, Mode::Ctr) => self.piece(library, ticket, &kept),
            _ => self.send(library, ticket, self.mechanism.number, &kept),
        }
    }

    fn send(
        &self,
        library: &Library,
        ticket: &Id,
        mechanism: u64,
        data: &[u8],
    ) -> Return<Zeroizing<Vec<u8>>> {
        let (key, function, parameter) = (&self.key, self.function, &self.parameter);
        let what =
            Use { key, function, mechanism, parameter, message: data, is_digest: false, signature: &[] };
        library.over(library.service.run(ticket, &what))
    }

    fn bad_length(&self) -> ck::CK_RV {
        if self.function == Function::Encrypt {
            ck::CKR_DATA_LEN_RANGE
        } else {
            ck::CKR_ENCRYPTED_DATA_LEN_RANGE
        }
    }
}
