//! CMKs: a record, and the versions of its key material.

use super::Vault;
use super::database::{Row, Transaction, Value};
use super::error::Result;
use super::material::{Material, NewMaterial};
use super::record::{RecordKey, Stored};
use super::seal::RowDigest;
use crate::kms::arn::KeyId;
use crate::kms::key::KeyRecord;
use std::collections::HashMap;
use std::sync::Arc;

/// A CMK as the keystore holds it.
pub(in crate::kms) struct Entry {
    pub(in crate::kms) record: KeyRecord,
    /// In the order of their versions.
    materials: Vec<Arc<Material>>,
    /// Of the record's row alone.
    record_digest: RowDigest,
}

impl Entry {
    fn new(stored: Stored<KeyRecord>, materials: Vec<Arc<Material>>) -> Entry {
        let record_digest = stored.digest();
        Entry { record: stored.record, materials, record_digest }
    }

    /// Of all the CMK's rows.
    pub(in crate::kms) fn digest(&self) -> RowDigest {
        self.materials.iter().fold(self.record_digest, |sum, material| sum ^ material.digest())
    }

    /// The material of a version.
    pub(in crate::kms) fn material(&self, version: u32) -> Option<&Arc<Material>> {
        find(&self.materials, version)
    }
}

fn find(materials: &[Arc<Material>], version: u32) -> Option<&Arc<Material>> {
    materials.binary_search_by_key(&version, |material| material.version()).ok().map(|at| &materials[at])
}

/// Material by the CMK that it belongs to.
pub(super) type Materials = HashMap<KeyId, Vec<Arc<Material>>>;

const ALL: &str = "SELECT cmk, version, sealed FROM material";
/// A statement of its own, so that a database finds what little changed without looking at the rest.
pub(super) const CHANGED: &str = "SELECT cmk, version, sealed FROM material \
                                  WHERE cmk IN (SELECT id FROM record WHERE changed > $1)";

/// Reads the material of all CMKs whose record changed after generation `since`. Material that `known` has is
/// not unsealed again.
pub(super) fn read_materials(
    vault: &Arc<Vault>,
    transaction: &Transaction<'_>,
    since: u64,
    known: &dyn Fn(KeyId) -> Option<Arc<Entry>>,
) -> Result<Materials> {
    let mut materials = Materials::new();
    let read = |row: &dyn Row| {
        let (cmk, version, sealed) = (KeyId::from_bytes(row.array(0)?), row.number(1)?, row.bytes(2)?);
        let digest = Material::digest_of(vault, cmk, version, sealed);
        let same = known(cmk)
            .and_then(|entry| entry.material(version).cloned())
            .filter(|material| material.digest() == digest);
        let material = match same {
            Some(material) => material,
            None => Arc::new(Material::open(vault, cmk, version, sealed, digest)?),
        };
        let of_cmk: &mut Vec<_> = materials.entry(cmk).or_default();
        of_cmk.reserve_exact(1);
        of_cmk.push(material);
        Ok(())
    };
    match since {
        0 => transaction.query(ALL, &[], read)?,
        _ => transaction.query(CHANGED, &[since.into()], read)?,
    }
    for of_cmk in materials.values_mut() {
        of_cmk.sort_unstable_by_key(|material| material.version());
    }
    Ok(materials)
}

/// The CMK of a record's row, with the material that was read for it.
pub(super) fn open(
    vault: &Vault,
    id: KeyId,
    changed: u64,
    sealed: &[u8],
    materials: Vec<Arc<Material>>,
) -> Result<Entry> {
    let stored: Stored<KeyRecord> = Stored::open(&vault.seals, RecordKey::Cmk(id), changed, sealed)?;
    if !materials.iter().map(|material| material.version()).eq(stored.record.stored_materials()) {
        return Err(vault.seals.tampered(format_args!("the number of versions of key {id}")));
    }
    Ok(Entry::new(stored, materials))
}

/// Writes the material rows of a CMK that `before` describes so that they are those of `stored`'s record: material
/// that it does not name any more is destroyed, `new` is added, or takes the place of its version.
pub(super) fn write_materials(
    vault: &Arc<Vault>,
    transaction: &Transaction<'_>,
    stored: Stored<KeyRecord>,
    new: Vec<NewMaterial>,
    before: Option<&Entry>,
) -> Result<Entry> {
    let id = stored.record.id;
    let mut materials: HashMap<u32, Arc<Material>> = HashMap::new();
    for material in before.map_or(&[][..], |entry| &entry.materials) {
        materials.insert(material.version(), Arc::clone(material));
    }
    for material in new {
        let (material, sealed) = Material::seal(vault, id, material);
        transaction.execute(
            "INSERT INTO material VALUES ($1, $2, $3) \
             ON CONFLICT (cmk, version) DO UPDATE SET sealed = excluded.sealed",
            &[Value::Bytes(id.as_bytes()), material.version().into(), Value::Bytes(&sealed)],
        )?;
        materials.insert(material.version(), Arc::new(material));
    }
    let mut kept = Vec::with_capacity(materials.len());
    for version in stored.record.stored_materials() {
        kept.push(materials.remove(&version).expect("a version that a record names has its material"));
    }
    for version in materials.into_keys() {
        transaction.execute(
            "DELETE FROM material WHERE cmk = $1 AND version = $2",
            &[Value::Bytes(id.as_bytes()), version.into()],
        )?;
    }
    Ok(Entry::new(stored, kept))
}
