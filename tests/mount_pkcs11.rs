//! A volume's key in a PKCS#11 token (SoftHSM's): it serves as any other; a token that is away, hangs or forgets its sessions
//! stops nothing but cold files and needs no remount; a wrong PIN is tried once; what was swapped is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/token.rs"]
mod token;

use common::{
    tools::{Compare, assert_same_tree, bytes, ok},
    volume::{Volume, wait_until},
};
use kmsfs::{
    crypto::{Key, SecretBytes},
    keys::{Context, Error, ErrorKind, KeyProvider, Pin, Purpose, TokenProvider, WrappedKey},
    kms::DEFAULT_ALIAS,
};
use rustix::io::Errno;
use serde_json::Value;
use std::{
    fs::{self, File},
    io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use token::{PIN, SOFTHSM, Token};

/// How long anything may take to fail while the token does not answer.
const BOUND: Duration = Duration::from_secs(15);

const CKR_GENERAL_ERROR: u64 = 0x05;
const CKR_DEVICE_REMOVED: u64 = 0x32;
const CKR_SESSION_HANDLE_INVALID: u64 = 0xB3;
const CKR_USER_NOT_LOGGED_IN: u64 = 0x101;

/// A command with the token's configuration in its environment.
fn with<'a>(command: &'a mut Command, token: &Token) -> &'a mut Command {
    let of_token = token.command("true");
    command.envs(of_token.get_envs().filter_map(|(name, value)| Some((name, value?))))
}

/// A token, and a volume with its key there by way of `module`, each file's data key wrapped by the token itself.
fn volume_of_a_token(module: impl FnOnce(&Token) -> String) -> (Volume, Token, String) {
    let mut volume = Volume::bare();
    let token = Token::new(volume.scratch("token"));
    let url = module(&token);
    volume.init(&["--kms", &url, "--wrap", "direct"]);
    volume.option("--kms").option(&url);
    (volume, token, url)
}

fn shim(token: &Token) -> String {
    token.url(&token.shim())
}

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::NOKEY.raw_os_error())
}

/// Opens `path`, which must fail with ENOKEY in time.
fn assert_no_key(path: &Path) {
    let began = Instant::now();
    let opened = File::open(path);
    assert!(is_nokey(&opened), "{opened:?}");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

fn assert_comes_back(path: &Path, content: &[u8]) {
    let back = wait_until(BOUND, || fs::read(path).is_ok_and(|read| read == content));
    assert!(back, "the file does not open though the token is back: {:?}", File::open(path).err());
}

#[test]
fn a_token_serves_goes_away_and_comes_back_without_a_remount() {
    let mut volume = Volume::bare();
    let token = Token::new(volume.scratch("token"));
    let url = token.url(Path::new(SOFTHSM));
    let mut init = volume.kmsfs("init");
    ok(with(init.args(["--kms", &url]).arg(volume.lower()), &token));
    let config = fs::read_to_string(volume.lower().join("kmsfs.json")).unwrap();
    for local in ["module-path", "pin-source", SOFTHSM] {
        assert!(!config.contains(local), "{config}");
    }
    let text = ok(volume.kmsfs("info").arg("--json").arg(volume.lower()));
    let info: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["kms"], token.name("volume"), "{text}");
    assert_eq!(info["cmk"], "pkcs11:token=kmsfs%20test;id=%01", "{text}");

    let mount = |volume: &mut Volume| {
        let mut command = volume.mount_command();
        with(command.args(["--kms", &url, "--key-age", "1"]), &token);
        volume.mount_with(&mut command);
    };
    mount(&mut volume);
    let (first, second) = (bytes(1, 300_000), bytes(2, 10_000));
    fs::write(volume.path("first"), &first).unwrap();
    fs::write(volume.path("second"), &second).unwrap();
    volume.unmount();
    mount(&mut volume);
    assert!(fs::read(volume.path("first")).unwrap() == first);

    token.take_away(true);
    let cold = volume.path("second");
    assert!(wait_until(BOUND, || is_nokey(&File::open(&cold))), "its key is not cached for ever");
    for _ in 0..3 {
        assert_no_key(&cold);
        assert!(is_nokey(&File::create_new(volume.path("new"))));
    }
    let status = ok(volume.kmsfs("status").arg(volume.mnt()));
    assert!(status.contains("TROUBLE"), "{status}");
    token.take_away(false);
    assert_comes_back(&cold, &second);
    fs::write(volume.path("new"), b"new").unwrap();
    volume.unmount();
    let mut check = volume.kmsfs("check");
    ok(with(check.args(["--kms", &url]).arg(volume.lower()), &token));
}

