//! Long lists in parts.
//!
//! A part ends with a *marker*, which says after which item the next one begins. It names the item, not a number of
//! items: however a list changes between two parts, whatever is in it all the time is in exactly one of them.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::error::{Error, Result};
use super::grant::GrantId;
use super::operations::check_range;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Most items that a caller may ask for at once.
const LIMIT_MAX: usize = 1000;

/// Which part of a list a caller wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    size: Size,
    marker: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Size {
    #[default]
    Usual,
    AtMost(usize),
    Whole,
}

impl<'a> Page<'a> {
    /// `limit` items at most, or as many as are usual, after the part that ended with `marker`, or the first.
    pub fn new(limit: Option<usize>, marker: Option<&'a str>) -> Page<'a> {
        Page { size: limit.map_or(Size::Usual, Size::AtMost), marker }
    }

    /// All of it.
    pub fn whole() -> Page<'static> {
        Page { size: Size::Whole, marker: None }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// The marker to go on with, if there are more.
    pub next: Option<String>,
}

/// A list that is given out in parts: its number in markers, how many items are usual, and at most, in a part. Where
/// AWS KMS gives fewer items than were asked for, so does this.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    number: u8,
    usual: usize,
    most: usize,
}

pub(super) const KEYS: List = List { number: 1, usual: 100, most: 1000 };
pub(super) const ALIASES: List = List { number: 2, usual: 50, most: 100 };
pub(super) const ROTATIONS: List = List { number: 3, usual: 100, most: 1000 };
pub(super) const TAGS: List = List { number: 4, usual: 50, most: 50 };
pub(super) const GRANTS: List = List { number: 5, usual: 50, most: 100 };
pub(super) const RETIRABLE_GRANTS: List = List { number: 6, usual: 50, most: 100 };

/// What a list is in the order of.
pub(super) trait Position: Sized {
    /// As it stands in a marker.
    fn write(&self, out: &mut Vec<u8>);
    /// The position that [`Position::write`] wrote.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Position for KeyId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<KeyId> {
        Some(KeyId::from_bytes(bytes.try_into().ok()?))
    }
}

