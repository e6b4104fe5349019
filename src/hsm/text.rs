//! A share as words, for paper and for typing; and as digits, for a QR code. Pure.
//!
//! ```text
//!  0   1  version, 1               7   1  custodians
//!  1   4  which keystore           8   1  whose it is, from 1
//!  5   1  which set of shares      9  32  the share
//!  6   1  shares needed           41   4  checksum: BLAKE3 of bytes 0..41, its first four
//! ```
//! The 45 bytes, and four zero bits behind them, are 33 words of eleven bits each of the English list of
//! [BIP-39](https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki): no two of its words share their
//! first four letters, and those suffice when a share is typed. The set counts the times that new shares were made, so
//! that an old share is called old and not wrong.

use super::shares::{CUSTODIANS_MAX, Share};
use crate::crypto::{KEY_LEN, Key, SecretBytes};
use bip39::Language;
use std::fmt::Write;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Words of a share.
pub const WORDS: usize = 33;

const VERSION: u8 = 1;
const VALUE_AT: usize = 9;
const CHECKSUM_AT: usize = VALUE_AT + KEY_LEN;
const LEN: usize = CHECKSUM_AT + 4;
/// Bits of a word.
const BITS: usize = 11;
/// Letters that tell a word from all others.
const LETTERS: usize = 4;

const _: () = assert!(WORDS * BITS == LEN * 8 + 3, "the words hold the bytes");

/// A share, and what it belongs to.
#[derive(Debug)]
pub struct Labelled {
    /// Which keystore: the first bytes of its id.
    pub keystore: [u8; 4],
    /// Which set of shares of it, from 0.
    pub set: u8,
    /// Shares that open it.
    pub threshold: u8,
    /// Shares there are.
    pub custodians: u8,
    /// The share.
    pub share: Share,
}

/// Why a text is no share. What was typed is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Not the right number of words.
    #[error("a share has {WORDS} words; here are {0}")]
    Count(usize),
    /// A word that is in no share.
    #[error("word {0} is not in the list of words; its first four letters would suffice")]
    Word(usize),
    /// Some word is another than was written down, or in another place.
    #[error("the words do not fit together: one is wrong, or two are exchanged")]
    Checksum,
    /// A share of a newer program.
    #[error("the share has version {0}, which this program does not know")]
    Version(u8),
}

impl Labelled {
    /// The share as words, a space between them.
    pub fn to_words(&self) -> SecretBytes {
        let bytes = self.encode();
        let list = Language::English.word_list();
        let mut words = Zeroizing::new(String::with_capacity(WORDS * 9));
        for word in 0..WORDS {
            let index =
                (0..BITS).fold(0, |index, bit| index << 1 | usize::from(bit_at(&*bytes, word * BITS + bit)));
            let space = if word == 0 { "" } else { " " };
            write!(words, "{space}{}", list[index]).expect("a String takes every write");
        }
        SecretBytes::from(std::mem::take(&mut *words))
    }

    /// Reads words: in any case, between any white space, each whole or its first four letters.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn from_words(text: &str) -> Result<Labelled, Error> {
        let mut bytes = Zeroizing::new([0u8; LEN + 1]);
        let count = text.split_whitespace().count();
        if count != WORDS {
            return Err(Error::Count(count));
        }
        for (at, word) in text.split_whitespace().enumerate() {
            let index = index(word).ok_or(Error::Word(at + 1))?;
            for bit in 0..BITS {
                let place = at * BITS + bit;
                bytes[place / 8] |= ((index >> (BITS - 1 - bit) & 1) as u8) << (7 - place % 8);
            }
        }
        if bytes[LEN] != 0 {
            return Err(Error::Checksum);
        }
        Labelled::decode(bytes.first_chunk().expect("one byte less"))
    }

    fn encode(&self) -> Zeroizing<[u8; LEN]> {
        let mut bytes = Zeroizing::new([0; LEN]);
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.keystore);
        bytes[5..VALUE_AT].copy_from_slice(&[self.set, self.threshold, self.custodians, self.share.index]);
        bytes[VALUE_AT..CHECKSUM_AT].copy_from_slice(self.share.value.expose());
        let checksum = checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum);
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Result<Labelled, Error> {
        if checksum(&bytes[..CHECKSUM_AT])[..] != bytes[CHECKSUM_AT..] {
            return Err(Error::Checksum);
        }
        if bytes[0] != VERSION {
            return Err(Error::Version(bytes[0]));
        }
        let [set, threshold, custodians, index] = bytes[5..VALUE_AT].try_into().expect("four bytes");
        if index == 0 || index > custodians || threshold > custodians || custodians > CUSTODIANS_MAX {
            return Err(Error::Checksum);
        }
        let value = Key::fill_with(|out| out.copy_from_slice(&bytes[VALUE_AT..CHECKSUM_AT]));
        let keystore = bytes[1..5].try_into().expect("four bytes");
        Ok(Labelled { keystore, set, threshold, custodians, share: Share { index, value } })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new_derive_key("kmsfs hsm v1 share checksum");
    hasher.update(bytes);
    let mut out = [0; 4];
    hasher.finalize_xof().fill(&mut out);
    hasher.zeroize();
    out
}