/// A module does not survive a fork, so it must be loaded after the one that a mount begins with.
#[test]
fn a_mount_in_the_background_has_its_pin_from_a_descriptor() {
    let (volume, token, url) = volume_of_a_token(shim);
    let (without_pin, _) = url.split_once("&pin-source").unwrap();
    let command = |name: &str| {
        let mut command = volume.kmsfs(name);
        command.args(["--kms", without_pin]);
        command
    };
    let asked = command("check").arg(volume.lower()).output().unwrap();
    let message = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(4), "{message}");
    assert!(message.contains("--pin-fd"), "{message}");
    let mut mount = command("mount");
    mount.args(["--pin-fd", "0"]).arg(volume.lower()).arg(volume.mnt());
    ok(mount.stdin(File::open(token.pin_file()).unwrap()));
    fs::write(volume.path("file"), "file").unwrap();
    assert_eq!(fs::read_to_string(volume.path("file")).unwrap(), "file");
    ok(volume.kmsfs("umount").arg(volume.mnt()));
}

#[test]
fn a_token_without_gcm_serves_by_key_wrap() {
    let (mut volume, _token, url) = volume_of_a_token(|token| {
        token.set("no-gcm", true);
        shim(token)
    });
    volume.mount();
    fs::write(volume.path("file"), bytes(3, 20_000)).unwrap();
    volume.remount();
    assert!(fs::read(volume.path("file")).unwrap() == bytes(3, 20_000));
    volume.unmount();
    ok(volume.kmsfs("check").args(["--kms", &url]).arg(volume.lower()));
}

#[test]
fn a_token_that_hangs_or_was_pulled_out_stops_cold_files_and_nothing_else() {
    let (mut volume, token, _) = volume_of_a_token(shim);
    let last = volume.path("cold");
    volume.mount();
    for name in ["warm", "cold", "pulled"] {
        fs::write(volume.path(name), name).unwrap();
    }
    volume.remount();
    assert_eq!(fs::read(volume.path("warm")).unwrap(), b"warm");
    token.set("hang", true);
    assert_no_key(&last);
    assert_no_key(&last);
    assert_eq!(fs::read(volume.path("warm")).unwrap(), b"warm", "its key is cached");
    token.set("hang", false);
    assert_comes_back(&last, b"cold");

    token.set("removed", true);
    let pulled = volume.path("pulled");
    assert_no_key(&pulled);
    assert_eq!(fs::read(volume.path("warm")).unwrap(), b"warm");
    token.set("removed", false);
    assert_comes_back(&pulled, b"pulled");
}

/// Its files would be lost when the first token is back.
#[test]
fn a_token_that_another_one_of_the_same_name_replaces_is_not_written_with() {
    let mut volume = Volume::bare();
    let token = Token::new(volume.scratch("token"));
    let url = token.url(Path::new(SOFTHSM));
    ok(with(volume.kmsfs("init").args(["--kms", &url, "--wrap", "direct"]).arg(volume.lower()), &token));
    let mut command = volume.mount_command();
    with(command.args(["--kms", &url, "--key-age", "1"]), &token);
    volume.mount_with(&mut command);
    let cold = volume.path("cold");
    fs::write(&cold, b"cold").unwrap();
    token.replace(true);
    assert!(wait_until(BOUND, || is_nokey(&File::open(&cold))), "the other key does not open it");
    let refused = wait_until(BOUND, || is_nokey(&File::create_new(volume.path("new"))));
    assert!(refused, "and no file is made with it");
    token.replace(false);
    assert_comes_back(&cold, b"cold");
    fs::write(volume.path("newer"), b"newer").unwrap();
    volume.unmount();
    ok(with(volume.kmsfs("check").args(["--kms", &url]).arg(volume.lower()), &token));
}

