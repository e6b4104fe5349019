//! A PKCS#11 token in the keystore: objects with the standard's attributes, and mechanisms on them.
//!
//! A token's *objects* are rows of the keystore, sealed as all are, and each is its owner's alone: whoever calls the
//! service as that principal, and has logged in with the principal's PIN where an object is private. Session objects are
//! in memory. Rules, attributes and error codes are those of PKCS#11 2.40 and 3.0 (OASIS); what programs load,
//! `libkmsfs_pkcs11.so`, translates between the standard's C structures and the operations here, and computes nothing
//! with secrets itself.
//!
//! | module | what it is for |
//! |---|---|
//! | [`Code`] | return codes and errors |
//! | [`Template`] | attributes as bytes |
//! | `rules` | which attributes an object has, and who may set them |
//! | `object` | an object: what it shows, what it hides |
//! | `material` | the key behind the attributes |
//! | [`mechanism`] | what can be computed |
//! | `parameter` | parameters of mechanisms |
//! | `operate`, `generate`, `derive`, `pkcs8` | the mechanisms |
//! | `applications`, `pin` | who has the token open, and is logged in |
//! | `store` | finding and keeping objects |

mod applications;
mod code;
mod derive;
mod generate;
mod material;
pub mod mechanism;
mod object;
mod operate;
mod parameter;
mod pin;
mod pkcs8;
mod rules;
mod store;
mod template;
#[cfg(test)]
mod tests;

pub use applications::Ticket;
pub use code::{Code, Error, Result};
pub use object::ObjectId;
pub use operate::{Function, MESSAGE_MAX, Message};
pub use pin::PIN_LENGTHS;
pub use store::{Info, Token};
pub use template::{TEMPLATE_MAX, Template};

pub(super) use applications::Applications;
pub(in crate::kms) use object::Object;
pub(super) use pin::{Guesses, PIN_CLASS};
