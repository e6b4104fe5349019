//! Reads extended attributes: their names and values, each by itself.

use super::Survey;
use crate::keys::FileKey;
use crate::volume::dirrec::DirId;
use crate::volume::lower::Fd;
use crate::volume::xattrs::{is_acl, open_value_of};
use crate::volume::{Error, Result};
use std::ffi::{OsStr, OsString};

/// Lower attributes that kmsfs keeps begin so; ACLs are passed through, and all others are the lower filesystem's own.
const KEPT: [&str; 2] = ["user.kmsfs.", "trusted.kmsfs."];

/// Whose attributes they are, which decides the key and the additional data of their values.
#[derive(Clone, Copy)]
pub(in crate::volume) enum Holder<'a> {
    /// A directory.
    Directory(&'a DirId),
    /// A regular file.
    File(&'a FileKey),
    /// Anything else.
    Other,
}

/// An extended attribute in plaintext: name and value.
pub(in crate::volume) type Attribute = (OsString, Vec<u8>);

impl Survey<'_> {
    /// All attributes of `name` in `dir`; what is wrong with one says nothing of the others.
    ///
    /// # Errors
    /// Those of the lower filesystem.
    pub(in crate::volume) fn attributes(
        &self,
        dir: &Fd,
        name: &OsStr,
        holder: Holder<'_>,
    ) -> Result<Vec<Result<Attribute>>> {
        let names = match self.lower.list_xattr(dir, name) {
            Ok(names) => names,
            // A lower filesystem without attributes has none.
            Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
            Err(err) => return Err(err.into()),
        };
        let read = |attribute: OsString| {
            if is_acl(&attribute) {
                let value = self.lower.get_xattr(dir, name, &attribute).map_err(Error::from);
                return Some(value.map(|value| (attribute, value)));
            }
            let ours = attribute.to_str().is_some_and(|text| KEPT.iter().any(|kept| text.starts_with(kept)));
            ours.then(|| self.sealed_attribute(dir, name, holder, &attribute))
        };
        Ok(names.into_iter().filter_map(read).collect())
    }

    fn sealed_attribute(
        &self,
        dir: &Fd,
        name: &OsStr,
        holder: Holder<'_>,
        attribute: &OsStr,
    ) -> Result<Attribute> {
        let plain = self.keys.decrypt_xattr(attribute).ok_or_else(|| {
            Error::corrupt(
                "attribute",
                format_args!("the name of the attribute {} does not decrypt", attribute.display()),
            )
        })?;
        let sealed = self.lower.get_xattr(dir, name, attribute)?;
        let opened = match holder {
            Holder::Directory(id) => self.keys.open_xattr(Some(id), &plain, &sealed),
            Holder::File(key) => open_value_of(key, &plain, &sealed),
            Holder::Other => self.keys.open_xattr(None, &plain, &sealed),
        };
        match opened {
            Ok(value) => Ok((plain, value)),
            Err(Error::Corrupt { why, .. }) => {
                Err(Error::corrupt("attribute", format_args!("attribute {}: {why}", plain.display())))
            }
            Err(other) => Err(other),
        }
    }
}