#[test]
fn sessions_that_the_token_forgets_are_opened_anew_and_nobody_notices() {
    let (mut volume, token, _) = volume_of_a_token(shim);
    volume.mount();
    let errors = [CKR_SESSION_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, CKR_DEVICE_REMOVED];
    for n in 0..errors.len() {
        fs::write(volume.path(format!("{n}")), format!("{n}")).unwrap();
    }
    volume.remount();
    for (n, error) in errors.into_iter().enumerate() {
        let logins = token.logins();
        token.fail_once(error);
        assert_eq!(fs::read_to_string(volume.path(format!("{n}"))).unwrap(), format!("{n}"));
        assert_eq!(token.logins(), logins + 1, "{error:x}");
    }
    // What could mean anything is tried again before a file is called damaged.
    fs::write(volume.path("unclear"), "unclear").unwrap();
    volume.remount();
    token.fail_once(CKR_GENERAL_ERROR);
    assert_eq!(fs::read_to_string(volume.path("unclear")).unwrap(), "unclear");
}

#[test]
fn a_wrong_pin_is_tried_once_and_another_one_in_the_file_is_tried() {
    let (mut volume, token, url) = volume_of_a_token(shim);
    volume.mount();
    fs::write(volume.path("file"), "file").unwrap();
    fs::write(volume.path("other"), "other").unwrap();
    volume.remount();

    // Somebody takes the token and changes the PIN; the mount notices when it has to log in again.
    ok(token.tool().args(["--change-pin", "--new-pin", "081547"]));
    let logins = token.logins();
    token.set("removed", true);
    let file = volume.path("file");
    assert_no_key(&file);
    token.set("removed", false);
    let mut attempts = 0;
    assert!(wait_until(BOUND, || {
        assert_no_key(&file);
        attempts += i32::from(token.logins() > logins);
        attempts > 20
    }));
    assert_eq!(token.logins(), logins + 1, "a wrong PIN is tried once");
    let status = ok(volume.kmsfs("status").arg(volume.mnt()));
    assert!(status.contains("CKR_PIN_INCORRECT") && status.contains("refused this PIN before"), "{status}");
    token.set_pin_file("081547");
    assert_comes_back(&file, b"file");
    assert_eq!(token.logins(), logins + 2);
    volume.unmount();

    token.set_pin_file(PIN);
    let logins = token.logins();
    let refused = volume.refused_mount(&mut volume.mount_command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{message}");
    assert!(message.contains("refuses the PIN") && message.contains("CKR_PIN_INCORRECT"), "{message}");
    assert!(!message.contains(PIN), "{message}");
    assert_eq!(token.logins(), logins + 1);

    let refused = volume.kmsfs("check").arg("--kms").arg(format!("{url}&pin-value=081547")).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(message.contains("pin-value is refused") && !message.contains("081547"), "{message}");
}

#[test]
fn a_volume_moves_into_a_token_and_out_again() {
    let mut volume = Volume::unmounted();
    let token = Token::new(volume.scratch("token"));
    let url = shim(&token);
    volume.mount();
    let plain = volume.scratch("plain");
    fs::create_dir(&plain).unwrap();
    for dir in [&plain, &volume.mnt()] {
        for n in 0..20 {
            fs::write(dir.join(format!("{n}")), bytes(n, 1000 * n as usize)).unwrap();
        }
    }
    volume.unmount();
    let rewrap = |to: &str, key_kms: &str| {
        let mut command = volume.kmsfs("rewrap");
        command.args(["--to", to, "--key-kms", key_kms, "--kms", "local:", "--kms", &url]);
        ok(command.arg(volume.lower()));
    };
    rewrap("volume", &url);
    let mut alone = volume.mount_command();
    volume.mount_with(alone.args(["--kms", &url]));
    assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT);
    volume.unmount();
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/back"]));
    let mut command = volume.kmsfs("rewrap");
    command.args(["--to", "alias/back", "--key-kms", "local:", "--kms", "local:", "--kms", &url]);
    ok(command.arg(volume.lower()));
    volume.mount();
    assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT);
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_zone_has_its_key_in_a_token_and_the_volume_has_not() {
    let mut volume = Volume::unmounted();
    let token = Token::new(volume.scratch("token"));
    let url = shim(&token);
    volume.option("--kms").option("local:").option("--kms").option(&url);
    volume.mount();
    for dir in ["finance", "other"] {
        fs::create_dir(volume.path(dir)).unwrap();
        fs::write(volume.path(dir).join("file"), dir).unwrap();
    }
    let mut set = volume.kmsfs("zone");
    ok(set.arg("set").arg(volume.path("finance")).args(["--key", "volume", "--key-kms", &url]));
    volume.remount();
    token.set("removed", true);
    assert_no_key(&volume.path("finance/file"));
    assert_eq!(fs::read_to_string(volume.path("other/file")).unwrap(), "other");
    token.set("removed", false);
    assert_comes_back(&volume.path("finance/file"), b"finance");
    volume.unmount();

    let mut mount = volume.kmsfs("mount");
    mount.arg(volume.lower()).arg(volume.mnt());
    let refused = volume.refused_mount(&mut mount);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    let named = format!("--kms '{}?module-path=FILE'", token.name("volume"));
    assert!(message.contains(&named), "{message}");
    let mut kit = volume.kmsfs("recovery-kit");
    let kit = ok(kit.args(["--kms", "local:", "--kms", &url]).arg(volume.lower()));
    assert!(kit.contains(&named) && kit.contains("pkcs11:token=kmsfs%20test;id=%01"), "{kit}");
}

