//! Where data keys come from.

mod error;

pub use error::{Error, ErrorKind};
