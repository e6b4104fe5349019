//! A mount whose KMS hangs, is slow, throttles, refuses, is gone or answers nonsense: files whose keys are at hand go on,
//! others fail with ENOKEY in bounded time and keep nobody waiting, nothing acknowledged is lost, and no remount is needed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
mod common;
#[path = "common/service.rs"]
mod service;

use common::{
    tools::{bytes, ok, progress},
    volume::{Volume, wait_until},
};
use rustix::io::Errno;
use serde_json::{Value, json};
use service::{KEY, Service};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a request may take that needs the KMS, by default.
const BOUND: Duration = Duration::from_secs(12);
/// How long one may take that does not.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What stands between a mount and its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Pass,
    /// Each request is held back for 300 ms.
    Slow,
    /// Takes requests and says nothing.
    Hang,
    /// Closes every connection at once.
    Gone,
    /// Answers, as AWS does, that there were too many requests.
    Throttle,
    /// Answers that the caller may not.
    Deny,
    /// Answers in no language.
    Nonsense,
    /// Answers with a well-formed key that is another.
    Lie,
}

const MODES: [Mode; 8] =
    [Mode::Pass, Mode::Slow, Mode::Hang, Mode::Gone, Mode::Throttle, Mode::Deny, Mode::Nonsense, Mode::Lie];

/// A relay to the service whose manners can be changed.
struct Relay {
    mode: Arc<AtomicU8>,
    socket: PathBuf,
}

impl Relay {
    fn start(volume: &Volume, to: PathBuf) -> Relay {
        let socket = volume.home().join("relay.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let shared = Arc::clone(&mode);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (mode, to) = (Arc::clone(&shared), to.clone());
                thread::spawn(move || drop(serve(client, &to, &mode)));
            }
        });
        Relay { mode, socket }
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

fn now(mode: &AtomicU8) -> Mode {
    MODES[usize::from(mode.load(Ordering::SeqCst))]
}

/// Reads whole HTTP requests from a client and has each treated as the mode of the moment says.
fn serve(mut client: UnixStream, to: &Path, mode: &AtomicU8) -> io::Result<()> {
    let mut service: Option<UnixStream> = None;
    let mut buffer = Vec::new();
    loop {
        let request = match next_message(&mut client, &mut buffer)? {
            Some(request) => request,
            None => return Ok(()),
        };
        match now(mode) {
            Mode::Pass | Mode::Slow => {
                if now(mode) == Mode::Slow {
                    thread::sleep(Duration::from_millis(300));
                }
                let stream = match &mut service {
                    Some(stream) => stream,
                    none => none.insert(UnixStream::connect(to)?),
                };
                stream.write_all(&request)?;
                let mut answer = Vec::new();
                let whole = next_message(stream, &mut answer)?;
                client.write_all(&whole.ok_or(io::ErrorKind::UnexpectedEof)?)?;
            }
            Mode::Hang => {
                while now(mode) == Mode::Hang {
                    thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Mode::Gone => return Ok(()),
            Mode::Throttle => refuse(&mut client, "ThrottlingException")?,
            Mode::Deny => refuse(&mut client, "AccessDeniedException")?,
            Mode::Nonsense => {
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\x00nonsense")?
            }
            Mode::Lie => {
                let body = json!({
                    "Plaintext": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                    "CiphertextBlob": "AAAA", "KeyId": "arn:aws:kms:local:000000000000:key/00000000-0000-0000-0000-000000000000",
                    "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                });
                say(&mut client, "200 OK", &body)?;
            }
        }
    }
}

/// The next message with its body, of a stream of which `buffer` was read already.
fn next_message(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let whole = head + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= whole {
                return Ok(Some(buffer.drain(..whole).collect()));
            }
        }
        let mut piece = [0; 16384];
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            n => buffer.extend_from_slice(&piece[..n]),
        }
    }
}

fn refuse(client: &mut UnixStream, name: &str) -> io::Result<()> {
    say(client, "400 Bad Request", &json!({ "__type": name, "message": "told so by a test" }))
}

fn say(client: &mut UnixStream, status: &str, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    write!(client, "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n")?;
    write!(client, "content-length: {}\r\n\r\n{body}", body.len())
}

/// A mounted volume, the service with its key, and the relay between them.
fn volume() -> (Volume, Service, Relay) {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", KEY]));
    let service = Service::start(&volume, "127.0.0.1:0", &[]);
    let relay = Relay::start(&volume, service.socket.clone());
    let url = format!("unix:{}", relay.socket.display());
    volume.init(&["--kms", &url, "--key", KEY]);
    volume.option("--kms").option(&url);
    volume.mount();
    (volume, service, relay)
}

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::NOKEY.raw_os_error())
}

