//! The cache, the keyring, the watch and the local provider together.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::crypto::passphrase::Argon2Params;
use crate::crypto::{Cipher, SecretBytes};
use crate::kms::keystore::Unlock;
use crate::kms::{self, Call, CreateKey, DEFAULT_ALIAS, Kms};
use parking_lot::{Condvar, Mutex};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const VOLUME: [u8; 16] = [7; 16];
const CMK: [u8; 16] = [1; 16];
const OPERATOR: &Call<'static> = &Call::operator();

/// A provider whose wrapped keys are plain, and whose calls can be held up, fail or panic.
#[derive(Default)]
pub(super) struct Fake {
    calls: AtomicUsize,
    generation: AtomicU64,
    answer: Mutex<Answer>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Answer {
    #[default]
    Key,
    Failure,
    Panic,
    /// None until this is changed.
    Later,
}

impl Fake {
    fn set(&self, answer: Answer) {
        *self.answer.lock() = answer;
        self.changed.notify_all();
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn answer(&self) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut answer = self.answer.lock();
        while *answer == Answer::Later {
            self.changed.wait(&mut answer);
        }
        match *answer {
            Answer::Failure => Err(Error::new(ErrorKind::Unavailable, "the KMS is away")),
            Answer::Panic => panic!("a provider that panics"),
            _ => Ok(()),
        }
    }
}

impl KeyProvider for Fake {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let key = Key::random();
        let wrapped = self.wrap(cmk, &key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(&self, _: &str, key: &Key, _: &Context<'_>) -> Result<WrappedKey, Error> {
        self.answer()?;
        Ok(WrappedKey { key_id: CMK, material: 1, blob: key.expose().to_vec() })
    }

    fn unwrap_key(&self, _: &str, wrapped: &WrappedKey, _: &Context<'_>) -> Result<Key, Error> {
        self.answer()?;
        Ok(Key::from_bytes(&mut wrapped.blob.as_slice().try_into().unwrap()))
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        Err(Error::new(ErrorKind::NotFound, name))
    }

    fn description(&self) -> String {
        "fake:".into()
    }

    fn cost(&self) -> CallCost {
        CallCost::Nothing
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        None
    }
}

fn limits(entries: usize, age: Duration) -> CacheLimits {
    CacheLimits { entries: NonZeroUsize::new(entries).unwrap(), age }
}

fn keyring(provider: Arc<dyn KeyProvider>, limits: CacheLimits) -> Arc<Keyring> {
    zoned(provider, limits, WrapMode::Direct)
}

fn zoned(provider: Arc<dyn KeyProvider>, limits: CacheLimits, wrap: WrapMode) -> Arc<Keyring> {
    let sources = Sources::one("fake:", Arc::clone(&provider));
    let cmk = Cmk { provider, arn: "alias/cmk".into(), id: CMK };
    let zone = Zone { id: NO_ZONE, name: None, cmk, former: Vec::new(), wrap, shreddable: false };
    Arc::new(Keyring::new(sources, vec![zone], VOLUME, Cipher::Aes256GcmSiv, limits))
}

fn fake() -> (Arc<Fake>, Arc<Keyring>) {
    let fake = Arc::<Fake>::default();
    (fake.clone(), keyring(fake, CacheLimits::default()))
}

fn wrapped(n: u8) -> Envelope {
    let wrapped = WrappedKey { key_id: CMK, material: 1, blob: vec![n; 32] };
    Envelope { zone: NO_ZONE, mode: WrapMode::Direct, wrapped, secret: None, previous: None }
}

fn file(n: u8) -> [u8; 16] {
    [n; 16]
}

/// Tells keys apart.
fn print(key: &FileKey) -> [u8; 32] {
    *key.header_mac_key().expose()
}

fn eventually(what: &str, within: Duration, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_key_is_asked_for_once() {
    let (fake, keyring) = fake();
    let (id, made, wrapped_made) = keyring.create(&NO_ZONE).unwrap();
    assert!(Arc::ptr_eq(&made, &keyring.open(&id, &wrapped_made).unwrap()));
    assert_eq!(fake.calls(), 1);
    let first = keyring.open(&file(2), &wrapped(2)).unwrap();
    assert!(Arc::ptr_eq(&first, &keyring.open(&file(2), &wrapped(2)).unwrap()));
    assert_eq!(fake.calls(), 2);
    let stats = keyring.stats();
    assert_eq!((stats.hits, stats.misses, stats.provider_calls, stats.entries), (2, 1, 2, 2));
    assert!(stats.oldest_age.unwrap() < Duration::from_secs(60));
}

#[test]
fn another_file_or_another_wrap_is_another_entry() {
    let (fake, keyring) = fake();
    let mut newer = wrapped(1);
    newer.wrapped.material = 2;
    let all = [(1, wrapped(1)), (2, wrapped(1)), (1, wrapped(2)), (1, newer)];
    for (n, wrapped) in &all {
        keyring.open(&file(*n), wrapped).unwrap();
    }
    assert_eq!(fake.calls(), all.len());
}

#[test]
fn many_that_miss_at_once_make_one_call() {
    let (fake, keyring) = fake();
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| print(&keyring.open(&file(1), &wrapped(1)).unwrap()))).collect();
        eventually("all wait", Duration::from_secs(10), || keyring.stats().shared == 15);
        fake.set(Answer::Key);
        let prints: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(prints.iter().all(|print| *print == prints[0]));
    });
    assert_eq!(fake.calls(), 1);
    assert_eq!(keyring.stats().misses, 16);
}

