//! TagResource, UntagResource, ListResourceTags.

use crate::kms::Kms;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::Tag;
use crate::kms::page::{self, Listed, Page};
use crate::kms::state::Operation;
use std::collections::BTreeSet;

const TAGS_MAX: usize = 50;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

impl Kms {
    /// TagResource: adds tags, or gives tags of the same key another value.
    ///
    /// # Errors
    /// `TagException`, `LimitExceededException`, `NotFoundException`, `KMSInvalidStateException`,
    /// `AccessDeniedException`.
    pub fn tag_resource(&self, call: &Call<'_>, key: &str, tags: &[Tag]) -> Result<()> {
        check_tags(tags)?;
        let facts = Facts { tags, ..Facts::default() };
        self.change_key(call, Operation::TagResource, key, &facts, |draft, _, mut record| {
            record.tags.extend(tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
            check_count(record.tags.len())?;
            draft.put(record);
            Ok(())
        })
    }

    /// UntagResource: removes the tags of these keys, as far as there are any.
    ///
    /// # Errors
    /// `NotFoundException`, `KMSInvalidStateException`, `AccessDeniedException`.
    pub fn untag_resource(&self, call: &Call<'_>, key: &str, tag_keys: &[String]) -> Result<()> {
        let facts = Facts { tag_keys, ..Facts::default() };
        self.change_key(call, Operation::UntagResource, key, &facts, |draft, _, mut record| {
            record.tags.retain(|tag, _| !tag_keys.contains(tag));
            draft.put(record);
            Ok(())
        })
    }

    /// ListResourceTags, by tag key.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_resource_tags(&self, call: &Call<'_>, key: &str, page: Page<'_>) -> Result<Listed<Tag>> {
        self.view_key(call, Operation::ListResourceTags, key, &Facts::default(), |record| {
            page::paginate(page::TAGS, page, |after: Option<String>| {
                let tags = record.tags.after(after.as_deref());
                Ok(tags.map(|(key, value)| (key.clone(), Tag { key: key.clone(), value: value.clone() })))
            })
        })?
    }
}

/// Refuses malformed, reserved and repeated tags, and more than a key may have.
pub(super) fn check_tags(tags: &[Tag]) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::Tag("Too many tags".into()));
    }
    let mut seen = BTreeSet::new();
    for Tag { key, value } in tags {
        if key.is_empty() || key.chars().count() > TAG_KEY_MAX {
            return Err(Error::Tag(format!("tag key '{key}' must have 1 to {TAG_KEY_MAX} characters")));
        }
        if value.chars().count() > TAG_VALUE_MAX {
            return Err(Error::Tag(format!(
                "the value of tag '{key}' has more than {TAG_VALUE_MAX} characters"
            )));
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(Error::Tag("Tags beginning with aws: are reserved".into()));
        }
        if !seen.insert(key) {
            return Err(Error::Tag("Duplicate tag keys".into()));
        }
    }
    Ok(())
}

fn check_count(count: usize) -> Result<()> {
    match count <= TAGS_MAX {
        true => Ok(()),
        false => Err(Error::LimitExceeded(format!("a key has at most {TAGS_MAX} tags"))),
    }
}