/// Asserts that `work` is done within `bound`.
fn within<T>(bound: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < bound, "{what} took {:?}", began.elapsed());
    done
}

fn status(volume: &Volume) -> Value {
    let text = ok(volume.kmsfs("status").arg("--json").arg(volume.mnt()));
    serde_json::from_str::<Value>(&text).unwrap()["mounts"][0].clone()
}

/// Makes `cold` files whose keys the mount has not, and one, `warm`, whose key it has.
fn files(volume: &mut Volume, cold: usize) {
    fs::write(volume.path("warm"), bytes(1, 100_000)).unwrap();
    for n in 0..cold {
        fs::write(volume.path(format!("cold-{n}")), format!("cold {n}")).unwrap();
    }
    volume.remount();
    assert!(fs::read(volume.path("warm")).unwrap() == bytes(1, 100_000));
}

fn assert_clean(volume: &Volume, relay: &Relay) {
    ok(volume
        .kmsfs("check")
        .arg(volume.lower())
        .arg("--kms")
        .arg(format!("unix:{}", relay.socket.display())));
}

fn assert_warm_goes_on(volume: &Volume, turn: u64) {
    within(AT_ONCE, "the use of a warm file", || {
        let file = File::options().read(true).write(true).open(volume.path("warm")).unwrap();
        file.write_all_at(&turn.to_le_bytes(), 50_000).unwrap();
        let mut back = [0; 8];
        file.read_exact_at(&mut back, 50_000).unwrap();
        assert_eq!(back, turn.to_le_bytes());
        fs::metadata(volume.path("cold-0")).unwrap();
        assert!(fs::read_dir(volume.mnt()).unwrap().count() > 1);
    });
}

#[test]
fn many_that_wait_for_a_kms_that_hangs_keep_nobody_else_waiting() {
    const COLD: usize = 100;
    let (mut volume, _service, relay) = volume();
    files(&mut volume, COLD);
    relay.set(Mode::Hang);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..COLD)
            .map(|n| {
                let path = volume.path(format!("cold-{n}"));
                scope.spawn(move || {
                    let opened = within(BOUND, "a cold open", || File::open(path));
                    assert!(is_nokey(&opened), "{opened:?}");
                })
            })
            .collect();
        // In a directory of its own, which the kernel locks for as long as a file is being made in it.
        fs::create_dir(volume.path("dir")).unwrap();
        let new = volume.path("dir/new");
        let created = scope.spawn(move || within(BOUND, "a new file", || File::create_new(new)));
        let mut turns = 0;
        while !waiting.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert_warm_goes_on(&volume, turns);
            turns += 1;
            thread::sleep(Duration::from_millis(20));
        }
        progress(format_args!("{turns} turns of a warm file while {COLD} cold ones waited"));
        assert!(turns > 20, "nobody waited");
        let created = created.join().unwrap();
        assert!(created.is_ok() || is_nokey(&created), "its key may have been made ahead: {created:?}");
    });
    let troubles = status(&volume)["troubles"].clone();
    assert_eq!(troubles.as_array().unwrap().len(), 1, "{troubles}");
    assert!(troubles[0]["since_s"].as_u64().unwrap() <= 15 && troubles[0]["failures"].as_u64().unwrap() >= 1);
    relay.set(Mode::Pass);
    let back =
        wait_until(BOUND, || fs::read_to_string(volume.path("cold-7")).is_ok_and(|text| text == "cold 7"));
    assert!(back, "a cold file does not open though the KMS answers");
    for n in 0..COLD {
        assert_eq!(fs::read_to_string(volume.path(format!("cold-{n}"))).unwrap(), format!("cold {n}"));
    }
    assert_eq!(status(&volume)["troubles"], json!([]), "it is over");
    let said = ok(volume.kmsfs("status").arg(volume.mnt()));
    assert!(!said.contains("TROUBLE"), "{said}");
}

