//! CMKs and their material, as rows.

use super::error::{Error, Result};
use super::seal::{Manifest, Row, RowDigest, Seals};
use crate::crypto::secret::Key;
use crate::kms::arn::KeyId;
use crate::kms::key::KeyRecord;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One version of key material, unsealed.
pub(in crate::kms) struct Material {
    pub(in crate::kms) version: u32,
    pub(in crate::kms) key: Key,
}

/// A CMK as the keystore holds it.
pub(in crate::kms) struct Entry {
    pub(in crate::kms) record: KeyRecord,
    pub(in crate::kms) materials: BTreeMap<u32, StoredMaterial>,
    /// Of the record's row alone.
    record_digest: RowDigest,
}

/// Material that has a row.
#[derive(Clone)]
pub(in crate::kms) struct StoredMaterial {
    pub(in crate::kms) material: Arc<Material>,
    digest: RowDigest,
}

impl Entry {
    /// Of all the CMK's rows.
    pub(in crate::kms) fn digest(&self) -> RowDigest {
        self.materials.values().fold(self.record_digest, |sum, stored| sum ^ stored.digest)
    }

    /// The material of a version.
    pub(in crate::kms) fn material(&self, version: u32) -> Option<&Arc<Material>> {
        self.materials.get(&version).map(|stored| &stored.material)
    }
}

/// What was read: CMKs that changed, and the MAC that the manifest over all CMKs must have.
pub(in crate::kms) struct Rows<'a> {
    pub(in crate::kms) generation: u64,
    pub(in crate::kms) entries: Vec<Arc<Entry>>,
    seals: &'a Seals,
    slots: Vec<u8>,
    mac: [u8; 32],
}

impl Rows<'_> {
    /// Whether the keystore's rows, all of them, are those of `manifest`.
    pub(in crate::kms) fn verify(&self, manifest: &Manifest) -> bool {
        self.seals.verify(manifest, &self.slots, &self.mac)
    }

    /// The error that `what` does not verify.
    pub(in crate::kms) fn tampered(&self, what: &str) -> Error {
        self.seals.tampered(what)
    }
}

/// Reads CMKs that changed after generation `since`. `known` gives what the caller has of a CMK, whose
/// material need not be unsealed again.
pub(super) fn read<'a>(
    seals: &'a Seals,
    connection: &Connection,
    slots: &[u8],
    since: u64,
    known: &dyn Fn(KeyId) -> Option<Arc<Entry>>,
) -> Result<Rows<'a>> {
    let (generation, mac) = connection.query_row("SELECT generation, manifest FROM keystore", [], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
    })?;
    let mut statement =
        connection.prepare_cached("SELECT id, changed, sealed FROM cmk WHERE changed > ?1 ORDER BY id")?;
    let rows = statement.query_map([since as i64], |row| {
        Ok((KeyId::from_bytes(row.get(0)?), row.get::<_, i64>(1)? as u64, row.get::<_, Vec<u8>>(2)?))
    })?;
    let mut entries = Vec::new();
    for row in rows {
        let (id, changed, sealed) = row?;
        let before = known(id);
        entries.push(Arc::new(read_entry(seals, connection, Row::Record(id, changed), id, &sealed, before)?));
    }
    Ok(Rows { generation, entries, seals, slots: slots.to_vec(), mac })
}

fn read_entry(
    seals: &Seals,
    connection: &Connection,
    row: Row,
    id: KeyId,
    sealed: &[u8],
    known: Option<Arc<Entry>>,
) -> Result<Entry> {
    let json = seals.open(row, sealed)?;
    let record: KeyRecord = serde_json::from_slice(json.expose())
        .map_err(|e| seals.tampered(format_args!("the record of key {id} ({e})")))?;
    let materials = read_materials(seals, connection, id, known)?;
    if !materials.keys().eq(record.materials.iter().map(|info| &info.version)) {
        return Err(seals.tampered(format_args!("the number of versions of key {id}")));
    }
    Ok(Entry { record, materials, record_digest: seals.digest(row, sealed) })
}

fn read_materials(
    seals: &Seals,
    connection: &Connection,
    id: KeyId,
    known: Option<Arc<Entry>>,
) -> Result<BTreeMap<u32, StoredMaterial>> {
    let mut statement =
        connection.prepare_cached("SELECT version, sealed FROM material WHERE cmk = ?1 ORDER BY version")?;
    let rows = statement.query_map([id.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut materials = BTreeMap::new();
    for row in rows {
        let (version, sealed) = row?;
        let row = Row::Material(id, version);
        let digest = seals.digest(row, &sealed);
        let same = known.as_ref().and_then(|entry| entry.materials.get(&version));
        let stored = match same.filter(|stored| stored.digest == digest) {
            Some(stored) => stored.clone(),
            None => {
                let key = seals.open(row, &sealed)?.into_key();
                let key = key.map_err(|_| seals.tampered(format_args!("the material of key {id}")))?;
                StoredMaterial { material: Arc::new(Material { version, key }), digest }
            }
        };
        materials.insert(version, stored);
    }
    Ok(materials)
}

/// See [`super::Change::write`].
pub(super) fn write(
    seals: &Seals,
    connection: &Connection,
    generation: u64,
    record: KeyRecord,
    new: Vec<Material>,
    before: Option<&Entry>,
) -> Result<Entry> {
    let id = record.id;
    let row = Row::Record(id, generation);
    let json = serde_json::to_vec(&record).expect("a record is plain data with string keys");
    let sealed = seals.seal(row, &json);
    connection.prepare_cached("INSERT OR REPLACE INTO cmk VALUES (?1, ?2, ?3)")?.execute(params![
        id.as_bytes(),
        generation as i64,
        sealed
    ])?;
    let mut materials = before.map(|entry| entry.materials.clone()).unwrap_or_default();
    for material in new {
        let row = Row::Material(id, material.version);
        let sealed = seals.seal(row, material.key.expose());
        connection.prepare_cached("INSERT INTO material VALUES (?1, ?2, ?3)")?.execute(params![
            id.as_bytes(),
            material.version,
            sealed
        ])?;
        let digest = seals.digest(row, &sealed);
        materials.insert(material.version, StoredMaterial { material: Arc::new(material), digest });
    }
    if record.materials.is_empty() {
        connection.execute("DELETE FROM material WHERE cmk = ?1", [id.as_bytes()])?;
        materials.clear();
    }
    Ok(Entry { record, materials, record_digest: seals.digest(row, &sealed) })
}
