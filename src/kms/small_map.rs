//! A sorted map for a handful of entries.
//!
//! Most keys have one alias and a tag or two, and a keystore may have a hundred thousand keys. A tree's node takes half a
//! kilobyte for a single entry; this takes the entry.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// From names to values, in the order of the names.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SmallMap<V>(Vec<(String, V)>);

impl<V> SmallMap<V> {
    /// An empty map.
    pub(super) const fn new() -> SmallMap<V> {
        SmallMap(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of `name` before, if there was one.
    pub(super) fn insert(&mut self, name: String, value: V) -> Option<V> {
        match self.find(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&String, &mut V) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &V)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The entries whose name comes after `name`; all of them, if none is given.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&String, &V)> + use<'_, V> {
        let from = name.map_or(0, |name| self.find(name).map_or_else(|at| at, |at| at + 1));
        self.0[from..].iter().map(|(name, value)| (name, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

impl<V: fmt::Debug> fmt::Debug for SmallMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V> Extend<(String, V)> for SmallMap<V> {
    fn extend<I: IntoIterator<Item = (String, V)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.insert(name, value);
        }
    }
}

impl<V> FromIterator<(String, V)> for SmallMap<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> SmallMap<V> {
        let mut map = SmallMap::new();
        map.extend(entries);
        map
    }
}

impl<V: Serialize> Serialize for SmallMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for SmallMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SmallMap<V>, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = SmallMap<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<SmallMap<V>, A::Error> {
                let mut map = SmallMap::new();
                while let Some((name, value)) = entries.next_entry()? {
                    map.insert(name, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::ops::Bound;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(steps in proptest::collection::vec((0u8..4, "[a-d]", any::<u8>()), 0..60)) {
            let (mut small, mut tree) = (SmallMap::new(), BTreeMap::new());
            for (step, name, value) in steps {
                match step {
                    0 => prop_assert_eq!(small.remove(&name), tree.remove(&name)),
                    1 => {
                        small.retain(|other, _| *other != name);
                        tree.retain(|other, _| *other != name);
                    }
                    _ => prop_assert_eq!(small.insert(name.clone(), value), tree.insert(name, value)),
                }
                prop_assert_eq!(small.len(), tree.len());
                prop_assert!(small.iter().eq(tree.iter()) && small.keys().eq(tree.keys()));
                for name in ["", "a", "b", "bb", "d", "e"] {
                    prop_assert_eq!(small.get(name), tree.get(name));
                    let after = (Bound::Excluded(name.to_owned()), Bound::Unbounded);
                    prop_assert!(small.after(Some(name)).eq(tree.range(after)));
                }
                prop_assert!(small.after(None).eq(tree.iter()));
            }
            let json = serde_json::to_string(&small).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&tree).unwrap());
            prop_assert_eq!(serde_json::from_str::<SmallMap<u8>>(&json).unwrap(), small.clone());
            prop_assert_eq!(tree.into_iter().collect::<SmallMap<u8>>(), small);
        }
    }
}