const FILE: Context<'_> = Context { volume: [1; 16], zone: None, purpose: Purpose::File([2; 16]) };

fn provider(token: &Token, object: &str) -> Result<TokenProvider, Error> {
    let url = format!("{}?module-path={}", token.name(object), token.shim().display());
    TokenProvider::new(url.parse().unwrap(), || Ok(Pin::Given(SecretBytes::from(PIN.to_owned()))))
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("an error").kind()
}

/// All that a provider is asked, with the token in this process; one test, since SoftHSM is in a process only once.
#[test]
fn a_wrapped_key_unwraps_unaltered_in_its_own_context_and_by_its_own_key() {
    let dir = tempfile::tempdir().unwrap();
    let token = Token::new(dir.path().join("token"));
    token.keygen("AES:32", &["--label", "other", "--id", "02"]);
    let (mine, other) = (provider(&token, "volume").unwrap(), provider(&token, "other").unwrap());
    unwraps_what_it_wrapped(&mine, &other, 61);
    token.set("no-gcm", true);
    let by_key_wrap = (provider(&token, "volume").unwrap(), provider(&token, "other").unwrap());
    unwraps_what_it_wrapped(&by_key_wrap.0, &by_key_wrap.1, 73);

    // A key is wrapped by whatever is there now, and unwraps whatever is there later.
    let cmk = mine.resolve(DEFAULT_ALIAS).unwrap().arn;
    let (key, wrapped) = mine.generate(&cmk, &FILE).unwrap();
    assert_eq!(by_key_wrap.0.unwrap_key(&cmk, &wrapped, &FILE).unwrap(), key);
    token.set("no-gcm", false);

    a_key_has_to_be_the_one_that_is_named_and_fit(&token);
    token.set("no-aad", true);
    let careless = provider(&token, "volume").unwrap();
    let error = careless.resolve(DEFAULT_ALIAS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsuitable);
    assert!(error.message().contains("does not authenticate additional data"), "{error}");
}

