//! TagResource, UntagResource, ListResourceTags.

use super::{Request, next, page};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::Tag;

pub(super) fn tag_resource(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.tag_resource(request.call, input.required_text("KeyId"), &tags(input))?)
}

pub(super) fn untag_resource(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let (key, tag_keys) = (input.required_text("KeyId"), input.texts("TagKeys"));
    Ok(request.kms.untag_resource(request.call, key, &tag_keys)?)
}

pub(super) fn list_resource_tags(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let key = input.required_text("KeyId");
    let tags = request.kms.list_resource_tags(request.call, key, page(input))?;
    output.structures("Tags", &tags.items, |output, tag| {
        output.text("TagKey", &tag.key);
        output.text("TagValue", &tag.value);
    });
    next(&tags, output);
    Ok(())
}

/// The member `Tags`.
pub(super) fn tags(input: &Input<'_>) -> Vec<Tag> {
    let text = |tag: &Input<'_>, name| tag.required_text(name).to_owned();
    let tags = input.structures("Tags");
    tags.map(|tag| Tag { key: text(tag, "TagKey"), value: text(tag, "TagValue") }).collect()
}