#[test]
fn whatever_is_wrong_with_the_kms_is_an_error_in_time_and_over_when_it_is() {
    let (mut volume, service, relay) = volume();
    files(&mut volume, 16);
    fs::create_dir(volume.path("dir")).unwrap();
    for (turn, mode) in MODES.into_iter().enumerate().skip(1) {
        let (cold, new) = (volume.path(format!("cold-{turn}")), volume.path(format!("dir/new-{turn}")));
        relay.set(mode);
        let opened = within(BOUND, "a cold open", || fs::read_to_string(&cold));
        let created = within(BOUND, "a new file", || fs::write(&new, "new"));
        progress(format_args!("{mode:?}: {opened:?}, {created:?}"));
        match mode {
            Mode::Slow => assert!(opened.unwrap() == format!("cold {turn}") && created.is_ok()),
            // Not a key of the file: damage, as far as the mount can tell, or a KMS that is not to be believed.
            Mode::Lie => assert!(opened.is_err()),
            // The key of a new file may have been made ahead.
            _ => assert!(is_nokey(&opened) && (created.is_ok() || is_nokey(&created))),
        }
        assert_warm_goes_on(&volume, turn as u64);
        if !matches!(mode, Mode::Slow | Mode::Lie) {
            let told = status(&volume);
            assert_eq!(told["troubles"].as_array().unwrap().len(), 1, "{mode:?}: {told}");
        }
        relay.set(Mode::Pass);
        let text = format!("cold {turn}");
        assert!(wait_until(BOUND, || fs::read_to_string(&cold).is_ok_and(|read| read == text)), "{mode:?}");
        assert!(wait_until(BOUND, || fs::write(&new, "new").is_ok()), "{mode:?}");
    }
    drop(service);
    assert_warm_goes_on(&volume, 99);
    let _service = Service::start(&volume, "127.0.0.1:0", &[]);
    assert!(wait_until(BOUND, || fs::read(volume.path("cold-15")).is_ok()));
    volume.unmount();
    assert_clean(&volume, &relay);
}

/// Blocks of a file that threads of a load write and verify.
const BLOCKS: usize = 64;
const BLOCK: usize = 4096;