#[test]
fn a_call_in_progress_holds_nobody_else_up() {
    let (fake, keyring) = fake();
    keyring.open(&file(1), &wrapped(1)).unwrap();
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let slow = scope.spawn(|| keyring.open(&file(2), &wrapped(2)).map(drop));
        eventually("the call", Duration::from_secs(10), || fake.calls() == 2);
        keyring.open(&file(1), &wrapped(1)).unwrap();
        keyring.stats();
        keyring.flush();
        fake.set(Answer::Key);
        slow.join().unwrap().unwrap();
    });
}

#[test]
fn every_waiter_gets_the_error_and_the_next_one_asks_again() {
    let (fake, keyring) = fake();
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let open = || keyring.open(&file(1), &wrapped(1)).map(drop);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        eventually("all wait", Duration::from_secs(10), || keyring.stats().shared == 3);
        fake.set(Answer::Failure);
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        }
    });
    let stats = keyring.stats();
    assert_eq!((stats.failures, stats.provider_calls, stats.entries), (1, 1, 0));
    fake.set(Answer::Key);
    keyring.open(&file(1), &wrapped(1)).unwrap();
}

#[test]
fn a_provider_that_panics_leaves_nobody_waiting() {
    let (fake, keyring) = fake();
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let first = scope.spawn(|| keyring.open(&file(1), &wrapped(1)).map(drop));
        eventually("the call", Duration::from_secs(10), || fake.calls() == 1);
        let second = scope.spawn(|| keyring.open(&file(1), &wrapped(1)).map(drop));
        eventually("the waiter", Duration::from_secs(10), || keyring.stats().shared == 1);
        fake.set(Answer::Panic);
        assert!(first.join().is_err());
        assert_eq!(second.join().unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    });
    fake.set(Answer::Key);
    keyring.open(&file(1), &wrapped(1)).unwrap();
}

#[test]
fn the_least_recently_used_goes_first_and_lives_on_with_its_user() {
    let fake = Arc::<Fake>::default();
    let keyring = keyring(fake.clone(), limits(2, Duration::from_secs(60)));
    let first = keyring.open(&file(1), &wrapped(1)).unwrap();
    let before = print(&first);
    keyring.open(&file(2), &wrapped(2)).unwrap();
    keyring.open(&file(1), &wrapped(1)).unwrap();
    keyring.open(&file(3), &wrapped(3)).unwrap();
    keyring.open(&file(1), &wrapped(1)).unwrap();
    assert_eq!(fake.calls(), 3, "2 was pushed out, 1 was not");
    keyring.open(&file(2), &wrapped(2)).unwrap();
    keyring.open(&file(3), &wrapped(3)).unwrap();
    let stats = keyring.stats();
    assert_eq!((stats.entries, stats.capacity, stats.evictions), (2, 2, 3));
    assert_eq!(print(&first), before);
    first.block_key(1);
}

