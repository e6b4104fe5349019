//! Lists in parts.

use super::*;

/// Reads a list in parts of `limit`.
fn all<T>(limit: usize, list: impl Fn(Page<'_>) -> Result<Listed<T>>) -> Vec<T> {
    let (mut items, mut marker) = (Vec::new(), None::<String>);
    loop {
        let part = list(Page::new(Some(limit), marker.as_deref())).unwrap();
        assert!(part.items.len() <= limit);
        items.extend(part.items);
        match part.next {
            Some(next) => marker = Some(next),
            None => return items,
        }
    }
}

#[test]
fn every_list_comes_whole_in_parts_of_any_size() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let [busy, _, _, _, _] = [(); 5].map(|()| key(&kms));
    for i in 0..7 {
        kms.create_alias(OPERATOR, &format!("alias/{i}"), &busy).unwrap();
        kms.tag_resource(OPERATOR, &busy, &[Tag { key: i.to_string(), value: String::new() }]).unwrap();
        kms.rotate_key_on_demand(OPERATOR, &busy).unwrap();
    }
    let (keys, aliases, tags, rotations) = (
        |page: Page<'_>| kms.list_keys(OPERATOR, page),
        |page: Page<'_>| kms.list_aliases(OPERATOR, None, page),
        |page: Page<'_>| kms.list_resource_tags(OPERATOR, &busy, page),
        |page: Page<'_>| kms.list_key_rotations(OPERATOR, &busy, true, page),
    );
    for limit in [1, 2, 3, 7, 8, 50] {
        assert_eq!(all(limit, keys), keys(Page::whole()).unwrap().items);
        assert_eq!(all(limit, aliases), aliases(Page::whole()).unwrap().items);
        assert_eq!(all(limit, |page| kms.list_aliases(OPERATOR, Some(&busy), page)).len(), 7);
        assert_eq!(all(limit, tags), tags(Page::whole()).unwrap().items);
        assert_eq!(all(limit, rotations), rotations(Page::whole()).unwrap().items);
    }
    assert_eq!(all(3, |page| kms.list_key_rotations(OPERATOR, &busy, false, page)).len(), 7);
    let of_keys = keys(Page::new(Some(1), None)).unwrap().next.unwrap();
    assert_eq!(name(aliases(Page::new(None, Some(&of_keys)))), "InvalidMarkerException");
}

#[test]
fn a_key_that_goes_between_two_parts_leaves_no_gap() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for _ in 0..6 {
        key(&kms);
    }
    let whole = kms.list_keys(OPERATOR, Page::whole()).unwrap().items;
    let first = kms.list_keys(OPERATOR, Page::new(Some(3), None)).unwrap();
    // The very key that the marker names.
    kms.schedule_key_deletion(OPERATOR, &whole[2].id.to_string(), 7).unwrap();
    scratch.pass(7);
    kms.core.run_due().unwrap();
    let rest = kms.list_keys(OPERATOR, Page::new(None, first.next.as_deref())).unwrap();
    assert_eq!(rest.items, whole[3..]);
}