/// Writes and reads blocks of a file until told to end. A block must read as its last acknowledged write, or as one that
/// failed since, which may have been done all the same. Returns what each block may be.
fn load(path: &Path, seed: u64, ended: &AtomicBool) -> Vec<Vec<u64>> {
    let mut allowed = vec![vec![0]; BLOCKS];
    let (mut file, mut turn, mut refused) = (None::<File>, seed << 32, 0);
    while !ended.load(Ordering::Relaxed) {
        turn += 1;
        let block = (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % BLOCKS;
        let outcome = within(BOUND, "a request of the load", || -> io::Result<()> {
            let open = match &mut file {
                Some(file) => file,
                none => none.insert(File::options().read(true).write(true).open(path)?),
            };
            if turn % 3 == 0 {
                let mut read = [0; BLOCK];
                open.read_exact_at(&mut read, (block * BLOCK) as u64)?;
                let stamp = u64::from_le_bytes(read[..8].try_into().unwrap());
                assert!(
                    allowed[block].contains(&stamp),
                    "block {block} is {stamp:x}, not of {:x?}",
                    allowed[block]
                );
                assert!(read.chunks(8).all(|part| part == stamp.to_le_bytes()), "a torn block");
                return Ok(());
            }
            allowed[block].push(turn);
            open.write_all_at(&turn.to_le_bytes().repeat(BLOCK / 8), (block * BLOCK) as u64)?;
            allowed[block] = vec![turn];
            if turn % 16 == 0 { open.sync_all() } else { Ok(()) }
        });
        if let Err(e) = outcome {
            // EIO while the KMS lies: its key does not fit the file.
            let errno = Errno::from_io_error(&e).unwrap();
            assert!(matches!(errno, Errno::NOKEY | Errno::IO), "{e}");
            refused += 1;
            thread::sleep(Duration::from_millis(1));
        }
        if turn % 50 == 0 {
            file = None;
        }
    }
    progress(format_args!("{}: {} requests, {refused} refused", path.display(), turn - (seed << 32)));
    allowed
}

/// Each round lasts some hundredths of a second, so that keys go and come in the middle of everything.
#[test]
fn a_thousand_rounds_of_every_trouble_lose_nothing() {
    let rounds: usize = std::env::var("KMSFS_CHAOS_ROUNDS").map_or(1000, |rounds| rounds.parse().unwrap());
    let (mut volume, service, relay) = volume();
    let paths: Vec<_> = (0..4).map(|n| volume.path(format!("load-{n}"))).collect();
    for path in &paths {
        fs::write(path, vec![0; BLOCKS * BLOCK]).unwrap();
    }
    let ended = AtomicBool::new(false);
    let mut service = Some(service);
    let allowed: Vec<_> = thread::scope(|scope| {
        let ended = &ended;
        let loads: Vec<_> =
            (1..).zip(&paths).map(|(seed, path)| scope.spawn(move || load(path, seed, ended))).collect();
        let random = bytes(u64::from(std::process::id()), rounds);
        for (round, random) in random.into_iter().enumerate() {
            if round % 100 == 0 {
                progress(format_args!("round {round} of {rounds}"));
            }
            assert!(loads.iter().all(|load| !load.is_finished()), "a load has ended in round {round}");
            let pause = Duration::from_millis(u64::from(random % 40));
            match round % 50 {
                49 => {
                    drop(service.take());
                    thread::sleep(pause);
                    service = Some(Service::start(&volume, "127.0.0.1:0", &[]));
                }
                n if n % 3 == 0 => {
                    relay.set(MODES[1 + usize::from(random) % (MODES.len() - 1)]);
                    // The mount asks again only for what it has lost.
                    if random % 2 == 0 {
                        service.as_ref().unwrap().key("DisableKey");
                        service.as_ref().unwrap().key("EnableKey");
                    }
                    thread::sleep(pause);
                    relay.set(Mode::Pass);
                }
                _ => {
                    service.as_ref().unwrap().key("DisableKey");
                    thread::sleep(pause);
                    service.as_ref().unwrap().key("EnableKey");
                    thread::sleep(pause);
                }
            }
        }
        thread::sleep(BOUND / 4);
        ended.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    let verify = |when: &str| {
        for (path, allowed) in paths.iter().zip(&allowed) {
            assert!(
                wait_until(BOUND, || File::open(path).is_ok()),
                "{when}: {} does not open",
                path.display()
            );
            let content = fs::read(path).unwrap();
            for (block, allowed) in content.chunks(BLOCK).zip(allowed) {
                let stamp = u64::from_le_bytes(block[..8].try_into().unwrap());
                assert!(allowed.contains(&stamp), "{when}: {stamp:x}, not of {allowed:x?}");
            }
        }
    };
    verify("when it was over");
    volume.remount();
    verify("after a remount");
    volume.unmount();
    assert_clean(&volume, &relay);
}