#[test]
fn a_key_that_is_too_old_is_asked_for_again() {
    let fake = Arc::<Fake>::default();
    let keyring = keyring(fake.clone(), limits(10, Duration::from_millis(40)));
    keyring.open(&file(1), &wrapped(1)).unwrap();
    thread::sleep(Duration::from_millis(60));
    fake.set(Answer::Failure);
    assert!(keyring.open(&file(1), &wrapped(1)).is_err());
    let stats = keyring.stats();
    assert_eq!((stats.expirations, stats.hits, stats.max_age), (1, 0, Duration::from_millis(40)));
}

#[test]
fn what_was_asked_for_before_a_flush_does_not_serve_after_it() {
    let (fake, keyring) = fake();
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let open = || keyring.open(&file(1), &wrapped(1)).map(drop);
        let create = || keyring.create(&NO_ZONE).map(|(id, _, wrapped)| (id, wrapped));
        let (early, made) = (scope.spawn(open), scope.spawn(create));
        eventually("the calls", Duration::from_secs(10), || fake.calls() == 2);
        keyring.flush();
        let late = scope.spawn(open);
        eventually("its own call", Duration::from_secs(10), || fake.calls() == 3);
        fake.set(Answer::Key);
        early.join().unwrap().unwrap();
        late.join().unwrap().unwrap();
        let (id, made) = made.join().unwrap().unwrap();
        assert_eq!(keyring.stats().entries, 1, "the late one alone is kept");
        keyring.open(&id, &made).unwrap();
        assert_eq!(fake.calls(), 4);
    });
}

#[test]
fn a_zone_key_serves_many_files_until_the_cache_is_emptied() {
    let fake = Arc::<Fake>::default();
    let keyring = zoned(fake.clone(), CacheLimits::default(), WrapMode::ZoneKey);
    let made: Vec<_> = (0..100).map(|_| keyring.create(&NO_ZONE).unwrap()).collect();
    assert_eq!(fake.calls(), 1);
    keyring.flush();
    for (id, key, envelope) in &made {
        assert_eq!(envelope.mode, WrapMode::ZoneKey);
        assert_eq!(print(&keyring.open(id, envelope).unwrap()), print(key));
    }
    assert_eq!(fake.calls(), 2, "one zone key was asked for again");
    let (_, _, later) = keyring.create(&NO_ZONE).unwrap();
    assert_eq!(fake.calls(), 3, "and new files have another");
    assert_ne!(later.wrapped.blob[..34], made[0].2.wrapped.blob[..34]);
    let other = keyring.open(&file(9), &made[0].2).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Invalid, "the wrap of one file is none of another's");
}

#[test]
fn who_waits_for_a_zone_key_gets_the_error_of_the_one_call() {
    let fake = Arc::<Fake>::default();
    let keyring = zoned(fake.clone(), CacheLimits::default(), WrapMode::ZoneKey);
    fake.set(Answer::Later);
    thread::scope(|scope| {
        let create = || keyring.create(&NO_ZONE).map(drop);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        eventually("the call", Duration::from_secs(10), || fake.calls() == 1);
        thread::sleep(Duration::from_millis(50));
        fake.set(Answer::Failure);
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        }
    });
    assert!(fake.calls() <= 4);
    fake.set(Answer::Key);
    keyring.create(&NO_ZONE).unwrap();
}

#[test]
fn only_a_cmk_of_the_zone_opens_its_files() {
    let fake = Arc::<Fake>::default();
    let provider: Arc<dyn KeyProvider> = fake.clone();
    let keyring = keyring(Arc::clone(&provider), CacheLimits::default());
    let mut foreign = wrapped(1);
    foreign.wrapped.key_id = [2; 16];
    assert_eq!(keyring.open(&file(1), &foreign).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fake.calls(), 0, "nobody was asked");
    let mut elsewhere = wrapped(1);
    elsewhere.zone = [3; 16];
    assert_eq!(keyring.open(&file(1), &elsewhere).unwrap_err().kind(), ErrorKind::Invalid);

    // Once the zone has it as a former CMK, what it wrapped opens, and is wrapped anew under the present one.
    let own = keyring.zone(&NO_ZONE).unwrap();
    let former = vec![Cmk { provider, arn: "former".into(), id: [2; 16] }];
    keyring.set_zones(vec![Zone { former, ..(*own).clone() }]);
    let key = keyring.open(&file(1), &foreign).unwrap();
    let anew = keyring.rewrap(&file(1), &key, &NO_ZONE).unwrap();
    assert_eq!(anew.wrapped.key_id, CMK);
    assert_eq!(print(&keyring.open(&file(1), &anew).unwrap()), print(&key));
}