fn bit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// The number of a word in the list.
fn index(word: &str) -> Option<usize> {
    let typed = Zeroizing::new(word.to_lowercase());
    let matches = |listed: &&str| match typed.len() {
        LETTERS => listed.starts_with(typed.as_str()),
        _ => **listed == *typed,
    };
    let list = Language::English.word_list();
    // A word of four letters may begin others of the list: itself first.
    let exact = list.iter().position(|listed| *listed == typed.as_str());
    exact.or_else(|| list.iter().position(matches))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn labelled() -> Labelled {
        let mut value = std::array::from_fn(|i| 7 * i as u8);
        let share = Share { index: 2, value: Key::from_bytes(&mut value) };
        Labelled { keystore: [0xde, 0xad, 0xbe, 0xef], set: 3, threshold: 2, custodians: 5, share }
    }

    fn words() -> String {
        String::from_utf8(labelled().to_words().expose().to_vec()).unwrap()
    }

    fn same(read: &Labelled) {
        let made = labelled();
        let label = |l: &Labelled| (l.keystore, l.set, l.threshold, l.custodians, l.share.index);
        assert_eq!(label(read), label(&made));
        assert_eq!(read.share.value, made.share.value);
    }

    #[test]
    fn a_share_survives_however_it_is_typed() {
        let text = words();
        assert_eq!(text.split(' ').count(), WORDS);
        same(&Labelled::from_words(&text).unwrap());
        same(&Labelled::from_words(&text.to_uppercase().replace(' ', "\n  ")).unwrap());
        let short: Vec<String> = text.split(' ').map(|word| word.chars().take(LETTERS).collect()).collect();
        same(&Labelled::from_words(&short.join(" ")).unwrap());
    }

    #[test]
    fn any_other_word_is_noticed() {
        let text = words();
        let written: Vec<&str> = text.split(' ').collect();
        for at in 0..WORDS {
            for other in ["abandon", "zoo", "letter"] {
                let mut changed = written.clone();
                changed[at] = other;
                let refused = Labelled::from_words(&changed.join(" "));
                assert!(written[at] == other || refused.is_err(), "word {at}");
            }
        }
        for at in 1..WORDS {
            let mut exchanged = written.clone();
            exchanged.swap(at - 1, at);
            let refused = Labelled::from_words(&exchanged.join(" "));
            assert!(written[at - 1] == written[at] || refused.unwrap_err() == Error::Checksum, "words {at}");
        }
    }

    #[test]
    fn errors_say_where() {
        let text = words();
        assert_eq!(Labelled::from_words("").unwrap_err(), Error::Count(0));
        let less = text.rsplit_once(' ').unwrap().0;
        assert_eq!(Labelled::from_words(less).unwrap_err(), Error::Count(WORDS - 1));
        let first = text.split_once(' ').unwrap().1;
        assert_eq!(Labelled::from_words(&format!("xyzzy {first}")).unwrap_err(), Error::Word(1));
        let newer = Labelled::decode(&{
            let mut bytes = *labelled().encode();
            bytes[0] = 9;
            let sum = checksum(&bytes[..CHECKSUM_AT]);
            bytes[CHECKSUM_AT..].copy_from_slice(&sum);
            bytes
        });
        assert_eq!(newer.unwrap_err(), Error::Version(9));
    }

    #[test]
    fn the_text_never_changes() {
        let expected = include_str!("../../tests/golden/share-v1.txt");
        assert_eq!(words(), expected.trim_end());
    }
}
