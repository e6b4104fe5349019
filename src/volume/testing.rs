//! A volume's file contents in a scratch directory, without names, keystore or kernel: for the tests of this layer.

use super::file::File;
use super::journal::{Journal, Opened};
use super::keys::VolumeKeys;
use super::lower::{Fd, Lower, SystemLower, Timespec, open_root};
use super::recover::{Recovery, RecoveryReport};
use super::replay::replay;
use super::store::FileStore;
use super::{PathHint, Result};
use crate::crypto::{AeadKey, Cipher, Key};
use crate::keys::{
    self, CacheLimits, CallCost, Cmk, Context, KeyProvider, Keyring, NO_ZONE, Sources, WrapMode, WrappedKey,
    Zone,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A KMS with one key that can be switched off. Wrapped keys are sealed for real, so that altered ones fail.
pub struct Switch {
    wrapping: AeadKey,
    pub off: AtomicBool,
}

impl Default for Switch {
    fn default() -> Switch {
        let key = Key::from_bytes(&mut [0x77; 32]);
        Switch { wrapping: AeadKey::new(Cipher::Aes256GcmSiv, &key), off: AtomicBool::new(false) }
    }
}

impl Switch {
    fn allowed(&self) -> std::result::Result<(), keys::Error> {
        let off = self.off.load(Ordering::SeqCst);
        if off { Err(keys::Error::new(keys::ErrorKind::Disabled, "the key is disabled")) } else { Ok(()) }
    }

    fn aad(context: &Context<'_>) -> Vec<u8> {
        format!("{context:?}").into_bytes()
    }
}

impl KeyProvider for Switch {
    fn generate(
        &self,
        _: &str,
        context: &Context<'_>,
    ) -> std::result::Result<(Key, WrappedKey), keys::Error> {
        self.allowed()?;
        let key = Key::random();
        let wrapped = self.wrap("", &key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(
        &self,
        _: &str,
        key: &Key,
        context: &Context<'_>,
    ) -> std::result::Result<WrappedKey, keys::Error> {
        self.allowed()?;
        let mut blob = key.expose().to_vec();
        let tag = self.wrapping.seal_in_place(&[0; 12], &Switch::aad(context), &mut blob);
        blob.extend(tag);
        Ok(WrappedKey { key_id: [1; 16], material: 1, blob })
    }

    fn unwrap_key(
        &self,
        _: &str,
        wrapped: &WrappedKey,
        context: &Context<'_>,
    ) -> std::result::Result<Key, keys::Error> {
        self.allowed()?;
        let invalid = || keys::Error::new(keys::ErrorKind::Invalid, "not a wrapped key of this KMS");
        let (sealed, tag) = wrapped.blob.split_last_chunk::<16>().ok_or_else(invalid)?;
        let mut key: [u8; 32] = sealed.try_into().map_err(|_| invalid())?;
        self.wrapping.open_in_place(&[0; 12], &Switch::aad(context), &mut key, tag).map_err(|_| invalid())?;
        Ok(Key::from_bytes(&mut key))
    }

    fn generation(&self) -> u64 {
        0
    }

    fn resolve(&self, name: &str) -> std::result::Result<keys::KeyInfo, keys::Error> {
        Err(keys::Error::new(keys::ErrorKind::NotFound, name))
    }

    fn description(&self) -> String {
        "a switch".into()
    }

    fn cost(&self) -> CallCost {
        CallCost::Nothing
    }

    fn secrets(&self) -> Option<&dyn keys::SecretStore> {
        None
    }
}

/// The hint of a file that stays where it was made.
pub struct Fixed(pub PathBuf);

impl PathHint for Fixed {
    fn lower_path(&self) -> Option<PathBuf> {
        Some(self.0.clone())
    }
}

/// A scratch lower directory that can be opened again and again.
pub struct Scratch {
    pub dir: PathBuf,
    pub lower: Arc<dyn Lower>,
    pub switch: Arc<Switch>,
    pub power: bool,
    _temp: Option<tempfile::TempDir>,
}

pub struct Session {
    pub store: FileStore,
    pub root: Fd,
    pub lower: Arc<dyn Lower>,
    pub keyring: Arc<Keyring>,
    pub recovered: Option<RecoveryReport>,
}

fn journal_key() -> Key {
    Key::from_bytes(&mut [0x4a; 32])
}

impl Scratch {
    pub fn new(power: bool) -> Scratch {
        let temp = tempfile::tempdir().expect("a scratch directory");
        let root = open_root(temp.path()).expect("it opens");
        Journal::create(&SystemLower, &root, &journal_key()).expect("a new journal");
        let mut scratch = Scratch::at(temp.path(), power);
        scratch._temp = Some(temp);
        scratch
    }

    /// An existing lower directory.
    pub fn at(dir: &Path, power: bool) -> Scratch {
        let switch = Arc::new(Switch::default());
        Scratch { dir: dir.to_owned(), lower: Arc::new(SystemLower), switch, power, _temp: None }
    }

    /// What a mount does: replay, recover, serve.
    pub fn open(&self) -> Session {
        self.try_open().expect("the volume opens")
    }

    pub fn try_open(&self) -> Result<Session> {
        let root = open_root(&self.dir)?;
        let lower = Arc::clone(&self.lower);
        let (dir, state) = Journal::open_files(&*lower, &root)?;
        let Opened { journal, previous, records } =
            Journal::open(Arc::clone(&lower), dir, state, journal_key(), self.power)?;
        journal.begin_session()?;
        replay(&*lower, &root, records)?;
        let provider: Arc<dyn KeyProvider> = Arc::clone(&self.switch) as _;
        let sources = Sources::one("switch:", Arc::clone(&provider));
        let cmk = Cmk { provider, arn: "the-key".into(), id: [1; 16] };
        let zone = Zone {
            id: NO_ZONE,
            name: None,
            cmk,
            former: Vec::new(),
            wrap: WrapMode::Direct,
            shreddable: false,
        };
        let limits = CacheLimits::default();
        let keyring = Arc::new(Keyring::new(sources, vec![zone], [9; 16], Cipher::Aes256GcmSiv, limits));
        let mut recovered = None;
        if previous.mounted {
            let (lower, root, keys) = (&*lower, &root, &VolumeKeys::new(&journal_key(), [9; 16]));
            let began = previous.began;
            let recovery = Recovery { lower, root, keys, keyring: &keyring, mounted: Timespec::now(), began };
            recovered = Some(recovery.run()?);
            let segments = journal.rotate();
            journal.retire(&segments)?;
            journal.recycle(segments)?;
            journal.recovered()?;
        }
        let store = FileStore::new(Arc::clone(&lower), Arc::clone(&keyring), journal, self.power);
        Ok(Session { store, root, lower, keyring, recovered })
    }
}

impl Session {
    pub fn create(&self, name: &str) -> Arc<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let fd = self.lower.open(&self.root, OsStr::new(name), flags, 0o600).expect("a new lower file");
        let stat = self.lower.fstat(&fd).expect("its inode number");
        self.store
            .create(
                (stat.dev, stat.ino),
                fd,
                Arc::new(Fixed(name.into())),
                self.store.prepare(&NO_ZONE).expect("a data key"),
            )
            .expect("a new file")
    }

    pub fn open(&self, name: &str) -> Result<Arc<File>> {
        self.open_with(name, libc::O_RDWR)
    }

    /// As [`Session::open`], with other flags for the lower file.
    pub fn open_with(&self, name: &str, flags: i32) -> Result<Arc<File>> {
        let stat = self.lower.stat(&self.root, OsStr::new(name))?;
        let open = || self.lower.open(&self.root, OsStr::new(name), flags, 0);
        self.store.open((stat.dev, stat.ino), Arc::new(Fixed(name.into())), &open)
    }

    /// A clean unmount.
    pub fn close(self) {
        self.store.checkpoint().expect("a checkpoint");
        self.store.journal().end_session().expect("the end of the session");
    }
}

/// The whole content of a file.
pub fn content(file: &File) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    file.read(0, file.len() as usize, &mut out)?;
    Ok(out)
}