impl Position for String {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

impl Position for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<u32> {
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Position for (Timestamp, GrantId) {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.unix_timestamp_nanos().to_be_bytes());
        out.extend_from_slice(self.1.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<(Timestamp, GrantId)> {
        let (time, id) = bytes.split_first_chunk()?;
        let time = Timestamp::from_unix_timestamp_nanos(i128::from_be_bytes(*time)).ok()?;
        Some((time, GrantId::from_bytes(id.try_into().ok()?)))
    }
}

/// The part `page` of a list. `items` gives the items after a position, or all of them, in order.
///
/// # Errors
/// `ValidationException`, `InvalidMarkerException`, and those of `items`.
pub(super) fn paginate<P: Position, T, I: Iterator<Item = (P, T)>>(
    list: List,
    page: Page<'_>,
    items: impl FnOnce(Option<P>) -> Result<I>,
) -> Result<Listed<T>> {
    let size = match page.size {
        Size::Usual => list.usual,
        Size::AtMost(limit) => {
            check_range(limit, "limit", 1..=LIMIT_MAX)?;
            limit.min(list.most)
        }
        Size::Whole => usize::MAX,
    };
    let after = page.marker.map(|marker| read_marker(list, marker)).transpose()?;
    let mut rest = items(after)?;
    let mut part = Listed { items: Vec::new(), next: None };
    let mut last = None;
    for (position, item) in rest.by_ref().take(size) {
        last = Some(position);
        part.items.push(item);
    }
    if rest.next().is_some() {
        part.next = last.map(|position| write_marker(list, &position));
    }
    Ok(part)
}

fn write_marker(list: List, position: &impl Position) -> String {
    let mut bytes = vec![list.number];
    position.write(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_marker<P: Position>(list: List, marker: &str) -> Result<P> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    let position = bytes.and_then(|bytes| P::read(bytes.strip_prefix(&[list.number])?));
    position.ok_or_else(|| Error::InvalidMarker(format!("Could not deserialize marker '{marker}'")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn part(of: &BTreeSet<u32>, page: Page<'_>) -> Result<Listed<u32>> {
        paginate(ROTATIONS, page, |after| {
            let rest = of.iter().copied().filter(move |item| after.is_none_or(|after| *item > after));
            Ok(rest.map(|item| (item, item)))
        })
    }

    #[test]
    fn parts_have_the_sizes_of_aws() {
        let many: BTreeSet<u32> = (0..5000).collect();
        let size = |limit| part(&many, Page::new(limit, None)).unwrap().items.len();
        assert_eq!([size(None), size(Some(1)), size(Some(1000))], [100, 1, 1000]);
        assert_eq!(part(&many, Page::whole()).unwrap().items.len(), 5000);
        for limit in [0, 1001] {
            let refused = part(&many, Page::new(Some(limit), None)).unwrap_err();
            assert_eq!(refused.name(), "ValidationException");
        }
        let fewer = paginate(TAGS, Page::new(Some(1000), None), |_: Option<u32>| {
            Ok(many.iter().map(|item| (*item, *item)))
        });
        assert_eq!(fewer.unwrap().items.len(), 50);
    }

    #[test]
    fn a_part_that_ends_with_the_list_has_no_marker() {
        let three: BTreeSet<u32> = (0..3).collect();
        assert_eq!(part(&three, Page::new(Some(3), None)).unwrap().next, None);
        assert!(part(&three, Page::new(Some(2), None)).unwrap().next.is_some());
        assert_eq!(part(&BTreeSet::new(), Page::default()).unwrap(), Listed { items: vec![], next: None });
    }

    #[test]
    fn a_marker_of_another_list_or_of_nobody_is_refused() {
        let three: BTreeSet<u32> = (0..3).collect();
        let marker = part(&three, Page::new(Some(1), None)).unwrap().next.unwrap();
        let other = paginate(TAGS, Page::new(None, Some(&marker)), |_: Option<u32>| {
            Ok(three.iter().map(|item| (*item, *item)))
        });
        assert_eq!(other.unwrap_err().name(), "InvalidMarkerException");
        for made_up in ["", "x", "AAAA", &format!("{marker}A"), &marker[1..]] {
            let refused = part(&three, Page::new(None, Some(made_up))).unwrap_err();
            assert_eq!(refused.name(), "InvalidMarkerException", "{made_up}");
        }
    }

    #[test]
    fn every_kind_of_position_reads_back() {
        fn check<P: Position + PartialEq + std::fmt::Debug>(position: P) {
            assert_eq!(read_marker::<P>(KEYS, &write_marker(KEYS, &position)).unwrap(), position);
        }
        check(KeyId::from_bytes([7; 16]));
        check("alias/ä".to_owned());
        check(u32::MAX);
        let time = Timestamp::from_unix_timestamp_nanos(1_767_268_800_123_000_000).unwrap();
        check((time, GrantId::from_bytes([9; 32])));
    }

    proptest! {
        #[test]
        fn what_stays_in_a_changing_list_is_listed_once(
            stays in proptest::collection::btree_set(0..500u32, 0..60),
            passing in proptest::collection::vec(proptest::collection::btree_set(500..1000u32, 0..60), 1..20),
            limit in 1..10usize,
        ) {
            let mut seen = Vec::new();
            let mut marker: Option<String> = None;
            for round in 0.. {
                // What comes and goes is spread among what stays.
                let passing = passing[round % passing.len()].iter().map(|item| (item - 500) * 2 + 1);
                let now: BTreeSet<u32> = stays.iter().map(|item| item * 2).chain(passing).collect();
                let part = part(&now, Page::new(Some(limit), marker.as_deref())).unwrap();
                prop_assert!(part.items.len() <= limit);
                seen.extend(part.items.into_iter().filter(|item| item % 2 == 0).map(|item| item / 2));
                marker = part.next;
                if marker.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, stays.into_iter().collect::<Vec<_>>());
        }
    }
}