#[test]
fn a_watch_flushes_and_tells_until_it_is_dropped() {
    let (fake, keyring) = fake();
    let told = Arc::new(AtomicUsize::new(0));
    let watch = keyring.watch(Box::new({
        let (told, keyring) = (told.clone(), Arc::downgrade(&keyring));
        move || {
            assert_eq!(keyring.upgrade().unwrap().stats().entries, 0, "flushed first");
            told.fetch_add(1, Ordering::SeqCst);
        }
    }));
    keyring.open(&file(1), &wrapped(1)).unwrap();
    for generation in 1..=2 {
        fake.generation.store(generation, Ordering::SeqCst);
        eventually("the call", Duration::from_millis(300), || {
            told.load(Ordering::SeqCst) == generation as usize
        });
    }
    drop(watch);
    fake.generation.store(3, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(250));
    assert_eq!(told.load(Ordering::SeqCst), 2);
}

/// A KMS with one key, the directory it lives in, and the key's id.
fn kms() -> (tempfile::TempDir, Arc<Kms>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keystore.db");
    let kms = Arc::new(Kms::create(&path, &unlock(), "", options()).unwrap());
    let key = kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string();
    (directory, kms, key)
}

fn local_keyring(kms: Arc<Kms>, key: &str) -> Arc<Keyring> {
    let provider: Arc<dyn KeyProvider> = Arc::new(LocalProvider::new(kms));
    let KeyInfo { arn, id, .. } = provider.resolve(key).unwrap();
    let sources = Sources::one("local:", Arc::clone(&provider));
    let cmk = Cmk { provider, arn, id };
    let zone =
        Zone { id: NO_ZONE, name: None, cmk, former: Vec::new(), wrap: WrapMode::Direct, shreddable: false };
    Arc::new(Keyring::new(sources, vec![zone], VOLUME, Cipher::Aes256Gcm, CacheLimits::default()))
}

fn unlock() -> Unlock {
    Unlock::Passphrase(SecretBytes::from("passphrase".to_owned()))
}

fn options() -> kms::Options {
    let cheap = Argon2Params { m_kib: 8, t: 1, p: 1 };
    kms::Options { passphrase_cost: Some(cheap), ..kms::Options::default() }
}

fn of_file(n: u8) -> Context<'static> {
    Context { volume: VOLUME, zone: None, purpose: Purpose::File(file(n)) }
}

