//! Verifies extended attributes: that their names decrypt and their values open.

use super::tree::Place;
use super::{Check, Kind};
use crate::keys::FileKey;
use crate::volume::dirrec::DirId;
use crate::volume::lower::Fd;
use crate::volume::xattrs::open_value;
use crate::volume::{Error, Result};
use std::ffi::OsStr;

/// Lower attributes that kmsfs keeps begin so; all others are the lower filesystem's own business.
const KEPT: [&str; 2] = ["user.kmsfs.", "trusted.kmsfs."];

/// Whose attributes they are, which decides the key and the additional data of their values.
#[derive(Clone, Copy)]
pub(super) enum Holder<'a> {
    /// A directory.
    Directory(&'a DirId),
    /// A regular file.
    File(&'a FileKey),
    /// Anything else.
    Other,
}

impl Check<'_> {
    /// Verifies all attributes of `name` in `dir`, each by itself.
    pub(super) fn attributes(&self, dir: &Fd, name: &OsStr, holder: Holder<'_>, place: &Place) {
        let attributes = match self.target.lower.list_xattr(dir, name) {
            Ok(attributes) => attributes,
            // A lower filesystem without attributes has none to verify.
            Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => return,
            Err(err) => return self.note(Kind::Attribute, place, err.into()),
        };
        for attribute in attributes {
            let kept =
                attribute.to_str().is_some_and(|text| KEPT.iter().any(|prefix| text.starts_with(prefix)));
            if kept && let Err(error) = self.attribute(dir, name, holder, &attribute) {
                self.note(Kind::Attribute, place, error);
            }
        }
    }

    fn attribute(&self, dir: &Fd, name: &OsStr, holder: Holder<'_>, attribute: &OsStr) -> Result<()> {
        let keys = self.target.keys;
        let plain = keys.decrypt_xattr(attribute).ok_or_else(|| {
            Error::corrupt(
                "attribute",
                format_args!("the name of the attribute {} does not decrypt", attribute.display()),
            )
        })?;
        let sealed = self.target.lower.get_xattr(dir, name, attribute)?;
        let opened = match holder {
            Holder::Directory(id) => keys.open_xattr(Some(id), &plain, &sealed),
            Holder::File(key) => open_value(key.xattr_key(), &plain, &sealed),
            Holder::Other => keys.open_xattr(None, &plain, &sealed),
        };
        opened.map(drop).map_err(|error| match error {
            Error::Corrupt { why, .. } => {
                Error::corrupt("attribute", format_args!("attribute {}: {why}", plain.display()))
            }
            other => other,
        })
    }
}