fn unwraps_what_it_wrapped(mine: &TokenProvider, other: &TokenProvider, len: usize) {
    let cmk = mine.resolve(DEFAULT_ALIAS).unwrap();
    assert_eq!(mine.resolve(&cmk.arn).unwrap(), cmk);
    let (key, wrapped) = mine.generate(&cmk.arn, &FILE).unwrap();
    assert_eq!((wrapped.key_id, wrapped.material, wrapped.blob.len()), (cmk.id, 0, len));
    assert_eq!(mine.unwrap_key(&cmk.arn, &wrapped, &FILE).unwrap(), key);
    let given = Key::random();
    let wrapped_given = mine.wrap(&cmk.arn, &given, &FILE).unwrap();
    assert_eq!(mine.unwrap_key(&cmk.arn, &wrapped_given, &FILE).unwrap(), given);

    for context in [
        Context { volume: [9; 16], ..FILE },
        Context { zone: Some("finance"), ..FILE },
        Context { purpose: Purpose::File([3; 16]), ..FILE },
        Context { purpose: Purpose::ZoneKey, ..FILE },
    ] {
        assert_eq!(kind(mine.unwrap_key(&cmk.arn, &wrapped, &context)), ErrorKind::Invalid, "{context:?}");
    }
    for byte in 0..len {
        let mut bad = wrapped.clone();
        bad.blob[byte] ^= 1;
        assert_eq!(kind(mine.unwrap_key(&cmk.arn, &bad, &FILE)), ErrorKind::Invalid, "byte {byte}");
    }
    for cut in [0, 1, 13, len - 1] {
        let short = WrappedKey { blob: wrapped.blob[..cut].to_vec(), ..wrapped.clone() };
        assert_eq!(kind(mine.unwrap_key(&cmk.arn, &short, &FILE)), ErrorKind::Invalid, "{cut} bytes");
    }
    let others = other.resolve(DEFAULT_ALIAS).unwrap();
    assert_ne!(others.id, cmk.id);
    let passed_off = WrappedKey { key_id: others.id, ..wrapped.clone() };
    assert_eq!(kind(other.unwrap_key(&others.arn, &passed_off, &FILE)), ErrorKind::Invalid);
    assert_eq!(kind(mine.unwrap_key(&cmk.arn, &passed_off, &FILE)), ErrorKind::Invalid);
    assert_eq!(
        kind(mine.unwrap_key(&others.arn, &passed_off, &FILE)),
        ErrorKind::NotFound,
        "the URL names another"
    );
    // A ciphertext that was altered says nothing of the token.
    assert_eq!(mine.unwrap_key(&cmk.arn, &wrapped, &FILE).unwrap(), key);
}

fn a_key_has_to_be_the_one_that_is_named_and_fit(token: &Token) {
    token.keygen("AES:16", &["--label", "short", "--id", "03"]);
    for _ in 0..2 {
        token.keygen("AES:32", &["--label", "twice"]);
    }
    token.keygen("AES:32", &["--label", "shares", "--id", "02"]);
    token.keygen("AES:32", &["--label", "nameless"]);
    for (object, expected) in
        [("none", ErrorKind::NotFound), ("short", ErrorKind::Unsuitable), ("twice", ErrorKind::NotFound)]
    {
        assert_eq!(kind(provider(token, object).unwrap().resolve(DEFAULT_ALIAS)), expected, "{object}");
    }
    let nameless = provider(token, "nameless").unwrap().resolve(DEFAULT_ALIAS).unwrap();
    assert_eq!(nameless.arn, "pkcs11:token=kmsfs%20test;object=nameless");

    let url = format!("pkcs11:token=kmsfs%20test?module-path={}", token.shim().display());
    let pin = |pin: &str| Ok::<_, Error>(Pin::Given(SecretBytes::from(pin.to_owned())));
    let any = TokenProvider::new(url.parse().unwrap(), || pin(PIN)).unwrap();
    assert_eq!(kind(any.resolve(DEFAULT_ALIAS)), ErrorKind::NotFound, "no key is named");
    assert_eq!(any.resolve("volume").unwrap().arn, "pkcs11:token=kmsfs%20test;id=%01");
    assert_eq!(kind(any.resolve("shares")), ErrorKind::NotFound, "its id is another's too");
    assert_eq!(kind(any.resolve("pkcs11:token=elsewhere;id=%01")), ErrorKind::NotFound);
    let absent = url.replace("test?", "absent?");
    assert_eq!(kind(TokenProvider::new(absent.parse().unwrap(), || pin(PIN))), ErrorKind::Unavailable);
}