#[test]
fn a_local_key_unwraps_for_what_it_was_made_for_and_nothing_else() {
    let (_directory, kms, key) = kms();
    let provider = LocalProvider::new(kms);
    let (made, wrapped) = provider.generate(&key, &of_file(1)).unwrap();
    assert!(wrapped.blob.len() <= 160 && wrapped.material == 1);
    assert_eq!(provider.unwrap_key(&key, &wrapped, &of_file(1)).unwrap(), made);

    let volume = Context { volume: VOLUME, zone: None, purpose: Purpose::Volume };
    let zoned = Context { zone: Some("finance"), ..of_file(1) };
    let elsewhere = Context { volume: [8; 16], ..of_file(1) };
    for context in [of_file(2), volume, zoned, elsewhere] {
        assert_eq!(provider.unwrap_key(&key, &wrapped, &context).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let mut altered = wrapped.clone();
    *altered.blob.last_mut().unwrap() ^= 1;
    let renamed = WrappedKey { key_id: [0; 16], ..wrapped.clone() };
    let renumbered = WrappedKey { material: 2, ..wrapped.clone() };
    let cut = WrappedKey { blob: wrapped.blob[..20].to_vec(), ..wrapped };
    for wrapped in [altered, renamed, renumbered, cut] {
        assert_eq!(provider.unwrap_key(&key, &wrapped, &of_file(1)).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn the_encryption_context_is_what_an_auditor_will_search_for() {
    let context = |purpose| Context { volume: VOLUME, zone: None, purpose }.to_encryption_context();
    let volume = "07070707070707070707070707070707";
    let pairs = context(Purpose::File([0xab; 16]));
    let file = "abababababababababababababababab";
    assert_eq!(pairs.pairs().collect::<Vec<_>>(), [("kmsfs:file", file), ("kmsfs:volume", volume)]);
    let pairs = context(Purpose::Volume);
    assert_eq!(pairs.pairs().collect::<Vec<_>>(), [("kmsfs:file", "volume-key"), ("kmsfs:volume", volume)]);
    let zoned = Context { volume: VOLUME, zone: Some("finance"), purpose: Purpose::ZoneKey };
    let pairs = zoned.to_encryption_context();
    let expected = [("kmsfs:file", "zone-key"), ("kmsfs:volume", volume), ("kmsfs:zone", "finance")];
    assert_eq!(pairs.pairs().collect::<Vec<_>>(), expected);
}

#[test]
fn resolving_says_what_is_wrong_with_a_key() {
    let (_directory, kms, key) = kms();
    let provider = LocalProvider::new(kms.clone());
    kms.create_alias(OPERATOR, "alias/x", &key).unwrap();
    let info = provider.resolve("alias/x").unwrap();
    assert!(info.arn.ends_with(&key) && info.state == KeyState::Enabled);
    assert_eq!(provider.resolve("alias/none").unwrap_err().kind(), ErrorKind::NotFound);
    kms.disable_key(OPERATOR, &key).unwrap();
    let error = provider.resolve("alias/x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disabled);
    assert!(error.to_string().contains("enable it first"), "{error}");
    kms.schedule_key_deletion(OPERATOR, &key, 7).unwrap();
    assert!(provider.resolve("alias/x").unwrap_err().to_string().contains("pending deletion"));

    let service = provider.resolve(DEFAULT_ALIAS).unwrap();
    assert_eq!(provider.resolve(&service.arn).unwrap(), service);
    assert!(provider.description().starts_with("local:/"));
}

#[test]
fn a_disabled_key_serves_nobody_within_a_second_and_comes_back() {
    let (_directory, kms, key) = kms();
    let other = Kms::open(kms.location(), &unlock(), options()).unwrap();
    let keyring = local_keyring(kms, &key);
    let _watch = keyring.watch(Box::new(|| {}));
    let (id, made, envelope) = keyring.create(&NO_ZONE).unwrap();
    let second = Duration::from_secs(1);
    let kind = || keyring.open(&id, &envelope).err().map(|error| error.kind());

    other.disable_key(OPERATOR, &key).unwrap();
    eventually("refusal", second, || kind() == Some(ErrorKind::Disabled));
    assert_eq!(keyring.create(&NO_ZONE).unwrap_err().kind(), ErrorKind::Disabled);
    other.enable_key(OPERATOR, &key).unwrap();
    eventually("return", second, || kind().is_none());
    other.rotate_key_on_demand(OPERATOR, &key).unwrap();
    let newest = || keyring.create(&NO_ZONE).unwrap().2.wrapped.material;
    eventually("the new version", second, || newest() == 2);
    assert_eq!(print(&keyring.open(&id, &envelope).unwrap()), print(&made));
}

#[test]
fn no_key_serves_a_second_after_the_keystore_went_away_and_all_do_when_it_is_back() {
    let (directory, kms, key) = kms();
    let path = directory.path().join("keystore.db");
    let keyring = local_keyring(kms, &key);
    let _watch = keyring.watch(Box::new(|| {}));
    let (id, made, envelope) = keyring.create(&NO_ZONE).unwrap();
    let second = Duration::from_secs(1);
    let kind = || keyring.open(&id, &envelope).err().map(|error| error.kind());

    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    eventually("refusal", second, || kind() == Some(ErrorKind::Unavailable));
    thread::sleep(Duration::from_millis(250));
    assert_eq!(kind(), Some(ErrorKind::Unavailable), "no key came back into the cache");
    std::fs::rename(&aside, &path).unwrap();
    eventually("return", second, || kind().is_none());
    assert_eq!(print(&keyring.open(&id, &envelope).unwrap()), print(&made));
}
