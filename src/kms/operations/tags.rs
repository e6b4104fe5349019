//! TagResource, UntagResource, ListResourceTags.

use crate::kms::Kms;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::Tag;
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
    pub fn tag_resource(&self, call: &Call<'_>, key: &str, tags: Vec<Tag>) -> Result<()> {
        check_tags(&tags)?;
        self.change_key(call, Operation::TagResource, key, &Facts::default(), |draft, mut record| {
            record.tags.extend(tags.into_iter().map(|tag| (tag.key, tag.value)));
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
        self.change_key(call, Operation::UntagResource, key, &Facts::default(), |draft, mut record| {
            record.tags.retain(|tag, _| !tag_keys.contains(tag));
            draft.put(record);
            Ok(())
        })
    }

    /// ListResourceTags, by tag key.
    ///
    /// # Errors
    /// `NotFoundException`.
    pub fn list_resource_tags(&self, call: &Call<'_>, key: &str) -> Result<Vec<Tag>> {
        self.view_key(call, Operation::ListResourceTags, key, |record| {
            let tag = |(key, value): (&String, &String)| Tag { key: key.clone(), value: value.clone() };
            record.tags.iter().map(tag).collect()
        })
    }
}

/// Refuses malformed, reserved and repeated tags.
pub(super) fn check_tags(tags: &[Tag]) -> Result<()> {
    check_count(tags.len())?;
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
        if key.starts_with("aws:") {
            return Err(Error::Tag(format!("tag key '{key}' is reserved: it begins with aws:")));
        }
        if !seen.insert(key) {
            return Err(Error::Tag(format!("tag key '{key}' occurs twice")));
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
